// The IP header as the packet path reads it: validation, upper-layer ports, checksums.
// Owns the only place in the data plane that parses an IP header. Never reads beyond Packet::length.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kIpv4HeaderBytes = 20;  ///< without options
inline constexpr std::uint32_t kUdpHeaderBytes = 8;
inline constexpr std::uint8_t kProtocolIcmp = 1, kProtocolIpip = 4, kProtocolTcp = 6, kProtocolUdp = 17, kProtocolEsp = 50,
                              kProtocolAh = 51, kProtocolNone = 59;
inline constexpr std::uint16_t kIpv4Df = 0x4000, kIpv4Mf = 0x2000, kIpv4OffsetMask = 0x1fff;

/// A sum of words folded to 16 bits with end-around carry (RFC 1071 §2). A sum added to itself turned by half has in its upper
/// half the folded sum, carry included.
inline std::uint16_t fold_checksum(std::uint64_t sum) {
  const auto half = static_cast<std::uint32_t>((sum + std::rotr(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotr(half, 16)) >> 16);
}
/// The one's complement sum over an IPv4 header of `bytes` (20 or more, a multiple of 4), in memory order: 0xffff if its checksum is right.
inline std::uint16_t ipv4_header_sum(const std::uint8_t* header, std::uint32_t bytes) {
  const auto word = [header](std::uint32_t at) {
    std::uint32_t w;
    std::memcpy(&w, header + at, sizeof w);
    return std::uint64_t{w};
  };
  std::uint64_t sum = word(0) + word(4) + word(8) + word(12) + word(16);  // nearly all headers end here
  for (std::uint32_t i = kIpv4HeaderBytes; i < bytes; i += 4) sum += word(i);
  return fold_checksum(sum);
}
/// Writes the checksum of an IPv4 header of `bytes`.
inline void set_ipv4_checksum(std::uint8_t* header, std::uint32_t bytes = kIpv4HeaderBytes) {
  std::memset(header + 10, 0, 2);
  const auto sum = static_cast<std::uint16_t>(~ipv4_header_sum(header, bytes));
  std::memcpy(header + 10, &sum, sizeof sum);
}

/// By protocol, whether selectors' ports mean something: TCP, UDP, SCTP, DCCP, UDP-Lite.
inline constexpr auto kHasPorts = [] {
  std::array<bool, 256> t{};
  for (const std::size_t protocol : {6U, 17U, 132U, 33U, 136U}) t[protocol] = true;
  return t;
}();

inline IpAddress ipv4_source(const Packet& p) { return IpAddress::v4(load_be32(p.data + 12)); }
inline IpAddress ipv4_destination(const Packet& p) { return IpAddress::v4(load_be32(p.data + 16)); }

/// Validates the IPv4 header (RFC 1812 §5.2.2: version, length, checksum), cuts the packet to its total length, and fills the
/// parsed fields. False: malformed; the packet is unchanged then. A first fragment that is too short for its ports has none.
inline bool parse_ipv4(Packet& p) {
  if (p.length < kIpv4HeaderBytes) return false;
  const unsigned first = p.data[0];
  if (first - 0x45U > 0x4fU - 0x45U) return false;  // version 4, five words or more
  const std::uint32_t header = (first & 0x0fU) * 4U;
  const std::uint32_t total = load_be16(p.data + 2);
  if (total < header || total > p.length) return false;
  if (ipv4_header_sum(p.data, header) != 0xffff) return false;
  const std::uint16_t fragment = load_be16(p.data + 6);
  if (total != p.length) p.resize(total);
  p.family = Family::V4;
  p.l4_offset = static_cast<std::uint16_t>(header);
  p.protocol = p.data[9];
  p.fragment = (fragment & (kIpv4Mf | kIpv4OffsetMask)) != 0;
  const bool has_ports = kHasPorts[p.protocol];
  const bool ports = has_ports && (fragment & kIpv4OffsetMask) == 0 && total >= header + 4;
  p.ports_hidden = has_ports && !ports;
  p.source_port = ports ? load_be16(p.data + header) : std::uint16_t{0};
  p.destination_port = ports ? load_be16(p.data + header + 2) : std::uint16_t{0};
  return true;
}

/// Validates and parses the IP header of whichever family is carried. IPv6 is not carried yet: false.
inline bool parse_ip(Packet& p) { return parse_ipv4(p); }

}  // namespace culvert::dp
