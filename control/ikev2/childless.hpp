// IKE_AUTH without a CHILD SA (RFC 6023): each of them, the first one too, is made by CREATE_CHILD_SA, with keys of its own.
// Owns who begins so, and who takes it (the connection's `childless`).
//
//   initiator                                           responder
//   IKE_SA_INIT                                    -->
//                                                  <--  ... N(CHILDLESS_IKEV2_SUPPORTED)
//   IDi [CERT+] [CERTREQ] [IDr] AUTH [CP(REQUEST)] -->
//                                                  <--  IDr [CERT+] AUTH [CP(REPLY)]
//   CREATE_CHILD_SA for each CHILD SA              -->  <--        (a CP in it means nothing to us: addresses come with IKE_AUTH)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/ikev2/children.hpp"
#include "control/ikev2/exchange_auth_responder.hpp"

namespace culvert::ikev2 {

// -------------------------------------------------------------------------------------------- responder

/// Whether the newcomer is told that it may begin so; `meant`: the connections that it can be of.
[[nodiscard]] bool takes_childless(const Core& core, const std::vector<std::size_t>& meant);
/// It has begun so, and the connection that it has turned out to be of does not take it.
std::optional<AuthVerdict> childless_refused(const Core& core, const IkeSa& sa, const Message& request);
/// The connection has no CHILD SA made by IKE_AUTH.
std::optional<ChildRefusal> must_be_apart(const Core& core, const IkeSa& sa);

// -------------------------------------------------------------------------------------------- initiator

/// The answer to IKE_SA_INIT: whether IKE_AUTH asks for a CHILD SA. Text: it has to go without, and the peer does not take that.
std::optional<std::string> settle_childless(const Core& core, IkeSa& sa, const Message& reply);
/// The IKE SA is established: its address is taken; what is wanted is begun as ever (drive).
void go_on_childless(Core& core, TimePoint now, IkeSa& sa, const Message& reply);

}  // namespace culvert::ikev2
