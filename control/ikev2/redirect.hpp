// Redirects (RFC 5685): a gateway sends its clients to another one, since it is to go, or has others beside it.
// Owns which redirects are followed, where from there, and when what a client had before ends; and which clients a gateway sends away.
// A redirect is an address to try: who is there has to prove itself as the first gateway had to.
//
//     client                                             gateway
//  at once      SAi KEi Ni N(REDIRECT_SUPPORTED)   -->
//                                                  <--  N(REDIRECT, gateway, Ni)                  nothing is kept, nothing is computed
//  behind the proofs                    IKE_AUTH   -->
//                                                  <--  IDr [CERT+] AUTH N(REDIRECT, gateway)     no CHILD SA; the client deletes the SA
//  at any time                                     <--  INFORMATIONAL N(REDIRECT, gateway)
//                                  (empty answer)  -->                                            when all is there, the client deletes it
//     and then, there: SAi KEi Ni N(REDIRECT_SUPPORTED) N(REDIRECTED_FROM, the first gateway)  -->
#pragma once

#include <optional>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

inline constexpr std::size_t kMaxRedirects = 5;          ///< RFC 5685 §10: MAX_REDIRECTS ...
inline constexpr auto kRedirectLoopTime = seconds{300};  ///< ... in REDIRECT_LOOP_DETECT_PERIOD
inline constexpr auto kLeaveTime = seconds{30};          ///< a client that was sent away has deleted its SA by then, or is at the other one

// -------------------------------------------------------------------------------------------- client

/// In IKE_SA_INIT: that we follow, and who has sent us.
void offer_redirect(const Core& core, const IkeSa& sa, Builder& out);
/// The answer to IKE_SA_INIT, which nothing proves but our nonce in it. Text: why we do not follow.
std::optional<std::string> on_redirect_at_once(Core& core, const Incoming& in, IkeSa& sa, const Notify& said);
/// The responder has proved itself. True: it sends us away, and this SA ends.
bool sent_elsewhere(Core& core, TimePoint now, IkeSa& sa, const std::string& identity, const Message& reply);
/// Under an established SA; the request is answered already.
void on_redirect_request(Core& core, TimePoint now, IkeSa& sa, const Message& m);
void on_name(Core& core, TimePoint now, const ike::NameFound& result);
/// Whether an SA, or the way to one, is there that is to take this one's place.
[[nodiscard]] bool on_the_way(Core& core, const IkeSa& sa);
/// The new SA, here (reauth.hpp) or there, is established: what the old one carries moves to it.
void hand_over(Core& core, TimePoint now, IkeSa& old, IkeSa& heir);
/// The time of an SA that was to be left is over. True: not yet, or it stays since the other one is gone.
bool stays(Core& core, TimePoint now, IkeSa& sa);

// -------------------------------------------------------------------------------------------- gateway

/// What the newcomer says of redirects.
void note_redirect(IkeSa& sa, const Message& m);
/// What a newcomer of this connection is told instead of all else; nullopt: it is served.
std::optional<Bytes> redirect_at_once(Core& core, const Incoming& in, std::size_t connection, const Message& m);
/// Both sides are proved, and `answer` says so. True: the client is sent away with it.
bool send_elsewhere(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const std::string& identity, Builder& answer);
void add_redirect(const IkeSa& sa, Builder& out);

/// The IKE SA is rekeyed.
void inherit_redirect(Core& core, TimePoint now, const IkeSa& old, IkeSa& heir);

}  // namespace culvert::ikev2
