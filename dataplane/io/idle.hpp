// What a worker does when there is nothing to do. Owns no packet and no clock of others.
// Poll: it looks again at once, on a core of its own. Adaptive: it spins for a while, then naps, longer and longer up to kMaxNap,
// so that several share a core. The device's ring must hold what arrives during a nap: 100 us at 1 Mpps are 100 packets.
#pragma once

#include <algorithm>
#include <cstdint>

#include <sys/prctl.h>
#include <time.h>

#include "common/config/config.hpp"

namespace culvert::dp {

class Idle {
 public:
  static constexpr std::uint32_t kSpins = 32;                ///< empty passes before the first nap
  static constexpr long kMinNap = 2'000, kMaxNap = 100'000;  ///< nanoseconds

  explicit Idle(config::Idle mode) : mode_(mode) {
    // The kernel adds 50 us of slack to every sleep of a thread that does not ask for less.
    if (mode_ == config::Idle::Adaptive) ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  }
  /// After each pass. True: it slept.
  bool step(bool busy) {
    if (busy) {
      empty_ = 0;
      nap_ = kMinNap;
      return false;
    }
    if (mode_ == config::Idle::Poll || ++empty_ <= kSpins) {
      __builtin_ia32_pause();
      return false;
    }
    const timespec t{0, nap_};
    ::nanosleep(&t, nullptr);
    nap_ = std::min(nap_ * 5 / 4, kMaxNap);
    return true;
  }

 private:
  config::Idle mode_;
  std::uint32_t empty_ = 0;
  long nap_ = kMinNap;
};

}  // namespace culvert::dp
