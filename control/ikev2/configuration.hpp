// Configuration payloads (RFC 7296 §2.19, §3.15): virtual addresses and what goes with them, both sides of it.
// Owns what is asked for and given in IKE_AUTH, and whose lease lives how long: an address of a pool is its peer's while that has an IKE
// SA. Which address it is, ike::Leases says.
//
//   client                                       gateway
//   ... CP(REQUEST: address, DNS, ...) SA TSi TSr    -->
//                                                    <--   ... CP(REPLY: 10.3.0.7, DNS, ...) SA TSi TSr      or N(INTERNAL_ADDRESS_FAILURE)
//
// A connection with `pools` is the gateway's, one with `vips` the client's. There is an address of each family that is asked for and that
// a pool has: who asks for both gets what there is (RFC 7296 §3.15.4). The CHILD SAs' dynamic side is the one of their family; of any
// other connection it is the outer one.
#pragma once

#include <expected>
#include <optional>

#include "control/ikev2/children.hpp"

namespace culvert::ikev2 {

/// Whether the SA has a virtual address of ours that a dynamic side of this connection's children may be about.
[[nodiscard]] bool has_addresses(const Core& core, const IkeSa& sa);

// ---- we have pools

/// What the peer gets that asks for an address: it is its own from now on. nullopt: it asks for none. Error: it gets none.
std::expected<std::optional<Cp>, ChildRefusal> give_address(Core& core, IkeSa& sa, const Message& request);
/// The peer gets no CHILD SA, and has not asked for the address that it would be about.
[[nodiscard]] ChildRefusal must_ask(const Core& core, const IkeSa& sa);
/// What a peer asks for in INFORMATIONAL, as far as we tell it (RFC 7296 §2.20).
Cp tell(const Core& core, const IkeSa& sa, const Cp& request);
/// A pair of before a restart: nobody gets its address but its peer.
void reserve_lease(Core& core, std::size_t connection, const ike::OrphanSa& orphan);
/// Gives back the addresses of those who have no IKE SA any more; nothing to do unless something went (Core::leases_in_doubt).
void release_leases(Core& core, std::size_t connection);

// ---- we want an address

/// In IKE_AUTH. nullopt: the connection has none.
std::optional<Cp> address_wish(Core& core, const IkeSa& sa);
/// Takes what the gateway gives. False: there is no address of ours in it.
bool take_address(Core& core, IkeSa& sa, const Message& reply);

}  // namespace culvert::ikev2
