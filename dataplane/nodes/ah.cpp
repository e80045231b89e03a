#include "dataplane/nodes/ah.hpp"

#include <array>

#include "dataplane/nodes/outer_header.hpp"

namespace culvert::dp {

namespace {
/// IPv4 options that no router changes (RFC 4302 App. A1): end, no operation, security, router alert and the like. All others count as 0.
constexpr auto kImmutableOption = [] {
  std::array<bool, 256> t{};
  for (const std::size_t option : {0U, 1U, 130U, 133U, 134U, 148U, 149U}) t[option] = true;
  return t;
}();

/// RFC 4302 §3.3.3.1.1. False: the options make no sense.
bool zero_mutable_v4(std::uint8_t* header, std::uint32_t bytes) {
  header[1] = 0;                // DSCP and ECN
  header[6] = header[7] = 0;    // flags, fragment offset
  header[8] = 0;                // TTL
  header[10] = header[11] = 0;  // checksum
  for (std::uint32_t at = kIpv4HeaderBytes; at < bytes;) {
    const std::uint8_t option = header[at];
    if (option == 0) return true;
    const std::uint32_t size = option == 1 ? 1 : at + 1 < bytes ? header[at + 1] : 0;
    if (size == 0 || (option != 1 && size < 2) || at + size > bytes) return false;
    if (!kImmutableOption[option]) std::memset(header + at, 0, size);
    at += size;
  }
  return true;
}

/// RFC 4302 §3.3.3.1.2.2: of the options that may change on the way (the third bit of the type says so) the data count as 0.
bool zero_options(std::uint8_t* header, std::uint32_t bytes) {
  for (std::uint32_t at = 2; at < bytes;) {
    if (header[at] == 0) {  // Pad1
      ++at;
      continue;
    }
    if (at + 2 > bytes || at + 2U + header[at + 1] > bytes) return false;
    if ((header[at] & 0x20) != 0) std::memset(header + at + 2, 0, header[at + 1]);
    at += 2U + header[at + 1];
  }
  return true;
}

/// RFC 4302 §3.3.3.1.2. A routing header counts as it is here, at its end. The chain was checked (parse_ip).
bool zero_mutable_v6(std::uint8_t* header, std::uint32_t bytes) {
  header[0] = 0x60;
  header[1] = header[2] = header[3] = 0;  // traffic class, flow label
  header[7] = 0;                          // hop limit
  std::uint8_t type = header[6];
  for (std::uint32_t at = kIpv6HeaderBytes; at < bytes;) {
    if (type == kFragment) return false;  // of one that is whole: AH would have gone in front of it
    const std::uint32_t size = (header[at + 1] + 1U) * 8U;
    if ((type == kHopByHop || type == kDestinationOptions) && !zero_options(header + at, size)) return false;
    type = header[at];
    at += size;
  }
  return true;
}

bool zero_mutable(Family family, std::uint8_t* header, std::uint32_t bytes) {
  return family == Family::V4 ? zero_mutable_v4(header, bytes) : zero_mutable_v6(header, bytes);
}
}  // namespace

Drop ah_out_prepare(Packet& p, CryptoOp& op) {
  OutboundSa& sa = *p.outbound;
  const EspGeometry& g = sa.geometry;
  const std::uint32_t ah = ah_bytes(g, sa.outer_family), ip = sa.ip_bytes;
  const std::uint32_t front = g.transport ? ah : ip + ah;
  if (g.transport && !fits_transport(p, sa)) return Drop::EspTransport;
  if (p.headroom < front + ip || p.tailroom < sizeof op.sequence_high || p.length + front > kMaxIpLength) return Drop::NoBuffer;
  const std::uint32_t inner = p.length;
  const std::uint8_t next_header = g.transport ? p.protocol : inner_next_header(p);
  if (!sa.count(inner)) sa.reach_mark();
  const std::uint64_t sequence = sa.sequence();
  if (g.transport) {
    move_header(p, ip, -static_cast<std::int32_t>(front), kProtocolAh);
  } else {
    const std::uint8_t tos = traffic_class(p) & sa.class_mask;
    const auto df = static_cast<std::uint16_t>((inner_df(p) & sa.df_copied) | sa.df_set);
    p.push(front);
    std::memcpy(p.data, sa.header.data(), ip);
    if (sa.outer_family == Family::V4) {
      const PeerWord peer = sa.peer.load(std::memory_order_relaxed);
      finish_ipv4(p.data, sa, peer_address(peer), p.length, tos, static_cast<std::uint16_t>(sequence), df);
    } else {
      finish_ipv6(p.data, sa.peer_v6.load(), p.length, tos);
    }
  }
  std::uint8_t* header = p.data + ip;
  std::memcpy(header, sa.header.data() + ip, kAhHeaderBytes);
  header[0] = next_header;
  store_be32(header + 8, static_cast<std::uint32_t>(sequence));
  std::memset(header + kAhHeaderBytes, 0, ah - kAhHeaderBytes);
  if (g.iv_source == IvSource::Counter) store_be64(header + kAhHeaderBytes, sequence);
  std::memcpy(p.data - ip, p.data, ip);
  (void)zero_mutable(sa.outer_family, p.data, ip);
  becomes_outer(p, sa, 0);
  op = {&sa.keys, p.data, p.length, false, static_cast<std::uint16_t>(ip + kAhHeaderBytes), static_cast<std::uint32_t>(sequence >> 32)};
  return Drop::Count_;
}

void ah_out_finish(Packet& p) { std::memcpy(p.data, p.data - p.l4_offset, p.l4_offset); }

Drop ah_in_prepare(Packet& p, CryptoOp& op, std::uint32_t& low) {
  const InboundSa& sa = *p.inbound;
  const EspGeometry& g = sa.geometry;
  const std::uint32_t ah = ah_bytes(g, sa.outer_family);
  std::uint8_t* header = p.data + p.l4_offset;
  // RFC 4302 §2.2: its length in words, less two.
  // In transport mode nothing need follow: a packet may be a header alone.
  const std::uint32_t least = p.l4_offset + ah + (g.transport ? 0U : 1U);
  if (p.length < least || (header[1] + 2U) * 4U != ah) return Drop::EspRunt;
  if (p.headroom < p.l4_offset || p.tailroom < sizeof op.sequence_high) return Drop::NoBuffer;
  low = load_be32(header + 8);
  std::memcpy(p.data - p.l4_offset, p.data, p.l4_offset);
  if (!zero_mutable(p.family, p.data, p.l4_offset)) return Drop::EspRunt;
  op = {&sa.keys, p.data, p.length, false, static_cast<std::uint16_t>(p.l4_offset + kAhHeaderBytes), 0};
  return Drop::Count_;
}

Drop ah_in_strip(Packet& p, std::uint8_t& tos) {
  const EspGeometry& g = p.inbound->geometry;
  const std::uint32_t ah = ah_bytes(g, p.family);
  const std::uint8_t next_header = p.data[p.l4_offset];
  std::memcpy(p.data, p.data - p.l4_offset, p.l4_offset);
  tos = traffic_class(p);
  if (next_header == kProtocolNone) return Drop::EspDummy;
  if (g.transport) {
    move_header(p, p.l4_offset, static_cast<std::int32_t>(ah), next_header);
    return Drop::Count_;
  }
  if (next_header != kProtocolIpip && next_header != kProtocolIpv6) return Drop::EspNextHeader;
  p.family = next_header == kProtocolIpip ? Family::V4 : Family::V6;
  p.pull(p.l4_offset + ah);
  return Drop::Count_;
}

}  // namespace culvert::dp
