// Hash functions and HMAC, named by the PRF that they make in IKE.
// Owns the choice of library and every check of its return values. Never logs, never keeps a key beyond the call.
#pragma once

#include <initializer_list>
#include <span>
#include <stdexcept>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"

namespace culvert::crypto {

/// The cryptographic library failed in a way that no input of a peer can bring about: no memory, an algorithm missing
/// from its build. Everything that depends on a peer's bytes is reported through std::expected instead.
class LibraryError : public std::runtime_error {
 public:
  explicit LibraryError(const char* call);
};

/// The hash of all parts, one after the other. `hash` must be one of the HMACs of prf_table().
Bytes digest(Prf hash, std::initializer_list<ByteView> parts);
Bytes digest(Prf hash, std::span<const ByteView> parts);

/// HMAC (RFC 2104) under a key of any length, zero included. The result is a secret where the key is.
SecretBytes hmac(Prf hash, ByteView key, std::initializer_list<ByteView> parts);
SecretBytes hmac(Prf hash, ByteView key, std::span<const ByteView> parts);

/// Fills `out` from the system's generator, as seeded by the library (RFC 4086). Throws LibraryError rather than give less.
void random(MutableByteView out);

}  // namespace culvert::crypto
