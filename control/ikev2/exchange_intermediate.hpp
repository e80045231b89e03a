// IKE_INTERMEDIATE (RFC 9242) with the additional key exchanges of RFC 9370, between IKE_SA_INIT and IKE_AUTH, one after the other.
// Owns their order, the keys after each of them, and what IKE_AUTH then proves of them (IntAuth). Nobody is proven here.
//
//   KEi(n)  -->  <--  KEr(n)          under the keys so far; the next message is under those that come of it
//
// A responder computes once for each such request, of which there is one for each additional key exchange of the suite that it has chosen:
// only for a peer that has had its answer to IKE_SA_INIT, and has made its keys of that. One that errs, or goes on with something else, is
// refused, and keeps its place among the half-open ones (Refused).
#pragma once

#include <span>

#include "control/ikev2/core.hpp"
#include "control/ikev2/proposal.hpp"

namespace culvert::ikev2 {

/// Whether any of the suites has additional key exchanges.
[[nodiscard]] bool asks_for_more(std::span<const IkeSuite> suites);
/// select_ike() for a peer that has, or has not, IKE_INTERMEDIATE (RFC 9370 §2.2.1).
[[nodiscard]] std::expected<IkeChoice, Mismatch> select_possible(std::span<const IkeSuite> suites, const Sa& offered, DhGroup ke,
                                                                 bool intermediate);

/// Initiator, the keys are there: the next additional key exchange, or IKE_AUTH behind the last one. `init_reply`: as of send_auth().
void next_key_exchange(Core& core, TimePoint now, IkeSa& sa, const Bytes& init_reply);
void on_intermediate_response(Core& core, const Incoming& in, IkeSa& sa);
void on_intermediate_request(Core& core, const Incoming& in, IkeSa& sa);
/// The jobs of both roles. False: it was none of them.
bool on_intermediate_key(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result);
/// Responder, at IKE_AUTH: that it comes too early; nullopt: it does not.
[[nodiscard]] std::optional<std::string> skipped_exchange(const IkeSa& sa);

}  // namespace culvert::ikev2
