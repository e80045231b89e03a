// `culvert initiate CONN[/CHILD]`: brings it up and waits; ends 1 with the reason when it fails.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"
#include "control/cli/protocol.hpp"

namespace culvert::control::cli {

boost::json::object target_args(const std::string& target) {
  const auto slash = target.find('/');
  boost::json::object args{{"connection", target.substr(0, slash)}};
  if (slash != std::string::npos) args["child"] = target.substr(slash + 1);
  return args;
}

void add_initiate(CLI::App& app, Call& call) {
  struct Options {
    std::string target;
    double timeout = kDefaultInitiateTimeout;
  };
  auto* command = app.add_subcommand("initiate", "bring up a connection or one child, and wait for it");
  const auto options = std::make_shared<Options>();
  command->add_option("CONN[/CHILD]", options->target, "what to bring up")->required();
  command->add_option("--timeout", options->timeout, "seconds to wait; 0: do not wait")
      ->check(CLI::Range(0.0, kMaxInitiateTimeout))
      ->capture_default_str();
  command->callback([&call, options] {
    boost::json::object args = target_args(options->target);
    args["timeout_s"] = options->timeout;
    call.request = {{"command", "initiate"}, {"args", args}};
    call.timeout += std::chrono::milliseconds(static_cast<std::int64_t>(options->timeout * 1000));
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
