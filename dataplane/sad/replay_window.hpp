// The anti-replay window of one inbound SA (RFC 4303 §3.4.3): which sequence numbers were authenticated.
// Owns the bitmap. Holds no lock: one SA, one worker. Must never change on a packet whose ICV was not verified: check() is for
// before the crypto, commit() for after it. Between the two, another packet of the same batch may have taken the number.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace culvert::dp {

enum class ReplayVerdict : std::uint8_t {
  Fresh,  ///< not seen, inside of the window or right of it
  Seen,   ///< authenticated before
  Old,    ///< left of the window, or 0, which no sender uses
};

class ReplayWindow {
 public:
  static constexpr std::uint32_t kMin = 32, kMax = 8192;

  /// `size` packets: a power of two, kMin..kMax.
  explicit ReplayWindow(std::uint32_t size = kMin) : size_(size), word_mask_(std::max(size, 64U) / 32 - 1) {}
  static constexpr bool valid_size(std::uint32_t size) { return size >= kMin && size <= kMax && std::has_single_bit(size); }

  /// The whole number of a packet that carries its lower half (RFC 4303 App. A2.2): of those from the window's left edge on the next one
  /// that ends in it. 0, which no sender uses, where that would lie before the first number.
  [[nodiscard]] std::uint64_t extended(std::uint32_t low) const {
    const std::uint64_t left = top_ - (size_ - 1);  // below 0 while fewer have come than the window holds
    const std::uint64_t sequence = left + static_cast<std::uint32_t>(low - static_cast<std::uint32_t>(left));
    return top_ < size_ - 1 && sequence >= left ? 0 : sequence;
  }
  [[nodiscard]] ReplayVerdict check(std::uint64_t sequence) const {
    if (sequence > top_) return ReplayVerdict::Fresh;
    if (sequence == 0 || top_ - sequence >= size_) return ReplayVerdict::Old;
    return (word(sequence) >> (sequence & 63) & 1) != 0 ? ReplayVerdict::Seen : ReplayVerdict::Fresh;
  }
  /// Checks again, and takes the number if it is still fresh.
  ReplayVerdict commit(std::uint64_t sequence) {
    const ReplayVerdict verdict = check(sequence);
    if (verdict != ReplayVerdict::Fresh) return verdict;
    if (sequence > top_) {
      if ((sequence ^ top_) >> 6 != 0) clear_up_to(sequence);
      top_ = sequence;
    }
    word(sequence) |= std::uint64_t{1} << (sequence & 63);
    return verdict;
  }
  /// As it was when it was made.
  void restart() {
    top_ = 0;
    std::fill_n(bits_.begin(), word_mask_ + std::size_t{1}, 0);
  }
  /// Highest number authenticated so far; 0: none.
  [[nodiscard]] std::uint64_t top() const { return top_; }
  [[nodiscard]] std::uint32_t size() const { return size_; }

 private:
  // Twice as many bits as the window, and two words at least, so that its left edge is exact to the packet while words are cleared whole
  // (RFC 6479).
  static constexpr std::size_t kWords = kMax / 32;
  [[nodiscard]] const std::uint64_t& word(std::uint64_t sequence) const { return bits_[(sequence >> 6) & word_mask_]; }
  std::uint64_t& word(std::uint64_t sequence) { return bits_[(sequence >> 6) & word_mask_]; }
  void clear_up_to(std::uint64_t sequence) {
    const std::uint64_t from = top_ >> 6;
    const std::uint64_t steps = std::min<std::uint64_t>((sequence >> 6) - from, word_mask_ + std::uint64_t{1});
    for (std::uint64_t i = 1; i <= steps; ++i) bits_[(from + i) & word_mask_] = 0;
  }

  std::uint64_t top_ = 0;
  std::uint32_t size_;
  std::uint32_t word_mask_;
  std::array<std::uint64_t, kWords> bits_{};
};

}  // namespace culvert::dp
