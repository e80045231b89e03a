// ARP (RFC 826, RFC 5227): answers requests in place, learns from what concerns an entry that exists.
// Owns the ARP packet's layout. Never creates an entry: a storm of strangers costs no memory.
#pragma once

#include "common/shm/drop.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kArpBytes = 28;

struct ArpVerdict {
  bool reply = false;    ///< the packet has become the answer: send it to `to`
  bool learned = false;  ///< an entry for which packets may wait has become usable
  Neighbor::Mac to{};
  Drop reason = Drop::ArpInvalid;  ///< if neither
  bool counted = false;            ///< `reason` applies; false: the packet was fine, and ends here
};

/// `p` is at the ARP header. `port` is its index.
ArpVerdict arp_in(Packet& p, const Interface& interface, std::uint16_t port, const NeighborTable& neighbors);

/// Writes a request for `target` into an empty packet (at the ARP header). `target` == our own address: gratuitous.
void arp_request(Packet& p, const Interface& interface, const IpAddress& source, const IpAddress& target);

}  // namespace culvert::dp
