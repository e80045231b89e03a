// Mode Config (draft-dukes-ike-mode-cfg-02) with Cisco's Unity attributes: virtual addresses and what goes with them, both sides of it.
// Owns these steps of access.hpp. Which address is whose is leases.hpp's.
//
//   pull   client -> server   REQUEST(INTERNAL-IP4-ADDRESS, -DNS, -NBNS, banner, split networks, ...)     and REPLY
//   push   server -> client   SET(INTERNAL-IP4-ADDRESS = 10.3.0.7, ...)                                   and ACK
//
// Attributes that nobody here knows are left out of answers (draft-dukes-ike-mode-cfg-02 §3.3).
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

// ---- we have pools

void push_config(Core& core, TimePoint now, IsakmpSa& sa);
/// ACK to our SET.
void on_push_ack(Core& core, TimePoint now, IsakmpSa& sa);
/// REQUEST of the client.
void on_pull_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request);

// ---- we want addresses

void pull_config(Core& core, TimePoint now, IsakmpSa& sa);
/// REPLY to our REQUEST.
void on_pull_reply(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& reply);
/// SET of the server.
void on_push_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request);

}  // namespace culvert::ikev1
