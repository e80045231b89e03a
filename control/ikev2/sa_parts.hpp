// What an IKE SA knows beside its state: of other addresses, of other gateways, of proofs made anew, of tickets, of requests of the peer
// that come before their turn.
// A part of states.hpp. Owns no behaviour.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "common/config/config.hpp"
#include "common/secret.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/header.hpp"
#include "control/ike/nat_traversal.hpp"
#include "control/ike/sa_table.hpp"
#include "control/ikev2/child_states.hpp"

namespace culvert::ikev2 {

/// Where our outbound SAs send as long as nothing has shown that the peer is at its new address.
struct FormerPath {
  Path path;
  ike::NatStatus nat;
};
/// What an IKE SA and its peer can do about other addresses (RFC 4555).
struct Mobility {
  bool agreed = false;               ///< both sides have said that they can
  std::vector<IpAddress> others;     ///< the peer's, as it says
  Path asked_from;                   ///< of the peer's request that is at work: the answer goes there (RFC 7296 §2.11)
  std::optional<FormerPath> former;  ///< while the path in use is not proven
  std::vector<Path> refused;         ///< by the peer, of those that we have tried
  Bytes cookie;                      ///< COOKIE2 of our request under way
  Path asked_by;                     ///< ... and by which path it went out first
  bool strayed = false;              ///< our request under way went out by other paths, too
  Bytes seen_as;                     ///< what the peer's NAT detection says of our address (RFC 4555 §3.8)
  unsigned moves = 0;                ///< of the peer, since `moves_since`
  TimePoint moves_since{};
};

/// What an IKE SA has to do with other gateways (RFC 5685).
struct Redirecting {
  bool agreed = false;                    ///< of a gateway: the client follows
  std::optional<IpAddress> from;          ///< who has sent us here; of a gateway: who has sent the client
  std::optional<config::GatewayName> to;  ///< of a gateway: where the client is to go
  std::optional<SaId> left_for;           ///< the SA, with the other gateway or made by proving us anew, which takes over ...
  TimePoint stay_until{};                 ///< ... by then
  Reason why{};                           ///< ... for that
};

/// When both sides prove themselves anew (reauth.hpp).
struct Reauth {
  std::optional<TimePoint> at{}, end{};  ///< when we begin it; when the SA ends, rekeyed or not
  unsigned failures = 0;                 ///< in a row
  bool full = false;                     ///< the peer has refused more under it, or under the one that it was made for (NO_ADDITIONAL_SAS)
};

/// A ticket of a gateway, and what goes with it (RFC 5723).
struct Pass {
  Bytes ticket;
  IkeSuite suite;
  SecretBytes d;  ///< SK_d of the SA that it was given under
  IpAddress gateway;
  TimePoint expires;
  Bytes id;  ///< the gateway's: the body of its ID payload
};

/// Of a gateway: the ticket that an IKE SA was given, by its serial.
struct GivenTicket {
  Bytes serial;
  std::int64_t expires = 0;  ///< in seconds since 1970
};

/// A request of the peer that has come before one that is due first.
struct Early {
  ike::Header header;  ///< of the message, or of the last of its fragments to come
  Message message;
  std::size_t bytes = 0;  ///< of what was inside
  std::size_t print = 0;
  Path by;  ///< where it came to, and from
  TimePoint came;
};
/// An answer that may be asked for again, though the peer has gone on.
struct KeptAnswer {
  std::uint32_t id = 0;
  Datagrams answer;
  std::size_t print = 0;  ///< of the request
  unsigned repeats = 0;
};
/// What a window of more than one request holds (window.hpp).
struct Window {
  std::uint32_t ours = 1;                ///< so many of the peer's requests we have said that we take in at once
  std::map<std::uint32_t, Early> early;  ///< by message ID, each higher than that which is due
  std::deque<KeptAnswer> kept;           ///< those before IkeSa::last_answer, the latest last
};

}  // namespace culvert::ikev2
