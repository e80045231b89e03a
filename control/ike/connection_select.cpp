#include "control/ike/connection_select.hpp"

#include <algorithm>

namespace culvert::ike {

ConnectionsByPeer::ConnectionsByPeer(const config::GatewayConfig& config) : config_(config) {
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const config::Connection& c = config.connections[i];
    for (const IpAddress& address : c.remote_addrs)
      if (auto& there = named_[address]; there.empty() || there.back() != i) there.push_back(i);
    if (!c.remote_ranges.empty())
      ranges_.push_back(i);
    else if (c.remote_addrs.empty())
      anywhere_.push_back(i);
  }
}

void ConnectionsByPeer::visit(const Endpoint& local, const IpAddress& remote, std::uint8_t version,
                              const std::function<bool(std::size_t)>& take) const {
  const auto here = [&](const config::Connection& c) {
    return c.vrf.id == local.vrf && (version == 0 || c.version == version) &&
           (c.local_addrs.empty() || std::ranges::find(c.local_addrs, local.address) != c.local_addrs.end());
  };
  const auto names = [&](const config::Connection& c) { return std::ranges::find(c.remote_addrs, remote) != c.remote_addrs.end(); };
  const auto within = [&](const config::Connection& c) {
    return std::ranges::any_of(c.remote_ranges, [&](const TrafficSelector& r) { return r.matches(remote, 0, 0); });
  };
  if (const auto named = named_.find(remote); named != named_.end())
    for (const std::size_t i : named->second)
      if (here(config_.connections[i]) && take(i)) return;
  for (const std::size_t i : ranges_)
    if (const config::Connection& c = config_.connections[i]; here(c) && !names(c) && within(c) && take(i)) return;
  for (const std::size_t i : anywhere_)
    if (here(config_.connections[i]) && take(i)) return;
}

std::vector<std::size_t> ConnectionsByPeer::candidates(const Endpoint& local, const IpAddress& remote, std::uint8_t version) const {
  std::vector<std::size_t> out;
  visit(local, remote, version, [&](std::size_t i) {
    out.push_back(i);
    return false;
  });
  return out;
}

bool ConnectionsByPeer::any(const Endpoint& local, const IpAddress& remote, std::uint8_t version) const {
  bool found = false;
  visit(local, remote, version, [&](std::size_t) { return found = true; });
  return found;
}

}  // namespace culvert::ike
