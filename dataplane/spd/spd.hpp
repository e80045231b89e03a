// The security policy database (RFC 4301 §4.4.1) as the packet path asks it: a snapshot, made by the manager (spd_store.hpp), never
// changed. The classifier has what the configuration says, and there are rows for the peers that come and go (peer_rows.hpp); of the two
// answers the one that is first in the order counts.
// A policy that is bound to a tunnel interface selects by route instead (the SPD-ID of RFC 4301 §4.4.1): what the others neither
// protect nor discard, and whose route leads into the tunnel. A tunnel without a policy discards.
// A new set of policies is a new Spd, swapped in under RCU; it shares with the last one what has not changed.
#pragma once

#include <array>
#include <atomic>
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
#include "dataplane/spd/entry_pool.hpp"
#include "dataplane/spd/flow_key.hpp"
#include "dataplane/spd/peer_rows.hpp"

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

/// The classifier of all policies that have no rows, built by DPDK's acl, and what tunnels select. Shared by snapshots.
struct Classifier {
  /// The numbers of a tunnel's entries: for each family the policy that is bound to it.
  struct Bound {
    std::uint32_t v4 = 0, v6 = 0;
  };
  Classifier() = default;
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;
  ~Classifier();
  rte_acl_ctx* v4 = nullptr;  ///< nullptr: there are no rules
  rte_acl_ctx* v6 = nullptr;
  std::vector<Bound> tunnels;
  std::vector<EntryRef> entries;  ///< all that it leads to
};

class Spd {
 public:
  /// A range of addresses is cut into prefixes; a policy that needs more than this many pairs of them is refused.
  static constexpr std::size_t kMaxRules = 256;
  /// A policy has at most three, and one more for each pair of its selectors whose sides overlap.
  static constexpr std::size_t kMaxEntries = EntryPool::kMost;
  /// AckResult::Ok if this policy can be part of an Spd: selectors of families that are carried, ranges in order, not too many
  /// prefixes.
  static shm::AckResult check(const shm::InstallPolicy& policy);

  /// A first snapshot of these alone; each has a number of its own. All must have passed check(), and name one of `tunnels` or none.
  /// Fails when DPDK has no memory for it.
  static std::expected<std::unique_ptr<Spd>, std::string> build(std::span<const shm::InstallPolicy> policies,
                                                                std::span<const Interface> tunnels = {});
  Spd(const Spd&) = delete;
  Spd& operator=(const Spd&) = delete;

  /// The number of the entry that wins for each key; 0: none matches. `out` is as long as `keys`, at most kBurstMax.
  void lookup(std::span<const FlowKey> keys, std::span<std::uint32_t> out) const {
    classify(classifier_->v4, keys, out);
    if (!v4_.empty()) [[unlikely]]
      v4_.lookup(keys, out, *pool_);
  }
  void lookup(std::span<const FlowKeyV6> keys, std::span<std::uint32_t> out) const {
    classify(classifier_->v6, keys, out);
    if (!v6_.empty()) [[unlikely]]
      v6_.lookup(keys, out, *pool_);
  }
  /// The entry of a number that lookup() gave; nullptr of 0.
  [[nodiscard]] const SpdEntry* numbered(std::uint32_t number) const { return number == 0 ? nullptr : &entries_[number - 1]; }
  [[nodiscard]] bool has_tunnels() const { return !classifier_->tunnels.empty(); }
  /// What decides about a packet whose route leads into a tunnel, where the classifier has found `number`.
  [[nodiscard]] std::uint32_t by_route(std::uint32_t number, std::size_t tunnel, Family family) const {
    const SpdEntry* entry = numbered(number);
    if (entry != nullptr && entry->action != shm::PolicyAction::Bypass) return number;
    return family == Family::V4 ? classifier_->tunnels[tunnel].v4 : classifier_->tunnels[tunnel].v6;
  }
  /// Of this snapshot; never 0 and never reused, unlike its address.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }

 private:
  friend class SpdStore;
  Spd(std::shared_ptr<const EntryPool> pool, std::shared_ptr<const Classifier> classifier, const PeerRows<FlowKey>& v4,
      const PeerRows<FlowKeyV6>& v6);
  template <class Key>
  static void classify(const rte_acl_ctx* acl, std::span<const Key> keys, std::span<std::uint32_t> out);

  std::uint64_t serial_;
  const SpdEntry* entries_;
  std::shared_ptr<const EntryPool> pool_;
  std::shared_ptr<const Classifier> classifier_;
  PeerRows<FlowKey> v4_;
  PeerRows<FlowKeyV6> v6_;
};

}  // namespace culvert::dp
