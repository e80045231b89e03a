// Message authentication codes of IKEv2 messages, and the two of AES that are PRFs, too.
// Owns the truncation to what goes over the wire. Never compares: that is equal_constant_time()'s.
#pragma once

#include <initializer_list>
#include <span>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kAesMacBytes = 16;  ///< of the key and of the result

/// AES-XCBC-MAC (RFC 3566 §4) and AES-CMAC (RFC 4493 §2.4), whole. The key has kAesMacBytes, else std::invalid_argument.
SecretBytes aes_xcbc(ByteView key, std::span<const ByteView> parts);
SecretBytes aes_xcbc(ByteView key, std::initializer_list<ByteView> parts);
SecretBytes aes_cmac(ByteView key, std::span<const ByteView> parts);
SecretBytes aes_cmac(ByteView key, std::initializer_list<ByteView> parts);

/// The ICV of `data`, as long as integ_table() says. std::invalid_argument where `key` is not, or the algorithm is none that stands beside
/// a cipher (GMAC).
Bytes icv(Integ algorithm, ByteView key, ByteView data);

}  // namespace culvert::crypto
