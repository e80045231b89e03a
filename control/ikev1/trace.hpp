// The lines of a watched peer's messages: exchange, number, payloads, sizes, and what proposals, identities and notifications say.
// Owns these words. Must never show a secret (nonces, keys, hashes, signatures, passwords: only their sizes), nor a peer's bytes
// that were not made printable; a line and a second's lines are bounded.
#pragma once

#include <string>
#include <vector>

#include "control/ike/header.hpp"
#include "control/ikev1/message.hpp"

namespace culvert::ikev1 {

inline constexpr std::size_t kTraceLine = 1500;  ///< bytes of one line; the rest is left out

/// "Main Mode, cookies 0123456789abcdef 0000000000000000, 176 bytes"; with a message id where there is one.
std::string describe(const ike::Header& header, std::size_t bytes);
/// "SA (aes256-sha256-ecp256), VID (RFC 3947), VID (16 bytes, unknown)"
std::string describe(const Message& message);
/// The same of a chain that is about to be encrypted.
std::string describe(PayloadType first, ByteView chain);

/// What the encrypted messages of an SA hold, from when they are sealed until they are sent for the last time.
class SealedNotes {
 public:
  void note(ByteView message, std::string text);
  /// nullptr: not known.
  [[nodiscard]] const std::string* find(ByteView message) const;

 private:
  static constexpr std::size_t kMax = 8;
  struct Note {
    std::size_t fingerprint = 0;
    std::string text;
  };
  std::vector<Note> notes_;
};

}  // namespace culvert::ikev1
