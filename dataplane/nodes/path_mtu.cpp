#include "dataplane/nodes/path_mtu.hpp"

#include <algorithm>
#include <array>

#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "dataplane/sad/suite.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint8_t kUnreachable = 3, kFragmentationNeeded = 4, kTooBigV6 = 2;
constexpr std::uint32_t kIcmpBytes = 8;
/// RFC 1191 §7: the MTUs that there are.
constexpr std::array<std::uint32_t, 8> kPlateaus{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508};

std::uint32_t plateau_below(std::uint32_t length) {
  const auto at = std::ranges::find_if(kPlateaus, [&](std::uint32_t p) { return p < length; });
  return at == kPlateaus.end() ? 0 : *at;
}

/// SPI and sequence number; `bytes` of the quoted payload are there. False: it is no packet of an SA, or the SPI is not quoted.
bool quoted_sa(PathMtuClaim& claim, const std::uint8_t* payload, std::uint32_t bytes) {
  std::uint32_t at = 0;
  if (claim.protocol == kProtocolUdp) {
    if (bytes < kUdpHeaderBytes) return false;
    claim.local_port = load_be16(payload);
    claim.remote_port = load_be16(payload + 2);
    at = udp_esp_bytes(claim.local_port);
  } else if (claim.protocol == kProtocolAh) {
    at = kAhHeaderBytes - kEspHeaderBytes;
  } else if (claim.protocol != kProtocolEsp) {
    return false;
  }
  if (bytes < at + 4) return false;
  claim.spi = Spi{load_be32(payload + at)};
  if (bytes >= at + kEspHeaderBytes) claim.sequence = load_be32(payload + at + 4);
  return true;
}
/// ICMPv6 "packet too big" (RFC 4443 §3.2). Our outer packets have no extension headers, but for fragments, which routers do not make.
std::optional<PathMtuClaim> claim_v6(const std::uint8_t* icmp, std::uint32_t bytes) {
  if (bytes < kIcmpBytes + kIpv6HeaderBytes || icmp[0] != kTooBigV6) return std::nullopt;
  const std::uint8_t* quoted = icmp + kIcmpBytes;
  if (quoted[0] >> 4 != 6) return std::nullopt;
  PathMtuClaim claim;
  claim.local = address_from(Family::V6, quoted + source_at(Family::V6));
  claim.remote = address_from(Family::V6, quoted + destination_at(Family::V6));
  claim.protocol = quoted[6];
  claim.length = kIpv6HeaderBytes + load_be16(quoted + 4);
  claim.mtu = load_be32(icmp + 4);
  if (!quoted_sa(claim, quoted + kIpv6HeaderBytes, bytes - kIcmpBytes - kIpv6HeaderBytes)) return std::nullopt;
  return claim;
}

std::optional<PathMtuClaim> claim_v4(const std::uint8_t* icmp, std::uint32_t bytes) {
  if (bytes < kIcmpBytes + kIpv4HeaderBytes || icmp[0] != kUnreachable || icmp[1] != kFragmentationNeeded) return std::nullopt;
  const std::uint8_t* quoted = icmp + kIcmpBytes;
  const std::uint32_t header = (quoted[0] & 0x0fU) * 4U, there = bytes - kIcmpBytes;
  if (quoted[0] >> 4 != 4 || header < kIpv4HeaderBytes || header > there) return std::nullopt;
  if ((load_be16(quoted + 6) & kIpv4OffsetMask) != 0) return std::nullopt;
  PathMtuClaim claim;
  claim.local = IpAddress::v4(load_be32(quoted + 12));
  claim.remote = IpAddress::v4(load_be32(quoted + 16));
  claim.protocol = quoted[9];
  claim.length = load_be16(quoted + 2);
  claim.mtu = load_be16(icmp + 6);
  if (claim.mtu == 0) claim.mtu = plateau_below(claim.length);
  if (!quoted_sa(claim, quoted + header, there - header)) return std::nullopt;
  return claim;
}
}  // namespace

std::optional<PathMtuClaim> path_mtu_claim(const Packet& p) {
  const bool v4 = p.family == Family::V4;
  if (p.protocol != (v4 ? kProtocolIcmp : kProtocolIcmpv6) || p.fragment) return std::nullopt;
  const std::uint8_t* icmp = p.data + p.l4_offset;
  const std::uint32_t bytes = p.length - p.l4_offset;
  auto claim = v4 ? claim_v4(icmp, bytes) : claim_v6(icmp, bytes);
  if (!claim) return std::nullopt;
  claim->vrf = p.vrf;
  const bool right = v4 ? sum_bytes(icmp, bytes) == 0xffff : upper_sum(Family::V6, p.data, kProtocolIcmpv6, icmp, bytes) == 0xffff;
  return right ? claim : std::nullopt;
}

}  // namespace culvert::dp
