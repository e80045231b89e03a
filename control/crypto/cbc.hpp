// Block ciphers in CBC mode without padding, for messages of an IKE exchange (not for packets: those are the data plane's).
// Owns length checks. Never pads and never authenticates: both are the caller's protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kMaxBlock = 16;  // bytes, AES

enum class CipherError : std::uint8_t {
  KeyLength,   ///< not a length that the cipher takes
  IvLength,    ///< not one block
  DataLength,  ///< not a whole number of blocks, or nothing
};
std::string_view name(CipherError e);

/// `cipher`: AesCbc (keys of 16, 24, 32 bytes), TripleDes (24), Des (8). `data` is one block or more; the result is as long.
std::expected<Bytes, CipherError> cbc_encrypt(Encr cipher, ByteView key, ByteView iv, ByteView data);
std::expected<Bytes, CipherError> cbc_decrypt(Encr cipher, ByteView key, ByteView iv, ByteView data);

}  // namespace culvert::crypto
