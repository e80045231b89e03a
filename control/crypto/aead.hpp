// Ciphers that authenticate what they encrypt, and counter mode, for messages of an IKE exchange (not for packets: those are the data
// plane's). Owns length checks and the comparison of the tag. Never makes a nonce: that no nonce comes twice under a key is the caller's.
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"

namespace culvert::crypto {

enum class AeadError : std::uint8_t {
  Algorithm,    ///< no AEAD, or none with a key of this length
  NonceLength,  ///< not the salt and the IV of encr_table()
  DataLength,   ///< shorter than the tag, or too long for the library
  Tag,          ///< the tag is not that of the data under this key and nonce
};
std::string_view name(AeadError e);

/// `cipher`: AesGcm8/12/16, AesCcm8/12/16, ChaCha20Poly1305, with the sizes of encr_table(). The nonce is salt | IV (RFC 5282 §4, RFC 7634
/// §2). The ciphertext, with the tag behind it.
std::expected<Bytes, AeadError> aead_seal(Encr cipher, ByteView key, ByteView nonce, ByteView aad, ByteView plain);
/// Compares the tag in constant time, and keeps no plain text of a message whose tag is wrong.
std::expected<Bytes, AeadError> aead_open(Encr cipher, ByteView key, ByteView nonce, ByteView aad, ByteView sealed);

/// AES in counter mode, both directions: block n of the key stream is AES(nonce | n), n being 32 bits that begin with 1 (RFC 3686 §4,
/// RFC 5930 §2). Keys of 16, 24, 32 bytes; the nonce is salt | IV of encr_table().
std::expected<Bytes, AeadError> aes_ctr(ByteView key, ByteView nonce, ByteView data);

}  // namespace culvert::crypto
