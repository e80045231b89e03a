// One worker's memory of what the SPD and the forwarding table said of the flows it saw last, so that a packet of a known flow
// costs one comparison instead of a walk through the classifier and a look at the table. Owns the entries, a fixed number; a
// stranger's flows can push others out, no more. Must never outlive a snapshot: an entry counts only under the serial number of
// the Spd that gave it. The Fib lives as long as the process.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "common/huge_array.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "dataplane/spd/spd.hpp"

namespace culvert::dp {

/// `Key`: FlowKey or FlowKeyV6.
template <class Key = FlowKey>
class FlowCache {
 private:
  static constexpr bool kV4 = std::is_same_v<Key, FlowKey>;

 public:
  static constexpr unsigned kBits = 16;  ///< 65,536 flows in 2 MB, or 4 for IPv6; what is not used stays out of a core's caches

  /// `seed`: random, so that nobody outside can choose flows that meet in one entry. `bits`: for so many flows, as a power of two.
  FlowCache(const Fib& fib, std::uint64_t seed, unsigned bits = kBits)
      : fib_(fib), seed_(seed), shift_(64 - bits), flows_(std::size_t{1} << bits) {}

  /// What is known of a flow.
  struct alignas(kV4 ? 32 : 64) Flow {
    static constexpr std::uint16_t kNotAsked = 0xffff, kForwards = 0xfffe, kSettled = 0xfffd;
    static constexpr std::size_t kHopsAt = kV4 ? 8 : 7;  ///< where a packet has its TTL, or hop limit
    Key key;
    std::uint64_t serial = 0;    // 0: empty; an Spd's is never 0
    std::uint16_t outbound = 0;  // numbers of entries
    std::uint16_t mirrored = kNotAsked;
    HopId hop = 0;
    std::uint16_t protect = 0;  ///< the policy that wins outbound, if that is a Protect; 0: it is none

    /// Whatever of the flow comes in clear may, and leaves under an SA of the policy `protect`.
    [[nodiscard]] bool settled() const { return mirrored == kSettled; }
    /// Whatever of the flow comes out of a tunnel may, has a way out, and leaves in clear: by `protect` if it came by that policy, or for
    /// no policy means it.
    [[nodiscard]] bool forwards() const { return mirrored == kForwards; }
    [[nodiscard]] bool mirrored_known() const { return mirrored <= kSettled; }
    [[nodiscard]] bool is(const Key& of, std::uint64_t now) const { return serial == now && key == of; }
    [[nodiscard]] const SpdEntry* outbound_entry(const Spd& spd) const { return spd.numbered(outbound); }
    [[nodiscard]] const SpdEntry* mirrored_entry(const Spd& spd) const { return spd.numbered(settled() ? 0 : mirrored); }
  };

  /// A copy of what is needed to find many flows.
  class Finder {
   public:
    /// Where a flow is, if it is known: Flow::is().
    [[nodiscard]] Flow* find(const Key& key) const {
      std::uint64_t mixed;
      if constexpr (kV4) {
        mixed = ((key.first ^ seed_) * 0x9e3779b97f4a7c15U) ^ ((key.second + seed_) * 0xc2b2ae3d27d4eb4fU);
      } else {
        mixed = seed_;
        for (const std::uint64_t word : key.words) mixed = std::rotl((mixed ^ word) * 0x9e3779b97f4a7c15U, 29);
      }
      return flows_ + ((mixed * 0x165667b19e3779f9U) >> shift_);
    }

   private:
    friend FlowCache;
    Finder(std::uint64_t seed, unsigned shift, Flow* flows) : seed_(seed), shift_(shift), flows_(flows) {}
    std::uint64_t seed_;
    unsigned shift_;
    Flow* flows_;
  };
  [[nodiscard]] Finder finder() const { return Finder(seed_, shift_, flows_.get()); }
  /// By which what is known now is known. Another one, too, when flows have got other next hops.
  [[nodiscard]] std::uint64_t serial_of(const Spd& spd) const { return spd.serial() + (fib_.epoch() << 32); }

  /// For each i < n (at most kBurstMax), in any order, those of one flow in theirs: take(i, flow) with what is known of key_of(i); its
  /// mirrored key has been asked for, too, if kMirrored. The flow is good within the call only.
  template <bool kMirrored, class KeyOf, class Take>
  void recall(const Spd& spd, std::size_t n, KeyOf&& key_of, Take&& take) {
    recall<kMirrored>(spd, n, key_of, take, [](std::size_t) { return true; }, [](std::span<Flow* const>) {});
  }
  /// The same with may(i) asked before all but a flow that is settled(); false: nothing is done about it. What it says must depend on the
  /// key alone, so that a settled flow once passed it. Before that, ahead(flows) with where the flows are, if they are known.
  template <bool kMirrored, class KeyOf, class Take, class May, class Ahead>
  void recall(const Spd& spd, std::size_t n, KeyOf&& key_of, Take&& take, May&& may, Ahead&& ahead) {
    std::array<Key, kBurstMax>& keys = asked_;
    std::array<Flow*, kBurstMax> flows;
    const Finder all = finder();
    for (std::size_t i = 0; i < n; ++i) {
      const Key key = key_of(i);
      flows[i] = all.find(key);
      __builtin_prefetch(flows[i]);
      keys[i] = key;
    }
    ahead(std::span<Flow* const>(flows.data(), n));
    std::array<std::uint16_t, kBurstMax> where;
    std::size_t misses = 0;
    const std::uint64_t serial = serial_of(spd);
    for (std::size_t i = 0; i < n; ++i) {
      Flow& f = *flows[i];
      const bool known = f.is(keys[i], serial);
      if (known && (!kMirrored || f.settled())) [[likely]] {
        take(i, f);
      } else if (!may(i)) {
        continue;
      } else if (known && f.mirrored_known()) {
        take(i, f);
      } else {
        keys[misses] = keys[i];
        where[misses++] = static_cast<std::uint16_t>(i);
      }
    }
    if (misses == 0) [[likely]]
      return;
    classify<kMirrored>(spd, std::span(std::as_const(keys)).first(misses), [&](std::size_t m, Flow& f) { take(where[m], f); });
  }

  /// For each i: take(i, entry, hop) with the entry that wins for key_of(i), nullptr: none, and the way to its destination.
  template <class KeyOf, class Take>
  void outbound(const Spd& spd, std::size_t n, KeyOf&& key_of, Take&& take) {
    recall<false>(spd, n, key_of, [&](std::size_t i, const Flow& f) { take(i, f.outbound_entry(spd), f.hop); });
  }
  /// The same with take(i, entry, hop, mirrored): the latter wins for the mirrored key.
  template <class KeyOf, class Take>
  void both(const Spd& spd, std::size_t n, KeyOf&& key_of, Take&& take) {
    recall<true>(spd, n, key_of, [&](std::size_t i, const Flow& f) { take(i, f.outbound_entry(spd), f.hop, f.mirrored_entry(spd)); });
  }

 private:
  static_assert(sizeof(Flow) == (kV4 ? 32 : 64) && Spd::kMaxEntries < Flow::kSettled);
  template <bool kMirrored, class Take>
  void classify(const Spd& spd, std::span<const Key> keys, Take&& take) {
    std::array<std::uint32_t, kBurstMax> outbound, mirrored;
    std::array<HopId, kBurstMax> hops;
    const std::uint64_t serial = serial_of(spd);  // before the ways: what is stored must not seem newer than it is
    ways(keys, hops);
    spd.lookup(keys, std::span(outbound).first(keys.size()));
    by_route(spd, std::span(outbound).first(keys.size()), hops);
    if constexpr (kMirrored) {
      std::array<Key, kBurstMax> ask;
      for (std::size_t i = 0; i < keys.size(); ++i) ask[i] = keys[i].mirrored();
      spd.lookup(std::span<const Key>(ask).first(keys.size()), std::span(mirrored).first(keys.size()));
      // What comes in clear from where a tunnel leads should have come out of the tunnel.
      if (spd.has_tunnels()) [[unlikely]] {
        std::array<HopId, kBurstMax> back;
        ways(std::span<const Key>(ask).first(keys.size()), back);
        by_route(spd, std::span(mirrored).first(keys.size()), back);
      }
    } else {
      mirrored.fill(Flow::kNotAsked);
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const SpdEntry* entry = spd.numbered(outbound[i]);
      const PolicyId protect = entry != nullptr && entry->action == shm::PolicyAction::Protect ? entry->policy : PolicyId{};
      if (kMirrored && mirrored[i] == 0 && settled_protect(entry, fib_.hop(hops[i]))) mirrored[i] = Flow::kSettled;
      Flow& f = *finder().find(keys[i]);
      f = {keys[i],
           serial,
           static_cast<std::uint16_t>(outbound[i]),
           static_cast<std::uint16_t>(mirrored[i]),
           hops[i],
           static_cast<std::uint16_t>(protect.value)};
      take(i, f);
    }
  }

  void by_route(const Spd& spd, std::span<std::uint32_t> numbers, const std::array<HopId, kBurstMax>& hops) const {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (const NextHop& hop = fib_.hop(hops[i]); hop.kind == HopKind::Tunnel) [[unlikely]]
        numbers[i] = spd.by_route(numbers[i], hop.port, kV4 ? Family::V4 : Family::V6);
  }
  void ways(std::span<const Key> keys, std::array<HopId, kBurstMax>& out) const {
    std::array<decltype(Key().destination()), kBurstMax> to;
    for (std::size_t i = 0; i < keys.size(); ++i) to[i] = keys[i].destination();
    for (std::size_t at = 0, n; at < keys.size(); at += n) {
      n = fib_.has_vrfs() ? of_one_vrf(keys.subspan(at)) : keys.size();
      const auto answers = std::span(out).subspan(at, n);
      if constexpr (kV4) {
        fib_.lookup_v4(keys[at].vrf(), std::span(to).subspan(at, n), answers);
      } else {
        fib_.lookup_v6(keys[at].vrf(), std::span<const V6Bytes>(to).subspan(at, n), answers);
      }
    }
    if (fib_.has_groups()) [[unlikely]]
      for (std::size_t i = 0; i < keys.size(); ++i) out[i] = fib_.choose(out[i], flow_of(keys[i]));
  }
  /// How many of the first keys are of one VRF; at least one.
  static std::size_t of_one_vrf(std::span<const Key> keys) {
    std::size_t n = 1;
    while (n < keys.size() && keys[n].vrf() == keys[0].vrf()) ++n;
    return n;
  }
  /// By which a flow has one of several next hops, in whatever worker, and in a forecast. All fragments of a packet go one way, since only
  /// the first one of them has ports.
  static std::uint64_t flow_of(const Key& flow) {
    const Key key = flow.fragment() ? flow.without_ports() : flow;
    if constexpr (kV4) {
      return key.first * 0x9e3779b97f4a7c15U ^ std::rotl(key.second * 0xc2b2ae3d27d4eb4fU, 29);
    } else {
      std::uint64_t mixed = 0;
      for (const std::uint64_t word : key.words) mixed = std::rotl((mixed ^ word) * 0x9e3779b97f4a7c15U, 29);
      return mixed;
    }
  }
  const Fib& fib_;
  std::uint64_t seed_;
  unsigned shift_;
  HugeArray<Flow> flows_;
  std::array<Key, kBurstMax> asked_;  // within a call; here, so that none is made anew
};

}  // namespace culvert::dp
