// The terminate command: passes the wish to the engine.
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result terminate(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const ike::CommandResult result = gateway.terminate(now, ref.connection, ref.child, args.text("peer"));
  if (!result.ok) throw CommandError("failed", result.message);
  return json::object{{"message", result.message}};
}

}  // namespace culvert::control::cli
