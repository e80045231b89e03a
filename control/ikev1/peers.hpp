// Which run a peer belongs to that has just proved its identity, and what becomes of one that is there already.
// Owns the rule of uniqueness (`unique`): it is asked before the last message of phase 1 goes out, never of what is unproven.
//
//   unique   replace   one peer an identity: a newcomer's SAs take the place of the old ones, wherever it calls from
//            keep      one peer an identity: a newcomer from elsewhere is refused while the old one's ISAKMP SA lives, INITIAL-CONTACT or
//                      not: two devices of one identity both say so when they start
//            never     an identity is shared (a group's name): each place that it calls from, address and port, is a peer
#pragma once

#include <expected>

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

/// Whether we can begin phase 1: the connection names its peer's address, and one of ours.
[[nodiscard]] bool can_initiate(const config::Connection& c);
/// The run of a peer of a configured connection, made if there is none; nullopt: there are too many.
std::optional<std::size_t> run_for(Core& core, std::size_t connection, Peer peer);
/// Puts an SA whose peer has proved to be `id` into the run where it belongs, of the configured connection that its identity means.
/// Error: it may not be established (too many peers, or `unique: keep`); the notification that says so goes under HASH(1).
std::expected<void, Refusal> settle_peer(Core& core, TimePoint now, IsakmpSa& sa, std::size_t connection, const Id& id);
/// The same for a user whom XAuth has proved. Until then the SA of a connection that asks for users is in the connection's own run.
std::expected<void, Refusal> settle_user(Core& core, TimePoint now, IsakmpSa& sa, const Bytes& user);
/// `unique: replace`: the peer of this SA has begun it and is in; what it had begun from other addresses ends, both sides told.
void displace_others(Core& core, TimePoint now, IsakmpSa& sa);
/// The peer of a run has another address than before.
void peer_moved(Core& core, std::size_t run, const Endpoint& at);

}  // namespace culvert::ikev1
