// What Microsoft keeps of a password, and calculates proofs of it with (RFC 2759 §8.3): MD4 of its UTF-16 form. As good as the password to
// whoever has it. Owns the conversion and MD4, which nothing else here uses. Never keeps a copy of either.
#pragma once

#include "common/bytes.hpp"
#include "common/secret.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kNtHashBytes = 16;

SecretBytes md4(ByteView data);
/// NtPasswordHash(password in UTF-8). Bytes that are not UTF-8 stand for the characters of Latin-1.
SecretBytes nt_hash(ByteView password);

}  // namespace culvert::crypto
