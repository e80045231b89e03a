// Encryption of IKEv1 messages under SKEYID_e: the cipher, its padding, and how IVs follow from one another (RFC 2409 App. B).
// Owns the key of one ISAKMP SA. Keeps no IV: the state of an exchange does, so that a forged message cannot disturb it.
#pragma once

#include <array>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"
#include "control/crypto/cbc.hpp"

namespace culvert::ikev1 {

/// One block of the cipher: the first bytes of it where that is shorter.
using Iv = std::array<std::uint8_t, crypto::kMaxBlock>;

struct Sealed {
  Bytes body;  ///< ciphertext, whole blocks
  Iv next;     ///< its last block: the IV of the next message of the exchange
};
struct Opened {
  Bytes chain;  ///< payloads and padding; parse with Trailing::Padding
  Iv next;      ///< take it over only when the message has proved right
};

/// The IV of Main Mode message 5: hash(g^xi | g^xr).
Iv phase1_iv(Prf hash, ByteView g_xi, ByteView g_xr);
/// The IV of the first message of a Quick Mode or Informational exchange: hash(last block of phase 1 | M-ID). `block`: bytes.
Iv exchange_iv(Prf hash, const Iv& last_phase1, std::size_t block, MessageId message_id);

class Cipher {
 public:
  /// `key` from phase1_encryption_key(). A length that the cipher does not take throws std::invalid_argument (our bug).
  Cipher(Encr cipher, SecretBytes key);
  /// Bytes.
  [[nodiscard]] std::size_t block() const { return block_; }
  /// Pads the chain with zeros to a whole block, none where it is one already.
  [[nodiscard]] Sealed seal(const Iv& iv, ByteView chain) const;
  /// Fails on a body that is empty or not whole blocks (RFC 2409 App. B).
  [[nodiscard]] Parsed<Opened> open(const Iv& iv, ByteView body) const;

 private:
  Encr cipher_;
  std::size_t block_;  ///< bytes
  SecretBytes key_;
};

}  // namespace culvert::ikev1
