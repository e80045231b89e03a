// `culvert rekey CONN[/CHILD] [--ike|--reauth] [--peer ID]`: asks for fresh SAs; does not wait for them.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

void add_rekey(CLI::App& app, Call& call) {
  struct Options {
    std::string target, peer;
    bool ike = false, reauth = false;
  };
  auto* command = app.add_subcommand("rekey", "replace the IPsec SAs of a connection or one child by fresh ones, without a gap");
  const auto options = std::make_shared<Options>();
  command->add_option("CONN[/CHILD]", options->target, "what to rekey")->required();
  command->add_flag("--ike", options->ike, "replace the IKE SA instead");
  command->add_flag("--reauth", options->reauth,
                    "replace the IKE SA, and all that is under it, by one for which both sides prove themselves anew");
  command->add_option("--peer", options->peer, "only of the peer with this identity or address");
  command->callback([&call, options] {
    boost::json::object args = target_args(options->target);
    args["ike"] = options->ike;
    if (options->reauth) args["reauth"] = true;
    if (!options->peer.empty()) args["peer"] = options->peer;
    call.request = {{"command", "rekey"}, {"args", args}};
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
