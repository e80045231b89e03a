// Encryption and integrity of IKEv2 messages: the SK payload (RFC 7296 §3.14, AEAD: RFC 5282, RFC 7634) and its fragments (SKF, RFC 7383).
// Owns the keys of one direction of one IKE SA, the checks of what comes in and the counter that makes the IVs of an AEAD unique.
// Never parses what is inside.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"
#include "control/ike/header.hpp"
#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

/// Where one message's part stands among its fragments (RFC 7383 §2.5). 1 of 1: a whole message in an SK payload.
struct FragmentPlace {
  std::uint16_t number = 1, total = 1;
  friend bool operator==(const FragmentPlace&, const FragmentPlace&) = default;
};
struct Opened {
  PayloadType first{};  ///< of what is inside; of a fragment with a number above 1: None
  Bytes chain;          ///< the payloads inside, without padding; of a fragment its part of them
  FragmentPlace place;
};
enum class OpenError : std::uint8_t {
  NoSk,       ///< no SK or SKF payload, or something behind it
  Malformed,  ///< lengths, padding or fragment numbers that cannot be
  BadIcv,     ///< the integrity check failed: wrong keys or a forgery
};
std::string_view name(OpenError e);

class Cipher {
 public:
  /// Keys of the direction: SK_ei and SK_ai, or SK_er and SK_ar, as derive() gives them (an AEAD has no `integ`).
  Cipher(const IkeSuite& suite, SecretBytes encr, SecretBytes integ);
  ~Cipher();
  Cipher(Cipher&&) noexcept;
  Cipher& operator=(Cipher&&) noexcept;

  /// A whole message: `header` (its next-payload and length fields are set here), then one SK payload with the chain whose first payload
  /// is `first`.
  [[nodiscard]] Bytes seal(ike::Header header, PayloadType first, ByteView chain);
  /// A whole message with one SKF payload. `first` is written into fragment 1 only (RFC 7383 §2.5).
  [[nodiscard]] Bytes seal_fragment(ike::Header header, PayloadType first, ByteView part, FragmentPlace place);
  /// `message` from the header to the end, as received. The integrity check comes before anything inside is looked at.
  [[nodiscard]] std::expected<Opened, OpenError> open(ByteView message) const;
  /// Bytes of a message with a chain of `chain_bytes`, from the IKE header on; `fragment`: as an SKF.
  [[nodiscard]] std::size_t sealed_bytes(std::size_t chain_bytes, bool fragment = false) const;
  /// The longest part of a chain that makes an SKF message of at most `message_bytes`; 0: not even one byte.
  [[nodiscard]] std::size_t fragment_room(std::size_t message_bytes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ikev2
