// IKE_FOLLOWUP_KE (RFC 9370 §2.2.4): the additional key exchanges of a CREATE_CHILD_SA, of a CHILD SA or an IKE SA, one after the other.
// Owns their order, what links them, and how long the peer's are waited for. What comes of all of them is exchange_create_child's and
// exchange_rekey_ike's.
//
//   CREATE_CHILD_SA, see there          -->  <--  the same, and N(ADDITIONAL_KEY_EXCHANGE)
//   KEi(n) N(ADDITIONAL_KEY_EXCHANGE)   -->  <--  KEr(n) N(ADDITIONAL_KEY_EXCHANGE)     the last one without     or  N(STATE_NOT_FOUND)
//
// One of each side's is under way at a time: what the peer begins anew is in the place of what it has not ended.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

// -------------------------------------------------------------------------------------------- our requests

inline constexpr const char* kNoLink = "The peer chose additional key exchanges, and does not say what links them (RFC 9370 §2.2.4).";

/// The answer to CREATE_CHILD_SA has been taken, and the suite has these methods: whether what links them is there. Nothing to do without.
[[nodiscard]] bool expect_followups(Request& request, const AdditionalKes& more, const Message& answer);
/// A secret is there, of the first key exchange or of an additional one. True: there is one more, which is begun.
bool go_on_with_followups(Core& core, IkeSa& sa, const SecretBytes& shared);
/// Our half of it is there.
void send_followup(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result);
void on_followup_response(Core& core, const Incoming& in, IkeSa& sa, const Message& message);

// -------------------------------------------------------------------------------------------- the peer's requests

/// CREATE_CHILD_SA is answered with what is in `answer`: this is what comes of it when its additional key exchanges are done.
void await_followups(Core& core, TimePoint now, IkeSa& sa, std::variant<AnsweringChild, AnsweringIke> what, const SecretBytes& first,
                     Builder& answer);
void on_followup_request(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
/// One of its secrets is there.
void on_followup_key(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result);
void abandon_followups(Core& core, IkeSa& sa);

}  // namespace culvert::ikev2
