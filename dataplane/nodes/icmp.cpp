#include "dataplane/nodes/icmp.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kEchoReply = 0, kUnreachable = 3, kEchoRequest = 8, kTimeExceeded = 11;
constexpr std::uint32_t kIcmpBytes = 8;
constexpr std::uint32_t kQuotedMax = 576 - kIpv4HeaderBytes - kIcmpBytes;  // RFC 1812 §4.3.2.3
constexpr std::uint8_t kTtl = 64;
constexpr std::uint8_t kUnreachableV6 = 1, kTooBigV6 = 2, kTimeExceededV6 = 3, kEchoRequestV6 = 128, kEchoReplyV6 = 129;
constexpr std::uint8_t kInformationalV6 = 128, kRedirectV6 = 137;
constexpr std::uint32_t kQuotedMaxV6 = 1280 - kIpv6HeaderBytes - kIcmpBytes;  // RFC 4443 §2.4(c)

void set_icmp_checksum(std::uint8_t* icmp, std::uint32_t bytes) {
  std::memset(icmp + 2, 0, 2);
  const auto sum = static_cast<std::uint16_t>(~sum_bytes(icmp, bytes));
  std::memcpy(icmp + 2, &sum, sizeof sum);
}

void set_icmpv6_checksum(Packet& p) {
  std::uint8_t* icmp = p.data + p.l4_offset;
  std::memset(icmp + 2, 0, 2);
  const auto sum = static_cast<std::uint16_t>(~upper_sum(Family::V6, p.data, kProtocolIcmpv6, icmp, p.length - p.l4_offset));
  std::memcpy(icmp + 2, &sum, sizeof sum);
}

/// Of requests to our unicast addresses; behind extension headers there is none that we answer.
bool echo_reply_v6(Packet& p) {
  const std::uint32_t bytes = p.length - p.l4_offset;
  std::uint8_t* icmp = p.data + p.l4_offset;
  if (bytes < kIcmpBytes || p.l4_offset != kIpv6HeaderBytes || icmp[0] != kEchoRequestV6 || icmp[1] != 0 ||
      upper_sum(Family::V6, p.data, kProtocolIcmpv6, icmp, bytes) != 0xffff)
    return false;
  icmp[0] = kEchoReplyV6;
  std::swap_ranges(p.data + 8, p.data + 24, p.data + 24);
  p.data[7] = kTtl;
  set_icmpv6_checksum(p);
  return true;
}

/// RFC 4443 §2.4(e). Only packet too big might answer what went to a group, and no group is routed here.
bool error_allowed_v6(const Packet& p) {
  const std::uint8_t* source = p.data + 8;
  constexpr std::array<std::uint8_t, 16> kUnspecified{};
  if (source[0] == 0xff || p.data[24] == 0xff || std::memcmp(source, kUnspecified.data(), 16) == 0) return false;
  if (p.protocol != kProtocolIcmpv6) return true;
  // A fragment's header stands right in front of what it carries: of a later one nobody can say what message it is of.
  const bool later = p.fragment && (load_be16(p.data + p.l4_offset - kFragmentHeaderBytes + 2) & 0xfff8U) != 0;
  if (later || p.length < p.l4_offset + 1U) return false;
  const std::uint8_t type = p.data[p.l4_offset];
  return type >= kInformationalV6 && type != kRedirectV6;
}

bool error_v6(Packet& p, IcmpError error, const IpAddress& source, std::uint32_t mtu) {
  if (p.headroom < kIpv6HeaderBytes + kIcmpBytes || source.family != Family::V6) return false;
  std::array<std::uint8_t, 16> to;
  std::memcpy(to.data(), p.data + 8, to.size());
  p.resize(std::min(p.length, kQuotedMaxV6));
  p.push(kIpv6HeaderBytes + kIcmpBytes);
  std::uint8_t* ip = p.data;
  store_be32(ip, 0x6c000000);  // internetwork control, as over IPv4
  store_be16(ip + 4, static_cast<std::uint16_t>(p.length - kIpv6HeaderBytes));
  ip[6] = kProtocolIcmpv6;
  ip[7] = kTtl;
  std::memcpy(ip + 8, source.bytes.data(), 16);
  std::memcpy(ip + 24, to.data(), to.size());
  std::uint8_t* icmp = ip + kIpv6HeaderBytes;
  std::memset(icmp, 0, kIcmpBytes);
  switch (error) {
    case IcmpError::NetUnreachable:
      icmp[0] = kUnreachableV6;
      break;
    case IcmpError::HostUnreachable:
      icmp[0] = kUnreachableV6, icmp[1] = 3;
      break;
    case IcmpError::FragmentationNeeded:
      icmp[0] = kTooBigV6;
      store_be32(icmp + 4, mtu);
      break;
    case IcmpError::TimeExceeded:
      icmp[0] = kTimeExceededV6;
      break;
  }
  p.l4_offset = kIpv6HeaderBytes;
  p.protocol = kProtocolIcmpv6;
  p.source_port = p.destination_port = 0;
  p.fragment = p.ports_hidden = false;
  set_icmpv6_checksum(p);
  return true;
}
}  // namespace

bool icmp_echo_reply(Packet& p) {
  if (p.family == Family::V6) return echo_reply_v6(p);
  const std::uint32_t bytes = p.length - p.l4_offset;
  std::uint8_t* icmp = p.data + p.l4_offset;
  if (bytes < kIcmpBytes || icmp[0] != kEchoRequest || icmp[1] != 0 || sum_bytes(icmp, bytes) != 0xffff) return false;
  icmp[0] = kEchoReply;
  set_icmp_checksum(icmp, bytes);
  const std::uint32_t source = load_be32(p.data + 12);
  store_be32(p.data + 12, load_be32(p.data + 16));
  store_be32(p.data + 16, source);
  store_be16(p.data + 6, 0);  // may be fragmented: the reply may meet a smaller MTU than the request
  p.data[8] = kTtl;
  set_ipv4_checksum(p.data, p.l4_offset);
  return true;
}

bool icmp_error_allowed(const Packet& p) {
  if (p.family == Family::V6) return error_allowed_v6(p);
  if ((load_be16(p.data + 6) & kIpv4OffsetMask) != 0) return false;
  const std::uint32_t source = load_be32(p.data + 12);
  const std::uint32_t top = source >> 24;
  if (top == 0 || top == 127 || top >= 224) return false;
  if ((load_be32(p.data + 16) >> 24) >= 224) return false;
  if (p.protocol != kProtocolIcmp) return true;
  if (p.length < p.l4_offset + 1U) return false;
  const std::uint8_t type = p.data[p.l4_offset];
  return type == kEchoReply || type == kEchoRequest || (type >= 13 && type <= 18);  // queries and their answers
}

bool icmp_error(Packet& p, IcmpError error, const IpAddress& source, std::uint16_t mtu) {
  if (p.family == Family::V6) return error_v6(p, error, source, mtu);
  const std::uint32_t quoted = std::min(p.length, kQuotedMax);
  if (p.headroom < kIpv4HeaderBytes + kIcmpBytes || source.family != Family::V4) return false;
  const std::uint32_t to = load_be32(p.data + 12);
  p.resize(quoted);
  p.push(kIpv4HeaderBytes + kIcmpBytes);
  std::uint8_t* ip = p.data;
  ip[0] = 0x45;
  ip[1] = 0xc0;  // internetwork control (RFC 1812 §4.3.2.5)
  store_be16(ip + 2, static_cast<std::uint16_t>(p.length));
  store_be32(ip + 4, 0);  // ID 0 and no flags: never fragmented at 576 bytes
  ip[8] = kTtl;
  ip[9] = kProtocolIcmp;
  store_be32(ip + 12, source.v4_host());
  store_be32(ip + 16, to);
  set_ipv4_checksum(ip);
  std::uint8_t* icmp = ip + kIpv4HeaderBytes;
  std::memset(icmp, 0, kIcmpBytes);
  switch (error) {
    case IcmpError::NetUnreachable:
      icmp[0] = kUnreachable;
      break;
    case IcmpError::HostUnreachable:
      icmp[0] = kUnreachable, icmp[1] = 1;
      break;
    case IcmpError::FragmentationNeeded:
      icmp[0] = kUnreachable, icmp[1] = 4;
      store_be16(icmp + 6, mtu);
      break;
    case IcmpError::TimeExceeded:
      icmp[0] = kTimeExceeded;
      break;
  }
  set_icmp_checksum(icmp, p.length - kIpv4HeaderBytes);
  p.l4_offset = kIpv4HeaderBytes;
  p.protocol = kProtocolIcmp;
  p.source_port = p.destination_port = 0;
  p.fragment = p.ports_hidden = false;
  return true;
}

}  // namespace culvert::dp
