// Those who have sent a first message, were answered, and have shown nothing yet: not even that their address is theirs.
// Owns what is needed to go on when message 3 proves that much, which is message 1 itself and our cookie, in Aggressive Mode also our
// nonce and a key pair that many share: no SA, no timer, no computation.
// IKEv1 has no cookie exchange that would let us keep nothing (RFC 2408 §2.5.3 asks for it, but HASH_I covers message 1, which no later one
// repeats). So this is kept as small as can be, for so many that a flood of spoofed first messages needs longer to push somebody out than
// an honest peer needs to answer: the newest is always taken, the oldest forgotten.
// Whose message 3 came while there was no room for one more half-open negotiation waits with it, and has not to send it again.
#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <map>
#include <memory>
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

/// A key pair of ours with which several first messages of Aggressive Mode are answered.
struct ReplyKey {
  std::shared_ptr<KeyExchange> key;
  Bytes public_value;
  TimePoint made;
};

struct Newcomer {
  Exchange mode = Exchange::MainMode;
  IkeSpi spi_i, spi_r;
  Endpoint local, remote;
  TimePoint since;
  std::size_t connection = 0;  ///< that message 1 was answered for
  Bytes message;               ///< message 1, as received
  Allowance allowance;
  unsigned repeats = 0;                   ///< of our answer to it
  bool reported = false;                  ///< that it will not come in
  Bytes nonce{};                          ///< ours, in Aggressive Mode
  std::shared_ptr<const ReplyKey> key{};  ///< the same
  std::optional<Datagram> third{};        ///< message 3 (without the non-ESP marker), of one that waits for room
  Endpoint line{};                        ///< where it waits
};

class Newcomers {
 public:
  /// The line of those who wait for room for anybody. Others wait for room at their own address (host_of).
  static constexpr Endpoint kAnywhere{};

  /// Forgets the oldest until there is room; how many that were.
  std::size_t add(Newcomer newcomer);
  /// Who has sent a first message with this cookie from there; nullptr: nobody.
  [[nodiscard]] Newcomer* find(IkeSpi spi_i, const Endpoint& remote);
  /// Who has been told this cookie of ours there; nullptr: nobody. In Aggressive Mode it may go on from another place: behind a NAT
  /// message 3 is the first from port 4500 (RFC 3947 §4).
  [[nodiscard]] Newcomer* told(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote);
  /// Message 3 names the cookie that only somebody at `remote` has been told: it is no newcomer any more.
  std::optional<Newcomer> take(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote);
  /// Keeps message 3 of this one, which waits in that line from now on; a second one changes nothing.
  void wait(Newcomer& newcomer, Datagram third, const Endpoint& line);
  /// Whose turn it is of those in this line who began after `oldest`; nullptr: nobody's. Older ones wait no longer: they must ask again.
  Newcomer* waiting(const Endpoint& line, TimePoint oldest);
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

  Order order_;  ///< the oldest first
  std::map<std::pair<IkeSpi, Endpoint>, Order::iterator> by_peer_;
  std::map<IkeSpi, Order::iterator> by_cookie_;     ///< ours
  std::map<Endpoint, std::deque<IkeSpi>> waiting_;  ///< our cookies, by line
  std::size_t bytes_ = 0;
};

}  // namespace culvert::ike
