// Sending again, and recognising what was sent again.
// Owns the backoff schedule of one request and the memory of one exchange's replies. Sends nothing itself: it says what is due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes.hpp"
#include "common/config/config.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ike {

/// A reply is repeated this often for a peer that has proved nothing: enough for a link that loses half of its packets,
/// too few to be worth reflecting (the reply to message 1 is no longer than message 1).
inline constexpr unsigned kMaxRepeatsUnproven = 5;
/// ... of IKEv2 so often, each time for a datagram of at least two thirds of its size (Allowance): at 30 % loss each way one of six answers
/// that are all lost would be one negotiation in a thousand.
inline constexpr unsigned kMaxRepeatsOfInit = 12;
/// ... and this often for one whose message decrypted: more than ike.retransmit_tries of any sane peer.
inline constexpr unsigned kMaxRepeatsProven = 20;
/// Requests of one exchange that are remembered: Main Mode has three, Quick Mode two, from each side.
inline constexpr std::size_t kMaxSeen = 4;

/// `value` varied by up to a tenth either way, so that a thousand tunnels do not beat in time.
std::chrono::nanoseconds jitter(Services& services, std::chrono::nanoseconds value);
/// Evenly from [0, limit); 0 for a limit that is not positive.
std::chrono::nanoseconds random_part(Services& services, std::chrono::nanoseconds limit);

enum class Due : std::uint8_t { Nothing, SendAgain, GiveUp };

/// A message that waits for its answer: sent `retransmit_tries` more times, each wait longer by `retransmit_base`.
class Outstanding {
 public:
  /// `message` is what was just sent (without the non-ESP marker).
  Outstanding(TimePoint now, Bytes message, const config::Ike& settings, Services& services);

  /// What the time asks for. SendAgain has been counted when it is returned.
  Due poll(TimePoint now, const config::Ike& settings, Services& services);
  /// Ends the wait no later than `limit`, unless it already ends sooner.
  void hurry(TimePoint limit);
  [[nodiscard]] TimePoint deadline() const { return limit_ && *limit_ < next_ ? *limit_ : next_; }
  [[nodiscard]] const Bytes& message() const { return message_; }
  [[nodiscard]] unsigned sent() const { return sent_; }

 private:
  Bytes message_;
  TimePoint next_;
  std::chrono::nanoseconds wait_;
  unsigned sent_ = 1;
  std::optional<TimePoint> limit_;
};

/// What a datagram is to an exchange that has seen some before.
enum class Duplicate : std::uint8_t {
  New,
  Answer,  ///< the last request again: send the reply again
  Ignore,  ///< seen before, and nothing is to be said (any more)
};

class ReplyCache {
 public:
  /// `limit`: repeats of one reply.
  Duplicate check(ByteView request, unsigned limit);
  /// The request was accepted: from now on it is a duplicate. Forgets the reply to the one before.
  void accept(ByteView request);
  /// A repeat that `check` counted was not sent after all.
  void not_repeated() { repeats_ -= repeats_ > 0 ? 1 : 0; }
  void set_reply(Bytes reply) { reply_ = std::move(reply); }
  [[nodiscard]] const Bytes& reply() const { return reply_; }

 private:
  std::vector<std::size_t> seen_;  ///< fingerprints, the latest last
  Bytes reply_;
  unsigned repeats_ = 0;
};

/// What may be sent to somebody who has proved nothing, whose address may be a victim's: at most one and a half times what came from
/// there. An answer that is longer than that waits until the peer has asked for it often enough.
class Allowance {
 public:
  void received(std::size_t bytes) { in_ += bytes; }
  /// False: not yet. `strictly`: no more than came.
  bool spend(std::size_t bytes, bool strictly = false) {
    if (2 * (out_ + bytes) > (strictly ? 2 : 3) * in_) return false;
    out_ += bytes;
    return true;
  }
  /// What could be sent now.
  [[nodiscard]] std::size_t left(bool strictly = false) const {
    const std::size_t most = strictly ? in_ : 3 * in_ / 2;
    return most > out_ ? most - out_ : 0;
  }

 private:
  std::size_t in_ = 0, out_ = 0;
};

/// A number for a datagram: not collision-resistant, which costs a forger's victim no more than a lost packet does.
std::size_t fingerprint(ByteView bytes);

}  // namespace culvert::ike
