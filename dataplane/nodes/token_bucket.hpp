// Rate limits for everything that a stranger can make this router do. Owns no clock: the caller says what time it is.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "common/net/ip.hpp"

namespace culvert::dp {

/// `rate` tokens a second, at most `burst` saved up. Times in nanoseconds.
class TokenBucket {
 public:
  TokenBucket() = default;
  TokenBucket(std::uint32_t rate, std::uint32_t burst) : interval_(1'000'000'000ULL / rate), window_(interval_ * burst) {}
  bool take(std::uint64_t now) {
    // The bucket as one number: the time at which it would be full again.
    const std::uint64_t full = std::max(full_at_, now);
    if (full - now + interval_ > window_) return false;
    full_at_ = full + interval_;
    return true;
  }
  [[nodiscard]] bool would_take(std::uint64_t now) const { return std::max(full_at_, now) - now + interval_ <= window_; }

 private:
  std::uint64_t interval_ = 0, window_ = 0, full_at_ = 0;
};

/// What of IKE's datagrams goes to culvertd: a budget a source, and two in all, so that a flood neither fills the ring nor shuts
/// out others. First messages have one of their own: anybody can send them in anybody's name, and those who already have our
/// answer, or a tunnel, must not wait behind them. Sources share a bucket if their hashes agree under `seed`, which must be random.
class PuntLimiter {
 public:
  static constexpr std::uint32_t kSourceRate = 5000, kSourceBurst = 500;  ///< a thousand negotiations a second, as a NAT may have behind it
  static constexpr std::uint32_t kFirstRate = 10000, kFirstBurst = 400;   ///< less than half of the ring to culvertd
  static constexpr std::uint32_t kTotalRate = 20000, kTotalBurst = 800;   ///< of all others; less than the ring holds
  explicit PuntLimiter(std::uint64_t seed) : seed_(seed | 1) { sources_.fill(TokenBucket(kSourceRate, kSourceBurst)); }

  /// `first`: a message that begins a negotiation.
  bool take(const IpAddress& source, bool first, std::uint64_t now, VrfId vrf = kDefaultVrf) {
    std::uint64_t h = seed_ ^ std::uint64_t{vrf} << 56;
    // Of IPv6 a network of one link is one source: whoever has an address there has them all.
    for (const std::uint8_t b : source.view().first(source.family == Family::V6 ? 8 : source.size())) h = (h ^ b) * 0x100000001b3U;
    h *= 0x9e3779b97f4a7c15U;
    // A source that used up its own budget takes nothing of the common one.
    TokenBucket& own = sources_[h >> 54];
    return own.would_take(now) && (first ? first_ : total_).take(now) && own.take(now);
  }

 private:
  std::uint64_t seed_;
  TokenBucket first_{kFirstRate, kFirstBurst}, total_{kTotalRate, kTotalBurst};
  std::array<TokenBucket, 1024> sources_;
};

}  // namespace culvert::dp
