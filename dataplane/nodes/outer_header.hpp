// The outer IPv4 header, as both ESP and AH write it.
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

/// Transport mode is for whole packets between the two ends of the SA themselves (RFC 4301 §4.1); ours have no options.
inline bool fits_transport(const Packet& p, const OutboundSa& sa, PeerWord peer) {
  return !p.fragment && p.l4_offset == kIpv4HeaderBytes && std::memcmp(p.data + 12, sa.header.data() + 12, 4) == 0 &&
         load_be32(p.data + 16) == peer_address(peer);
}

/// Transport mode: moves the IP header of `bytes` by `by` (forward if positive) and rewrites what follows from that.
inline void move_header(Packet& p, std::uint32_t bytes, std::int32_t by, std::uint8_t protocol) {
  std::uint8_t* to = p.data + by;
  std::memmove(to, p.data, bytes);
  if (by < 0) {
    p.push(static_cast<std::uint32_t>(-by));
  } else {
    p.pull(static_cast<std::uint32_t>(by));
  }
  to[9] = protocol;
  store_be16(to + 2, static_cast<std::uint16_t>(p.length));
  set_ipv4_checksum(to, bytes);
}

/// What a packet under an SA looks like from now on.
inline void becomes_outer(Packet& p, const OutboundSa& sa, std::uint16_t destination_port) {
  p.family = Family::V4;
  p.l4_offset = kIpv4HeaderBytes;
  p.protocol = sa.outer_protocol;
  p.source_port = sa.local_port;
  p.destination_port = destination_port;
  p.fragment = false;
}

}  // namespace culvert::dp
