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

/// A datagram of IKE, as to who may have sent it.
enum class PuntKind : std::uint8_t {
  Keyed,    ///< of an SA of IKE under whose keys culvertd has said something (IkeTalks)
  Begun,    ///< of a negotiation that culvertd has answered, or with a cookie of ours
  Stray,    ///< of a negotiation or SA that nobody here knows: anybody, in anybody's name, or a peer with what was here before
  First,    ///< begins one: anybody, in anybody's name
  Askable,  ///< the same with IKEv2: whoever it is can be asked for a cookie
};

/// What of IKE's datagrams goes to culvertd: a budget a source, and one of each kind in all, so that a flood neither fills the ring nor
/// shuts out others. Those who have a tunnel must not wait behind those who begin one, nor either behind those who only say so; nor those
/// who begin with IKEv1, which knows no cookies, behind those with IKEv2. Sources share a bucket if their hashes agree under `seed`, which
/// must be random.
class PuntLimiter {
 public:
  static constexpr std::uint32_t kAskableRate = 4000, kAskableBurst = 400;  ///< who comes beyond is asked for a cookie
  static constexpr std::uint32_t kSourceRate = 5000, kSourceBurst = 500;  ///< a thousand negotiations a second, as a NAT may have behind it
  static constexpr std::uint32_t kFirstRate = 10000, kFirstBurst = 400;   ///< less than half of the ring to culvertd
  static constexpr std::uint32_t kBegunRate = 10000, kBegunBurst = 600;   ///< as many as may begin, and more at once than one source may
  static constexpr std::uint32_t kStrayRate = 2000, kStrayBurst = 200;    ///< after a restart all are; each says it again within seconds
  static constexpr std::uint32_t kKeyedRate = 20000, kKeyedBurst = 800;   ///< less than the ring holds
  explicit PuntLimiter(std::uint64_t seed) : seed_(seed | 1) {
    sources_.fill(TokenBucket(kSourceRate, kSourceBurst));
    keyed_sources_ = sources_;
  }

  bool take(const IpAddress& source, PuntKind kind, std::uint64_t now, VrfId vrf = kDefaultVrf) {
    std::uint64_t h = seed_ ^ std::uint64_t{vrf} << 56;
    // Of IPv6 a network of one link is one source: whoever has an address there has them all.
    for (const std::uint8_t b : source.view().first(source.family == Family::V6 ? 8 : source.size())) h = (h ^ b) * 0x100000001b3U;
    h *= 0x9e3779b97f4a7c15U;
    // A source that used up its own budget takes nothing of the common one.
    TokenBucket& own = (kind == PuntKind::Keyed ? keyed_sources_ : sources_)[h >> 54];
    TokenBucket& all = kinds_[static_cast<std::size_t>(kind)];
    return own.would_take(now) && all.take(now) && own.take(now);
  }

 private:
  std::uint64_t seed_;
  std::array<TokenBucket, 5> kinds_{{{kKeyedRate, kKeyedBurst},
                                     {kBegunRate, kBegunBurst},
                                     {kStrayRate, kStrayBurst},
                                     {kFirstRate, kFirstBurst},
                                     {kAskableRate, kAskableBurst}}};  ///< by PuntKind
  std::array<TokenBucket, 1024> sources_, keyed_sources_;              ///< who comes in a peer's name takes nothing of what the peer has
};

}  // namespace culvert::dp
