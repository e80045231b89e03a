// Who guessed passwords lately: by user name and by source address, known users or not.
// Owns bounded memories that fade. Knows no password, and answers nobody.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ike {

class Attempts {
 public:
  static constexpr std::size_t kMaxRemembered = 4096;           ///< of names, and of addresses; those next to be forgiven are forgotten
  static constexpr auto kForgiven = std::chrono::seconds{30};   ///< one failure less after each
  static constexpr auto kFirstDelay = std::chrono::seconds{1};  ///< of a refusal; doubles with each failure before it ...
  static constexpr auto kMaxDelay = std::chrono::seconds{16};   ///< ... up to this
  static constexpr unsigned kSourceLimit = 20;                  ///< failures of one address, beyond which nothing of it is checked. None
                                                                ///< counts beyond: behind a NAT, others are at the same address

  /// A password was checked, and is wrong.
  void failed(TimePoint now, ByteView user, const Endpoint& source);
  void succeeded(ByteView user);
  /// How long a refusal is held back; the same for users that exist and for those that do not.
  [[nodiscard]] std::chrono::nanoseconds delay(TimePoint now, ByteView user, const Endpoint& source) const;
  /// This address has guessed so often that its words are refused unchecked: the cost of checking is bounded. The users stay
  /// unaffected: from elsewhere their password is good.
  [[nodiscard]] bool blocked(TimePoint now, const Endpoint& source) const;
  [[nodiscard]] unsigned failures(TimePoint now, ByteView user) const;
  [[nodiscard]] unsigned failures(TimePoint now, const Endpoint& source) const;

 private:
  struct Entry {
    TimePoint forgiven_at{};  ///< all of its failures
  };
  static unsigned left(const Entry& e, TimePoint now);
  template <class Key>
  static void note(std::map<Key, Entry>& all, const Key& key, TimePoint now);
  std::map<Bytes, Entry> users_;
  std::map<Endpoint, Entry> sources_;  ///< without ports
};

}  // namespace culvert::ike
