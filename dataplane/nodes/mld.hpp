// Multicast listeners' reports (MLDv2, RFC 3810; MLDv1 where such a router asks, RFC 2710): by them switches that look on (MLD snooping,
// RFC 4541) know that we hear the groups by which neighbours ask for our addresses (RFC 4861 §7.2.1). Owns the messages' form; keeps no
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::size_t kMldGroups = 60;  ///< in one report: it fits the least MTU of IPv6

struct MldQuery {
  bool v1 = false;
  std::uint32_t delay_ms = 0;  ///< the answer may take any time up to this
  IpAddress group;             ///< unspecified: all of them
};
/// Whether a parsed IPv6 packet is a query, whatever it says.
bool is_mld_query(const Packet& p);
/// What it asks (RFC 3810 §5.1); nothing: it is malformed, or from beyond the link (§6.2).
std::optional<MldQuery> mld_query(const Packet& p);

/// What a port with these addresses hears: all routers, and the solicited-node groups of its addresses (RFC 4291 §2.8). Of all nodes nobody
/// reports (RFC 3810 §6).
std::vector<IpAddress> groups_heard(const Interface& interface);
/// Writes a report of up to kMldGroups groups into an empty packet with room for it: that they are heard now (`joined`), or still
/// (§5.2.12). Returns the MAC address that it goes to.
Neighbor::Mac mld_report(Packet& p, const Interface& interface, std::span<const IpAddress> groups, bool joined);
/// MLDv1's, of one group.
Neighbor::Mac mld_report_v1(Packet& p, const Interface& interface, const IpAddress& group);

}  // namespace culvert::dp
