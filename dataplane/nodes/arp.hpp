// ARP (RFC 826, RFC 5227): answers requests in place, learns from what concerns an entry that exists.
// Owns the ARP packet's layout. Never creates an entry: a storm of strangers costs no memory.
#pragma once

#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kArpBytes = 28;

/// `p` is at the ARP header. `port` is its index. The reason is ArpInvalid.
NeighborVerdict arp_in(Packet& p, const Interface& interface, std::uint16_t port, const NeighborTable& neighbors);

/// Writes a request for `target` into an empty packet (at the ARP header). `target` == our own address: gratuitous.
void arp_request(Packet& p, const Interface& interface, const IpAddress& source, const IpAddress& target);

}  // namespace culvert::dp
