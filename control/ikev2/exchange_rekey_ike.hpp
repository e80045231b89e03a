// CREATE_CHILD_SA of ours that replaces the IKE SA (RFC 7296 §1.3.2, §2.18).
// Owns which of two new IKE SAs stays where both sides have begun (§2.25.2). What a request has in common with those for CHILD SAs is
// exchange_create_child's.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void begin_rekey_ike(Core& core, TimePoint now, IkeSa& sa, const Task& task);
void send_ike_request(Core& core, TimePoint now, IkeSa& sa, Request& request, const Bytes& public_value);
void on_ike_answer(Core& core, TimePoint now, IkeSa& sa, const Message& message);
/// Our IKE SA in the old one's place; where the peer has made one at the same time the lowest nonce decides.
void ike_rekeyed(Core& core, TimePoint now, IkeSa& sa, const RequestDeriving& state, const FollowUpKeys& keys);
/// An SA ends that both sides have rekeyed at once. The peer has got our answer about its own new one by now, or never will: that one,
/// which is the peer's to delete, waits for its Delete a little longer, and goes without a word if the peer does not know it.
void release_loser(Core& core, TimePoint now, IkeSa& sa);
void ike_request_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause = {});
/// Ours has come to nothing: the peer's rekeying, begun at the same time, is the one.
void yield_to_successor(Core& core, TimePoint now, IkeSa& sa);

}  // namespace culvert::ikev2
