// Phase 1, responder, until message 3 shows that a stranger hears us: what Main Mode and Aggressive Mode with a pre-shared key share.
// Message 1 makes no SA and costs no key exchange: it is kept, and with message 3 gone through once more. A flood of first messages from
// made-up sources so takes nobody's place.
// Owns the way from message 1 to a half-open SA, and the line of those who wait for room. What the messages say is the exchanges'.
#pragma once

#include <memory>

#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

/// The first message once more, of a newcomer or of an SA: true if it was that, and has been dealt with.
bool begins_again(Core& core, const Incoming& in, Exchange mode);
/// Message 1: who sent it is answered, and a newcomer from now on. In Aggressive Mode with the nonce and the key of `newcomer`.
/// nullptr: refused, and said so; else the SA that it would become.
std::unique_ptr<IsakmpSa> begin_newcomer(Core& core, const Incoming& in, ike::Newcomer newcomer);
/// A message 3 that shows that a newcomer hears us makes a half-open SA of it, if there is room. False: it is nobody's whom we know as one.
bool welcome(Core& core, const Incoming& in, Exchange mode);
/// Newcomers for whom half-open negotiations have made room.
void welcome_waiting(Core& core, TimePoint now);
/// Those whose time is over.
void forget_newcomers(Core& core, TimePoint now);

// ---- of the exchanges

/// What message 1 leads to: an SA that waits for message 3, not in the table, and message 2 as its reply. Message 1 and `newcomer` alone
/// decide it, so that nothing else need be kept until message 3 comes. nullptr: refused, and said so.
std::unique_ptr<IsakmpSa> answer_main_mode(Core& core, const Incoming& in, const ike::Newcomer& newcomer);
std::unique_ptr<IsakmpSa> answer_aggressive_mode(Core& core, const Incoming& in, const ike::Newcomer& newcomer);

}  // namespace culvert::ikev1
