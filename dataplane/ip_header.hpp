// The IP header as the packet path reads it: validation, upper-layer ports, checksums.
// Owns the only place in the data plane that parses an IP header. Never reads beyond Packet::length.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kIpv4HeaderBytes = 20;  ///< without options
inline constexpr std::uint32_t kIpv4WithPorts = kIpv4HeaderBytes + 4;
inline constexpr std::uint32_t kIpv6HeaderBytes = 40;
inline constexpr std::uint32_t kUdpHeaderBytes = 8;
inline constexpr std::uint8_t kProtocolIcmp = 1, kProtocolIpip = 4, kProtocolTcp = 6, kProtocolUdp = 17, kProtocolIpv6 = 41,
                              kProtocolEsp = 50, kProtocolAh = 51, kProtocolIcmpv6 = 58, kProtocolNone = 59;
/// IPv6 extension headers (RFC 8200 §4) that are stepped over.
inline constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kDestinationOptions = 60;
inline constexpr std::uint32_t kFragmentHeaderBytes = 8;
/// RFC 8200 §4.1 has six at most; a longer chain is somebody's attempt.
inline constexpr unsigned kMaxExtensionHeaders = 8;
inline constexpr std::uint16_t kIpv4Df = 0x4000, kIpv4Mf = 0x2000, kIpv4OffsetMask = 0x1fff;

/// A sum of words folded to 16 bits with end-around carry (RFC 1071 §2). A sum added to itself turned by half has in its upper
/// half the folded sum, carry included.
inline std::uint16_t fold_checksum(std::uint64_t sum) {
  const auto half = static_cast<std::uint32_t>((sum + std::rotr(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotr(half, 16)) >> 16);
}
/// What goes beyond 64 bits is carried around (RFC 1071 §2 (B)).
inline std::uint64_t add_with_carry(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  const bool carry = __builtin_add_overflow(a, b, &sum);
  return sum + (carry ? 1 : 0);
}
/// Whether a sum of words that is not 0 folds to 0xffff, as one over bytes with their right checksum does: whether 0xffff divides it.
/// Modulo 2^64 the inverse of 0xffff makes that, and only that, small.
inline bool sum_right(std::uint64_t sum) {
  constexpr std::uint64_t kInverse = 0xfffefffefffeffff;
  static_assert(kInverse * 0xffff == 1);
  return sum * kInverse <= ~std::uint64_t{0} / 0xffff;
}
/// Of an IPv4 header without options.
inline std::uint64_t ipv4_header_words(const std::uint8_t* header) {
  std::uint64_t first, second;
  std::uint32_t third;
  std::memcpy(&first, header, sizeof first);
  std::memcpy(&second, header + 8, sizeof second);
  std::memcpy(&third, header + 16, sizeof third);
  return add_with_carry(add_with_carry(first, second), third);
}
/// The one's complement sum over an IPv4 header of `bytes` (20 or more, a multiple of 4), in memory order: 0xffff if its checksum is right.
inline std::uint16_t ipv4_header_sum(const std::uint8_t* header, std::uint32_t bytes) {
  std::uint64_t sum = ipv4_header_words(header);  // nearly all headers end here
  for (std::uint32_t i = kIpv4HeaderBytes; i < bytes; i += 4) {
    std::uint32_t word;
    std::memcpy(&word, header + i, sizeof word);
    sum = add_with_carry(sum, word);
  }
  return fold_checksum(sum);
}
/// Writes the checksum of an IPv4 header of `bytes`.
inline void set_ipv4_checksum(std::uint8_t* header, std::uint32_t bytes = kIpv4HeaderBytes) {
  std::memset(header + 10, 0, 2);
  const auto sum = static_cast<std::uint16_t>(~ipv4_header_sum(header, bytes));
  std::memcpy(header + 10, &sum, sizeof sum);
}

/// One's complement sum in memory order over any number of bytes.
std::uint16_t sum_bytes(const std::uint8_t* data, std::uint32_t bytes);
/// The same over the pseudo-header of the IP header at `ip` (RFC 768, RFC 8200 §8.1) and the `bytes` of what it carries at `upper`:
/// 0xffff if the checksum in them is right.
std::uint16_t upper_sum(Family family, const std::uint8_t* ip, std::uint8_t protocol, const std::uint8_t* upper, std::uint32_t bytes);
/// Of a parsed packet with a UDP header: over IPv6 there is always a checksum (RFC 8200 §8.1).
void set_udp_checksum(Packet& p);

/// By protocol, whether selectors' ports mean something: TCP, UDP, SCTP, DCCP, UDP-Lite.
inline constexpr auto kHasPorts = [] {
  std::array<bool, 256> t{};
  for (const std::size_t protocol : {6U, 17U, 132U, 33U, 136U}) t[protocol] = true;
  return t;
}();

/// Where an address stands in the header of a family, and how long it is.
constexpr std::uint32_t source_at(Family f) { return f == Family::V6 ? 8 : 12; }
constexpr std::uint32_t destination_at(Family f) { return f == Family::V6 ? 24 : 16; }
constexpr std::uint32_t address_bytes(Family f) { return f == Family::V6 ? 16 : 4; }
constexpr std::uint32_t ip_header_bytes(Family f) { return f == Family::V6 ? kIpv6HeaderBytes : kIpv4HeaderBytes; }
/// `bytes`: an address of family `f` in network order.
inline IpAddress address_from(Family f, const std::uint8_t* bytes) {
  IpAddress a;
  a.family = f;
  std::memcpy(a.bytes.data(), bytes, address_bytes(f));
  return a;
}
/// Of a parsed packet.
inline IpAddress source_of(const Packet& p) { return address_from(p.family, p.data + source_at(p.family)); }
inline IpAddress destination_of(const Packet& p) { return address_from(p.family, p.data + destination_at(p.family)); }

/// DSCP and ECN, of either family.
inline std::uint8_t traffic_class(const Packet& p) {
  return p.family == Family::V6 ? static_cast<std::uint8_t>(load_be16(p.data) >> 4) : p.data[1];
}
inline void set_traffic_class(Packet& p, std::uint8_t value) {
  if (p.family == Family::V6) {
    store_be16(p.data, static_cast<std::uint16_t>((load_be16(p.data) & 0xf00fU) | unsigned{value} << 4));
  } else {
    p.data[1] = value;
    set_ipv4_checksum(p.data, p.l4_offset);
  }
}
/// RFC 1812 §5.3.1, and RFC 1624 for the checksum, of an IPv4 header with a TTL: one less in the TTL, the upper half of its word, is one
/// more in the upper half of the checksum, the carry to its lower half. As words lie in memory the halves are the other way round.
inline void decrement_ttl_v4(std::uint8_t* header) {
  std::uint32_t word;
  std::memcpy(&word, header + 8, sizeof word);
  const std::uint64_t sum = std::uint64_t{word} + 0xffff;
  word = static_cast<std::uint32_t>(sum + (sum >> 32 << 16));
  std::memcpy(header + 8, &word, sizeof word);
}
inline void decrement_ttl(Packet& p) {
  if (p.family == Family::V6) [[unlikely]] {
    p.data[7] = static_cast<std::uint8_t>(p.data[7] - 1);
  } else {
    decrement_ttl_v4(p.data);
  }
}
/// TTL, or hop limit.
inline std::uint8_t hops_left(const Packet& p) { return p.data[p.family == Family::V6 ? 7 : 8]; }

/// A packet with nothing special about it: IPv4 without options (RFC 1812 §5.2.2: version, length, checksum), no fragment, and room for
/// ports. Cuts `kFront` bytes in front of it off, and what is behind its total length, and fills the parsed fields: it is of `vrf`. False:
/// it is another one, or malformed, and unchanged. `Summed`: where `tag` is kSummed, the checksum is believed to be right.
template <bool Summed = false, std::uint32_t kFront = 0>
inline bool parse_usual(Packet& p, VrfId vrf) {
  if (p.length < kFront + kIpv4WithPorts) [[unlikely]]
    return false;
  std::uint8_t* const ip = p.data + kFront;
  const std::uint32_t room = p.length - kFront, total = load_be16(ip + 2);
  std::uint16_t fragment;
  std::memcpy(&fragment, ip + 6, sizeof fragment);
  const bool whole = (fragment & __builtin_bswap16(kIpv4Mf | kIpv4OffsetMask)) == 0;
  if (ip[0] != 0x45 || !whole || total - kIpv4WithPorts > room - kIpv4WithPorts) [[unlikely]]
    return false;
  if (!(Summed && p.tag == Packet::kSummed) && !sum_right(ipv4_header_words(ip))) [[unlikely]]
    return false;
  const std::uint32_t wire = load_be32(ip + kIpv4HeaderBytes);
  const std::uint8_t protocol = ip[9];
  p.data = ip;
  p.length = total;
  p.headroom = static_cast<std::uint16_t>(p.headroom + kFront);
  p.tailroom = static_cast<std::uint16_t>(p.tailroom + room - total);
  p.l4_offset = kIpv4HeaderBytes;
  p.family = Family::V4;
  p.set_flow_word(kHasPorts[protocol] ? std::rotl(wire, 16) : 0, protocol, vrf);
  return true;
}

/// Validates any IPv4 header, cuts the packet to its total length, and fills the parsed fields. False: malformed; the packet is unchanged
/// then. A first fragment that is too short for its ports has none.
bool parse_ipv4(Packet& p);

/// Validates the IPv6 header and steps over its extension headers (RFC 8200 §4), cuts the packet to its length, and fills the parsed
/// fields: `protocol` is the upper layer's. False: malformed, a jumbogram, or a packet that hides its upper layer: a first fragment in
/// which the chain does not end (RFC 7112 §5), a later one that begins with more extension headers.
/// A fragment that is the whole packet is none (RFC 6946).
bool parse_ipv6(Packet& p);

/// Validates and parses the IP header of whichever family the packet is of.
inline bool parse_ip(Packet& p) {
  if (parse_usual(p, p.vrf)) [[likely]]
    return true;
  return p.length != 0 && p.data[0] >> 4 == 6 ? parse_ipv6(p) : parse_ipv4(p);
}

}  // namespace culvert::dp
