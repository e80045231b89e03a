// ML-KEM (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem) of the library, from OpenSSL 3.5 on.
// Owns whether there is one, and the checks of lengths. Never chooses between methods (key_exchange.hpp).
#pragma once

#include <string>

#include "control/crypto/key_exchange.hpp"

namespace culvert::crypto {

/// "3.0.19", of the library that runs.
std::string library_version();
/// Asked of the library that runs, not of the one that was compiled with.
bool has_kem(DhGroup method);
std::expected<std::shared_ptr<KeyExchange>, DhError> begin_kem(DhGroup method);
/// Encapsulates to the initiator's key.
std::expected<KeyAnswer, DhError> answer_kem(DhGroup method, ByteView public_value);

}  // namespace culvert::crypto
