// XAuth (draft-beaulieu-ike-xauth-02): a user name and a password behind phase 1, both sides of it.
// Owns these steps of access.hpp. Never sees the list of users: CheckUser asks whoever has it. Never prints a password.
//
//   server -> client   REQUEST(XAUTH-TYPE, XAUTH-USER-NAME, XAUTH-USER-PASSWORD)
//   server <- client   REPLY(XAUTH-TYPE, XAUTH-USER-NAME, XAUTH-USER-PASSWORD)     | REPLY(XAUTH-STATUS fail): the client gives up
//   server -> client   SET(XAUTH-STATUS ok | fail)                                   a refusal comes late: attempts.hpp
//   server <- client   ACK(XAUTH-STATUS)                                             behind a refusal the server deletes the SA
//
// One attempt an ISAKMP SA: who guesses pays for a phase 1 each time. The server may be either side of phase 1.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

// ---- we ask

void ask_for_user(Core& core, TimePoint now, IsakmpSa& sa);
/// REPLY to our REQUEST.
void on_xauth_reply(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& reply);
void on_user_checked(Core& core, TimePoint now, IsakmpSa& sa, const ike::UserChecked& result);
/// The time of a refusal has come.
void tell_refusal(Core& core, TimePoint now, IsakmpSa& sa);
/// ACK to our SET.
void on_xauth_ack(Core& core, TimePoint now, IsakmpSa& sa);

// ---- we are asked

/// Whether this is a request of XAuth that we wait for.
[[nodiscard]] bool takes_xauth_request(const MmEstablished& est, const ConfigPayload& request);
/// One that takes_xauth_request().
void on_xauth_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request);

}  // namespace culvert::ikev1
