#include "control/ike/connection_select.hpp"

#include <algorithm>

namespace culvert::ike {

std::vector<std::size_t> candidates(const config::GatewayConfig& config, const Endpoint& local, const IpAddress& remote,
                                    std::uint8_t version) {
  std::vector<std::size_t> named, ranges, any;
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const config::Connection& c = config.connections[i];
    if (c.vrf.id != local.vrf || (version != 0 && c.version != version)) continue;
    if (!c.local_addrs.empty() && std::ranges::find(c.local_addrs, local.address) == c.local_addrs.end()) continue;
    if (c.remote_addrs.empty() && c.remote_ranges.empty())
      any.push_back(i);
    else if (std::ranges::find(c.remote_addrs, remote) != c.remote_addrs.end())
      named.push_back(i);
    else if (std::ranges::any_of(c.remote_ranges, [&](const TrafficSelector& r) { return r.matches(remote, 0, 0); }))
      ranges.push_back(i);
  }
  named.insert(named.end(), ranges.begin(), ranges.end());
  named.insert(named.end(), any.begin(), any.end());
  return named;
}

}  // namespace culvert::ike
