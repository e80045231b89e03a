// The redirect and the sync-counters commands: they pass the wish to the engine.
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result redirect(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const std::string where = args.text("gateway");
  const auto to = config::parse_gateway(where);
  if (!where.empty() && !to) throw CommandError("bad_request", "GATEWAY must be the address or the name of a host");
  const ike::CommandResult result = gateway.redirect(now, ref.connection, to, args.text("peer"), args.flag("newcomers"));
  if (!result.ok) throw CommandError("failed", result.message);
  return json::object{{"message", result.message}};
}

Result sync_counters(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const ike::CommandResult result = gateway.sync_counters(now, ref.connection, args.text("peer"));
  if (!result.ok) throw CommandError("failed", result.message);
  return json::object{{"message", result.message}};
}

}  // namespace culvert::control::cli
