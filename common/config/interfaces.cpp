// The list of interfaces, and the numbers of VRFs, that both planes count alike. Owns their order; checks nothing.
#include <algorithm>

#include "common/config/config.hpp"

namespace culvert::config {

std::vector<Interface> interfaces(const GatewayConfig& config) {
  std::vector<Interface> out;
  for (const Port& p : config.ports) out.push_back({p.name, p.addresses, p.mtu, static_cast<std::uint16_t>(out.size()), 0, p.vrf.id});
  for (const Vlan& v : config.vlans) {
    const auto port = std::ranges::find(config.ports, v.port, &Port::name);
    out.push_back({v.name, v.addresses, v.mtu, static_cast<std::uint16_t>(port - config.ports.begin()), v.id, v.vrf.id});
  }
  return out;
}

std::optional<VrfId> vrf_named(const GatewayConfig& config, std::string_view name) {
  if (name == kDefaultVrfName) return kDefaultVrf;
  const auto at = std::ranges::find(config.vrfs, name);
  if (at == config.vrfs.end()) return std::nullopt;
  return static_cast<VrfId>(at - config.vrfs.begin() + 1);
}

std::string vrf_name(const GatewayConfig& config, VrfId id) {
  return id == kDefaultVrf || id > config.vrfs.size() ? std::string(kDefaultVrfName) : config.vrfs[id - 1U];
}

std::uint64_t vrf_fingerprint(const GatewayConfig& config) {
  if (config.vrfs.empty()) return 0;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::string& name : config.vrfs)
    for (const char c : name + '\0') hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace culvert::config
