#include "common/config/validate.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "common/config/radius.hpp"
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
  }
}

namespace {
bool link_local(const IpAddress& a) { return Prefix::parse("fe80::/10")->contains(a); }

/// What routes are checked against.
struct Networks {
  std::vector<Interface> all;
  std::vector<std::string_view> names;
  bool known;

  /// The interface of the VRF on one of whose networks `hop` is, or nullptr.
  [[nodiscard]] const Interface* behind(VrfId vrf, const IpAddress& hop) const {
    for (const Interface& i : all)
      if (i.vrf == vrf && std::ranges::any_of(i.addresses, [&](const Prefix& p) { return p.contains(hop); })) return &i;
    return nullptr;
  }
};

std::string of_vrf(const GatewayConfig& config, VrfId vrf) {
  return config.vrfs.empty() ? std::string{} : " of VRF " + quoted(vrf_name(config, vrf));
}

/// One next hop of a route.
void check_hop(const GatewayConfig& config, const Route& route, const IpAddress& hop, const Where& at, const Networks& networks) {
  if (hop.family != route.to.address.family) return at.error("expected the address family of to");
  if (link_local(hop)) {
    if (route.port.empty()) at.error("expected port beside it: a link-local address is of one link");
    return;
  }
  if (!networks.known) return;
  const Interface* reached = networks.behind(route.vrf.id, hop);
  if (own_address(config, route.vrf.id, hop)) {
    at.error("expected another host, but " + hop.to_string() + " is an address of this gateway");
  } else if (reached == nullptr) {
    at.error("expected an address on a network of a port" + of_vrf(config, route.vrf.id) + ", but " + hop.to_string() + " is on none");
  } else if (!route.port.empty() && reached->name != route.port) {
    at.error("expected an address on a network of port " + quoted(route.port) + ", but " + hop.to_string() + " is on one of " +
             shown(*reached));
  }
}

void check_route(const GatewayConfig& config, const Route& route, const Where& at, const Networks& networks) {
  const bool named = std::ranges::find(networks.names, route.port) != networks.names.end();
  if (!route.port.empty() && !named)
    return at.key("port").error("there is no port or VLAN " + quoted(route.port), nearest(route.port, networks.names));
  if (!route.tunnel.empty()) return;  // validate_tunnels
  if (route.via.empty() && route.port.empty()) at.error("expected via (a next hop), port (on link) or tunnel");
  if (!at.clean({"to"})) return;
  for (std::size_t i = 0; i < route.via.size(); ++i) {
    const Where here = at.key("via").item(i);
    const IpAddress& hop = route.via[i].address;
    check_hop(config, route, hop, here, networks);
    const auto until = route.via.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::ranges::find(route.via.begin(), until, hop, &Hop::address) != until)
      here.error("the next hop " + hop.to_string() + " stands there already");
  }
}
}  // namespace

void validate_routes(const GatewayConfig& config, const Where& root) {
  const Where here = root.key("routes");
  Networks networks{interfaces(config), {}, networks_known(config, root)};
  std::map<std::pair<VrfId, Prefix>, std::size_t> seen;
  for (const Interface& i : networks.all) {
    networks.names.push_back(i.name);
    for (const auto& p : i.addresses) seen.emplace(std::pair(i.vrf, Prefix{p.first(), p.length}), config.routes.size());
  }
  const bool ports = !root.sink->failed("ports") && !root.sink->failed("vlans");
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const Where at = here.item(i);
    if (at.clean({"to"})) {
      const auto [other, fresh] = seen.emplace(std::pair(config.routes[i].vrf.id, config.routes[i].to), i);
      if (!fresh)
        at.key("to").error(other->second == config.routes.size() ? "is the network of a port's own address: it needs no route"
                                                                 : "there is a route to " + other->first.second.to_string() +
                                                                       " already: routes[" + std::to_string(other->second) + "]");
    }
    if (at.clean({"via", "port"}) && ports) check_route(config, config.routes[i], at, networks);
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
  if (!validate_vrfs(config, top)) return;
  validate_interfaces(config, top);
  validate_routes(config, top);
  validate_tunnels(config, top);
  validate_policies(config, top);
  validate_connections(config, top);
  validate_remote_access(config, top);
  validate_radius(config, top);
}

}  // namespace culvert::config
