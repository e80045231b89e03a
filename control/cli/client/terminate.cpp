// `culvert terminate CONN[/CHILD] [--peer ID]`: takes SAs down; the peer is told by culvertd.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

void add_terminate(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("terminate", "take down a connection or one child, and tell the peer");
  struct Options {
    std::string target, peer;
  };
  const auto options = std::make_shared<Options>();
  command->add_option("CONN[/CHILD]", options->target, "what to take down")->required();
  command->add_option("--peer", options->peer, "only of the peer with this identity or address");
  command->callback([&call, options] {
    boost::json::object args = target_args(options->target);
    if (!options->peer.empty()) args["peer"] = options->peer;
    call.request = {{"command", "terminate"}, {"args", args}};
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
