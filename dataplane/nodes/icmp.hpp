// ICMP (RFC 792, RFC 1812 §4.3) and ICMPv6 (RFC 4443): echo for own addresses, and the errors that a router owes. All in place: the
// offending packet becomes the answer.
// Owns the question whether an error is owed at all. Never limits rates (token_bucket.hpp) and never sends.
#pragma once

#include <cstdint>

#include "common/net/ip.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

enum class IcmpError : std::uint8_t { NetUnreachable, HostUnreachable, FragmentationNeeded, TimeExceeded };

/// Turns an echo request for an own address (a parsed packet of protocol ICMP, or of ICMPv6) into its reply. False: it is no well-formed
/// echo request, and is unchanged.
bool icmp_echo_reply(Packet& p);

/// Whether an error about this parsed packet may be sent (RFC 1812 §4.3.2.7, RFC 4443 §2.4): not about an ICMP error, a fragment other than
/// the first, or a source or destination that is not one host.
bool icmp_error_allowed(const Packet& p);

/// Turns a packet about which an error is allowed into that error, from `source` to the packet's source. `mtu`: of
/// FragmentationNeeded (RFC 1191 §4; of IPv6: packet too big, RFC 4443 §3.2). False: no room for it.
bool icmp_error(Packet& p, IcmpError error, const IpAddress& source, std::uint16_t mtu = 0);

}  // namespace culvert::dp
