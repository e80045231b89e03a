// What those get who have proved nothing yet: how much, where, how often. Owns the bounds on answers; no exchange's rules.
//
// Bytes out over bytes in are at most 1.5 for an address that may be a victim's, and at most 1.0 while cookies are asked for. An address
// to which IKE_SA_INIT was answered, and from which something comes under the keys made of that answer, is none: who sends it has received
// our KE and nonce there. So behind IKE_SA_INIT answers go to that address alone, and may be as long as a chain of certificates is; to
// another one only behind the peer's proof (strays.hpp).
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Whether strangers are asked for cookies, there or everywhere (RFC 7296 §2.6), for the sake of others than so many half-open SAs of
/// theirs.
[[nodiscard]] bool asks_for_cookies(const Core& core, const Endpoint& peer, std::size_t besides = 0);
/// Whether an answer of so many bytes is what so many are worth, to an address that may be a victim's.
[[nodiscard]] bool is_worth(const Core& core, const Endpoint& peer, std::size_t request, std::size_t answer);
/// Whether a half-open SA gets no more than it sends: it has shown no cookie, and by now one would be asked for.
[[nodiscard]] bool owes_no_more(const Core& core, const IkeSa& sa);
/// Whether a request is of an IKE SA that is being made, and not from where that was begun. A NAT may give it another port.
[[nodiscard]] bool from_elsewhere(const Incoming& in, const IkeSa& sa);
/// How often the last answer is said again. Each time it was asked for.
[[nodiscard]] unsigned most_repeats(const IkeSa& sa);
/// A message of a newer major version (RFC 7296 §2.5): which one is the newest that we know.
void answer_newer_version(Core& core, TimePoint now, const ike::Datagram& datagram, const ike::Header& header);

}  // namespace culvert::ikev2
