// The outer IP header, as both ESP and AH write it.
#pragma once

#include "dataplane/ip_header.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kMaxIpLength = 0xffff;

/// Tunnel mode: the fields that depend on the packet or on where the peer is (RFC 4301 §5.1.2.1, RFC 6040 §4.1).
inline void finish_ipv4(std::uint8_t* outer, const OutboundSa& sa, std::uint32_t peer, std::uint32_t length, std::uint8_t tos,
                        std::uint16_t id, std::uint16_t df) {
  outer[1] = tos;
  store_be16(outer + 2, static_cast<std::uint16_t>(length));
  store_be16(outer + 4, id);
  store_be16(outer + 6, df);
  store_be32(outer + 16, peer);
  std::uint32_t sum = sa.checksum_base + (peer >> 16) + (peer & 0xffff) + tos + length + id + df;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store_be16(outer + 10, static_cast<std::uint16_t>(~sum));
}

inline void finish_ipv6(std::uint8_t* outer, const PeerV6::Value& peer, std::uint32_t length, std::uint8_t traffic_class) {
  store_be16(outer, static_cast<std::uint16_t>(0x6000U | unsigned{traffic_class} << 4 | (outer[1] & 0x0fU)));
  store_be16(outer + 4, static_cast<std::uint16_t>(length - kIpv6HeaderBytes));
  std::memcpy(outer + 24, peer.address.data(), sizeof peer.address);
}

/// Transport mode is for whole packets between the two ends of the SA themselves (RFC 4301 §4.1); ours have no options, and no
/// extension headers.
inline bool fits_transport(const Packet& p, const OutboundSa& sa) {
  if (p.fragment || p.family != sa.outer_family || p.l4_offset != sa.ip_bytes) return false;
  const std::uint32_t source = source_at(p.family);
  if (std::memcmp(p.data + source, sa.header.data() + source, address_bytes(p.family)) != 0) return false;
  if (p.family == Family::V4) return load_be32(p.data + 16) == peer_address(sa.peer.load(std::memory_order_relaxed));
  const PeerV6::Value peer = sa.peer_v6.load();
  return std::memcmp(p.data + 24, peer.address.data(), sizeof peer.address) == 0;
}

/// Transport mode: moves the IP header of `bytes` (of IPv6 with its extension headers) by `by` (forward if positive) and rewrites
/// what follows from that.
inline void move_header(Packet& p, std::uint32_t bytes, std::int32_t by, std::uint8_t protocol) {
  std::uint8_t* to = p.data + by;
  std::memmove(to, p.data, bytes);
  if (by < 0) {
    p.push(static_cast<std::uint32_t>(-by));
  } else {
    p.pull(static_cast<std::uint32_t>(by));
  }
  if (p.family == Family::V4) {
    to[9] = protocol;
    store_be16(to + 2, static_cast<std::uint16_t>(p.length));
    return set_ipv4_checksum(to, bytes);
  }
  std::uint8_t* next = to + 6;
  for (std::uint32_t at = kIpv6HeaderBytes; at < bytes; at += *next == kFragment ? kFragmentHeaderBytes : (to[at + 1] + 1U) * 8U)
    next = to + at;
  *next = protocol;
  store_be16(to + 4, static_cast<std::uint16_t>(p.length - kIpv6HeaderBytes));
}

/// Tunnel mode: what stands in front of the IP header inside, for either family.
inline std::uint16_t inner_df(const Packet& p) {
  return p.family == Family::V4 ? std::uint16_t(load_be16(p.data + 6) & kIpv4Df) : kIpv4Df;  // no router fragments IPv6
}
/// A packet of no family is a dummy (RFC 4303 §2.6).
inline std::uint8_t inner_next_header(const Packet& p) {
  return p.family == Family::V4 ? kProtocolIpip : p.family == Family::V6 ? kProtocolIpv6 : kProtocolNone;
}

/// What a packet under an SA looks like from now on.
inline void becomes_outer(Packet& p, const OutboundSa& sa, std::uint16_t destination_port) {
  p.family = sa.outer_family;
  p.l4_offset = sa.ip_bytes;
  p.protocol = sa.outer_protocol;
  p.source_port = sa.local_port;
  p.destination_port = destination_port;
  p.fragment = false;
}

}  // namespace culvert::dp
