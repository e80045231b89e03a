// `culvert sync-counters CONN [--peer ID]`: message IDs and sequence numbers are set right with the peer.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

void add_sync_counters(CLI::App& app, Call& call) {
  auto* command =
      app.add_subcommand("sync-counters",
                         "set message IDs and sequence numbers right with the peer (RFC 6311), where one side drops messages or "
                         "packets of the other as old ones");
  struct Options {
    std::string connection, peer;
  };
  const auto options = std::make_shared<Options>();
  command->add_option("CONN", options->connection, "whose IKE SAs")->required();
  command->add_option("--peer", options->peer, "only those of the peer with this identity or address");
  command->callback([&call, options] {
    boost::json::object args{{"connection", options->connection}};
    if (!options->peer.empty()) args["peer"] = options->peer;
    call.request = {{"command", "sync-counters"}, {"args", args}};
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
