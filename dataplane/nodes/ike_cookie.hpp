// First messages of IKEv2 beyond those that culvertd gets: whoever sends one is asked to say it again with a cookie (RFC 7296 §2.6), and
// has shown then that he hears what is sent to his address. Owns the form of that cookie and of the question. Keeps nothing of anybody, and
// never decides when to ask.
//
//     HDR SA KE Ni              -->  <--  HDR N(COOKIE)
//     HDR N(COOKIE) SA KE Ni    -->  culvertd, with those that have begun before
//
// Cookie: minute | HMAC-SHA-256(secret, minute | SPIi | port | VRF | address | Ni), 16 bytes of it. It is good in its minute and the next.
// It is no cookie of culvertd's own, which says what it thinks of its load, and which is not looked at here.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "common/bytes.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

/// A request of IKE_SA_INIT, or of IKE_SESSION_RESUME, of IKEv2.
struct FirstMessage {
  ByteView nonce;
  ByteView cookie;           ///< that stands in front; empty: there is none
  std::uint32_t offset = 0;  ///< of the IKE header, from Packet::data
  std::uint8_t exchange = 0;
};
/// What a packet of LocalKind::Ike is one of, as far as cookies go; nullopt: it is none, or does not hold together. Points into the packet.
std::optional<FirstMessage> read_first_message(const Packet& packet);

class CryptoEngine;

class Cookies {
 public:
  static constexpr std::size_t kBytes = 20;
  using Secret = std::array<std::uint8_t, 32>;
  /// `engine` must outlive it.
  Cookies(const Secret& secret, const CryptoEngine& engine);

  /// Whether it comes with a cookie of ours for where it comes from. `now`: ns, of a clock that never goes back.
  [[nodiscard]] bool good(const Packet& packet, const FirstMessage& m, std::uint64_t now) const;
  /// Makes the question for a cookie of a first message, in place, between the same addresses the other way round. False, and unchanged:
  /// the question would be longer than the message, or the packet has IP options, or its UDP checksum is wrong.
  bool ask(Packet& packet, const FirstMessage& m, std::uint64_t now) const;

 private:
  void write(std::uint8_t* out, const Packet& packet, const FirstMessage& m, std::uint32_t minute) const;
  const CryptoEngine& engine_;
  std::array<std::uint8_t, 64> inner_{}, outer_{};  ///< the padded secret (RFC 2104)
};

}  // namespace culvert::dp
