// When an SA of either version is replaced, and when it ends. Owns the arithmetic; no timer.
#pragma once

#include <chrono>
#include <cstdint>

#include "control/ike/engine_types.hpp"

namespace culvert::ike {

inline constexpr std::uint64_t kMinLife = 10;  ///< seconds; a peer's shorter lifetime is taken for this

struct Lifetimes3 {
  std::chrono::seconds rekey, rand, life;
};
struct Schedule {
  TimePoint rekey_at, expires_at;
};
/// `peer_seconds` (0: not stated) shortens both.
Schedule schedule(Services& services, TimePoint now, const Lifetimes3& own, std::uint64_t peer_seconds);

/// Of two limits, where 0 is none.
constexpr std::uint64_t smaller_limit(std::uint64_t a, std::uint64_t b) { return a == 0 ? b : b == 0 ? a : a < b ? a : b; }

}  // namespace culvert::ike
