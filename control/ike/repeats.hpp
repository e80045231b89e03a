// Whether a message has come before: for those that are worth an expensive answer only to somebody who asks twice, as every peer does that
// hears nothing, and as a flood of made-up messages does not.
// Owns two generations of a Bloom filter, 8 MiB once it is used. Forgets a message after 16 to 32 seconds, as if it had never come; takes
// one of 10,000 for known at 40,000 messages a second.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "common/bytes.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ike {

class Repeats {
 public:
  /// Whether it came before; remembers it.
  bool seen(TimePoint now, ByteView message);

 private:
  static constexpr std::size_t kBits = std::size_t{1} << 25;
  static constexpr std::chrono::seconds kGeneration{16};

  std::array<std::vector<bool>, 2> filters_;  ///< the current one, and the one before
  TimePoint since_{};                         ///< of the current one
};

}  // namespace culvert::ike
