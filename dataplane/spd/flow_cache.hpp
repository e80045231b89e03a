// One worker's memory of what the SPD said of the flows it saw last, so that a packet of a known flow costs one comparison
// instead of a walk through the classifier. Owns the entries, a fixed number; a stranger's flows can push others out, no more.
// Must never outlive a snapshot: an entry counts only under the serial number of the Spd that gave it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/spd/spd.hpp"

namespace culvert::dp {

class FlowCache {
 public:
  static constexpr std::size_t kEntries = 4096;  ///< 128 kB: stays in a core's second-level cache

  /// `seed`: random, so that nobody outside can choose flows that meet in one entry.
  explicit FlowCache(std::uint64_t seed) : seed_(seed), entries_(std::make_unique<Entries>()) {}

  /// As Spd::lookup. `out` is as long as `keys`, at most kBurstMax.
  void lookup(const Spd& spd, std::span<const FlowKey> keys, std::span<const SpdEntry*> out) {
    std::array<FlowKey, kBurstMax> missed;
    std::array<std::uint16_t, kBurstMax> where;
    std::size_t misses = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Entry& e = (*entries_)[slot(keys[i])];
      if (e.serial == spd.serial() && e.key == keys[i]) [[likely]] {
        out[i] = e.entry;
      } else {
        missed[misses] = keys[i];
        where[misses++] = static_cast<std::uint16_t>(i);
      }
    }
    if (misses == 0) [[likely]]
      return;
    std::array<const SpdEntry*, kBurstMax> found;
    spd.lookup(std::span(missed).first(misses), std::span(found).first(misses));
    for (std::size_t i = 0; i < misses; ++i) {
      (*entries_)[slot(missed[i])] = {missed[i], found[i], spd.serial()};
      out[where[i]] = found[i];
    }
  }

 private:
  struct Entry {
    FlowKey key;
    const SpdEntry* entry = nullptr;
    std::uint64_t serial = 0;  // 0: empty; an Spd's is never 0
  };
  static_assert(sizeof(Entry) == 32);
  using Entries = std::array<Entry, kEntries>;

  [[nodiscard]] std::size_t slot(const FlowKey& key) const {
    const auto [a, b] = key.words();
    const std::uint64_t mixed = ((a ^ seed_) * 0x9e3779b97f4a7c15U) ^ ((b + seed_) * 0xc2b2ae3d27d4eb4fU);
    return static_cast<std::size_t>((mixed * 0x165667b19e3779f9U) >> 52);
  }

  std::uint64_t seed_;
  std::unique_ptr<Entries> entries_;
};

}  // namespace culvert::dp
