// A peer whose NAT gives it another address behind IKE_SA_INIT: its request of IKE_AUTH comes from elsewhere, and is answered there
// (RFC 7296 §2.11) if it proves the peer by itself.
// Owns how such a request is tried and what is left of it if it fails: nothing but a count. Must answer nobody there who has not proved
// himself in that very message, and only once before the peer has shown that it is there: who has seen the request may have sent it again
// in a victim's name.
//
// A user (EAP) proves himself in his last request alone, and what comes before it from elsewhere is dropped: anybody can make an IKE SA and
// have our certificates and the pieces of TLS sent to a victim that way, each larger than what asks for it. Nor is his last request taken
// from elsewhere: it follows the one before it at once and by the same mapping of the NAT, so that hardly any user would come in by that.
//
//   I (at W) -> R   IKE_SA_INIT            R answers to W
//   I (at X) -> R   IKE_AUTH with AUTH     that verifies: R answers to X; what comes again from W is answered at W
//   R -> I (at X)   INFORMATIONAL          is it there? Its next message tells, from X or from W
#pragma once

#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Whether a request from elsewhere is worth opening: the first of IKE_AUTH, of a peer behind a NAT.
[[nodiscard]] bool may_be_stray(const Incoming& in, const IkeSa& sa);
/// It has been opened. False: it proves nobody, and is dropped. Else the SA is there until its proof is judged: behind that comes
/// end_trial, or drop_trial.
bool begin_trial(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
/// The peer has proved itself; nothing, if there is no trial.
void end_trial(Core& core, TimePoint now, IkeSa& sa);
/// It has not: all is as before. False: there is no trial.
bool drop_trial(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& why);

/// Whether it comes from where IKE_SA_INIT was answered, of a peer that has proved itself elsewhere.
[[nodiscard]] bool was_begun_at(const Incoming& in, const IkeSa& sa);
/// Asks the peer whether it is there, behind the answer.
void ask_stray(Core& core, IkeSa& sa);
/// A fresh message tells where it is.
void settle_stray(Core& core, const Incoming& in, IkeSa& sa);

}  // namespace culvert::ikev2
