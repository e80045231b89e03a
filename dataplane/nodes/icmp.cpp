#include "dataplane/nodes/icmp.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kEchoReply = 0, kUnreachable = 3, kEchoRequest = 8, kTimeExceeded = 11;
constexpr std::uint32_t kIcmpBytes = 8;
constexpr std::uint32_t kQuotedMax = 576 - kIpv4HeaderBytes - kIcmpBytes;  // RFC 1812 §4.3.2.3
constexpr std::uint8_t kTtl = 64;

/// One's complement sum in memory order over any number of bytes.
std::uint16_t sum_bytes(const std::uint8_t* data, std::uint32_t bytes) {
  std::uint64_t sum = 0;
  std::uint32_t i = 0;
  for (; i + 4 <= bytes; i += 4) {
    std::uint32_t word;
    std::memcpy(&word, data + i, sizeof word);
    sum += word;
  }
  std::uint32_t last = 0;
  std::memcpy(&last, data + i, bytes - i);
  return fold_checksum(sum + last);
}

void set_icmp_checksum(std::uint8_t* icmp, std::uint32_t bytes) {
  std::memset(icmp + 2, 0, 2);
  const auto sum = static_cast<std::uint16_t>(~sum_bytes(icmp, bytes));
  std::memcpy(icmp + 2, &sum, sizeof sum);
}
}  // namespace

bool icmp_echo_reply(Packet& p) {
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
