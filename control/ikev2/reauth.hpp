// Proving ourselves anew, make before break: IKE_SA_INIT and IKE_AUTH for another IKE SA with the same peer, which takes over all that is
// under this one; then this one is deleted (RFC 7296 §2.8.3). How what it carries moves is redirect.hpp's.
// Owns when that is begun, and by whom: whoever has begun the IKE SA, since a gateway can ask its client for no proof; and where a peer
// takes no more under an IKE SA, whoever wants more and can begin another one.
//
//   reauth_time is over, an operator says so, the gateway has said how long its proof is good (AUTH_LIFETIME, RFC 4478),
//   or:  CREATE_CHILD_SA  -->  <--  N(NO_ADDITIONAL_SAS)                 the one that wants more has to begin anew (RFC 7296 §1.3, §4)
//
//   IKE_SA_INIT, IKE_AUTH (without INITIAL_CONTACT)   --> <--      both SAs are there, packets go by either
//   CREATE_CHILD_SA for each further CHILD SA         --> <--      by the new one
//   D(CHILD SAs), D(IKE SA)                           --> <--      of the old one
#pragma once

#include <expected>
#include <string>

#include "control/ike/engine.hpp"
#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

inline constexpr auto kMinReauth = seconds{5};  ///< no gateway has us prove ourselves more often
inline constexpr auto kHandOver = seconds{15};  ///< until the old SA is gone, where nothing is lost

// -------------------------------------------------------------------------------------------- when

/// Both sides are proved: when that is to be done again. The SA does not outlive its time.
void plan_reauth(Core& core, TimePoint now, IkeSa& sa);
/// As a gateway: how long the proof is good, for the configuration's or the RADIUS server's sake.
void add_auth_lifetime(const Core& core, TimePoint now, const IkeSa& sa, Builder& out);
/// As a client: what the gateway says of that.
void note_auth_lifetime(Core& core, TimePoint now, IkeSa& sa, const Message& m);
void poll_reauth(Core& core, TimePoint now, IkeSa& sa);

// -------------------------------------------------------------------------------------------- how

/// Begins it, if it is not under way. `child`: what IKE_AUTH makes if nothing is under this SA. Text: why it cannot be.
std::expected<void, std::string> reauthenticate(Core& core, TimePoint now, IkeSa& sa, std::optional<std::size_t> child = {});
/// An attempt has failed. True: what it was to replace is there, goes on, and asks again.
bool replacing_failed(Core& core, TimePoint now, IkeSa& sa);
/// An operator's wish.
ike::CommandResult reauthenticate_all(Core& core, TimePoint now, std::size_t connection, const std::string& peer);

/// The peer has refused our request with NO_ADDITIONAL_SAS. True: another IKE SA is on its way in place of this one, or this request is
/// made again later; the request is none any more.
bool child_begins_anew(Core& core, TimePoint now, IkeSa& sa, const MakeChild& refused);
bool ike_begins_anew(Core& core, TimePoint now, IkeSa& sa);

}  // namespace culvert::ikev2
