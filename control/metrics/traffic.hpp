// What children have carried, summed over all SAs that they ever had in this process: counters that survive rekeys.
// Owns sums only; reads the counters of the segment when told to, and never goes backwards.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/config/config.hpp"
#include "common/shm/segment.hpp"
#include "common/types.hpp"

namespace culvert::control {

/// A plain copy of an SA's counters.
struct SaTotals {
  std::uint64_t packets = 0, bytes = 0;
  std::array<std::uint64_t, kSaDropSlots> drops{};  ///< by kSaDropSlot
  std::uint64_t lost = 0, reordered = 0;            ///< inbound: SaCounters::missing(), SaCounters::reordered

  static SaTotals of(Direction direction, const shm::SaCounters& c);
  /// Calls visit(name, count) for each reason that an SA of this direction can drop a packet for.
  void each_drop(Direction direction, const std::function<void(std::string_view, std::uint64_t)>& visit) const;
  /// Inbound: packets whose number had come before.
  [[nodiscard]] std::uint64_t duplicated() const;
};

class Traffic {
 public:
  /// Children of the configuration have sums from the start.
  explicit Traffic(const config::GatewayConfig& config);

  /// Adds what the SA in this slot has carried since the last call. A counter that went backwards adds nothing: what was missing and came
  /// late, between two calls, stays in the sum of what was lost.
  void update(Direction direction, std::uint32_t slot, const std::string& connection, const std::string& child, const SaTotals& now);
  /// The slot's SA is gone; the next one in the slot starts from zero.
  void forget(Direction direction, std::uint32_t slot);

  using Key = std::pair<std::string, std::string>;                                            ///< connection, child
  [[nodiscard]] const std::map<Key, std::array<SaTotals, 2>>& sums() const { return sums_; }  ///< by Direction

 private:
  std::map<Key, std::array<SaTotals, 2>> sums_;
  std::unordered_map<std::uint64_t, SaTotals> last_;  ///< by direction and slot
};

}  // namespace culvert::control
