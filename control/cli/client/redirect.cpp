// `culvert redirect CONN GATEWAY [--peer ID] [--newcomers]`, or --off: clients are sent to another gateway.
#include <memory>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"

namespace culvert::control::cli {

void add_redirect(CLI::App& app, Call& call) {
  auto* command =
      app.add_subcommand("redirect", "send the clients of a connection to another gateway, such as before maintenance of this one");
  struct Options {
    std::string connection, gateway, peer;
    bool newcomers = false, off = false;
  };
  const auto options = std::make_shared<Options>();
  command->add_option("CONN", options->connection, "whose clients")->required();
  auto* gateway = command->add_option("GATEWAY", options->gateway, "where they are to go: an address, or a name that they look up");
  auto* peer = command->add_option("--peer", options->peer, "only the client with this identity or address");
  auto* newcomers = command->add_flag("--newcomers", options->newcomers,
                                      "also those that connect from now on, until culvertd is started again or --off is said");
  newcomers->excludes(peer);
  auto* off = command->add_flag("--off", options->off, "newcomers are sent nowhere any more, or where redirect_to says");
  off->excludes(gateway)->excludes(peer)->excludes(newcomers);
  command->callback([&call, options] {
    if (options->off == !options->gateway.empty()) throw CLI::ValidationError("redirect", "either GATEWAY or --off");
    boost::json::object args{{"connection", options->connection}};
    if (!options->off) args["gateway"] = options->gateway;
    if (!options->peer.empty()) args["peer"] = options->peer;
    if (options->newcomers) args["newcomers"] = true;
    call.request = {{"command", "redirect"}, {"args", args}};
    call.text = [](const boost::json::object& result) { return text_of(result, "message") + '\n'; };
  });
}

}  // namespace culvert::control::cli
