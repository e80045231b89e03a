#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
constexpr bool is_extension(std::uint8_t header) {
  return header == kHopByHop || header == kRouting || header == kDestinationOptions || header == kFragment;
}

/// What the walk along the chain finds.
struct Chain {
  std::uint32_t at = kIpv6HeaderBytes;  ///< of the upper layer
  std::uint8_t protocol = 0;
  bool fragment = false;
  bool first = true;  ///< the upper layer's header stands here
};

/// False: the chain is too long, leaves the packet, or hides the upper layer.
bool walk(const Packet& p, std::uint32_t total, Chain& c) {
  c.protocol = p.data[6];
  for (unsigned n = 0; is_extension(c.protocol); ++n) {
    if (n == kMaxExtensionHeaders || c.at + 8 > total) return false;
    const std::uint8_t* header = p.data + c.at;
    if (c.protocol == kHopByHop && n != 0) return false;  // RFC 8200 §4.1: first, or not at all
    if (c.protocol == kFragment) {
      if (c.fragment) return false;
      const std::uint16_t field = load_be16(header + 2);
      c.fragment = (field & 0xfff9U) != 0;
      c.first = (field & 0xfff8U) == 0;
      c.at += kFragmentHeaderBytes;
      c.protocol = header[0];
      if (!c.first) return !is_extension(c.protocol);
    } else {
      c.at += (header[1] + 1U) * 8U;
      c.protocol = header[0];
    }
    if (c.at > total) return false;
  }
  return true;
}
}  // namespace

bool parse_ipv4(Packet& p) {
  if (p.length < kIpv4HeaderBytes) return false;
  const unsigned first = p.data[0];
  if (first - 0x45U > 0x4fU - 0x45U) return false;  // version 4, five words or more
  const std::uint32_t header = (first & 0x0fU) * 4U;
  const std::uint32_t total = load_be16(p.data + 2);
  if (total < header || total > p.length || ipv4_header_sum(p.data, header) != 0xffff) return false;
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

std::uint16_t upper_sum(Family family, const std::uint8_t* ip, std::uint8_t protocol, const std::uint8_t* upper, std::uint32_t bytes) {
  std::uint64_t sum = sum_bytes(ip + source_at(family), 2 * address_bytes(family));
  sum += __builtin_bswap32(bytes);
  sum += __builtin_bswap32(protocol);
  return fold_checksum(sum + sum_bytes(upper, bytes));
}

void set_udp_checksum(Packet& p) {
  std::uint8_t* udp = p.data + p.l4_offset;
  std::memset(udp + 6, 0, 2);
  auto sum = static_cast<std::uint16_t>(~upper_sum(p.family, p.data, kProtocolUdp, udp, p.length - p.l4_offset));
  if (sum == 0) sum = 0xffff;
  std::memcpy(udp + 6, &sum, sizeof sum);
}

bool parse_ipv6(Packet& p) {
  if (p.length < kIpv6HeaderBytes || p.data[0] >> 4 != 6) return false;
  const std::uint32_t payload = load_be16(p.data + 4), total = kIpv6HeaderBytes + payload;
  if (payload == 0 && p.data[6] != kProtocolNone) return false;  // RFC 2675
  Chain c;
  if (total > p.length || !walk(p, total, c)) return false;
  if (total != p.length) p.resize(total);
  p.family = Family::V6;
  p.l4_offset = static_cast<std::uint16_t>(c.at);
  p.protocol = c.protocol;
  p.fragment = c.fragment;
  const bool has_ports = kHasPorts[c.protocol];
  const bool ports = has_ports && c.first && total >= c.at + 4;
  p.ports_hidden = has_ports && !ports;
  p.source_port = ports ? load_be16(p.data + c.at) : std::uint16_t{0};
  p.destination_port = ports ? load_be16(p.data + c.at + 2) : std::uint16_t{0};
  return true;
}

}  // namespace culvert::dp
