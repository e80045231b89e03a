// The list of interfaces that both planes number alike. Owns its order; checks nothing.
#include <algorithm>

#include "common/config/config.hpp"

namespace culvert::config {

std::vector<Interface> interfaces(const GatewayConfig& config) {
  std::vector<Interface> out;
  for (const Port& p : config.ports) out.push_back({p.name, p.addresses, p.mtu, static_cast<std::uint16_t>(out.size()), 0});
  for (const Vlan& v : config.vlans) {
    const auto port = std::ranges::find(config.ports, v.port, &Port::name);
    out.push_back({v.name, v.addresses, v.mtu, static_cast<std::uint16_t>(port - config.ports.begin()), v.id});
  }
  return out;
}

}  // namespace culvert::config
