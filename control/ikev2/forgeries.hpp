// How many messages with a wrong ICV an IKE SA tries before it is established: whoever has seen its SPIs can send as many as he likes.
// Owns the count alone. A bound, and never an end: who forges messages must not be able to end what a peer has begun.
#pragma once

#include <algorithm>
#include <chrono>

#include "control/ike/engine_types.hpp"

namespace culvert::ikev2 {

class Forgeries {
 public:
  static constexpr double kBurst = 64, kPerSecond = 20;  ///< all together cheaper than the key exchange was that made the SA

  /// Whether one more is worth a look.
  [[nodiscard]] bool may_try(ike::TimePoint now) {
    left_ = std::min(kBurst, left_ + std::chrono::duration<double>(now - at_).count() * kPerSecond);
    at_ = now;
    return left_ >= 1;
  }
  /// It was forged.
  void count() { left_ -= 1; }

 private:
  ike::TimePoint at_{};
  double left_ = kBurst;
};

}  // namespace culvert::ikev2
