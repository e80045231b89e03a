// Whose leases live how long: an address of a pool is its peer's while that has an ISAKMP SA or a pair of IPsec SAs.
// Owns Core::lease_holders. Which address it is, leases.hpp says; what is told to the peer, mode_config.hpp's.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// The address of the SA's peer, which is its own from now on: the one that its pairs of before a restart are about, or as
/// Leases::acquire() finds one. nullopt: none is free.
std::optional<ike::Leases::Granted> lease_address(Core& core, IsakmpSa& sa, const std::optional<IpAddress>& wanted);
/// The SA takes the place of another one of its peer: the address of that one is its own, too. False: the peer has none.
bool keep_lease(Core& core, IsakmpSa& sa);
/// The NAT has given the run's peer another place: where that is a part of a holder's name, the name follows.
void holders_moved(Core& core, std::size_t run, const Endpoint& old, const Endpoint& at);
/// A pair was made with the holder of a lease: the address is kept while the pair is there.
void note_leased_pair(Core& core, const IsakmpSa& sa, std::uint64_t pair);
/// A pair of before a restart: nobody gets its address but its peer, which `run` is about, when it has proved itself again.
void reserve_leased_pair(Core& core, std::size_t run, const ChildSa& pair);
/// Gives back the addresses of those who have neither an ISAKMP SA nor a pair any more.
void release_leases(Core& core, std::size_t run);

}  // namespace culvert::ikev1
