// The debug command: whose messages are logged one by one, and for how long.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "control/cli/protocol.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
ike::Watch target_of(const Gateway& gateway, const std::string& text, std::optional<VrfId> vrf) {
  if (const auto address = IpAddress::parse(text)) return {{}, *address, {}, vrf.value_or(kDefaultVrf)};
  const json::object named{{"connection", text}};
  std::string connection = configured_child(gateway, Args(named)).connection;
  if (vrf) throw CommandError("bad_request", "argument vrf goes with an address: a connection has its own");
  return {std::move(connection), std::nullopt, {}};
}

std::string name_of(const Gateway& gateway, const ike::Watch& w) {
  if (!w.peer) return w.connection;
  return w.peer->to_string() + (gateway.config().vrfs.empty() ? "" : " in VRF " + config::vrf_name(gateway.config(), w.vrf));
}

json::array listed(const Gateway& gateway, ike::TimePoint now) {
  json::array out;
  for (const ike::Watch& w : gateway.watches(now))
    out.push_back(json::object{{"connection", w.peer ? json::value(nullptr) : json::value(w.connection)},
                               {"peer", w.peer ? json::value(w.peer->to_string()) : json::value(nullptr)},
                               {"vrf", w.peer ? json::value(config::vrf_name(gateway.config(), w.vrf)) : json::value(nullptr)},
                               {"for_s", seconds_between(now, w.until)}});
  return out;
}
}  // namespace

Result debug(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const std::string target = args.text("target");
  const double seconds = args.number("for_s", kDefaultDebug, 1, kMaxDebug);
  const auto vrf = vrf_of(gateway, args);
  std::string message;
  json::array elsewhere;
  if (target.empty() && args.flag("off")) throw CommandError("bad_request", "argument target is missing");
  if (!target.empty()) {
    ike::Watch watch = target_of(gateway, target, vrf);
    const std::string name = name_of(gateway, watch);
    if (watch.peer) elsewhere = also_in(gateway, *watch.peer, watch.vrf);
    if (args.flag("off")) {
      message = fmt::format("{} {}", name, gateway.unwatch(now, watch) ? "is not watched any more" : "was not watched");
    } else {
      watch.until = now + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
      if (!gateway.watch(now, std::move(watch)))
        throw CommandError("failed", fmt::format("{} are watched already: end one with --off", ike::WatchList::kMax));
      message = fmt::format("each message of {} is logged for {:.0f} s", name, seconds);
    }
  }
  return json::object{{"message", message}, {"also_in", std::move(elsewhere)}, {"watches", listed(gateway, now)}};
}

}  // namespace culvert::control::cli
