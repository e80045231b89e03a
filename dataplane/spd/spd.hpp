// The security policy database (RFC 4301 §4.4.1) as the packet path asks it: a snapshot, built by the manager, never changed.
// A fragment that hides its ports must not get past a policy for certain ports (RFC 4301 §7): where it is not ruled out that such a
// policy means it, it is discarded, whatever the policies behind that one say.
// A policy that is bound to a tunnel interface selects by route instead (the SPD-ID of RFC 4301 §4.4.1): what the others neither
// protect nor discard, and whose route leads into the tunnel. A tunnel without a policy discards.
// Owns DPDK's acl behind it. A new set of policies is a new Spd, swapped in under RCU.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/shm/messages.hpp"
#include "common/shm/segment.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/sa.hpp"

struct rte_acl_ctx;

namespace culvert::dp {

/// What a packet is looked up by, in the layout that the classifier reads (network byte order): protocol, 1 if it has ports that
/// are hidden (Packet::ports_hidden), the VRF, 1 if it is a fragment (which no policy asks for), source, destination, source port,
/// destination port. Two numbers, so that it is made, hashed and compared in registers.
struct FlowKey {
  static constexpr std::uint32_t kProtocolAt = 0, kSourceAt = 4, kDestinationAt = 8, kSourcePortAt = 12, kDestinationPortAt = 14;
  std::uint64_t first = 0, second = 0;

  /// Addresses and ports in host order.
  static FlowKey of(std::uint8_t protocol, std::uint32_t source, std::uint32_t destination, std::uint16_t source_port,
                    std::uint16_t destination_port, bool ports_hidden = false, VrfId vrf = kDefaultVrf) {
    return make(protocol, ports_hidden, vrf, false, __builtin_bswap32(source), __builtin_bswap32(destination), source_port,
                destination_port);
  }
  /// As the packet goes: local -> remote.
  static FlowKey outbound(const Packet& p) {
    const std::uint64_t word = p.flow_word();
    std::uint64_t addresses;
    std::memcpy(&addresses, p.data + 12, sizeof addresses);
    const std::uint32_t ports = std::rotl(__builtin_bswap32(static_cast<std::uint32_t>(word)), 16);
    return {word >> 32 | addresses << 32, addresses >> 32 | std::uint64_t{ports} << 32};
  }
  /// Mirrored, for a packet that came in: its source is the remote side.
  [[nodiscard]] FlowKey mirrored() const {
    const std::uint64_t destination = second & 0xffffffff, ports = second >> 32;
    return {(first & 0xffffffff) | destination << 32, first >> 32 | (ports >> 16 | (ports & 0xffff) << 16) << 32};
  }
  /// Host order.
  [[nodiscard]] VrfId vrf() const { return static_cast<VrfId>(first >> 16); }
  [[nodiscard]] bool fragment() const { return (first >> 24 & 1) != 0; }
  /// What all fragments of a packet have alike.
  [[nodiscard]] FlowKey without_ports() const { return {first & ~std::uint64_t{0xff00}, second & 0xffffffff}; }
  [[nodiscard]] std::uint32_t destination() const { return __builtin_bswap32(static_cast<std::uint32_t>(second)); }
  friend bool operator==(const FlowKey&, const FlowKey&) = default;

 private:
  static FlowKey make(std::uint8_t protocol, bool hidden, VrfId vrf, bool fragment, std::uint32_t source, std::uint32_t destination,
                      std::uint16_t sport, std::uint16_t dport) {
    const std::uint64_t ports = std::uint64_t{__builtin_bswap16(sport)} | std::uint64_t{__builtin_bswap16(dport)} << 16;
    return {protocol | std::uint64_t{hidden} << 8 | std::uint64_t{vrf} << 16 | std::uint64_t{fragment} << 24 | std::uint64_t{source} << 32,
            destination | ports << 32};
  }
};
static_assert(sizeof(FlowKey) == 16 && std::endian::native == std::endian::little);

/// The same of an IPv6 packet, in the same order.
struct FlowKeyV6 {
  static constexpr std::uint32_t kProtocolAt = 0, kSourceAt = 4, kDestinationAt = 20, kSourcePortAt = 36, kDestinationPortAt = 38;
  std::array<std::uint64_t, 5> words{};

  static FlowKeyV6 of(std::uint8_t protocol, const V6Bytes& source, const V6Bytes& destination, std::uint16_t source_port,
                      std::uint16_t destination_port, bool ports_hidden = false, VrfId vrf = kDefaultVrf) {
    return make(protocol, ports_hidden, vrf, false, source.data(), destination.data(), source_port, destination_port);
  }
  static FlowKeyV6 outbound(const Packet& p) {
    return make(p.protocol, p.ports_hidden, p.vrf, p.fragment, p.data + 8, p.data + 24, p.source_port, p.destination_port);
  }
  [[nodiscard]] FlowKeyV6 mirrored() const {
    FlowKeyV6 out;
    const std::uint8_t* from = bytes();
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    std::memcpy(to, from, 4);
    std::memcpy(to + kSourceAt, from + kDestinationAt, 16);
    std::memcpy(to + kDestinationAt, from + kSourceAt, 16);
    std::memcpy(to + kSourcePortAt, from + kDestinationPortAt, 2);
    std::memcpy(to + kDestinationPortAt, from + kSourcePortAt, 2);
    return out;
  }
  [[nodiscard]] VrfId vrf() const { return bytes()[2]; }
  [[nodiscard]] bool fragment() const { return bytes()[3] != 0; }
  /// What all fragments of a packet have alike.
  [[nodiscard]] FlowKeyV6 without_ports() const {
    FlowKeyV6 out = *this;
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    to[1] = 0;
    std::memset(to + kSourcePortAt, 0, 4);
    return out;
  }
  [[nodiscard]] V6Bytes destination() const {
    V6Bytes out;
    std::memcpy(out.data(), bytes() + kDestinationAt, out.size());
    return out;
  }
  friend bool operator==(const FlowKeyV6&, const FlowKeyV6&) = default;

 private:
  [[nodiscard]] const std::uint8_t* bytes() const { return reinterpret_cast<const std::uint8_t*>(words.data()); }
  static FlowKeyV6 make(std::uint8_t protocol, bool hidden, VrfId vrf, bool fragment, const std::uint8_t* source,
                        const std::uint8_t* destination, std::uint16_t sport, std::uint16_t dport) {
    FlowKeyV6 out;
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    to[0] = protocol;
    to[1] = hidden ? 1 : 0;
    to[2] = vrf;
    to[3] = fragment ? 1 : 0;
    std::memcpy(to + kSourceAt, source, 16);
    std::memcpy(to + kDestinationAt, destination, 16);
    store_be16(to + kSourcePortAt, sport);
    store_be16(to + kDestinationPortAt, dport);
    return out;
  }
};
static_assert(sizeof(FlowKeyV6) == 40);

/// Of a policy's SAs those that are for one worker's packets alone (RFC 9611), the youngest of each worker; written by the manager.
struct OwnSas {
  std::array<std::atomic<OutboundSa*>, shm::kMaxWorkers> youngest{};
};
/// What the packet path must remember of a policy across snapshots; indexed by PolicyId, lives as long as the process.
struct alignas(32) PolicyState {
  std::atomic<OutboundSa*> current{nullptr};  ///< the youngest of its SAs that are for all; written by the manager
  std::atomic<std::uint64_t> acquire_ns{0};   ///< when a worker reported last
  std::atomic<const OwnSas*> own{nullptr};    ///< nullptr: no worker has any; by the manager, under RCU
};

/// A policy; or, of a policy for certain ports only, the Discard of packets that may be meant but hide their ports.
struct SpdEntry {
  PolicyId policy;
  shm::PolicyAction action{};
  bool acquire = false;
  bool overlapping = false;  ///< some address is on both sides
  PreparedSelector local;    ///< of our side
  RangeV6 local_v6{};
  /// Whether the address is on our side; `family` is that of the packet, in network order at `address`.
  [[nodiscard]] bool ours(Family family, const std::uint8_t* address) const {
    return family == Family::V4 ? load_be32(address) - local.first_v4 <= local.last_v4 - local.first_v4 : local_v6.contains(address);
  }
};

class Spd {
 public:
  /// A range of addresses is cut into prefixes; a policy that needs more than this many pairs of them is refused.
  static constexpr std::size_t kMaxRules = 256;
  /// Numbers of entries go into 16 bits (flow_cache.hpp). A policy has at most three, and one more for each pair of its selectors whose
  /// sides overlap.
  static constexpr std::size_t kMaxEntries = 65500;
  /// AckResult::Ok if this policy can be part of an Spd: selectors of families that are carried, ranges in order, not too many
  /// prefixes.
  static shm::AckResult check(const shm::InstallPolicy& policy);

  /// All must have passed check(), and name one of `tunnels` or none. Fails when DPDK has no memory for it.
  static std::expected<std::unique_ptr<Spd>, std::string> build(std::span<const shm::InstallPolicy> policies,
                                                                std::span<const Interface> tunnels = {});
  ~Spd();
  Spd(const Spd&) = delete;
  Spd& operator=(const Spd&) = delete;

  /// The number of the entry that wins for each key; 0: none matches. `out` is as long as `keys`, at most kBurstMax.
  void lookup(std::span<const FlowKey> keys, std::span<std::uint32_t> out) const { classify(v4_, keys, out); }
  void lookup(std::span<const FlowKeyV6> keys, std::span<std::uint32_t> out) const { classify(v6_, keys, out); }
  /// The entry of a number that lookup() gave; nullptr of 0.
  [[nodiscard]] const SpdEntry* numbered(std::uint32_t number) const { return number == 0 ? nullptr : &entries_[number - 1]; }
  [[nodiscard]] bool has_tunnels() const { return !tunnels_.empty(); }
  /// What decides about a packet whose route leads into a tunnel, where the classifier has found `number`.
  [[nodiscard]] std::uint32_t by_route(std::uint32_t number, std::size_t tunnel, Family family) const {
    const SpdEntry* entry = numbered(number);
    if (entry != nullptr && entry->action != shm::PolicyAction::Bypass) return number;
    return family == Family::V4 ? tunnels_[tunnel].v4 : tunnels_[tunnel].v6;
  }
  /// Of this snapshot; never 0 and never reused, unlike its address.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }

 private:
  /// The numbers of a tunnel's entries: for each family the policy that is bound to it.
  struct Bound {
    std::uint32_t v4 = 0, v6 = 0;
  };
  explicit Spd(std::uint64_t serial) : serial_(serial) {}
  template <class Key>
  static void classify(const rte_acl_ctx* acl, std::span<const Key> keys, std::span<std::uint32_t> out);
  std::uint32_t add(const SpdEntry& entry) {
    entries_.push_back(entry);
    return static_cast<std::uint32_t>(entries_.size());
  }
  std::uint64_t serial_;
  rte_acl_ctx* v4_ = nullptr;
  rte_acl_ctx* v6_ = nullptr;
  std::vector<SpdEntry> entries_;
  std::vector<Bound> tunnels_;
};

}  // namespace culvert::dp
