// Selectors, lifetimes and the MTU arithmetic of SAs.
#include "dataplane/sad/sa.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

PreparedSelector PreparedSelector::from(const TrafficSelector& ts) {
  PreparedSelector out;
  out.family = ts.first.family;
  if (out.family == Family::V4) {
    out.first_v4 = ts.first.v4_host();
    out.last_v4 = ts.last.v4_host();
  }
  out.port_first = ts.port_first;
  out.port_last = ts.port_last;
  out.protocol = ts.protocol;
  out.any_port = ts.any_port();
  out.any_upper = ts.protocol == 0 && out.any_port;
  return out;
}

RangeV6 RangeV6::from(const TrafficSelector& ts) {
  if (ts.first.family != Family::V6) return {};
  const auto half = [](const IpAddress& a, std::size_t at) { return load_be64(a.bytes.data() + at); };
  return {half(ts.first, 0), half(ts.first, 8), half(ts.last, 0), half(ts.last, 8)};
}

bool contains(const PreparedSelector& s, const RangeV6& range, const TrafficSelector& ts) {
  if (s.family != ts.first.family) return false;
  const bool addresses = s.family == Family::V4 ? s.first_v4 <= ts.first.v4_host() && ts.last.v4_host() <= s.last_v4
                                                : range.contains(ts.first.bytes.data()) && range.contains(ts.last.bytes.data());
  return addresses &&
         (s.any_upper || ((s.protocol == 0 || s.protocol == ts.protocol) && s.port_first <= ts.port_first && ts.port_last <= s.port_last));
}

bool contains(const std::vector<MoreSides::Side>& sides, const TrafficSelector& ts) {
  return std::ranges::any_of(sides, [&](const MoreSides::Side& s) { return contains(s.selector, s.v6, ts); });
}

namespace {
/// Notes each limit that `value` has reached; returns the smallest one that it has not.
class Marks {
 public:
  Marks(std::uint64_t value, std::uint8_t& events) : value_(value), events_(events) {}
  void limit(std::uint64_t at, std::uint8_t event) {
    if (at == 0) return;
    if (value_ >= at) {
      events_ = static_cast<std::uint8_t>(events_ | event);
    } else if (at < next_) {
      next_ = at;
    }
  }
  [[nodiscard]] std::uint64_t next() const { return next_; }

 private:
  std::uint64_t value_;
  std::uint8_t& events_;
  std::uint64_t next_ = ~0ULL;
};

template <class Sa>
void note_limits(Sa& sa, bool sequence_limited) {
  std::uint8_t events = sa.events.load(std::memory_order_relaxed);
  Marks packets(sa.usage.packets, events);
  packets.limit(sa.soft.packets, kSoftPackets);
  packets.limit(sa.hard.packets, kHardPackets);
  if (sequence_limited) {
    packets.limit(kSequenceSoftLimit, kSoftSequence);
    packets.limit(kMaxSequence, kHardSequence);
  }
  Marks bytes(sa.usage.bytes, events);
  bytes.limit(sa.soft.bytes, kSoftBytes);
  bytes.limit(sa.hard.bytes, kHardBytes);
  sa.usage.packets_mark = packets.next();
  sa.usage.bytes_mark = bytes.next();
  sa.events.store(events, std::memory_order_relaxed);
}

shm::ExpireCause cause_of(std::uint8_t events) {
  if ((events & (kSoftSequence | kHardSequence)) != 0) return shm::ExpireCause::Sequence;
  if ((events & (kSoftPackets | kHardPackets)) != 0) return shm::ExpireCause::Packets;
  return shm::ExpireCause::Bytes;
}

template <class Sa>
ExpireReport take(Sa& sa, Direction direction, std::uint64_t now_ns) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  ExpireReport out;
  ManagerView& m = sa.manager;
  if (m.hard_reported) return out;
  const std::uint64_t age = now_ns > m.installed_ns ? (now_ns - m.installed_ns) / kSecond : 0;
  const std::uint8_t events = sa.events.load(std::memory_order_relaxed);
  const auto due = [&](const shm::Lifetime& limits, std::uint8_t mine) -> bool {
    return (limits.seconds != 0 && age >= limits.seconds) || (events & mine) != 0;
  };
  const auto add = [&](bool hard, std::uint8_t mine) {
    const auto cause = (events & mine) != 0 ? cause_of(static_cast<std::uint8_t>(events & mine)) : shm::ExpireCause::Time;
    out.events[out.count++] = {direction, hard, cause, m.slot, sa.spi};
  };
  constexpr std::uint8_t kSoftEvents = kSoftBytes | kSoftPackets | kSoftSequence;
  if (!m.soft_reported && due(sa.soft, kSoftEvents)) {
    m.soft_reported = true;
    add(false, kSoftEvents);
  }
  if (due(sa.hard, kHardEvents)) {
    m.soft_reported = m.hard_reported = true;
    sa.halt.fetch_or(SaBase::kStopped, std::memory_order_relaxed);
    add(true, kHardEvents);
  }
  return out;
}
}  // namespace

void InboundSa::reach_mark() { note_limits(*this, false); }
void InboundSa::follow_peer(const Packet& outer) {
  const std::uint8_t* address = outer.data + source_at(outer.family);
  const std::size_t bytes = address_bytes(outer.family);
  const auto is_there = [&] { return outer.source_port == remote_port && std::memcmp(match.remote_address.data(), address, bytes) == 0; };
  if (is_there()) return;
  if (relocate() && (!follows.load(std::memory_order_relaxed) || is_there())) return;
  std::memcpy(match.remote_address.data(), address, bytes);
  remote_port = outer.source_port;
  if (outer.family == Family::V4) {
    moved_to.store(peer_word(load_be32(address), remote_port), std::memory_order_release);
  } else {
    moved_v6.store(address, remote_port);
  }
}

bool InboundSa::relocate() {
  const Relocation* to = relocation.load(std::memory_order_acquire);
  if (to == nullptr || to->number == relocations) return false;
  relocations = to->number;
  outer_family = to->outer_family;
  outer_protocol = to->outer_protocol;
  udp = to->udp;
  remote_port = to->remote_port;
  local_port = to->local_port;
  match.remote_address = to->remote_address;
  match.local_address = to->local_address;
  follows.store(to->follows, std::memory_order_relaxed);
  return true;
}

void OutboundSa::heed() {
  const std::uint8_t orders = halt.load(std::memory_order_relaxed);
  if ((orders & kRelocated) != 0) relocate();
  if ((orders & kSkips) != 0) take_skips();
}

void OutboundSa::skip(std::uint64_t count) {
  to_skip.fetch_add(count, std::memory_order_relaxed);
  halt.fetch_or(kSkips, std::memory_order_release);
}

/// The numbers left out are used up like those of packets, and end the SA as those do: none is ever used twice.
void OutboundSa::take_skips() {
  halt.fetch_and(static_cast<std::uint8_t>(~kSkips), std::memory_order_acquire);  // one that comes now is seen the next time
  const std::uint64_t most = geometry.esn ? std::uint64_t{1} << 63 : kMaxSequence;
  const std::uint64_t left = most - std::min(usage.packets, most);
  usage.packets += std::min(to_skip.exchange(0, std::memory_order_relaxed), left);
  reach_mark();
}

void OutboundSa::relocate() {
  halt.fetch_and(static_cast<std::uint8_t>(~kRelocated), std::memory_order_acquire);  // one that comes now is seen the next time
  const Relocation& to = *relocation.load(std::memory_order_acquire);
  outer_family = to.outer_family;
  outer_protocol = to.outer_protocol;
  udp = to.udp;
  local_port = to.local_port;
  header = to.header;
  header_bytes = to.header_bytes;
  ip_bytes = to.ip_bytes;
  checksum_base = to.checksum_base;
  way = {};
}

IpAddress peer_of(const OutboundSa& sa) {
  if (sa.outer_family == Family::V4) return IpAddress::v4(peer_address(sa.peer.load(std::memory_order_relaxed)));
  const PeerV6::Value to = sa.peer_v6.load();
  return address_from(Family::V6, reinterpret_cast<const std::uint8_t*>(to.address.data()));
}
void set_peer(OutboundSa& sa, const Endpoint& remote) {
  if (remote.address.family == Family::V4) {
    sa.peer.store(peer_word(remote.address.v4_host(), remote.port), std::memory_order_relaxed);
  } else {
    sa.peer_v6.store(remote.address.bytes.data(), remote.port);
  }
}

void OutboundSa::reach_mark() { note_limits(*this, !geometry.esn); }

ExpireReport take_expirations(InboundSa& sa, std::uint64_t now_ns) { return take(sa, Direction::Inbound, now_ns); }
ExpireReport take_expirations(OutboundSa& sa, std::uint64_t now_ns) { return take(sa, Direction::Outbound, now_ns); }

OutboundSa* admitting_sa(OutboundSa* youngest, const Packet& p) {
  unsigned left = kMaxAlternatives;
  for (OutboundSa* sa = youngest; sa != nullptr && left > 0; sa = sa->older.load(std::memory_order_acquire), --left)
    if (!sa->expired() && sa->admits(p)) return sa;
  return nullptr;
}

std::uint32_t OutboundSa::largest_segment(std::uint32_t inner_mtu, std::uint32_t ip_header) const {
  constexpr std::uint32_t kTcpHeaderBytes = 20;  // the segment size counts no options (RFC 9293 §3.7.1, RFC 6691)
  if (mss == PacketRules::kOff || inner_mtu <= ip_header + kTcpHeaderBytes) return 0;
  return std::min<std::uint32_t>(mss, inner_mtu - ip_header - kTcpHeaderBytes);
}

std::uint32_t effective_mtu(const OutboundSa& sa, std::uint32_t outer_mtu) {
  const EspGeometry& g = sa.geometry;
  const std::uint32_t overhead = g.ah ? sa.ip_bytes + ah_bytes(g, sa.outer_family) : sa.header_bytes + g.iv + std::uint32_t{g.icv};
  const std::uint32_t own_header = g.transport ? sa.ip_bytes : 0U;  // the packet brings the IP header along
  if (outer_mtu < overhead + g.align) return 0;
  if (g.ah) return outer_mtu - overhead + own_header;
  return ((outer_mtu - overhead) & ~(g.align - 1U)) - kEspTrailerBytes + own_header;
}

}  // namespace culvert::dp
