// Security associations as the packet path uses them: prepared once at installation, so that a packet costs loads only.
// Owns layout (hot part first, sizes asserted), the check of selectors, and the accounting of lifetimes. An SA has one owner
// worker, which alone writes the hot part and the counters; the manager writes `halt` and ManagerView, and says by a Relocation where
// the SA is to be. On the way of a packet nothing is atomic in the sense of a locked instruction. Holds key material: lives in SaArena
// only, which wipes it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/shm/segment.hpp"
#include "dataplane/crypto/engine.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/replay_window.hpp"

namespace culvert::dp {

/// A traffic selector made ready for the packet path.
struct PreparedSelector {
  std::uint32_t first_v4 = 0, last_v4 = 0;  ///< host order
  std::uint16_t port_first = 0, port_last = 0xffff;
  std::uint8_t protocol = 0;  ///< 0: any
  Family family = Family::None;
  bool any_upper = true;  ///< any protocol and port: addresses alone decide
  bool any_port = true;

  static PreparedSelector from(const TrafficSelector& ts);
  /// Hidden ports are inside of "any" only (RFC 4301 §4.4.1.1, OPAQUE).
  [[nodiscard]] bool matches_upper(std::uint8_t proto, std::uint16_t port, bool port_hidden) const {
    return any_upper || ((protocol == 0 || protocol == proto) && port >= port_first && port <= port_last && (any_port || !port_hidden));
  }
  [[nodiscard]] bool matches_v4(std::uint32_t address, std::uint8_t proto, std::uint16_t port, bool port_hidden) const {
    return family == Family::V4 && address - first_v4 <= last_v4 - first_v4 && matches_upper(proto, port, port_hidden);
  }
};

/// The addresses of an IPv6 selector, which has PreparedSelector for the rest: first and last one, each as two numbers in host order.
struct RangeV6 {
  std::uint64_t first_high = 1, first_low = 0, last_high = 0, last_low = 0;  ///< nothing

  static RangeV6 from(const TrafficSelector& ts);  ///< of an IPv4 one: nothing
  /// `address`: in network order.
  [[nodiscard]] bool contains(const std::uint8_t* address) const {
    const std::uint64_t high = load_be64(address), low = load_be64(address + 8);
    return (high > first_high || (high == first_high && low >= first_low)) && (high < last_high || (high == last_high && low <= last_low));
  }
};

/// Whether the packet's source is inside; and its destination.
inline bool source_inside(const Packet& p, const PreparedSelector& s, const RangeV6& range) {
  if (p.family == Family::V4) [[likely]]
    return s.matches_v4(load_be32(p.data + 12), p.protocol, p.source_port, p.ports_hidden);
  return range.contains(p.data + 8) && s.matches_upper(p.protocol, p.source_port, p.ports_hidden);
}
inline bool destination_inside(const Packet& p, const PreparedSelector& s, const RangeV6& range) {
  if (p.family == Family::V4) [[likely]]
    return s.matches_v4(load_be32(p.data + 16), p.protocol, p.destination_port, p.ports_hidden);
  return range.contains(p.data + 24) && s.matches_upper(p.protocol, p.destination_port, p.ports_hidden);
}
/// Whether every packet that `ts` selects is inside.
bool contains(const PreparedSelector& s, const RangeV6& range, const TrafficSelector& ts);

/// What an SA of several selectors carries that is not between the first of both sides; one that has no others has none of these.
struct MoreSides {
  struct Side {
    PreparedSelector selector;
    RangeV6 v6;
  };
  std::vector<Side> sources, destinations;  ///< all of them, the first ones included

  [[nodiscard]] bool admits(const Packet& p) const {
    return std::ranges::any_of(sources, [&](const Side& s) { return source_inside(p, s.selector, s.v6); }) &&
           std::ranges::any_of(destinations, [&](const Side& s) { return destination_inside(p, s.selector, s.v6); });
  }
};
/// Whether one of them has all that `ts` selects.
bool contains(const std::vector<MoreSides::Side>& sides, const TrafficSelector& ts);

/// What the owner worker found about lifetimes, as bits; the manager turns them into Expire events (take_expirations).
enum UsageEvent : std::uint8_t {
  kSoftBytes = 1,
  kSoftPackets = 2,
  kSoftSequence = 4,
  kHardBytes = 8,
  kHardPackets = 16,
  kHardSequence = 32,
};
inline constexpr std::uint8_t kHardEvents = kHardBytes | kHardPackets | kHardSequence;

/// Packets and bytes of an SA against its limits. Written by the owner worker only.
struct Usage {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;             ///< of inner packets
  std::uint64_t packets_mark = ~0ULL;  ///< the next count at which something must be done
  std::uint64_t bytes_mark = ~0ULL;
};

/// The outer addresses that an SA has from now on (RFC 4555 §3.5): made by the manager, taken by the SA's owner when a packet needs it.
struct Relocation {
  static constexpr std::size_t kMaxHeader = 64;
  std::uint32_t number = 0;  ///< of this SA, from 1
  Family outer_family = Family::None;
  std::uint8_t outer_protocol = 0;
  bool udp = false, follows = false;
  std::uint16_t remote_port = 0, local_port = 0;
  std::array<std::uint8_t, 16> remote_address{}, local_address{};  ///< inbound
  std::array<std::uint8_t, kMaxHeader> header{};                   ///< outbound, and what follows
  std::uint8_t header_bytes = 0, ip_bytes = 0;
  std::uint32_t checksum_base = 0;
};

/// What only the manager reads and writes: the terms, and what it has reported already.
struct ManagerView {
  std::uint32_t slot = 0;
  std::uint64_t pair = 0;
  std::uint64_t installed_ns = 0;  ///< CLOCK_MONOTONIC
  bool soft_reported = false, hard_reported = false;
  std::uint32_t moves_seen = 0;        ///< of InboundSa::moved_v6
  std::uint64_t dummy_ns = 0;          ///< outbound: how often a dummy packet is sent; 0: never
  std::uint64_t path_mtu_until = 0;    ///< outbound, CLOCK_MONOTONIC: when what was learnt of the path is forgotten
  Family outer_family = Family::None;  ///< as it was told last, whether or not the owner has taken it yet; and so `udp`
  bool udp = false;
  bool own = false;                                ///< outbound: it is for the packets of its owner alone
  std::unique_ptr<const Relocation> relocation{};  ///< the latest
};

/// A peer's outer address and UDP port (0: native) as one word, so that it changes in one store: address << 16 | port. IPv4.
using PeerWord = std::uint64_t;
constexpr PeerWord peer_word(std::uint32_t address, std::uint16_t port) { return PeerWord{address} << 16 | port; }
constexpr std::uint32_t peer_address(PeerWord w) { return static_cast<std::uint32_t>(w >> 16); }
constexpr std::uint16_t peer_port(PeerWord w) { return static_cast<std::uint16_t>(w); }

/// The same for IPv6, too long for a word: one thread stores, another one loads a value that was stored as a whole. Nobody waits for
/// the other, whatever becomes of it: what is stored goes beside what can be read.
class PeerV6 {
 public:
  struct Value {
    std::array<std::uint64_t, 2> address{};  ///< the bytes in network order, as they stand in memory
    std::uint16_t port = 0;
  };
  /// `address`: 16 bytes in network order.
  void store(const std::uint8_t* address, std::uint16_t port) {
    const std::uint32_t next = stores_.load(std::memory_order_relaxed) + 1;
    Slot& slot = slots_[next & 1];
    Value v;
    std::memcpy(v.address.data(), address, sizeof v.address);
    // Who sees a part of this value sees, too, that the one before it was stored, and so that this slot is not the one to read.
    slot.high.store(v.address[0], std::memory_order_release);
    slot.low.store(v.address[1], std::memory_order_release);
    slot.port.store(port, std::memory_order_release);
    stores_.store(next, std::memory_order_release);
  }
  [[nodiscard]] Value load() const {
    for (;;) {
      const std::uint32_t before = stores();
      const Slot& slot = slots_[before & 1];
      const Value v{{slot.high.load(std::memory_order_acquire), slot.low.load(std::memory_order_acquire)},
                    slot.port.load(std::memory_order_acquire)};
      if (stores_.load(std::memory_order_relaxed) == before) return v;
    }
  }
  /// How often something was stored.
  [[nodiscard]] std::uint32_t stores() const { return stores_.load(std::memory_order_acquire); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> high{0}, low{0};
    std::atomic<std::uint16_t> port{0};
  };
  std::array<Slot, 2> slots_;
  std::atomic<std::uint32_t> stores_{0};
};

/// Common to both directions.
struct SaBase {
  Spi spi;
  EspGeometry geometry;
  std::uint8_t worker = 0;  ///< owner
  bool spread = false;      ///< other workers share its crypto (parcel.hpp)
  bool udp = false;         ///< ESP in UDP (RFC 3948)
  Family outer_family = Family::None;
  std::uint16_t remote_port = 0, local_port = 0;  ///< outer UDP, host order; 0 without UDP. The remote one of inbound SAs only
  std::atomic<std::uint8_t> halt{0};              ///< kStopped, kRelocated, kSkips
  std::atomic<std::uint8_t> events{0};            ///< UsageEvent bits, by the owner
  std::uint8_t outer_protocol = 0;                ///< ESP, AH, or UDP
  KeyLines key_lines{};                           ///< as its keys have it
  std::atomic<bool> narrow{false};                ///< outbound, by the manager: its selectors do not admit all that its policy selects
  shm::SaCounters* counters = nullptr;            ///< in the segment
  Usage usage;

  static constexpr std::uint8_t kStopped = 1;    ///< by the manager: the hard lifetime in seconds has ended
  static constexpr std::uint8_t kRelocated = 2;  ///< outbound: the manager sets it, the owner takes it back: there is a Relocation
  static constexpr std::uint8_t kSkips = 4;      ///< the same with OutboundSa::to_skip

  [[nodiscard]] bool expired() const {
    return (halt.load(std::memory_order_relaxed) & kStopped) != 0 || (events.load(std::memory_order_relaxed) & kHardEvents) != 0;
  }
  /// Whether there is anything to do before the next packet: expired(), a Relocation, or numbers to leave out.
  [[nodiscard]] bool halted() const {
    return halt.load(std::memory_order_relaxed) != 0 || (events.load(std::memory_order_relaxed) & kHardEvents) != 0;
  }
  /// Owner: counts one good packet; true as long as no mark is reached. Else call reach_mark().
  [[nodiscard]] bool count(std::uint32_t inner_bytes) {
    const std::uint64_t packets = usage.packets + 1, bytes = usage.bytes + inner_bytes;
    usage.packets = packets;
    usage.bytes = bytes;
    return packets < usage.packets_mark && bytes < usage.bytes_mark;
  }
};

/// What an inbound packet must look like, outside and inside.
struct InboundMatch {
  std::array<std::uint8_t, 16> remote_address{}, local_address{};  ///< outer source and destination, as in the packet
  PreparedSelector source, destination;                            ///< inner: their side, our side
  RangeV6 source_v6, destination_v6;
};

struct alignas(64) InboundSa : SaBase {
  static constexpr std::array<std::uint32_t, 3> kHot{0, 64, 192};  ///< lines that each packet needs: base, IPv4's match, the window
  alignas(64) InboundMatch match;  // its remote address, and the port, are the owner's to change where the SA follows its peer
  PolicyId policy;
  std::atomic<bool> follows{false};   ///< its peer is behind a NAT: see follow_peer(); by the owner
  bool copy_dscp = false;             ///< the outer code point goes to the inner packet
  VrfId vrf = kDefaultVrf;            ///< of the packets inside
  VrfId outer_vrf = kDefaultVrf;      ///< by which its packets come in
  std::uint16_t checksum_repair = 0;  ///< transport mode behind NAT: added to TCP and UDP checksums (RFC 3948 §3.1.2); 0: nothing
  std::atomic<bool> watched{false};   ///< its packets are captured while a capture is on; by the manager
  ReplayWindow replay;                // with a small one's words this is one line
  alignas(64) SaKeys keys;
  std::atomic<PeerWord> moved_to{0};                   ///< by the owner: where the peer is now; the manager takes it
  PeerV6 moved_v6;                                     ///< the same of an IPv6 one
  std::atomic<const Relocation*> relocation{nullptr};  ///< by the manager, under RCU
  std::uint32_t relocations = 0;                       ///< by the owner: the number of the last one taken
  shm::Lifetime soft, hard;
  ManagerView manager;
  std::unique_ptr<const MoreSides> more{};  ///< of several selectors

  /// Whether the inner packet is inside of the SA's traffic selectors (RFC 4301 §5.2).
  [[nodiscard]] bool admits(const Packet& p) const {
    if (source_inside(p, match.source, match.source_v6) && destination_inside(p, match.destination, match.destination_v6)) [[likely]]
      return true;
    return more != nullptr && more->admits(p);
  }
  /// Owner: notes the limits that were reached and sets the next marks.
  void reach_mark();
  /// Owner, on an authentic packet that is the newest: its source is where the peer is.
  void follow_peer(const Packet& outer);
  /// Owner, on a packet that does not come as it should: it may be the first one after a Relocation. False: there is none. Until then
  /// what is on its way between the former addresses comes in.
  bool relocate();
};

struct alignas(64) OutboundSa : SaBase {
  static constexpr std::uint32_t kAnyMtu = ~std::uint32_t{0};
  static constexpr std::size_t kMaxTemplate = Relocation::kMaxHeader;  ///< room for IPv6, UDP and the ESP header
  // With the base and the keys, up to the header's 16th byte, all that a packet under a usual SA needs.
  alignas(64) std::uint8_t header_bytes = 0;  ///< through the ESP header (SPI and sequence number)
  std::uint8_t ip_bytes = 0;
  std::uint8_t class_mask = 0xff;  ///< what of the inner DSCP and ECN goes outside
  bool cut_after = false;          ///< what is too large may be fragmented outside
  std::uint16_t df_copied = 0;     ///< kIpv4Df: the inner DF goes outside
  std::uint16_t df_set = 0;        ///< kIpv4Df: it is always set
  std::uint16_t mss = 0;           ///< PacketRules::mss
  std::uint16_t tfc_padding = 0;   ///< PacketRules::tfc_padding
  /// By the manager: the largest outer packet that the way to the peer takes, as far as it was told.
  std::atomic<std::uint32_t> path_mtu{kAnyMtu};
  std::atomic<PeerWord> peer{0};  ///< outer destination; by the manager
  /// By the owner: which way the peer lies, as long as that does not change: see where(), Fib::epoch().
  struct Way {
    std::uint64_t where = ~std::uint64_t{0};
    std::uint32_t epoch = 0;
    std::uint16_t hop = 0;
  } way;
  std::uint32_t pad_to = 0;       ///< by the owner: smaller inner packets are padded to this many bytes
  VrfId outer_vrf = kDefaultVrf;  ///< by which its packets leave
  // IP header, UDP header if any, SPI: all that is the same in every packet.
  alignas(16) std::array<std::uint8_t, kMaxTemplate> header{};
  std::uint32_t checksum_base = 0;  ///< sum over the IPv4 header without TOS, total length, ID, flags, destination
  PolicyId policy;
  alignas(64) SaKeys keys;
  PeerV6 peer_v6;                        ///< the same of an IPv6 one
  PreparedSelector source, destination;  ///< inner: our side, their side
  RangeV6 source_v6, destination_v6;
  std::atomic<bool> watched{false};                    ///< as an InboundSa's
  std::atomic<OutboundSa*> older{nullptr};             ///< the policy's next older SA; by the manager, under RCU
  std::atomic<const Relocation*> relocation{nullptr};  ///< by the manager, under RCU
  std::atomic<std::uint64_t> to_skip{0};               ///< sequence numbers to leave out: the manager adds, the owner takes
  shm::Lifetime soft, hard;
  ManagerView manager;
  std::unique_ptr<const MoreSides> more{};  ///< of several selectors

  [[nodiscard]] bool admits(const Packet& p) const {
    return (source_inside(p, source, source_v6) && destination_inside(p, destination, destination_v6)) ||
           (more != nullptr && more->admits(p));
  }
  /// Another number when the peer is elsewhere.
  [[nodiscard]] std::uint64_t where() const {
    return outer_family == Family::V4 ? peer.load(std::memory_order_acquire) : std::uint64_t{peer_v6.stores()};
  }
  /// Starts loading what each packet needs, but for the base, which is at hand, and the keys.
  void prefetch() const {
    __builtin_prefetch(&header_bytes);
    if (udp || outer_family == Family::V6) __builtin_prefetch(&checksum_base);
  }
  /// Sequence number of the latest packet: as many as were sent or left out, since they count from 1 (RFC 4303 §2.2).
  [[nodiscard]] std::uint64_t sequence() const { return usage.packets; }
  /// The largest outer packet by a port of `port_mtu`.
  [[nodiscard]] std::uint32_t outer_mtu(std::uint32_t port_mtu) const {
    return std::min(port_mtu, path_mtu.load(std::memory_order_relaxed));
  }
  void reach_mark();
  /// Owner, when halted(): goes where the manager has said, and leaves out the numbers that it has said, if it has.
  void heed();
  /// Manager: so many more are left out.
  void skip(std::uint64_t count);
  /// The largest TCP segment that fits into an inner packet of `mtu` bytes behind an IP header of `ip_header`, as configured; 0: any.
  [[nodiscard]] std::uint32_t largest_segment(std::uint32_t mtu, std::uint32_t ip_header) const;

 private:
  void relocate();
  void take_skips();
};
/// Where the SA sends to.
IpAddress peer_of(const OutboundSa& sa);
/// Manager: where it sends to from now on; an address of its outer family.
void set_peer(OutboundSa& sa, const Endpoint& remote);
// The hot part: what every packet touches, besides the keys and the window's words, is two cache lines.
static_assert(sizeof(SaBase) == 64);
static_assert(sizeof(InboundMatch) == 128);  // IPv4 needs the first half
static_assert(sizeof(SaBase) + sizeof(InboundMatch) == InboundSa::kHot[2]);

inline constexpr std::uint64_t kMaxSequence = 0xffffffff;                   ///< without ESN
inline constexpr std::uint64_t kSequenceSoftLimit = kMaxSequence / 10 * 9;  ///< rekey from here on

/// RFC 4301 §5.1: of `youngest` and the older SAs of its policy the youngest that lives and whose selectors admit the packet;
/// nullptr: none does. Looks at kMaxAlternatives of them, so that no peer makes a packet cost more by negotiating many.
OutboundSa* admitting_sa(OutboundSa* youngest, const Packet& packet);
inline constexpr unsigned kMaxAlternatives = 64;

/// The largest inner packet that, under this SA, fits into an outer packet of `outer_mtu` bytes; 0: none does.
std::uint32_t effective_mtu(const OutboundSa& sa, std::uint32_t outer_mtu);

/// Manager: what happened to the SA's lifetime since the last call, at most one soft and one hard event in its life.
/// A hard limit in seconds stops the SA here. Calls `report(const shm::Expire&)`; returns how many.
struct ExpireReport {
  shm::Expire events[2];
  unsigned count = 0;
};
ExpireReport take_expirations(InboundSa& sa, std::uint64_t now_ns);
ExpireReport take_expirations(OutboundSa& sa, std::uint64_t now_ns);

}  // namespace culvert::dp
