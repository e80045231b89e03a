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
#include "dataplane/spd/flow_key.hpp"

struct rte_acl_ctx;

namespace culvert::dp {

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
