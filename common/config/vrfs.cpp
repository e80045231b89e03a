// Checks of VRFs: that all names mean one, and that what belongs together is in the same. What two VRFs have alike, addresses, networks and
// selectors, is nobody's concern here.
#include <algorithm>
#include <map>

#include "common/config/kinds.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {
std::string shown_vrf(const GatewayConfig& config, VrfId id) { return "VRF " + quoted(vrf_name(config, id)); }

void check_list(const GatewayConfig& config, const Where& here) {
  for (std::size_t i = 0; i < config.vrfs.size(); ++i) {
    const std::string& name = config.vrfs[i];
    const Where at = here.item(i);
    if (!valid_name(name)) {
      at.error("expected " + std::string(kNameRule) + ", got " + quoted(name));
    } else if (name == kDefaultVrfName) {
      at.error("expected another name: " + quoted(kDefaultVrfName) + " is that of the VRF which is there in any case");
    } else if (std::find(config.vrfs.begin(), config.vrfs.begin() + static_cast<std::ptrdiff_t>(i), name) !=
               config.vrfs.begin() + static_cast<std::ptrdiff_t>(i)) {
      at.error("there is a VRF " + quoted(name) + " already");
    }
  }
}

/// Whether the name means a VRF; else an error at the key.
bool known(const GatewayConfig& config, const VrfRef& vrf, const Where& at) {
  if (!at.clean({"vrf"})) return false;
  if (vrf_named(config, vrf.name)) return true;
  std::vector<std::string_view> names(config.vrfs.begin(), config.vrfs.end());
  names.push_back(kDefaultVrfName);
  at.key("vrf").error("there is no VRF " + quoted(vrf.name) + " in vrfs", nearest(vrf.name, names));
  return false;
}

/// What is bound to a tunnel, or led into it, is where the tunnel is.
void check_tunnel(const GatewayConfig& config, const std::string& name, VrfId vrf, const Where& at) {
  const auto tunnel = std::ranges::find(config.tunnels, name, &Tunnel::name);
  if (name.empty() || tunnel == config.tunnels.end() || tunnel->vrf.id == vrf) return;
  at.key("tunnel").error("expected a tunnel of its " + shown_vrf(config, vrf) + ", but " + quoted(name) + " is of " +
                         shown_vrf(config, tunnel->vrf.id));
}

void check_route(const GatewayConfig& config, const Route& route, const Where& at) {
  check_tunnel(config, route.tunnel, route.vrf.id, at);
  for (const Interface& i : interfaces(config))
    if (i.name == route.port && i.vrf != route.vrf.id)
      at.key("port").error("expected a port or VLAN of its " + shown_vrf(config, route.vrf.id) + ", but " + shown(i) + " is of " +
                           shown_vrf(config, i.vrf) + ": nothing is routed from one into another");
}

void check_child(const GatewayConfig& config, const Connection& c, const Child& child, const Where& at) {
  check_tunnel(config, child.tunnel, child.vrf.id, at);
  if (child.mode == SaMode::Transport && child.vrf.id != c.vrf.id)
    at.key("vrf").error("expected that of the connection, or none, with mode: transport, whose packets are between the two gateways");
  if (std::ranges::none_of(child.remotes(), &SideSelector::dynamic)) return;
  for (const std::string& name : c.pools)
    if (const auto pool = std::ranges::find(config.pools, name, &Pool::name); pool != config.pools.end() && pool->vrf.id != child.vrf.id)
      at.key("vrf").error("expected " + shown_vrf(config, pool->vrf.id) + ", that of the pool " + quoted(name) +
                          " whose addresses its peers have, got " + shown_vrf(config, child.vrf.id));
}

/// Each child of the file once.
void check_connections(const GatewayConfig& config, const Where& here) {
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const Connection& c = config.connections[i];
    const Where at = here.entry(i);
    for (std::size_t k = 0; k < c.children.size(); ++k)
      if (k == 0 || c.children[k - 1].entry != c.children[k].entry)
        check_child(config, c, c.children[k], at.key("children").entry(c.children[k].entry));
  }
}
}  // namespace

bool validate_vrfs(const GatewayConfig& config, const Where& root) {
  if (root.sink->failed("vrfs")) return false;
  check_list(config, root.key("vrfs"));
  bool all = true;
  const auto check = [&](const auto& things, auto place) {
    for (std::size_t i = 0; i < things.size(); ++i) all = known(config, things[i].vrf, place(i)) && all;
  };
  const auto entries = [&root](const char* key) { return [here = root.key(key)](std::size_t i) { return here.entry(i); }; };
  const auto items = [&root](const char* key) { return [here = root.key(key)](std::size_t i) { return here.item(i); }; };
  check(config.ports, entries("ports")), check(config.vlans, entries("vlans")), check(config.tunnels, entries("tunnels"));
  check(config.pools, entries("pools")), check(config.connections, entries("connections"));
  check(config.policies, items("policies")), check(config.routes, items("routes"));
  for (std::size_t i = 0; i < config.connections.size(); ++i)
    for (const Child& child : config.connections[i].children)
      if (!child.vrf.name.empty())
        all = known(config, child.vrf, root.key("connections").entry(i).key("children").entry(child.entry)) && all;
  if (!all) return false;
  for (std::size_t i = 0; i < config.routes.size(); ++i) check_route(config, config.routes[i], root.key("routes").item(i));
  check_connections(config, root.key("connections"));
  return true;
}

}  // namespace culvert::config
