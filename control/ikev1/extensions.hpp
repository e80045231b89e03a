// What both sides of an ISAKMP SA can do beyond RFC 2409, as they announce it by vendor ids: NAT traversal, DPD, fragments, XAuth,
// and Mode Config with Cisco's attributes.
// Owns which ids go into a first message and into its answer. As responder we answer with no id that the peer has not sent: a stranger
// gets no more back than it gave.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// The ids of a first message of phase 1.
void offer_extensions(const config::Connection& c, const Phase1Auth& auth, Builder& out);
/// The ids of the answer: what the peer's message announced, and we do.
void answer_extensions(const config::Connection& c, const IsakmpSa& sa, const Negotiated& negotiated, Builder& out);
/// Notes what the peer's message announces. Of several texts of NAT traversal the newest counts.
void note_extensions(const Message& message, Negotiated& out, ike::NatStatus& nat);

}  // namespace culvert::ikev1
