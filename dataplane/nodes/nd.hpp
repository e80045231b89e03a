// Neighbour Discovery (RFC 4861) as a router without advertisements does it: who asks for our addresses is answered, and neighbours that
// we have asked for are learned. What ARP is for IPv4 (arp.hpp). Owns the messages' form. Never redirects, never believes a
// router's advertisement: routes are configured.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kSolicitationBytes = 72;  ///< of IP: header, 24 bytes, and the option with our MAC address

/// Whether a parsed IPv6 packet is a neighbour solicitation or advertisement.
bool is_neighbor_discovery(const Packet& p);
/// Whether a host with the addresses of `interface` listens to this multicast address (RFC 4291 §2.8): all nodes, all routers, or the
/// solicited-node address of one of its own.
bool listens_to(const Interface& interface, const std::uint8_t* multicast);

/// The group by which neighbours ask for an address (RFC 4291 §2.7.1).
IpAddress solicited_node(const IpAddress& a);

/// Takes in a solicitation or advertisement (is_neighbor_discovery) that came in on `port` (RFC 4861 §7.1, §7.2). The reason is NdInvalid.
NeighborVerdict nd_in(Packet& p, const Interface& interface, std::uint16_t port, const NeighborTable& neighbors);

/// Writes the solicitation for `target` (RFC 4861 §7.2.2) into an empty packet with room for it, from `source`, which is our own. Returns
/// the MAC address of the group that it goes to (RFC 2464 §7).
Neighbor::Mac nd_solicitation(Packet& p, const Interface& interface, const IpAddress& source, const IpAddress& target);
/// The advertisement that makes `address` known unasked (RFC 4861 §7.2.6).
Neighbor::Mac nd_announcement(Packet& p, const Interface& interface, const IpAddress& address);

}  // namespace culvert::dp
