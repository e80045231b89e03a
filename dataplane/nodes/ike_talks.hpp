// With whom culvertd talks IKE, as its own messages show that pass here: by the two SPIs of an IKE SA (of IKEv1 the cookies), which nobody
// can guess who is not on the way, whatever address he gives as his. Owns two tables of fixed size: what it has said in clear, which
// strangers can cause by their first messages, and what it has said under keys. Where there is no room another entry is forgotten, until
// culvertd says something again. Decides nothing: PuntLimiter does.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "common/bytes.hpp"

namespace culvert::dp {

class IkeTalks {
 public:
  enum class Known : std::uint8_t {
    No,
    Begun,  ///< culvertd has answered, or asked, in clear
    Keyed,  ///< ... under keys
  };
  explicit IkeTalks(std::uint64_t seed) : seed_(seed | 1), clear_(std::make_unique<Table>()), keyed_(std::make_unique<Table>()) {}

  /// A datagram of culvertd's, from its IKE header on. One thread alone.
  void sent(ByteView ike) {
    if (ike.size() < kHeader) return;
    const std::uint8_t major = ike[17] >> 4, next = ike[16];
    const bool sealed = major == 1 ? (ike[19] & kV1Encrypted) != 0 : next == kSk || next == kSkf;
    const std::uint64_t initiator = spi(ike, 0), responder = spi(ike, 8);
    // Of our own first message the peer's SPI is not known yet: nobody else causes those.
    (sealed || responder == 0 ? *keyed_ : *clear_).add(key(initiator, responder), next_++);
  }
  /// Of a message with both SPIs. Any thread.
  [[nodiscard]] Known known(ByteView ike) const {
    if (ike.size() < kHeader) return Known::No;
    const std::uint64_t initiator = spi(ike, 0), both = key(initiator, spi(ike, 8));
    if (keyed_->has(both) || keyed_->has(key(initiator, 0))) return Known::Keyed;
    return clear_->has(both) ? Known::Begun : Known::No;
  }

 private:
  static constexpr std::size_t kHeader = 28, kSets = 8192, kWays = 4;  // more than twice the IKE SAs that culvertd has at most
  static constexpr std::uint8_t kV1Encrypted = 1, kSk = 46, kSkf = 53;

  struct Table {
    std::array<std::array<std::atomic<std::uint64_t>, kWays>, kSets> sets{};
    [[nodiscard]] bool has(std::uint64_t key) const {
      for (const auto& way : sets[key % kSets])
        if (way.load(std::memory_order_relaxed) == key) return true;
      return false;
    }
    void add(std::uint64_t key, std::size_t victim) {
      if (has(key)) return;
      auto& set = sets[key % kSets];
      for (auto& way : set)
        if (way.load(std::memory_order_relaxed) == 0) return way.store(key, std::memory_order_relaxed);
      set[victim % kWays].store(key, std::memory_order_relaxed);
    }
  };
  static std::uint64_t spi(ByteView ike, std::size_t at) {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < 8; ++i) out = out << 8 | ike[at + i];
    return out;
  }
  [[nodiscard]] std::uint64_t key(std::uint64_t initiator, std::uint64_t responder) const {
    std::uint64_t h = seed_;
    for (const std::uint64_t part : {initiator, responder}) {
      h = (h ^ part) * 0x9e3779b97f4a7c15U;
      h ^= h >> 29;
    }
    return h | std::uint64_t{1} << 63;  // never that of an empty place
  }

  std::uint64_t seed_;
  std::size_t next_ = 0;
  std::unique_ptr<Table> clear_, keyed_;
};

}  // namespace culvert::dp
