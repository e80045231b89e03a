// What IKE_SA_INIT and IKE_AUTH have to do with certificates: CERT and CERTREQ payloads, and the jobs that keys and certificates are asked
// for by. Owns how they are asked; what becomes of the answers is exchange_auth's.
#pragma once

#include <span>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Whether either side of the connection proves itself by a signature.
[[nodiscard]] bool may_sign(const config::Connection& c);
/// CERT payloads: our certificate first, then those of authorities between it and the peer's anchor (RFC 7296 §3.6).
void add_certificates(Core& core, const IkeSa& sa, Builder& out);
/// A CERTREQ payload, if one of `connections` wants a certificate: the keys of their authorities, or none in particular where those do not
/// fit into `room` bytes (RFC 7296 §3.7). Theirs is not looked at: we have one certificate, and the peer takes it or does not.
void add_cert_requests(Core& core, std::span<const std::size_t> connections, std::size_t room, Builder& out);

/// How the connection's key signs for this peer, whose own proof may be there; the error is for an operator.
std::expected<ike::SignatureScheme, std::string> signing_scheme(Core& core, const IkeSa& sa, const Auth* peer = nullptr);
/// Why a signature of the peer is not the one that the connection asks for; nullopt: it is.
std::optional<std::string> unwanted(const config::Connection& c, const PeerSignature& proof);
/// Asks for our signature over `octets`.
JobId ask_signature(Core& core, const IkeSa& sa, ike::SignatureScheme scheme, const SecretBytes& octets);
/// Asks whether the sender of `message`, which calls itself `id`, is the SA's peer.
JobId ask_verification(Core& core, const IkeSa& sa, const Message& message, std::uint8_t id_type, const Bytes& id,
                       const PeerSignature& proof, const Bytes& octets);
/// What a refusal of VerifyPeer leaves behind; `number` is the message's.
Cause refusal_of(Core& core, const IkeSa& sa, unsigned number, const std::string& peer, const ike::VerifyResult& why);
/// "a pre-shared key", "a signature", "method 13".
std::string described(AuthMethodId method);

}  // namespace culvert::ikev2
