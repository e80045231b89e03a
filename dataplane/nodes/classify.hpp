// What a received frame is: the first decisions of the packet path. Pure functions of the bytes and of what the port is.
// Owns Ethernet's header, the tag of a VLAN, and the martian rules for IP sources. Never looks behind the UDP header and the first bytes of
// its payload.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/shm/drop.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

inline constexpr std::uint32_t kEthernetBytes = 14, kTagBytes = 4;
inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800, kEtherTypeArp = 0x0806, kEtherTypeIpv6 = 0x86dd, kEtherTypeVlan = 0x8100;
inline constexpr std::uint16_t kIkePort = 500, kNatTPort = 4500;

/// draft-ietf-ipsec-udp-encaps-00 §2.1: eight zero bytes between UDP and ESP on port 500, where IKE has its initiator cookie.
inline constexpr std::uint32_t kNonIkeMarkerBytes = 8;
/// What stands between the IP header and the ESP header of a packet in UDP to our `port`.
constexpr std::uint32_t udp_esp_bytes(std::uint16_t port) { return kUdpHeaderBytes + (port == kIkePort ? kNonIkeMarkerBytes : 0U); }

constexpr std::uint16_t ether_type(Family family) { return family == Family::V4 ? kEtherTypeIpv4 : kEtherTypeIpv6; }

enum class FrameKind : std::uint8_t { Ip, Arp, Tagged, Dropped };
struct FrameVerdict {
  FrameKind kind = FrameKind::Dropped;
  Drop reason = Drop::RxMalformed;  ///< of Dropped
};

/// A usual frame: IPv4 to `own`.
inline bool is_ipv4_to(const Packet& p, MacBits own) {
  std::uint64_t first;
  std::uint16_t type;
  if (p.length < kEthernetBytes) [[unlikely]]
    return false;
  std::memcpy(&first, p.data, sizeof first);
  std::memcpy(&type, p.data + 12, sizeof type);
  return (first ^ own) << 16 == 0 && type == __builtin_bswap16(kEtherTypeIpv4);
}
/// Takes the Ethernet header off. Only IP to our own MAC address, IPv6 to a group's, and ARP to ours or to all, go on; of a Tagged frame
/// nothing is known before its tag is off, too (enter_vlan).
inline FrameVerdict classify_frame(Packet& p, MacBits own) {
  if (p.length < kEthernetBytes) return {FrameKind::Dropped, Drop::RxMalformed};
  const bool to_us = load_mac(p.data) == own;
  const bool to_all = (p.data[0] & 1) != 0;
  const bool to_group_v6 = p.data[0] == 0x33 && p.data[1] == 0x33;  // RFC 2464 §7
  const std::uint16_t type = load_be16(p.data + 12);
  p.pull(kEthernetBytes);
  if (type == kEtherTypeIpv4 && to_us) return {FrameKind::Ip, {}};
  if (type == kEtherTypeIpv6 && (to_us || to_group_v6)) return {FrameKind::Ip, {}};
  if (type == kEtherTypeArp && (to_us || to_all)) return {FrameKind::Arp, {}};
  if (type == kEtherTypeVlan) return {FrameKind::Tagged, {}};
  return {FrameKind::Dropped, Drop::RxNotForUs};
}

/// IEEE 802.1Q §9.6: of a Tagged frame, takes the tag out, and gives the packet to the VLAN's interface. What the tag says of priority is
/// not used. One tag: what is behind it must be no other.
inline FrameVerdict enter_vlan(Packet& p, MacBits own, const Vlans& vlans) {
  if (p.length < kTagBytes) return {FrameKind::Dropped, Drop::RxMalformed};
  const std::uint16_t interface = vlans.of(p.rx_port, load_be16(p.data) & 0x0fff);
  if (interface == Vlans::kUnknown) return {FrameKind::Dropped, Drop::VlanUnknown};
  p.rx_port = interface;
  p.push(kEthernetBytes);
  std::memmove(p.data + kTagBytes, p.data, 12);  // both MAC addresses: the EtherType behind the tag becomes the frame's
  p.pull(kTagBytes);
  const FrameVerdict v = classify_frame(p, own);
  return v.kind == FrameKind::Tagged ? FrameVerdict{FrameKind::Dropped, Drop::RxNotForUs} : v;
}
/// Puts the tag of VLAN `id` in front of what `type` says. It lies between the MAC addresses and `type`: the frame is then of
/// kEtherTypeVlan. There must be room.
inline void push_tag(Packet& p, std::uint16_t id, std::uint16_t type) {
  p.push(kTagBytes);
  store_be16(p.data, id);
  store_be16(p.data + 2, type);
}

/// RFC 1812 §5.3.7: addresses that no packet may come from.
inline bool martian_source_v4(std::uint32_t address, const OwnAddresses& own) {
  const std::uint32_t top = address >> 24;
  return top == 0 || top == 127 || top >= 224 || own.contains_v4(address);
}

/// RFC 4291 §2: IPv6 addresses that no packet that is to be forwarded may come from; `address` in network order. Unspecified and loopback,
/// what maps IPv4, multicast, link-local (§2.5.6), our own.
inline bool martian_source_v6(const std::uint8_t* address, const OwnAddresses& own) {
  const std::uint64_t high = load_be64(address), low = load_be64(address + 8);
  const bool mapped = high == 0 && (low <= 1 || low >> 32 == 0xffff);
  return mapped || address[0] == 0xff || high >> 54 == 0xfe80 >> 6 || own.contains_v6(address);
}
inline bool is_link_local_v6(const std::uint8_t* address) { return load_be16(address) >> 6 == 0xfe80 >> 6; }

inline bool martian_source(const Packet& p, const OwnAddresses& own) {
  return p.family == Family::V4 ? martian_source_v4(load_be32(p.data + 12), own) : martian_source_v6(p.data + 8, own);
}

/// What a packet for an own address is. It was parsed (parse_ip).
enum class LocalKind : std::uint8_t {
  Esp,        ///< protocol 50, or in UDP on port 4500 (RFC 3948 §2.1) or, behind a non-IKE marker, on port 500; or AH, protocol 51
  Ike,        ///< UDP 500, or 4500 with the non-ESP marker (RFC 3948 §2.2)
  Keepalive,  ///< RFC 3948 §2.3
  Icmp,
  Fragment,   ///< of ESP, AH or UDP: to be put together
  Malformed,  ///< a UDP datagram for IKE whose length is wrong
  Other,
};
inline LocalKind classify_local(const Packet& p) {
  const bool esp = p.protocol == kProtocolEsp || p.protocol == kProtocolAh;
  if (p.fragment) return esp || p.protocol == kProtocolUdp ? LocalKind::Fragment : LocalKind::Other;
  if (esp) return LocalKind::Esp;
  if (p.protocol == (p.family == Family::V4 ? kProtocolIcmp : kProtocolIcmpv6)) return LocalKind::Icmp;
  if (p.protocol != kProtocolUdp || (p.destination_port != kIkePort && p.destination_port != kNatTPort)) return LocalKind::Other;
  const std::uint32_t there = p.length - p.l4_offset;
  if (there < kUdpHeaderBytes) return LocalKind::Malformed;
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t said = load_be16(udp + 4);
  if (said < kUdpHeaderBytes || said > there) return LocalKind::Malformed;
  const std::uint32_t payload = said - kUdpHeaderBytes;
  if (payload == 1 && udp[kUdpHeaderBytes] == 0xff) return LocalKind::Keepalive;
  if (p.destination_port == kIkePort) {
    const bool marker = payload >= kNonIkeMarkerBytes && (load_be32(udp + kUdpHeaderBytes) | load_be32(udp + kUdpHeaderBytes + 4)) == 0;
    return marker ? LocalKind::Esp : LocalKind::Ike;
  }
  if (payload < 4) return LocalKind::Malformed;
  return load_be32(udp + kUdpHeaderBytes) == 0 ? LocalKind::Ike : LocalKind::Esp;
}

/// Whether a packet that is LocalKind::Ike is a first message: it names no responder's cookie (RFC 2408 §3.1), or is none at all.
inline bool begins_negotiation(const Packet& p) {
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t cookie = kUdpHeaderBytes + (p.destination_port == kNatTPort ? 4U : 0U) + 8U;
  return load_be16(udp + 4) < cookie + 8 || (load_be32(udp + cookie) | load_be32(udp + cookie + 4)) == 0;
}

}  // namespace culvert::dp
