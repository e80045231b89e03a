// The words of a watched peer's messages: exchange, message ID, payloads, sizes, and what proposals, identities, selectors and
// notifications say. Owns these words. Must never show a secret (nonces, keys, proofs, cookies: only their sizes), nor a peer's bytes that
// were not made printable; a line is bounded.
#pragma once

#include <string>

#include "control/ike/header.hpp"
#include "control/ikev2/message.hpp"

namespace culvert::ikev2 {

inline constexpr std::size_t kTraceLine = 1500;  ///< bytes of one line; the rest is left out

/// Whether the body is an SK payload or a fragment of one, as the header says.
bool sealed_body(const ike::Header& header);
/// "IKE_AUTH request 1, SPIs 0123456789abcdef 0123456789abcdef, 224 bytes, encrypted"
std::string describe(const ike::Header& header, std::size_t bytes);
/// "SA (aes128gcm16-prfsha256-ecp256), KE (ecp256, 64 bytes), Nonce (32 bytes), N (NAT_DETECTION_SOURCE_IP, 20 bytes)"
std::string describe(const Message& message);

}  // namespace culvert::ikev2
