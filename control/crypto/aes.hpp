// AES in CBC mode without padding, for messages of an IKE exchange (not for packets: those are the data plane's).
// Owns length checks. Never pads and never authenticates: both are the caller's protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

#include "common/bytes.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kAesBlock = 16;  // bytes, FIPS 197

enum class CipherError : std::uint8_t {
  KeyLength,   ///< not 16, 24 or 32 bytes
  IvLength,    ///< not one block
  DataLength,  ///< not a whole number of blocks, or nothing
};
std::string_view name(CipherError e);

/// `data` is one block or more. The result is exactly as long.
std::expected<Bytes, CipherError> aes_cbc_encrypt(ByteView key, ByteView iv, ByteView data);
std::expected<Bytes, CipherError> aes_cbc_decrypt(ByteView key, ByteView iv, ByteView data);

}  // namespace culvert::crypto
