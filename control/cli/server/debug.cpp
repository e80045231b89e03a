// The debug command: whose messages are logged one by one, and for how long.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "control/cli/protocol.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
ike::Watch target_of(const Gateway& gateway, const std::string& text) {
  if (const auto address = IpAddress::parse(text)) return {{}, *address, {}};
  const json::object named{{"connection", text}};
  return {configured_child(gateway, Args(named)).connection, std::nullopt, {}};
}

json::array listed(const Gateway& gateway, ike::TimePoint now) {
  json::array out;
  for (const ike::Watch& w : gateway.watches(now))
    out.push_back(json::object{{"connection", w.peer ? json::value(nullptr) : json::value(w.connection)},
                               {"peer", w.peer ? json::value(w.peer->to_string()) : json::value(nullptr)},
                               {"for_s", seconds_between(now, w.until)}});
  return out;
}
}  // namespace

Result debug(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const std::string target = args.text("target");
  const double seconds = args.number("for_s", kDefaultDebug, 1, kMaxDebug);
  std::string message;
  if (target.empty() && args.flag("off")) throw CommandError("bad_request", "argument target is missing");
  if (!target.empty()) {
    ike::Watch watch = target_of(gateway, target);
    const std::string name = watch.peer ? watch.peer->to_string() : watch.connection;
    if (args.flag("off")) {
      message = gateway.unwatch(now, watch.connection, watch.peer) ? fmt::format("{} is not watched any more", name)
                                                                   : fmt::format("{} was not watched", name);
    } else {
      watch.until = now + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
      if (!gateway.watch(now, std::move(watch)))
        throw CommandError("failed", fmt::format("{} are watched already: end one with --off", ike::WatchList::kMax));
      message = fmt::format("each message of {} is logged for {:.0f} s", name, seconds);
    }
  }
  return json::object{{"message", message}, {"watches", listed(gateway, now)}};
}

}  // namespace culvert::control::cli
