#include "dataplane/nodes/mld.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/nd.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kQuery = 130, kReportV1 = 131, kReport = 143;
constexpr std::uint32_t kQueryV1Bytes = 24, kQueryBytes = 28, kRecords = 8, kRecordBytes = 20, kGroup = 8;
constexpr std::uint8_t kModeIsExclude = 2, kChangeToExclude = 4;  // "of everybody but nobody"
constexpr std::uint8_t kMldHopLimit = 1;
// Hop-by-hop options: router alert (RFC 2711), which says "look into this", and two bytes to fill up.
constexpr std::array<std::uint8_t, 8> kAlert{kProtocolIcmpv6, 0, 5, 2, 0, 0, 1, 0};
constexpr std::uint8_t kPad1 = 0, kRouterAlert = 5;
constexpr IpAddress kAllRouters{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, Family::V6};
constexpr IpAddress kReportsTo{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}, Family::V6};

bool alerts_routers(const Packet& p) {
  if (p.data[6] != kHopByHop) return false;
  const std::uint8_t* options = p.data + kIpv6HeaderBytes;
  const std::uint32_t bytes = (options[1] + 1U) * 8U;  // parse_ipv6() has seen that they are there
  for (std::uint32_t at = 2; at < bytes;) {
    if (options[at] == kPad1) {
      ++at;
      continue;
    }
    if (at + 2 > bytes) return false;
    const std::uint32_t size = 2U + options[at + 1];
    if (options[at] == kRouterAlert) return size == 4 && at + size <= bytes && load_be16(options + at + 2) == 0;
    at += size;
  }
  return false;
}

const IpAddress& link_local(const Interface& interface) {
  const auto found = std::ranges::find_if(
      interface.addresses, [](const Prefix& p) { return p.address.family == Family::V6 && is_link_local_v6(p.address.bytes.data()); });
  return found != interface.addresses.end() ? found->address : interface.addresses.front().address;
}

/// All but the message, of `bytes`, which stands there already; the checksum with it.
Neighbor::Mac finish(Packet& p, const Interface& interface, const IpAddress& to, std::uint32_t bytes) {
  std::uint8_t* ip = p.data;
  constexpr std::uint32_t kFront = kIpv6HeaderBytes + kAlert.size();
  std::memset(ip, 0, kIpv6HeaderBytes);
  ip[0] = 0x60;
  store_be16(ip + 4, static_cast<std::uint16_t>(kAlert.size() + bytes));
  ip[6] = kHopByHop;
  ip[7] = kMldHopLimit;
  const IpAddress& from = link_local(interface);
  std::copy_n(from.bytes.begin(), 16, ip + 8);
  std::copy_n(to.bytes.begin(), 16, ip + 24);
  std::copy(kAlert.begin(), kAlert.end(), ip + kIpv6HeaderBytes);
  std::uint8_t* icmp = ip + kFront;
  const auto sum = static_cast<std::uint16_t>(~upper_sum(Family::V6, ip, kProtocolIcmpv6, icmp, bytes));
  std::memcpy(icmp + 2, &sum, sizeof sum);
  p.family = Family::V6;
  p.l4_offset = kFront;
  p.protocol = kProtocolIcmpv6;
  return {0x33, 0x33, to.bytes[12], to.bytes[13], to.bytes[14], to.bytes[15]};
}
std::uint8_t* message(Packet& p, std::uint8_t type, std::uint32_t bytes) {
  constexpr std::uint32_t kFront = kIpv6HeaderBytes + kAlert.size();
  p.resize(kFront + bytes);
  std::uint8_t* icmp = p.data + kFront;
  std::memset(icmp, 0, bytes);
  icmp[0] = type;
  return icmp;
}
}  // namespace

bool is_mld_query(const Packet& p) {
  return p.family == Family::V6 && p.protocol == kProtocolIcmpv6 && !p.fragment && p.length > p.l4_offset && p.data[p.l4_offset] == kQuery;
}

std::optional<MldQuery> mld_query(const Packet& p) {
  const std::uint8_t* icmp = p.data + p.l4_offset;
  const std::uint32_t bytes = p.length - p.l4_offset;
  if (bytes != kQueryV1Bytes && bytes < kQueryBytes) return std::nullopt;
  if (p.data[7] != kMldHopLimit || !is_link_local_v6(p.data + 8) || !alerts_routers(p)) return std::nullopt;
  if (upper_sum(Family::V6, p.data, kProtocolIcmpv6, icmp, bytes) != 0xffff) return std::nullopt;
  const std::uint32_t code = load_be16(icmp + 4);
  MldQuery q{.v1 = bytes == kQueryV1Bytes, .delay_ms = code, .group = address_from(Family::V6, icmp + kGroup)};
  if (!q.v1 && code >= 0x8000) q.delay_ms = ((code & 0xfffU) | 0x1000U) << ((code >> 12 & 7U) + 3U);  // RFC 3810 §5.1.3
  return q;
}

std::vector<IpAddress> groups_heard(const Interface& interface) {
  std::vector<IpAddress> out;
  if (!interface.has(Family::V6)) return out;
  out.push_back(kAllRouters);
  for (const Prefix& p : interface.addresses) {
    if (p.address.family != Family::V6) continue;
    const IpAddress group = solicited_node(p.address);
    if (std::ranges::find(out, group) == out.end()) out.push_back(group);
  }
  return out;
}

Neighbor::Mac mld_report(Packet& p, const Interface& interface, std::span<const IpAddress> groups, bool joined) {
  const auto bytes = static_cast<std::uint32_t>(kRecords + groups.size() * kRecordBytes);
  std::uint8_t* icmp = message(p, kReport, bytes);
  store_be16(icmp + 6, static_cast<std::uint16_t>(groups.size()));
  std::uint8_t* record = icmp + kRecords;
  for (const IpAddress& group : groups) {
    record[0] = joined ? kChangeToExclude : kModeIsExclude;
    std::copy_n(group.bytes.begin(), 16, record + 4);
    record += kRecordBytes;
  }
  return finish(p, interface, kReportsTo, bytes);
}

Neighbor::Mac mld_report_v1(Packet& p, const Interface& interface, const IpAddress& group) {
  std::uint8_t* icmp = message(p, kReportV1, kQueryV1Bytes);
  std::copy_n(group.bytes.begin(), 16, icmp + kGroup);
  return finish(p, interface, group, kQueryV1Bytes);
}

}  // namespace culvert::dp
