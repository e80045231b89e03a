// What both sides of an ISAKMP SA can do beyond RFC 2409, as they announce it by vendor ids: NAT traversal, DPD, fragments, XAuth,
// and Mode Config with Cisco's attributes.
// Owns which ids go into a first message and into answers. As responder we answer with no id that the peer has not sent: a stranger
// gets no more back than it gave.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// The ids of a first message of phase 1.
void offer_extensions(const config::Connection& c, const Phase1Auth& auth, Builder& out);
/// The ids of the answer: what the peer's last message announced, and we do.
void answer_extensions(const config::Connection& c, const Negotiated& negotiated, Builder& out);
/// Notes what the peer's first message announces. Of several texts of NAT traversal the newest counts.
void note_extensions(const Message& message, Negotiated& out, ike::NatStatus& nat);
/// The same of its later messages, where Cisco's IOS has most of it: all but NAT traversal, which cannot wait (RFC 3947 §3.1).
void note_extensions(const Message& message, Negotiated& out);

}  // namespace culvert::ikev1
