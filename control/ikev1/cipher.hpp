// Encryption of IKEv1 messages under SKEYID_e: the cipher, its padding, and how IVs follow from one another (RFC 2409 App. B).
// Owns the key of one ISAKMP SA. Keeps no IV: the state of an exchange does, so that a forged message cannot disturb it.
#pragma once

#include <array>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"
#include "control/crypto/aes.hpp"

namespace culvert::ikev1 {

using Iv = std::array<std::uint8_t, crypto::kAesBlock>;

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
/// The IV of the first message of a Quick Mode or Informational exchange: hash(last block of phase 1 | M-ID).
Iv exchange_iv(Prf hash, const Iv& last_phase1, MessageId message_id);

class Cipher {
 public:
  /// `key` from phase1_encryption_key(): 16, 24 or 32 bytes, AES-CBC. Another length throws std::invalid_argument (our bug).
  explicit Cipher(SecretBytes key);
  /// Pads the chain with zeros to a whole block, none where it is one already.
  [[nodiscard]] Sealed seal(const Iv& iv, ByteView chain) const;
  /// Fails on a body that is empty or not whole blocks (RFC 2409 App. B).
  [[nodiscard]] Parsed<Opened> open(const Iv& iv, ByteView body) const;

 private:
  SecretBytes key_;
};

}  // namespace culvert::ikev1
