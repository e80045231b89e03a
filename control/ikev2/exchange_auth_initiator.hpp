// What the two halves of the initiator's IKE_AUTH have in common: proof at once (exchange_auth.cpp), and by EAP
// (exchange_eap_initiator.cpp). Owns how a responder is refused, and what comes behind both proofs.
#pragma once

#include <optional>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// What the responder proves itself by.
SecretBytes octets_of_responder(const IkeSa& sa, ByteView first_message, ByteView id_body);
/// The peer's proof is wrong: the other side takes the SA for established, and is told that it is not.
void refuse_responder(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause);
void refused_by_responder(Core& core, TimePoint now, IkeSa& sa, const Notify& said);
/// Our proof of the round at work goes out when it is made. `init_reply`: in the first one, the responder's IKE_SA_INIT.
void prove(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply);
/// What we prove ourselves by.
SecretBytes own_octets(const Core& core, const IkeSa& sa, const SecretBytes& sk_pi);

// -------------------------------------------------------------------------------------------- rounds (exchange_auth_rounds.cpp)

/// Whether we prove ourselves as a user (EAP) in the round at work.
bool proves_user(const Core& core, const IkeSa& sa);
/// Whether no proof of either side comes behind the round at work.
bool last_round(const Core& core, const IkeSa& sa);
/// Why a responder that proves itself no more often than it says cannot be the one that we want; nullopt: it can.
std::optional<std::string> too_few_rounds(const Core& core, const IkeSa& sa);
/// Behind our proof: that another one follows.
void add_follows(const Core& core, const IkeSa& sa, Builder& out);
/// The reply to the round at work, by what each side has yet to prove; refused here if it is none.
bool fits_round(Core& core, TimePoint now, IkeSa& sa, const Message& reply);
/// The responder has proved to be who `reply` says. False: it goes on, or does not, otherwise than is configured, and was refused.
bool note_responder(Core& core, TimePoint now, IkeSa& sa, const Message& reply);
/// Both sides have done what the round at work asks for: the next one, or the end.
void end_round(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const Message& reply);
/// Our further proof, being made.
void send_further_proof(Core& core, TimePoint now, IkeSa& sa, const std::optional<Auth>& proof);

/// The peer is the one that we want: `reply` is the answer to its end.
void accept_responder(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const IdR& id, const Message& reply);

}  // namespace culvert::ikev2
