// Fragments of IKEv2 messages that came in (RFC 7383 §2.6): of each direction of an IKE SA one message at a time, or one for each ID that
// may come next (window.hpp).
// Owns the parts until the message is whole, another one is due, or time is over. Takes in only what has been authenticated, so that
// nobody but the peer fills it: it never sees a datagram.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>

#include "control/ike/engine_types.hpp"
#include "control/ikev2/cipher.hpp"

namespace culvert::ikev2 {

inline constexpr std::uint16_t kMaxFragments = 64;           ///< of a message, in and out
inline constexpr std::size_t kMaxReassembled = 64UL * 1024;  ///< bytes of a message: what one in a whole UDP datagram could have
inline constexpr auto kFragmentLife = std::chrono::seconds{30};

class Fragments {
 public:
  /// Whose they are.
  struct Of {
    std::uint32_t id = 0;
    std::uint8_t exchange = 0;
    friend bool operator==(const Of&, const Of&) = default;
  };
  /// The whole, if this was the last part of it; nullopt: more are to come, or this one is known or older than what is there; error: why
  /// the message is given up.
  std::expected<std::optional<Opened>, std::string> add(ike::TimePoint now, Of message, Opened part);
  [[nodiscard]] std::optional<ike::TimePoint> deadline() const;
  void expire(ike::TimePoint now);
  void clear() { *this = {}; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  Of message_{};
  std::uint16_t total_ = 0;
  PayloadType first_{};
  std::map<std::uint16_t, Bytes> parts_;
  std::size_t bytes_ = 0;
  ike::TimePoint since_{};
};

/// Those of several messages at once. Whoever adds sees to it that there are few IDs.
class FragmentsById {
 public:
  std::expected<std::optional<Opened>, std::string> add(ike::TimePoint now, Fragments::Of message, Opened part);
  [[nodiscard]] std::optional<ike::TimePoint> deadline() const;
  void expire(ike::TimePoint now);
  /// Messages with lower IDs have come to their end.
  void forget_below(std::uint32_t id) { parts_.erase(parts_.begin(), parts_.lower_bound(id)); }
  void clear() { parts_.clear(); }
  /// Of all messages with higher IDs.
  [[nodiscard]] std::size_t bytes_above(std::uint32_t id) const;

 private:
  std::map<std::uint32_t, Fragments> parts_;
};

}  // namespace culvert::ikev2
