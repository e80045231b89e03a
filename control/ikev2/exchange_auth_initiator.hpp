// What the two halves of the initiator's IKE_AUTH have in common: proof at once (exchange_auth.cpp), and by EAP
// (exchange_eap_initiator.cpp). Owns how a responder is refused, and what comes behind both proofs.
#pragma once

#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// What the responder proves itself by.
SecretBytes octets_of_responder(const IkeSa& sa, ByteView first_message, ByteView id_body);
/// The peer's proof is wrong: the other side takes the SA for established, and is told that it is not.
void refuse_responder(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause);
void refused_by_responder(Core& core, TimePoint now, IkeSa& sa, const Notify& said);
/// The peer is the one that we want: `reply` is the answer to its end.
void accept_responder(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const IdR& id, const Message& reply);

}  // namespace culvert::ikev2
