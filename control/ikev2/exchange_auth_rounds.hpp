// IKE_AUTH, more than once (RFC 4739): a side proves itself again, by something else, under the keys of the same IKE_SA_INIT.
// Owns which round is at work, and what each side may send in it. Each proof is made and checked as a single one is, over the identity
// that its own round names (exchange_auth.cpp, exchange_auth_responder.cpp, exchange_eap_*.cpp). There is no CHILD SA, no address, no
// ticket, no redirect and no peer displaced before the last one, and never more rounds than are configured.
//
//   initiator                                                  responder
//   SA KE Ni                                              -->  <--  SA KE Nr N(MULTIPLE_AUTH_SUPPORTED)
//   IDi [CERT+] AUTH SA TSi TSr N(MULTIPLE_AUTH_SUPPORTED)
//       N(ANOTHER_AUTH_FOLLOWS)                           -->  <--  IDr [CERT+] AUTH [N(ANOTHER_AUTH_FOLLOWS)]
//   IDi [CERT+] AUTH                                      -->  <--  [IDr [CERT+] AUTH] [CP] SA TSi TSr
//     or, of a user
//   IDi                                                   -->  <--  [IDr [CERT+] AUTH] EAP(Request)
//   EAP(Response)                                         -->  <--  EAP ...
//   AUTH                                                  -->  <--  AUTH [CP] SA TSi TSr
//     or, of one who has proved all
//   (nothing)                                             -->  <--  IDr [CERT+] AUTH [CP] SA TSi TSr
// ANOTHER_AUTH_FOLLOWS stands beside each AUTH of a side but its last one. Who it is about: the user, if one of the proofs is EAP, else
// whom the first proof names.
#pragma once

#include <optional>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// The next request of an initiator that has proved itself, but not for the last time.
void on_further_proof(Core& core, const Incoming& in, IkeSa& sa, AwaitProof& state);
/// By the key of a certificate, in the round at work. Why that proves nothing: it has done so by the same one before.
std::optional<std::string> shown_before(const Core& core, IkeSa& sa, const Bytes& key);
/// INFORMATIONAL instead of it: the initiator says why there is none.
void on_farewell_between(Core& core, const Incoming& in, IkeSa& sa);

}  // namespace culvert::ikev2
