// TCP's maximum segment size (RFC 9293 §3.7.1) lowered on its way through a tunnel, so that no segment has to be fragmented and none is
// lost where ICMP is blocked. Owns nothing; looks at SYN and SYN-ACK only, of either family.
#pragma once

#include <cstdint>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

/// Whether a parsed packet opens a TCP connection; says no of all others at the cost of a byte that is in the cache.
inline bool opens_tcp(const Packet& p) {
  constexpr std::uint32_t kTcpHeaderBytes = 20;
  constexpr std::uint8_t kSyn = 0x02;
  if (p.protocol != kProtocolTcp || p.ports_hidden || p.length < p.l4_offset + kTcpHeaderBytes) return false;
  return (p.data[p.l4_offset + 13U] & kSyn) != 0;
}

/// Lowers the segment size that a packet for which opens_tcp() asks for to `most`, and mends its checksum. True: it was larger. One without
/// the option stays as it is: it means 536 bytes over IPv4 and 1220 over IPv6, which fit.
bool clamp_mss(Packet& p, std::uint32_t most);

}  // namespace culvert::dp
