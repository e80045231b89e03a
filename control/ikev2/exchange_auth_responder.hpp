// What the two halves of the responder's IKE_AUTH have in common: proof at once (exchange_auth_responder.cpp), and by EAP
// (exchange_eap_responder.cpp). Owns how an initiator is refused, and the answer behind both proofs (exchange_auth_answer.cpp).
#pragma once

#include <optional>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

struct AuthVerdict {
  Reason reason = Reason::NoConnection;
  std::string text;
  Cause cause{.number = 3};
  std::size_t connection = 0;
};
/// AUTHENTICATION_FAILED for request `id`, and no more of this SA.
void refuse_initiator(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, AuthVerdict verdict);
/// Whether the peer forbids a NAT and there is one (RFC 4555 §3.9); refused here then.
bool refuse_nat(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
/// Why the connection is not the one that the peer means, by the names alone. `wanted`: whom it takes us for.
std::optional<AuthVerdict> other_names(Core& core, const IkeSa& sa, std::size_t index, const IdI& id, const IdR* wanted);
/// What we prove ourselves by.
SecretBytes octets_of_reply(Core& core, const IkeSa& sa, const Bytes& init_reply);
/// IDr, and our certificates where we sign.
void add_introduction(Core& core, IkeSa& sa, Builder& out);

/// Who the initiator is.
struct Proven {
  std::string identity;  ///< printable
  std::optional<PeerKey> key;
};
/// Both sides are proved: the answer, which begins with `answer`, and behind the proof whatever becomes of the CHILD SA.
void finish_auth(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, Proven who, Builder answer, const Auth& proof);

}  // namespace culvert::ikev2
