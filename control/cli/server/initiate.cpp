// The initiate command: starts the engine, then watches the state until the children are up, one failed, or time is over.
// A failure counts only when it is younger than the command. Blocks nothing: the session asks again.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "common/config/selectors.hpp"
#include "control/cli/protocol.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
Line failed(const std::string& what, const ike::Failure& f) {
  return error_line("failed", fmt::format("{}: {} ({}{}{})", what, f.message.empty() ? std::string(ike::help(f.reason)) : f.message,
                                          f.exchange ? ike::name(*f.exchange) : "", f.exchange ? ", " : "", ike::name(f.reason)));
}

/// Watches an initiation until every child asked for is up, or one of them failed since it began.
std::optional<Line> progress(const Gateway& gateway, const ChildRef& ref, ike::TimePoint began, ike::TimePoint deadline, double timeout,
                             ike::TimePoint now) {
  const auto found = gateway.connections(ref.connection);
  if (found.empty()) return error_line("failed", "the connection is gone");
  const ike::ConnectionStatus& connection = found.front();
  const auto fresh = [began](const std::optional<ike::Failure>& f) { return f && f->when >= began; };
  json::array children;
  bool up = true;
  for (const auto& child : connection.children) {
    if (!ref.child.empty() && !config::is_child(child.child, ref.child)) continue;
    if (!child.up && fresh(child.failure)) return failed(fmt::format("{}/{} failed", ref.connection, child.child), *child.failure);
    up = up && child.up;
    children.push_back(json::object{{"child", child.child}, {"up", child.up}});
  }
  if (up && (!children.empty() || connection.up)) {
    return result_line({{"message", fmt::format("{}{}{} is up", ref.connection, ref.child.empty() ? "" : "/", ref.child)},
                        {"connection", ref.connection},
                        {"children", std::move(children)}});
  }
  if (!connection.up && fresh(connection.failure)) return failed(fmt::format("{} failed", ref.connection), *connection.failure);
  if (now >= deadline)
    return error_line("timeout", fmt::format("{} is not up after {} s; culvertd keeps trying: see `culvert list-sas` and `culvert log`",
                                             ref.connection, timeout));
  return std::nullopt;
}
}  // namespace

Result initiate(Gateway& gateway, const Args& args, ike::TimePoint now) {
  const ChildRef ref = configured_child(gateway, args);
  const double timeout = args.number("timeout_s", kDefaultInitiateTimeout, 0, kMaxInitiateTimeout);
  const ike::CommandResult result = gateway.initiate(now, ref.connection, ref.child);
  if (!result.ok) throw CommandError("failed", result.message);
  if (timeout == 0) return json::object{{"message", result.message}, {"connection", ref.connection}, {"children", json::array{}}};
  const auto deadline = now + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(timeout));
  return Reply{
      {}, [&gateway, ref, now, deadline, timeout](ike::TimePoint t) { return progress(gateway, ref, now, deadline, timeout, t); }, {}};
}

}  // namespace culvert::control::cli
