#include "common/config/validate.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "common/config/remote_access.hpp"
#include "common/config/section.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/shm/messages.hpp"

namespace culvert::config {

Where Where::key(std::string_view name) const {
  const Node* found = node->find(name);
  return {sink, found ? found : node, join(path, name)};
}
Where Where::item(std::size_t index) const {
  if (index >= node->items.size()) return *this;
  return {sink, node->items[index].get(), path + "[" + std::to_string(index) + "]"};
}
Where Where::entry(std::size_t index) const {
  if (index >= node->entries.size()) return *this;
  const auto& e = node->entries[index];
  return {sink, e.value.get(), join(path, e.key)};
}
bool Where::clean(std::initializer_list<std::string_view> keys) const {
  return std::all_of(keys.begin(), keys.end(), [&](std::string_view k) { return sink->clean(join(path, k)); });
}

bool networks_known(const GatewayConfig& config, const Where& root) {
  const Where ports = root.key("ports");
  if (root.sink->failed("ports") || config.ports.empty()) return false;
  for (std::size_t i = 0; i < config.ports.size(); ++i)
    if (!ports.entry(i).clean({"addresses"})) return false;
  return true;
}

void validate_dataplane(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("dataplane");
  std::size_t children = 0;
  for (const auto& c : config.connections) children += c.children.size();
  if (here.clean({"sa_capacity"}) && config.dataplane.sa_capacity < 2 * children)
    here.key("sa_capacity")
        .error("expected room for two SAs of each child (rekeying overlaps), " + std::to_string(2 * children) + " in all, got " +
               std::to_string(config.dataplane.sa_capacity));
  const Where control = root.key("control").key("socket");
  if (here.clean({"socket"}) && control.clean() && config.dataplane.socket == config.control.socket)
    control.error("expected another path than that of dataplane.socket");
  const Where memory = here.key("memory");
  constexpr std::uint64_t kMbufBytes = 2304;
  if (memory.clean({"size", "mbufs"}) && config.dataplane.memory.mbufs * kMbufBytes > std::uint64_t{config.dataplane.memory.size_mb} << 20)
    memory.key("mbufs").error(std::to_string(config.dataplane.memory.mbufs) + " packet buffers do not fit into memory.size of " +
                              std::to_string(config.dataplane.memory.size_mb) + "MB");
}

namespace {
constexpr std::uint16_t kMinMtuV6 = 1280;

bool overlap(const Prefix& a, const Prefix& b) { return a.contains(b.first()) || b.contains(a.first()); }

/// What two vdevs must not share: their names, and the kernel interface that they sit on.
std::vector<std::string> device_claims(const std::string& device) {
  const auto comma = device.find(',');
  std::vector<std::string> claims{device.substr(0, comma)};
  const auto iface = device.find(",iface=");
  if (iface != std::string::npos) claims.push_back("iface=" + device.substr(iface + 7, device.find(',', iface + 7) - iface - 7));
  return claims;
}
}  // namespace

void validate_ports(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("ports");
  if (config.ports.empty() && here.clean()) here.error("expected at least one port");
  std::map<std::string, std::string> claimed;
  struct Network {
    Prefix prefix;
    std::size_t port;
  };
  std::vector<Network> networks;
  for (std::size_t i = 0; i < config.ports.size(); ++i) {
    const Port& port = config.ports[i];
    const Where at = here.entry(i);
    if (at.clean({"device"}))
      for (const auto& claim : device_claims(port.device))
        if (const auto [other, fresh] = claimed.emplace(claim, port.name); !fresh)
          at.key("device").error("expected a device of its own, but " + quoted(claim) + " is also that of port " + quoted(other->second));
    if (at.clean({"queues"}) && root.key("dataplane").clean({"workers"}) && port.queues != 0 &&
        port.queues < config.dataplane.workers.size())
      at.key("queues").error("expected 0, or at least one for each of the " + std::to_string(config.dataplane.workers.size()) +
                             " workers, got " + std::to_string(port.queues));
    if (!at.clean({"addresses"})) continue;
    const bool v6 = std::ranges::any_of(port.addresses, [](const Prefix& p) { return p.address.family == Family::V6; });
    if (v6 && at.clean({"mtu"}) && port.mtu < kMinMtuV6)
      at.key("mtu").error("expected at least " + std::to_string(kMinMtuV6) + " beside an IPv6 address (RFC 8200 section 5), got " +
                          std::to_string(port.mtu));
    for (std::size_t a = 0; a < port.addresses.size(); ++a) {
      const Prefix& p = port.addresses[a];
      const Where place = at.key("addresses").item(a);
      for (const auto& n : networks) {
        if (n.prefix.address == p.address) {
          place.error("the address " + p.address.to_string() + " is also that of port " + quoted(config.ports[n.port].name));
        } else if (n.port != i && overlap(n.prefix, p)) {
          place.error("its network overlaps with " + n.prefix.to_string() + " of port " + quoted(config.ports[n.port].name));
        } else {
          continue;
        }
        break;
      }
      networks.push_back({p, i});
    }
  }
}

namespace {
bool link_local(const IpAddress& a) { return Prefix::parse("fe80::/10")->contains(a); }

/// The port on one of whose networks `hop` is, or nullptr.
const Port* port_of(const GatewayConfig& config, const IpAddress& hop) {
  for (const auto& port : config.ports)
    for (const auto& p : port.addresses)
      if (p.contains(hop)) return &port;
  return nullptr;
}

bool own_address(const GatewayConfig& config, const IpAddress& a) {
  return std::any_of(config.ports.begin(), config.ports.end(), [&](const Port& port) {
    return std::any_of(port.addresses.begin(), port.addresses.end(), [&](const Prefix& p) { return p.address == a; });
  });
}

void check_route(const GatewayConfig& config, const Route& route, const Where& at, bool networks_known) {
  std::vector<std::string_view> names;
  for (const auto& p : config.ports) names.push_back(p.name);
  const bool known = std::find(names.begin(), names.end(), route.port) != names.end();
  if (!route.port.empty() && !known) return at.key("port").error("there is no port " + quoted(route.port), nearest(route.port, names));
  if (!route.tunnel.empty()) return;  // validate_tunnels
  if (!route.via) {
    if (route.port.empty()) at.error("expected via (a next hop), port (on link) or tunnel");
    return;
  }
  if (at.clean({"to"}) && route.via->family != route.to.address.family) return at.key("via").error("expected the address family of to");
  if (link_local(*route.via)) {
    if (route.port.empty()) at.key("via").error("expected port beside it: a link-local address is of one link");
    return;
  }
  if (!networks_known) return;
  const Port* reached = port_of(config, *route.via);
  if (own_address(config, *route.via)) {
    at.key("via").error("expected another host, but " + route.via->to_string() + " is an address of this gateway");
  } else if (!reached) {
    at.key("via").error("expected an address on a network of a port, but " + route.via->to_string() + " is on none");
  } else if (!route.port.empty() && reached->name != route.port) {
    at.key("via").error("expected an address on a network of port " + quoted(route.port) + ", but " + route.via->to_string() +
                        " is on one of port " + quoted(reached->name));
  }
}
}  // namespace

void validate_routes(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("routes");
  std::map<Prefix, std::size_t> seen;
  for (const auto& port : config.ports)
    for (const auto& p : port.addresses) seen.emplace(Prefix{p.first(), p.length}, config.routes.size());
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const Where at = here.item(i);
    if (at.clean({"to"})) {
      const auto [other, fresh] = seen.emplace(config.routes[i].to, i);
      if (!fresh)
        at.key("to").error(other->second == config.routes.size() ? "is the network of a port's own address: it needs no route"
                                                                 : "there is a route to " + other->first.to_string() + " already: routes[" +
                                                                       std::to_string(other->second) + "]");
    }
    if (at.clean({"via", "port"}) && !root.sink->failed("ports")) check_route(config, config.routes[i], at, networks_known(config, root));
  }
}

void validate_policies(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("policies");
  std::set<std::string, std::less<>> names;
  for (std::size_t i = 0; i < config.policies.size(); ++i) {
    const Where at = here.item(i);
    const Policy& policy = config.policies[i];
    if (at.clean({"name"})) {
      if (!valid_name(policy.name)) {
        at.key("name").error("expected " + std::string(kNameRule) + ", got " + quoted(policy.name));
      } else if (!names.insert(policy.name).second) {
        at.key("name").error("there is a policy " + quoted(policy.name) + " already");
      }
    }
    if (at.clean({"local_ts", "remote_ts"}) && policy.local_ts.first.family != policy.remote_ts.first.family)
      at.key("remote_ts").error("expected the address family of local_ts");
  }
  std::size_t entries = config.policies.size();
  for (const auto& c : config.connections) entries += c.children.size();
  if (config.default_policy == PolicyAction::Bypass) entries += config.pools.size();
  if (entries > shm::kConfiguredPolicies)
    root.key(config.policies.empty() ? "connections" : "policies")
        .error("expected at most " + std::to_string(shm::kConfiguredPolicies) +
               " children and policies together (with default_policy: bypass pools, too), got " + std::to_string(entries));
  if (root.clean({"default_policy"}) && config.default_policy == PolicyAction::Bypass)
    root.key("default_policy").warning("what matches no child is forwarded in clear, also while a tunnel's selectors are mistyped");
}

void validate(const GatewayConfig& config, const Node& root, Sink& sink) {
  const Where top{&sink, &root, {}};
  validate_dataplane(config, top);
  validate_ports(config, top);
  validate_routes(config, top);
  validate_tunnels(config, top);
  validate_policies(config, top);
  validate_connections(config, top);
  validate_remote_access(config, top);
}

}  // namespace culvert::config
