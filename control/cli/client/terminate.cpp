// `culvert terminate CONN[/CHILD]`: takes SAs down; the peer is told by culvertd.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

void add_terminate(CLI::App& app, Call& call) {
  auto* command = app.add_subcommand("terminate", "take down a connection or one child, and tell the peer");
  const auto target = std::make_shared<std::string>();
  command->add_option("CONN[/CHILD]", *target, "what to take down")->required();
  command->callback([&call, target] {
    call.request = {{"command", "terminate"}, {"args", target_args(*target)}};
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
