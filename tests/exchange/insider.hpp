// A peer that has the keys and misuses them: what two well-behaved engines never say to each other.
// Owns nothing of the world; derives its keys from what went over the link and the pre-shared key "secret".
#pragma once

#include "control/ikev1/cipher.hpp"
#include "control/ikev1/keymat.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

class Insider {
 public:
  /// After the Main Mode of "c", the first thing that `world` recorded.
  explicit Insider(const World& world);
  /// An encrypted Informational message under HASH(1) (RFC 2409 §5.7), as it arrives: for World::deliver().
  [[nodiscard]] ike::Datagram informational(const ikev1::Builder& payloads, bool to_initiator, MessageId id = MessageId{0xabcd0001}) const;
  /// The first message of a Quick Mode, Informational or Transaction exchange under HASH(1).
  [[nodiscard]] ike::Datagram message(std::uint8_t exchange, MessageId id, const ikev1::Builder& payloads, bool to_initiator) const;

 private:
  ike::Header header_;
  Endpoint initiator_, responder_;
  ikev1::Phase1Secrets secrets_;
  std::unique_ptr<ikev1::Cipher> cipher_;
  ikev1::Iv iv_{};  ///< last block of message 6
};

}  // namespace culvert::test
