// Selectors, lifetimes and the MTU arithmetic of SAs.
#include "dataplane/sad/sa.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

PreparedSelector PreparedSelector::from(const TrafficSelector& ts) {
  PreparedSelector out;
  out.family = ts.first.family;
  out.first_v4 = ts.first.v4_host();
  out.last_v4 = ts.last.v4_host();
  out.port_first = ts.port_first;
  out.port_last = ts.port_last;
  out.protocol = ts.protocol;
  out.any_port = ts.any_port();
  out.any_upper = ts.protocol == 0 && out.any_port;
  return out;
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
    sa.stopped.store(true, std::memory_order_relaxed);
    add(true, kHardEvents);
  }
  return out;
}
}  // namespace

void InboundSa::reach_mark() { note_limits(*this, false); }
void InboundSa::follow_peer(std::uint32_t address, std::uint16_t port) {
  std::array<std::uint8_t, 4> bytes;
  store_be32(bytes.data(), address);
  if (port == remote_port && std::memcmp(match.remote_address.data(), bytes.data(), bytes.size()) == 0) return;
  std::copy(bytes.begin(), bytes.end(), match.remote_address.begin());
  remote_port = port;
  moved_to.store(peer_word(address, port), std::memory_order_release);
}

void OutboundSa::reach_mark() { note_limits(*this, !geometry.esn); }

ExpireReport take_expirations(InboundSa& sa, std::uint64_t now_ns) { return take(sa, Direction::Inbound, now_ns); }
ExpireReport take_expirations(OutboundSa& sa, std::uint64_t now_ns) { return take(sa, Direction::Outbound, now_ns); }

OutboundSa* admitting_sa(OutboundSa* youngest, const Packet& p) {
  unsigned left = kMaxAlternatives;
  for (OutboundSa* sa = youngest; sa != nullptr && left > 0; sa = sa->older.load(std::memory_order_acquire), --left)
    if (!sa->expired() && sa->source.matches_v4(load_be32(p.data + 12), p.protocol, p.source_port, p.ports_hidden) &&
        sa->destination.matches_v4(load_be32(p.data + 16), p.protocol, p.destination_port, p.ports_hidden))
      return sa;
  return nullptr;
}

std::uint32_t OutboundSa::largest_segment(std::uint32_t inner_mtu, std::uint32_t ip_header) const {
  constexpr std::uint32_t kTcpHeaderBytes = 20;  // the segment size counts no options (RFC 9293 §3.7.1, RFC 6691)
  if (mss == PacketRules::kOff || inner_mtu <= ip_header + kTcpHeaderBytes) return 0;
  return std::min<std::uint32_t>(mss, inner_mtu - ip_header - kTcpHeaderBytes);
}

std::uint32_t effective_mtu(const OutboundSa& sa, std::uint32_t outer_mtu) {
  const EspGeometry& g = sa.geometry;
  const std::uint32_t overhead = sa.header_bytes + g.iv + std::uint32_t{g.icv};
  const std::uint32_t own_header = g.transport ? kIpv4HeaderBytes : 0;  // the packet brings the IP header along
  if (outer_mtu < overhead + g.align) return 0;
  if (g.ah) return outer_mtu - overhead + own_header;
  return (outer_mtu - overhead) / g.align * g.align - kEspTrailerBytes + own_header;
}

}  // namespace culvert::dp
