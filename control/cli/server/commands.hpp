// The commands of culvertd's socket, and how they read their arguments. protocol.hpp says what they return.
#pragma once

#include <stdexcept>
#include <string>
#include <variant>

#include <boost/json.hpp>

#include "control/cli/server/dispatcher.hpp"

namespace culvert::control::cli {

namespace json = boost::json;

/// What a command throws to be answered with an error.
struct CommandError : std::runtime_error {
  CommandError(const char* c, const std::string& message) : std::runtime_error(message), code(c) {}
  const char* code;
};

/// The arguments of a request; each one is read once, with its type and bounds checked.
class Args {
 public:
  explicit Args(const json::object& object) : object_(object) {}
  [[nodiscard]] std::string text(std::string_view key, std::string fallback = {}) const;
  [[nodiscard]] bool flag(std::string_view key) const;
  [[nodiscard]] double number(std::string_view key, double fallback, double low, double high) const;

 private:
  const json::object& object_;
};
/// The connection (and child) that the arguments name; an error with the known names where it is not configured.
ChildRef configured_child(const Gateway& gateway, const Args& args);
/// The VRF that argument "vrf" names, if it is there; an error with the known names where it is not configured.
std::optional<VrfId> vrf_of(const Gateway& gateway, const Args& args);
/// Names of the VRFs besides `vrf` in which somebody has this address: who means one of them has to say so.
json::array also_in(const Gateway& gateway, const IpAddress& peer, VrfId vrf);

using Result = std::variant<json::object, Reply>;
Result list_certs(Gateway& gateway, const Args& args, ike::TimePoint now);
Result list_conns(Gateway& gateway, const Args& args, ike::TimePoint now);
Result list_sas(Gateway& gateway, const Args& args, ike::TimePoint now);
Result list_pools(Gateway& gateway, const Args& args, ike::TimePoint now);
Result initiate(Gateway& gateway, const Args& args, ike::TimePoint now);
Result terminate(Gateway& gateway, const Args& args, ike::TimePoint now);
Result redirect(Gateway& gateway, const Args& args, ike::TimePoint now);
Result sync_counters(Gateway& gateway, const Args& args, ike::TimePoint now);
Result rekey(Gateway& gateway, const Args& args, ike::TimePoint now);
Result counters(Gateway& gateway, const Args& args, ike::TimePoint now);
Result log(Gateway& gateway, const Args& args, ike::TimePoint now);
Result debug(Gateway& gateway, const Args& args, ike::TimePoint now);
Result explain(Gateway& gateway, const Args& args, ike::TimePoint now);
Result capture(Gateway& gateway, const Args& args, ike::TimePoint now);
Result trace(Gateway& gateway, const Args& args, ike::TimePoint now);
Result trace_packet(Gateway& gateway, const Args& args, ike::TimePoint now);
Result version(Gateway& gateway, const Args& args, ike::TimePoint now);

Line result_line(json::object result);
/// Seconds from `a` to `b`, to the millisecond; null if either is not set.
json::value seconds_between(ike::TimePoint a, ike::TimePoint b);
json::value failure_json(const std::optional<ike::Failure>& failure, ike::TimePoint now);
/// A packet's way in words, and what became of it (protocol.hpp, trace-packet). Believes no number in it.
json::object path_json(const Gateway& gateway, const shm::Path& path);
json::object totals_json(Direction direction, const SaTotals& totals);

}  // namespace culvert::control::cli
