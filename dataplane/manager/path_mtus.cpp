// Commands' part that learns how large packets may be on the way to a peer, and forgets it again.
// Believes a router only about a packet that an SA has sent lately (RFC 4301 §8.2.1): a stranger would have to guess its SPI and number.
#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "dataplane/ip_header.hpp"
#include "dataplane/manager/commands.hpp"

namespace culvert::dp {

namespace {
/// Whether the SA may have sent the packet that is quoted.
bool has_sent(const OutboundSa& sa, const PathMtuClaim& c) {
  const Family f = sa.outer_family;
  if (sa.spi != c.spi || sa.outer_vrf != c.vrf || f != c.local.family || sa.outer_protocol != c.protocol) return false;
  if (address_from(f, sa.header.data() + source_at(f)) != c.local || peer_of(sa) != c.remote) return false;
  const std::uint16_t port = f == Family::V4 ? peer_port(sa.peer.load(std::memory_order_relaxed)) : sa.peer_v6.load().port;
  if (sa.local_port != c.local_port || port != c.remote_port) return false;
  const std::uint64_t sent = sa.counters->sequence.get();
  if (sent == 0) return false;
  if (!c.sequence) return true;
  const std::uint32_t age = static_cast<std::uint32_t>(sent) - *c.sequence;  // the upper half is not on the wire
  return age < std::min<std::uint64_t>(sent, kQuotedWindow);
}
}  // namespace

std::uint32_t Commands::outer_mtu(const OutboundSa& sa) const {
  if (t_.fib == nullptr) return 0;
  const NextHop& hop = t_.fib->lookup(sa.outer_vrf, peer_of(sa), sa.spi.value);
  return hop.leads_out() ? sa.outer_mtu(t_.interfaces[hop.port].mtu) : 0;
}

/// Into the SA's record, for list-sas.
void Commands::note_mtu(const OutboundSa& sa) {
  shm::SaRecord& record = t_.segment.records(Direction::Outbound)[sa.manager.slot];
  shm::SaSnapshot snapshot;
  if (!shm::read_record(record, snapshot)) return;
  const std::uint32_t path = sa.path_mtu.load(std::memory_order_relaxed);
  snapshot.mtu = static_cast<std::uint16_t>(effective_mtu(sa, outer_mtu(sa)));
  snapshot.path_mtu = path == OutboundSa::kAnyMtu ? std::uint16_t{0} : static_cast<std::uint16_t>(path);
  shm::write_record(record, snapshot);
}

void Commands::set_path_mtu(OutboundSa& sa, std::uint32_t mtu, std::uint64_t until) {
  sa.path_mtu.store(mtu, std::memory_order_relaxed);
  sa.manager.path_mtu_until = until;
  if (mtu == OutboundSa::kAnyMtu) {
    learnt_.erase(&sa);
  } else {
    learnt_.insert(&sa);
  }
  note_mtu(sa);
}

bool Commands::learn_path_mtu(const PathMtuClaim& c, std::uint64_t now_ns) {
  const auto [first, last] = by_spi_.equal_range(c.spi.value);
  const auto of = std::find_if(first, last, [&](const auto& entry) { return has_sent(*entry.second, c); });
  if (of == last || c.mtu >= c.length) return false;
  OutboundSa& sa = *of->second;
  const std::uint32_t mtu = std::max(c.mtu, path_mtu_floor(c.local.family)), before = sa.path_mtu.load(std::memory_order_relaxed);
  if (mtu > before) return true;  // about a packet of before
  if (mtu < before) spdlog::info("outbound SA {:08x} to {}: the path MTU is {} now", sa.spi.value, c.remote.to_string(), mtu);
  set_path_mtu(sa, mtu, now_ns + kPathMtuLife);
  return true;
}

void Commands::forget_path_mtus(std::uint64_t now_ns) {
  std::uint64_t ports = 0;
  for (const Interface& i : t_.interfaces) ports = ports << 1 ^ ports >> 63 ^ i.mtu;
  if (std::exchange(port_mtus_, ports) != ports)
    for (const auto& [spi, sa] : by_spi_) note_mtu(*sa);
  for (auto it = learnt_.begin(); it != learnt_.end();) {
    OutboundSa& sa = **it++;
    if (sa.manager.path_mtu_until > now_ns) continue;
    spdlog::info("outbound SA {:08x}: its path MTU is forgotten, to be learnt anew", sa.spi.value);
    set_path_mtu(sa, OutboundSa::kAnyMtu, 0);
  }
}

}  // namespace culvert::dp
