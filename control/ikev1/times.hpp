// Small arithmetic on deadlines. Owns no state and no policy.
#pragma once

#include <algorithm>
#include <optional>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

inline std::optional<TimePoint> earliest(std::optional<TimePoint> a, std::optional<TimePoint> b) {
  if (!a) return b;
  return b ? std::min(*a, *b) : a;
}

/// ike.retry_delay, doubled for each failure after the first, to a minute.
inline std::chrono::nanoseconds backoff(Core& core, unsigned failures) {
  std::chrono::nanoseconds wait = core.config.ike.retry_delay;
  for (unsigned i = 1; i < failures && wait < kMaxRetryDelay; ++i) wait *= 2;
  return ike::jitter(core.services, std::min<std::chrono::nanoseconds>(
                                        wait, std::max<std::chrono::nanoseconds>(kMaxRetryDelay, core.config.ike.retry_delay)));
}

}  // namespace culvert::ikev1
