#include "control/cli/server/dispatcher.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "common/config/selectors.hpp"
#include "common/ipsec/algorithms.hpp"
#include "control/cli/protocol.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
struct Row {
  std::string_view name;
  Result (*run)(Gateway&, const Args&, ike::TimePoint);
};
constexpr std::array kCommands{Row{"list-certs", list_certs},
                               Row{"list-conns", list_conns},
                               Row{"list-sas", list_sas},
                               Row{"list-pools", list_pools},
                               Row{"initiate", initiate},
                               Row{"terminate", terminate},
                               Row{"rekey", rekey},
                               Row{"counters", counters},
                               Row{"log", log},
                               Row{"debug", debug},
                               Row{"explain", explain},
                               Row{"trace-packet", trace_packet},
                               Row{"capture", capture},
                               Row{"trace", trace},
                               Row{"version", version},
                               Row{"redirect", redirect},
                               Row{"sync-counters", sync_counters}};

std::string known_names(const std::vector<std::string_view>& names, std::string_view wrong) {
  const std::string near = nearest(wrong, names);
  if (!near.empty()) return fmt::format("; did you mean {}?", near);
  return names.empty() ? "; none is configured" : fmt::format("; known: {}", fmt::join(names, ", "));
}
}  // namespace

Line error_line(std::string_view code, std::string_view message) {
  return json::serialize(json::object{{"ok", false}, {"error", {{"code", code}, {"message", message}}}});
}
Line result_line(json::object result) { return json::serialize(json::object{{"ok", true}, {"result", std::move(result)}}); }

json::value seconds_between(ike::TimePoint a, ike::TimePoint b) {
  if (a == ike::TimePoint{} || b == ike::TimePoint{}) return nullptr;
  return std::round(std::chrono::duration<double>(b - a).count() * 1000) / 1000;
}

json::value failure_json(const std::optional<ike::Failure>& f, ike::TimePoint now) {
  if (!f) return nullptr;
  return json::object{{"exchange", f->exchange ? json::value(ike::name(*f->exchange)) : json::value(nullptr)},
                      {"reason", ike::name(f->reason)},
                      {"help", ike::help(f->reason)},
                      {"message", f->message},
                      {"age_s", seconds_between(f->when, now)}};
}

json::object totals_json(Direction direction, const SaTotals& totals) {
  json::object drops;
  totals.each_drop(direction, [&drops](std::string_view reason, std::uint64_t n) { drops[reason] = n; });
  json::object out{{"packets", totals.packets}, {"bytes", totals.bytes}, {"drops", std::move(drops)}};
  if (direction == Direction::Inbound)
    out["gaps"] = json::object{{"lost", totals.lost}, {"reordered", totals.reordered}, {"duplicated", totals.duplicated()}};
  return out;
}

std::string Args::text(std::string_view key, std::string fallback) const {
  const json::value* v = object_.if_contains(key);
  if (v == nullptr || v->is_null()) return fallback;
  if (!v->is_string()) throw CommandError("bad_request", fmt::format("argument {} must be a string", key));
  return std::string(v->get_string());
}
bool Args::flag(std::string_view key) const {
  const json::value* v = object_.if_contains(key);
  if (v == nullptr || v->is_null()) return false;
  if (!v->is_bool()) throw CommandError("bad_request", fmt::format("argument {} must be true or false", key));
  return v->get_bool();
}
double Args::number(std::string_view key, double fallback, double low, double high) const {
  const json::value* v = object_.if_contains(key);
  if (v == nullptr || v->is_null()) return fallback;
  json::error_code error;
  const double n = v->to_number<double>(error);
  if (error || !(n >= low && n <= high))
    throw CommandError("bad_request", fmt::format("argument {} must be a number from {} to {}", key, low, high));
  return n;
}

ChildRef configured_child(const Gateway& gateway, const Args& args) {
  ChildRef ref{args.text("connection"), args.text("child")};
  const auto& connections = gateway.config().connections;
  const auto c = std::ranges::find(connections, ref.connection, &config::Connection::name);
  if (c == connections.end()) {
    std::vector<std::string_view> names;
    for (const auto& known : connections) names.push_back(known.name);
    throw CommandError("unknown",
                       fmt::format("no connection \"{}\"{}", printable(as_bytes(ref.connection)), known_names(names, ref.connection)));
  }
  if (!ref.child.empty() && std::ranges::none_of(c->children, [&](const auto& k) { return config::is_child(k.name, ref.child); })) {
    std::vector<std::string_view> names;
    for (const auto& known : c->children) names.push_back(known.name);
    throw CommandError("unknown", fmt::format("connection {} has no child \"{}\"{}", c->name, printable(as_bytes(ref.child)),
                                              known_names(names, ref.child)));
  }
  return ref;
}

std::optional<VrfId> vrf_of(const Gateway& gateway, const Args& args) {
  const std::string name = args.text("vrf");
  if (name.empty()) return std::nullopt;
  const config::GatewayConfig& config = gateway.config();
  if (const auto vrf = config::vrf_named(config, name)) return vrf;
  std::vector<std::string_view> names{config::kDefaultVrfName};
  names.insert(names.end(), config.vrfs.begin(), config.vrfs.end());
  throw CommandError("unknown", fmt::format("no VRF \"{}\"{}", printable(as_bytes(name)), known_names(names, name)));
}

json::array also_in(const Gateway& gateway, const IpAddress& peer, VrfId vrf) {
  json::array names;
  for (const VrfId other : gateway.other_vrfs_of(peer, vrf)) names.emplace_back(config::vrf_name(gateway.config(), other));
  return names;
}

Reply Dispatcher::handle(std::string_view request, ike::TimePoint now) {
  try {
    json::error_code error;
    const json::value parsed = json::parse(request, error);  // its depth is limited to 32
    if (error || !parsed.is_object()) throw CommandError("bad_request", "a request is one JSON object on one line");
    const json::value* command = parsed.get_object().if_contains("command");
    if (command == nullptr || !command->is_string()) throw CommandError("bad_request", "the request has no \"command\"");
    const json::value* args = parsed.get_object().if_contains("args");
    if (args != nullptr && !args->is_object()) throw CommandError("bad_request", "\"args\" must be an object");
    const std::string_view name(command->get_string());
    const auto row = std::ranges::find(kCommands, name, &Row::name);
    if (row == kCommands.end()) throw CommandError("bad_request", fmt::format("unknown command \"{}\"", printable(as_bytes(name))));
    const json::object none;
    Result result = row->run(gateway_, Args(args != nullptr ? args->get_object() : none), now);
    if (auto* object = std::get_if<json::object>(&result)) return {result_line(std::move(*object)), {}, {}};
    return std::get<Reply>(std::move(result));
  } catch (const CommandError& e) {
    return {error_line(e.code, e.what()), {}, {}};
  } catch (const std::exception& e) {
    return {error_line("failed", std::string("internal error: ") + e.what()), {}, {}};
  }
}

}  // namespace culvert::control::cli
