// Session resumption (RFC 5723): a client that comes back shows a ticket, and goes on without a key exchange and without what it proves
// itself by: both sides prove that they have the SK_d of the IKE SA that the ticket was given under. Owns when tickets are asked for,
// given, shown and taken. A ticket is good once, for as long as the client's last real proof.
//
//   client                                        gateway
//   IKE_AUTH ... N(TICKET_REQUEST)           -->  <--  ... N(TICKET_LT_OPAQUE)  |  N(TICKET_NACK)
//   (later) HDR(SPIi, 0), Ni N(TICKET_OPAQUE) --> <--  N(COOKIE)  |  N(TICKET_NACK): IKE_SA_INIT then
//                                                 <--  HDR(SPIi, SPIr), Nr
//   IDi [IDr] AUTH SAi TSi TSr               -->  <--  IDr AUTH SAr TSi TSr                    AUTH = prf(SK_p, octets)
#pragma once

#include "control/ikev2/core.hpp"
#include "control/ikev2/exchange_auth_responder.hpp"

namespace culvert::ikev2 {

inline constexpr unsigned kResumeTries = 3;  ///< unanswered so often, the gateway may not know what it was asked
inline constexpr std::size_t kMaxUsedTickets = 65536;

/// IKE_SESSION_RESUME, both roles and directions.
void on_resume(Core& core, const Incoming& in);
/// Our proof, and the peer's.
Auth resumed_proof(const IkeSa& sa, const SecretBytes& sk_p, const SecretBytes& octets);

// -------------------------------------------------------------------------------------------- client

/// True: there is a ticket for this gateway, and it was sent.
bool begin_resumption(Core& core, TimePoint now, IkeSa& sa);
/// The gateway does not take it, or says nothing: IKE_SA_INIT.
void give_up_resumption(Core& core, TimePoint now, IkeSa& sa, const std::string& why);
void request_ticket(const Core& core, const IkeSa& sa, Builder& out);
/// The SA is established: the ticket in the answer, if there is one.
void note_ticket(Core& core, TimePoint now, IkeSa& sa, const IdR& id, const Message& reply);

// -------------------------------------------------------------------------------------------- gateway

/// The client has proved itself: the ticket that it asks for.
void add_ticket(Core& core, IkeSa& sa, const Message& request, const Proven& who, Builder& out);
/// An operator has ended it: its client has to prove itself anew, though it may not hear of that (RFC 5723 §6.2). Whether it had a ticket.
bool revoke_ticket(Core& core, const IkeSa& sa);
void on_resumed_auth(Core& core, const Incoming& in, IkeSa& sa, AwaitAuth& state, Message m);

}  // namespace culvert::ikev2
