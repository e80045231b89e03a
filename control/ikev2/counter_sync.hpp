// Counter synchronisation (RFC 6311): an INFORMATIONAL exchange with message ID 0, in which a side whose counters may be behind, such as
// the other member of a cluster that has taken over, and its peer agree on message IDs that neither has used, and by which the peer leaves
// out sequence numbers of ESP and AH. Owns both roles of it, and what becomes of requests under way when their IDs count no more.
//
//   IKE_AUTH   N(IKEV2_MESSAGE_ID_SYNC_SUPPORTED) N(IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED)     both ways: else there is none of it
//
//   requester                                                                                other side
//   HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, M1, P1) [N(IPSEC_REPLAY_COUNTER_SYNC, delta)]}  -->
//                                                          <--  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, P2, M2)}
//                                                          or   silence: M1 was seen before, or there is something wrong with it
//
// It is outside of the window of one request (RFC 7296 §2.3): message ID 0 comes again, so that nothing but M1 tells a copy from the
// first. A copy is never answered; a request that stays without an answer is made anew, with another nonce and a higher M1.
#pragma once

#include <optional>
#include <string>

#include "control/ike/engine.hpp"
#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// In the request of IKE_AUTH: that we can, where the configuration lets us. In either message: whether the peer can, too. In the answer:
/// that so can we.
void offer_sync(const Core& core, const IkeSa& sa, Builder& out);
void note_sync(const Core& core, IkeSa& sa, const Message& message);
void confirm_sync(const IkeSa& sa, Builder& out);

/// Whether the message was one of these, and is done with: answered, or dropped and counted.
bool on_sync_request(Core& core, const Incoming& in, IkeSa& sa);
bool on_sync_response(Core& core, const Incoming& in, IkeSa& sa);
/// The peer may have taken a request of ours though no answer to it has come, and count from higher IDs. Then what we ask by the former
/// ones stays unanswered: it is asked once more, for as long as that is sent again (RFC 7296 §2.4) ...
void sync_in_doubt(Core& core, TimePoint now, IkeSa& sa);
/// ... until that is answered ...
void ids_proven(IkeSa& sa);
/// ... and what the peer asks by higher ones counts: nothing that it has sent before has such an ID.
void follow_ids(Core& core, const Incoming& in, IkeSa& sa);
/// IPSEC_REPLAY_COUNTER_SYNC in an ordinary INFORMATIONAL request.
void note_replay_sync(Core& core, const Incoming& in, IkeSa& sa, const Message& message);

/// An operator's: one synchronisation of an IKE SA at a time, and kSyncPause from one to the next.
ike::CommandResult sync_counters(Core& core, TimePoint now, std::size_t connection, const std::string& peer);
void on_sync_timer(Core& core, TimePoint now, IkeSa& sa);
[[nodiscard]] std::optional<TimePoint> sync_deadline(const IkeSa& sa);

}  // namespace culvert::ikev2
