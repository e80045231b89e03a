// What ports and VLANs have in common: names, addresses, MTUs. Owns the checks of these, and of what a VLAN says of its port.
#include <algorithm>
#include <map>
#include <optional>

#include "common/config/kinds.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {
constexpr std::uint16_t kMinMtuV6 = 1280;

std::optional<std::size_t> port_named(const GatewayConfig& config, const std::string& name) {
  const auto port = std::ranges::find(config.ports, name, &Port::name);
  return port == config.ports.end() ? std::nullopt : std::optional(static_cast<std::size_t>(port - config.ports.begin()));
}

/// Where the interface of this number stands.
Where place(const GatewayConfig& config, const Where& root, std::size_t interface) {
  const std::size_t ports = config.ports.size();
  return interface < ports ? root.key("ports").entry(interface) : root.key("vlans").entry(interface - ports);
}

void check_vlan(const GatewayConfig& config, const Vlan& vlan, const Where& at) {
  if (!at.clean({"port"})) return;
  std::vector<std::string_view> names;
  for (const Port& p : config.ports) names.push_back(p.name);
  const auto port = port_named(config, vlan.port);
  if (!port) return at.key("port").error("there is no port " + quoted(vlan.port), nearest(vlan.port, names));
  if (at.clean({"mtu"}) && vlan.mtu > config.ports[*port].mtu)
    at.key("mtu").error("expected at most the mtu of port " + quoted(vlan.port) + ", " + std::to_string(config.ports[*port].mtu) +
                        ", got " + std::to_string(vlan.mtu));
}

void check_vlans(const GatewayConfig& config, const Where& here) {
  std::map<std::pair<std::string, std::uint16_t>, std::string> seen;
  for (std::size_t i = 0; i < config.vlans.size(); ++i) {
    const Vlan& vlan = config.vlans[i];
    const Where at = here.entry(i);
    check_vlan(config, vlan, at);
    if (!at.clean({"port", "id"})) continue;
    if (const auto [other, fresh] = seen.emplace(std::pair(vlan.port, vlan.id), vlan.name); !fresh)
      at.key("id").error("expected a number of its own, but " + std::to_string(vlan.id) + " is also that of VLAN " + quoted(other->second));
  }
}

/// A port without addresses is for its VLANs alone.
void check_bare_ports(const GatewayConfig& config, const Where& here) {
  for (std::size_t i = 0; i < config.ports.size(); ++i) {
    const Port& port = config.ports[i];
    if (!port.addresses.empty() || !here.entry(i).clean({"addresses"})) continue;
    if (std::ranges::find(config.vlans, port.name, &Vlan::port) == config.vlans.end())
      here.entry(i).key("addresses").error("expected an address, for no VLAN of this port has one either");
  }
}

/// Within a VRF networks are of one interface each, addresses there only once.
void check_networks(const GatewayConfig& config, const Where& root) {
  struct Network {
    Prefix prefix;
    std::size_t interface;
  };
  std::vector<Network> networks;
  const std::vector<Interface> all = interfaces(config);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Where at = place(config, root, i);
    if (!at.clean({"addresses"})) continue;
    const bool v6 = std::ranges::any_of(all[i].addresses, [](const Prefix& p) { return p.address.family == Family::V6; });
    if (v6 && at.clean({"mtu"}) && all[i].mtu < kMinMtuV6 && all[i].mtu != 0)
      at.key("mtu").error("expected at least " + std::to_string(kMinMtuV6) + " beside an IPv6 address (RFC 8200 section 5), got " +
                          std::to_string(all[i].mtu));
    for (std::size_t a = 0; a < all[i].addresses.size(); ++a) {
      const Prefix& p = all[i].addresses[a];
      const Where here = at.key("addresses").item(a);
      const auto taken = std::ranges::find_if(networks, [&](const Network& n) {
        return all[n.interface].vrf == all[i].vrf && (n.prefix.address == p.address || (n.interface != i && overlap(n.prefix, p)));
      });
      if (taken != networks.end() && taken->prefix.address == p.address) {
        here.error("the address " + p.address.to_string() + " is also that of " + shown(all[taken->interface]));
      } else if (taken != networks.end()) {
        here.error("its network overlaps with " + taken->prefix.to_string() + " of " + shown(all[taken->interface]));
      }
      networks.push_back({p, i});
    }
  }
}
}  // namespace

std::string shown(const Interface& i) { return (i.vlan != 0 ? "VLAN " : "port ") + quoted(i.name); }

bool overlap(const Prefix& a, const Prefix& b) { return a.contains(b.first()) || b.contains(a.first()); }

bool own_address(const GatewayConfig& config, VrfId vrf, const IpAddress& a) {
  return std::ranges::any_of(interfaces(config), [&](const Interface& i) {
    return i.vrf == vrf && std::ranges::find(i.addresses, a, &Prefix::address) != i.addresses.end();
  });
}

bool networks_known(const GatewayConfig& config, const Where& root) {
  if (root.sink->failed("ports") || root.sink->failed("vlans") || config.ports.empty()) return false;
  for (std::size_t i = 0; i < config.ports.size() + config.vlans.size(); ++i)
    if (!place(config, root, i).clean({"addresses"})) return false;
  return true;
}

void validate_interfaces(const GatewayConfig& config, const Where& root) {
  if (root.sink->failed("ports") || root.sink->failed("vlans")) return;
  check_vlans(config, root.key("vlans"));
  check_bare_ports(config, root.key("ports"));
  check_networks(config, root);
  for (std::size_t i = 0; i < config.vlans.size(); ++i)
    if (port_named(config, config.vlans[i].name)) root.key("vlans").entry(i).error("expected a name that no port has");
}

}  // namespace culvert::config
