// What a RADIUS packet proves, and what it hides, under the secret that both sides share (RFC 2865 §3, RFC 3579 §3.2, RFC 2548 §2.4).
// Owns MD5 and HMAC-MD5 as RADIUS has them. Never keeps the secret, and compares in constant time.
//
// MD5 alone does not protect an answer (CVE-2024-3596, "BlastRADIUS": who is between makes one say Accept). The Message-Authenticator does:
// each request has one, as its first attribute, and no answer to a question about a user is taken without.
#pragma once

#include <optional>

#include "common/secret.hpp"
#include "control/radius/packet.hpp"

namespace culvert::radius {

/// The packet as it goes out, with a Message-Authenticator in front. nullopt: it does not fit.
std::optional<Bytes> signed_request(Packet packet, ByteView secret);

enum class Proof : std::uint8_t {
  Good,
  NoMessageAuthenticator,  ///< nothing shows that it was not made up on the way
  WrongAuthenticator,      ///< the Response Authenticator: another secret, or not the answer to this request
  WrongMessageAuthenticator
};
/// Whether `datagram`, which parse() has taken, answers the request with this authenticator.
Proof check_reply(ByteView datagram, const Authenticator& request, ByteView secret);

/// MS-MPPE-Recv-Key and MS-MPPE-Send-Key in one, as EAP's MSK has them (RFC 2548 §2.4, RFC 3579 §3.16). Empty: the answer has none.
/// Nullopt: what it has is none.
std::optional<SecretBytes> msk_of(const Packet& reply, const Authenticator& request, ByteView secret);

}  // namespace culvert::radius
