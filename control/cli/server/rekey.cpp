// The rekey command: passes the wish to the engine.
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result rekey(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const ike::CommandResult result = args.flag("reauth")
                                        ? gateway.reauthenticate(now, ref.connection, args.text("peer"))
                                        : gateway.rekey(now, ref.connection, ref.child, args.flag("ike"), args.text("peer"));
  if (!result.ok) throw CommandError("failed", result.message);
  return json::object{{"message", result.message}};
}

}  // namespace culvert::control::cli
