// The list-conns command: the configuration with the state that the engine has for it.
#include <algorithm>

#include "common/config/selectors.hpp"
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

namespace {
std::string_view name_of(config::StartAction a) {
  switch (a) {
    case config::StartAction::None:
      return "none";
    case config::StartAction::Start:
      return "start";
    case config::StartAction::Trap:
      return "trap";
  }
  return "none";
}
template <class List>
json::array texts(const List& list) {
  json::array out;
  for (const auto& item : list) out.emplace_back(item.to_string());
  return out;
}
json::array remotes(const config::Connection& c) {
  json::array out = texts(c.remote_addrs);
  for (const auto& range : c.remote_ranges) out.emplace_back(range.to_string());
  return out;
}
json::value connecting_json(const std::optional<ike::Attempt>& a, ike::TimePoint now) {
  if (!a) return nullptr;
  return json::object{{"for_s", seconds_between(a->since, now)},
                      {"unanswered_message", a->unanswered == 0 ? json::value(nullptr) : json::value(a->unanswered)}};
}
}  // namespace

Result list_conns(Gateway& gateway, const Args&, ike::TimePoint now) {
  json::array connections;
  const auto statuses = gateway.connections();  // in the order of the configuration
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const config::Connection& c = gateway.config().connections[i];
    json::array children;
    for (std::size_t k = 0; k < c.children.size(); ++k) {
      const config::Child& child = c.children[k];
      children.push_back(json::object{{"child", child.name},
                                      {"up", statuses[i].children[k].up},
                                      {"local_ts", config::text(child.locals())},
                                      {"remote_ts", config::text(child.remotes())},
                                      {"esp_proposals", texts(child.esp_proposals)},
                                      {"start_action", name_of(child.start_action)},
                                      {"vrf", config::vrf_name(gateway.config(), child.vrf.id)},
                                      {"tunnel", child.tunnel.empty() ? json::value(nullptr) : json::value(child.tunnel)},
                                      {"failure", failure_json(statuses[i].children[k].failure, now)}});
    }
    connections.push_back(json::object{{"connection", c.name},
                                       {"version", c.version},
                                       {"up", statuses[i].up},
                                       {"peers", statuses[i].peers},
                                       {"connecting", connecting_json(statuses[i].connecting, now)},
                                       {"vrf", config::vrf_name(gateway.config(), c.vrf.id)},
                                       {"local_addrs", texts(c.local_addrs)},
                                       {"remote_addrs", remotes(c)},
                                       {"local_id", c.local_id.text},
                                       {"remote_id", c.remote_id.text},
                                       {"proposals", texts(c.proposals)},
                                       {"failure", failure_json(statuses[i].failure, now)},
                                       {"children", std::move(children)}});
  }
  return json::object{{"dataplane", {{"connected", gateway.link() != nullptr}}}, {"connections", std::move(connections)}};
}

}  // namespace culvert::control::cli
