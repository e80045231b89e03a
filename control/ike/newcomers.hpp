// Those who have sent the first message of Main Mode, were answered, and have shown nothing yet: not even that their address is theirs.
// Owns what is needed to go on when message 3 proves that much, which is message 1 itself and our cookie: no SA, no timer, no computation.
// IKEv1 has no cookie exchange that would let us keep nothing (RFC 2408 §2.5.3 asks for it, but HASH_I covers message 1, which no later one
// repeats). So this is kept as small as can be, for so many that a flood of spoofed first messages needs longer to push somebody out than
// an honest peer needs to answer: the newest is always taken, the oldest forgotten.
// Whose message 3 came while its address had all the half-open negotiations that one may have waits with it, and has not to send it again.
#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <utility>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "common/types.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/retransmit.hpp"

namespace culvert::ike {

/// At 40,000 first messages a second an honest peer has 1.6 s for its message 3.
inline constexpr std::size_t kMaxNewcomers = 65536;
/// Of their first messages, which a flooder may make long: as much as so many of the common size, which is 200 bytes, and a half.
inline constexpr std::size_t kMaxNewcomerBytes = 20U << 20;
/// Who wait in one line: more than come at once from behind one NAT, and few enough to look through.
inline constexpr std::size_t kMaxWaiting = 4096;

struct Newcomer {
  IkeSpi spi_i, spi_r;
  Endpoint local, remote;
  TimePoint since;
  std::size_t connection = 0;  ///< that message 1 was answered for
  Bytes message;               ///< message 1, as received
  Allowance allowance;
  unsigned repeats = 0;  ///< of our answer to it
  Bytes third{};         ///< message 3, as received, of one that waits for room
};

class Newcomers {
 public:
  /// Forgets the oldest until there is room; how many that were.
  std::size_t add(Newcomer newcomer);
  /// Who has sent a first message with this cookie from there; nullptr: nobody.
  [[nodiscard]] Newcomer* find(IkeSpi spi_i, const Endpoint& remote);
  /// Whether somebody there has been told this cookie of ours.
  [[nodiscard]] bool knows(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote) const;
  /// Message 3 names the cookie that only somebody at `remote` has been told: it is no newcomer any more.
  std::optional<Newcomer> take(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote);
  /// Keeps message 3 of this one; a second one changes nothing.
  void wait(Newcomer& newcomer, ByteView third);
  /// Whose turn it is of those from there who began after `oldest`; nullptr: nobody's. Older ones wait no longer: they must ask again.
  const Newcomer* waiting(const IpAddress& source, TimePoint oldest);
  /// The oldest, if it came at `limit` or before; call again.
  std::optional<Newcomer> take_older(TimePoint limit);
  /// When the oldest has been here for `patience`, on the next full second: so that a flood does not move a timer with each datagram.
  [[nodiscard]] std::optional<TimePoint> deadline(std::chrono::nanoseconds patience) const;
  [[nodiscard]] std::size_t size() const { return order_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  using Order = std::list<Newcomer>;
  Newcomer take(Order::iterator it);
  void wait_no_longer(Newcomer& newcomer);

  using Key = std::pair<IkeSpi, Endpoint>;
  Order order_;  ///< the oldest first
  std::map<Key, Order::iterator> index_;
  std::map<IpAddress, std::deque<Key>> waiting_;
  std::size_t bytes_ = 0;
};

}  // namespace culvert::ike
