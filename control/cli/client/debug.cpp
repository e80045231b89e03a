// `culvert debug`: each message of one connection or one peer's address into the log, for a limited time.
#include <map>
#include <memory>

#include <fmt/format.h>

#include "control/cli/client/commands.hpp"
#include "control/cli/client/text.hpp"
#include "control/cli/protocol.hpp"

namespace culvert::control::cli {

namespace {
namespace json = boost::json;

std::string render_debug(const json::object& result) {
  std::string out;
  if (const auto message = text_of(result, "message"); !message.empty()) out += message + '\n';
  out += also_in_text(result);
  for (const auto& value : list_of(result, "watches")) {
    const json::object& w = value.as_object();
    const std::string connection = text_of(w, "connection");
    out += fmt::format("  {} for another {}\n", connection.empty() ? text_of(w, "peer") + vrf_text(w) : connection,
                       human_seconds(w.at("for_s")));
  }
  return out.empty() ? "Nobody is watched. `culvert debug CONNECTION` or `culvert debug ADDRESS` begins.\n" : out;
}
}  // namespace

void add_debug(CLI::App& app, Call& call) {
  struct Options {
    std::string target, vrf;
    double seconds = kDefaultDebug;
    bool off = false;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("debug", "log each message of a connection or a peer, for a limited time; without either: the list");
  command->add_option("target", options->target, "CONNECTION, or a peer's ADDRESS");
  const std::map<std::string, double> units{{"s", 1}, {"m", 60}, {"h", 3600}};
  command->add_option("--for", options->seconds, "how long: 30s, 10m (the default), 2h; at most 24h")
      ->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE));
  command->add_option("--vrf", options->vrf, "the VRF that the address is one of; without it the default one");
  command->add_flag("--off", options->off, "end it now");
  command->callback([&call, options] {
    json::object args;
    if (!options->target.empty()) args["target"] = options->target;
    if (!options->vrf.empty()) args["vrf"] = options->vrf;
    args["for_s"] = options->seconds;
    if (options->off) args["off"] = true;
    call.request = {{"command", "debug"}, {"args", args}};
    call.text = render_debug;
  });
}

}  // namespace culvert::control::cli
