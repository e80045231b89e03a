// MOBIKE (RFC 4555): an IKE SA and all CHILD SAs under it go to other addresses, and are not made anew.
// Owns which addresses an SA that is up goes by. Nothing unauthenticated moves it, and nothing is sent in ESP to an address at which the
// peer has not answered (§3.7). Whoever began the first IKE SA says where it goes; the other one says where it could.
//
//   initiator                                                              responder
//   (from there) N(UPDATE_SA_ADDRESSES) N(NAT_DETECTION_*) N(COOKIE2)  -->
//                                       <--  N(NAT_DETECTION_*) N(COOKIE2)  |  N(UNACCEPTABLE_ADDRESSES)  |  N(UNEXPECTED_NAT_DETECTED)
//   its CHILD SAs are there             <--  N(COOKIE2)                         where the peer's address is another one
//                           N(COOKIE2)  -->                                     its CHILD SAs are there
//
// When nothing is answered any more, the request under way is sent by all other paths, too (§3.10). The one that brings the answer is it.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

inline constexpr std::size_t kMaxOtherAddresses = 8;  ///< of a peer, that are remembered
inline constexpr std::size_t kMaxPaths = 16;          ///< that are tried
inline constexpr unsigned kOwnTries = 3;              ///< of a request by the path in use alone
inline constexpr unsigned kMaxMoves = 20;             ///< of a peer within kMovesTime
inline constexpr auto kMovesTime = seconds{60};

/// What IKE_AUTH says of it: that we can, and where else we are (§3.2, §3.4).
void offer_mobility(const Core& core, const IkeSa& sa, Builder& out);
/// The peer's part of that.
void note_mobility(const Core& core, IkeSa& sa, const Message& message);
/// Whether the addresses of the message are not those that its sender has given it, which it does not want (§3.9).
[[nodiscard]] bool forbids_nat(const Incoming& in, const Message& message);

/// What INFORMATIONAL of the peer asks for; `answer` gets what is to be said. False: it is refused with `answer`, the rest is not for us.
bool on_mobility_request(Core& core, const Incoming& in, IkeSa& sa, const Message& message, Builder& answer);
/// What our INFORMATIONAL carries for the task.
void add_mobility(Core& core, IkeSa& sa, const Task& task, Builder& out);
void on_mobility_response(Core& core, TimePoint now, IkeSa& sa, const Task& task, const Message& message);

/// A request of ours goes out.
void note_asked(IkeSa& sa);
/// It is sent again, for the `sent`-th time: by other paths, too, when the one in use seems to be dead.
void send_astray(Core& core, TimePoint now, IkeSa& sa, unsigned sent);
/// An authentic answer to it: the path that it came by works.
void answered_by(Core& core, const Incoming& in, IkeSa& sa);
/// Of one that the peer has rekeyed, and that it does not delete: the path may be dead, and what is asked under the new one it may not know
/// yet. When it is asked under this one whether it lives.
[[nodiscard]] std::optional<TimePoint> next_probe_of_replaced(const Core& core, const IkeSa& sa);
/// A rekeyed IKE SA is where the former one is.
void inherit_mobility(Core& core, const IkeSa& old, IkeSa& heir);
/// What was asked under the former one to that end may never be answered: it is asked under this one.
void resume_mobility(Core& core, IkeSa& sa);

}  // namespace culvert::ikev2
