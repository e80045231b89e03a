// What children have carried, summed over all SAs that they ever had in this process: counters that survive rekeys.
// Owns sums only; reads the counters of the segment when told to, and never goes backwards.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/config/config.hpp"
#include "common/shm/segment.hpp"
#include "common/types.hpp"

namespace culvert::control {

/// Why an SA dropped packets: label of the metric, key in JSON.
inline constexpr std::array<std::string_view, 8> kSaErrors{"auth_failed", "replayed",           "old",  "selector", "malformed",
                                                           "expired",     "sequence_exhausted", "other"};

/// A plain copy of an SA's counters.
struct SaTotals {
  std::uint64_t packets = 0, bytes = 0;
  std::array<std::uint64_t, kSaErrors.size()> errors{};  ///< in the order of kSaErrors
  static SaTotals of(const shm::SaCounters& c);
};

class Traffic {
 public:
  /// Children of the configuration have sums from the start.
  explicit Traffic(const config::GatewayConfig& config);

  /// Adds what the SA in this slot has carried since the last call. A counter that went backwards adds nothing.
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
