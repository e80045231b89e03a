// TCP's maximum segment size (RFC 9293 §3.7.1) lowered on its way through a tunnel, so that no segment has to be fragmented and none is
// lost where ICMP is blocked. Owns nothing; looks at SYN and SYN-ACK only, of either family.
#pragma once

#include <cstdint>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kTcpHeaderBytes = 20;  ///< without options
inline constexpr std::uint8_t kTcpSyn = 0x02;

/// Whether a parsed packet opens a TCP connection; says no of all others at the cost of a byte that is in the cache.
inline bool opens_tcp(const Packet& p) {
  if (p.protocol != kProtocolTcp || p.ports_hidden || p.length < p.l4_offset + kTcpHeaderBytes) return false;
  return (p.data[p.l4_offset + 13U] & kTcpSyn) != 0;
}
/// The same of an IPv4 packet without options, no fragment, of `length` bytes.
inline bool opens_tcp_v4(const std::uint8_t* ip, std::uint32_t length) {
  return ip[9] == kProtocolTcp && length >= kIpv4HeaderBytes + kTcpHeaderBytes && (ip[kIpv4HeaderBytes + 13] & kTcpSyn) != 0;
}

/// Lowers the segment size that a packet for which opens_tcp() asks for to `most`, and mends its checksum. True: it was larger. One without
/// the option stays as it is: it means 536 bytes over IPv4 and 1220 over IPv6, which fit.
bool clamp_mss(Packet& p, std::uint32_t most);

}  // namespace culvert::dp
