// Encapsulation (RFC 4303 §3.3; in UDP: RFC 3948), with AH's steps in ah.cpp. Headers of the whole burst first, then the crypto over all of
// it, so that the cipher's code and tables stay hot. A sequence number is taken only by a packet that will be encrypted.
#include <algorithm>
#include <bit>
#include <utility>

#include "dataplane/nodes/ah.hpp"
#include "dataplane/nodes/esp.hpp"
#include "dataplane/nodes/outbound_row.hpp"
#include "dataplane/nodes/outer_header.hpp"

namespace culvert::dp {

namespace {
void count_drop(OutboundSa& sa, Drop reason) { sa.counters->drop(Direction::Outbound, reason); }

/// What of a UDP header depends on the packet or on where the peer is; its checksum stays as it is (RFC 3948 §2.1).
void write_udp(std::uint8_t* udp, std::uint16_t port, std::uint32_t length) {
  store_be16(udp + 2, port);
  store_be16(udp + 4, static_cast<std::uint16_t>(length));
}
std::uint16_t udp_peer_port(const OutboundSa& sa) {
  return sa.outer_family == Family::V4 ? peer_port(sa.peer.load(std::memory_order_relaxed)) : sa.peer_v6.load().port;
}

/// The outer header of tunnel mode over IPv6, for an ESP packet of `total` bytes.
std::uint16_t write_outer_v6(std::uint8_t* outer, const OutboundSa& sa, std::uint32_t total, std::uint8_t tos) {
  const PeerV6::Value peer = sa.peer_v6.load();
  std::memcpy(outer, sa.header.data(), sa.header_bytes);
  finish_ipv6(outer, peer, total, tos);
  if (sa.udp) write_udp(outer + kIpv6HeaderBytes, peer.port, total - kIpv6HeaderBytes);
  return peer.port;
}
std::uint16_t write_outer_v4(std::uint8_t* outer, const OutboundSa& sa, std::uint32_t total, std::uint8_t tos, std::uint16_t id,
                             std::uint16_t df) {
  const PeerWord peer = sa.peer.load(std::memory_order_relaxed);
  if (sa.udp) {
    constexpr std::size_t kUsual = kIpv4HeaderBytes + kUdpHeaderBytes + kEspHeaderBytes;
    std::memcpy(outer, sa.header.data(), kUsual);
    if (sa.header_bytes > kUsual) [[unlikely]]  // a non-IKE marker
      std::memcpy(outer + kUsual, sa.header.data() + kUsual, sa.header_bytes - kUsual);
    write_udp(outer + kIpv4HeaderBytes, peer_port(peer), total - kIpv4HeaderBytes);
  } else {
    std::memcpy(outer, sa.header.data(), kIpv4HeaderBytes + kEspHeaderBytes);
  }
  finish_ipv4(outer, sa, peer_address(peer), total, tos, id, df);
  return peer_port(peer);
}

/// Transport mode (RFC 4303 §3.1.1): ESP goes between the packet's own IP header and what follows.
Drop prepare_transport(Packet& p, CryptoEngine& crypto, CryptoOp& op) {
  OutboundSa& sa = *p.outbound;
  const EspGeometry& g = sa.geometry;
  if (!fits_transport(p, sa)) return Drop::EspTransport;
  const std::uint32_t ip = sa.ip_bytes, payload = p.length - ip;
  const std::uint32_t text = (payload + kEspTrailerBytes + g.align - 1U) & ~(g.align - 1U);
  const std::uint32_t pad = text - kEspTrailerBytes - payload;
  const std::uint32_t front = sa.header_bytes + std::uint32_t{g.iv} - ip;
  const std::uint32_t back = text - payload + g.icv;
  if (p.headroom < front || p.tailroom < std::max<std::uint32_t>(back, kPadding.size()) || p.length + front + back > kMaxIpLength)
    return Drop::NoBuffer;
  std::uint8_t* esp = p.data + ip - g.iv - kEspHeaderBytes;
  std::array<std::uint8_t, 16> iv{};  // the IP header stands where it will be
  if (g.iv_source == IvSource::Random && !crypto.next_cbc_iv(iv.data(), g.iv)) return Drop::CryptoFailed;
  std::uint8_t* trailer = p.data + p.length;
  std::memcpy(trailer, kPadding.data(), kPadding.size());
  trailer[pad] = static_cast<std::uint8_t>(pad);
  trailer[pad + 1] = p.protocol;
  if (!sa.count(p.length)) sa.reach_mark();
  const std::uint64_t sequence = sa.sequence();
  if (g.iv_source == IvSource::Counter) store_be64(iv.data(), sequence);
  p.resize(p.length + back);
  move_header(p, ip, -static_cast<std::int32_t>(front), sa.outer_protocol);
  std::memcpy(p.data + ip, sa.header.data() + ip, sa.header_bytes - ip);
  const std::uint16_t port = udp_peer_port(sa);
  if (sa.udp) write_udp(p.data + ip, port, p.length - ip);
  store_be32(esp + 4, static_cast<std::uint32_t>(sequence));
  std::memcpy(esp + kEspHeaderBytes, iv.data(), g.iv);
  becomes_outer(p, sa, port);
  op = {&sa.keys, esp, text, false, 0, static_cast<std::uint32_t>(sequence >> 32)};
  return Drop::Count_;
}

/// Turns one packet into an unencrypted ESP packet and writes its operation. A Drop where that cannot be.
Drop prepare(Packet& p, CryptoEngine& crypto, CryptoOp& op) {
  OutboundSa& sa = *p.outbound;
  if (sa.halted()) [[unlikely]]
    sa.heed();
  if (sa.expired()) [[unlikely]]
    return (sa.events.load(std::memory_order_relaxed) & kHardSequence) != 0 ? Drop::EspSequence : Drop::EspExpired;
  const EspGeometry g = sa.geometry;  // a copy: what is written into the packet might else be thought to change it
  if (g.ah) [[unlikely]]
    return ah_out_prepare(p, op);
  if (g.transport) [[unlikely]]
    return prepare_transport(p, crypto, op);
  const std::uint32_t inner = p.length;
  const std::uint32_t shown = std::max(inner, sa.pad_to);  // as far as its size tells (RFC 4303 §2.7)
  const std::uint32_t text = (shown + kEspTrailerBytes + g.align - 1U) & ~(g.align - 1U);
  const std::uint32_t pad = text - kEspTrailerBytes - shown;
  const std::uint32_t front = sa.header_bytes + std::uint32_t{g.iv};
  const std::uint32_t back = text - inner + g.icv;
  if (p.headroom < front || p.tailroom < std::max<std::uint32_t>(back, shown - inner + std::uint32_t{kPadding.size()}) ||
      front + inner + back > kMaxIpLength) [[unlikely]]
    return Drop::NoBuffer;

  std::uint8_t* payload = p.data;
  std::uint8_t* outer = payload - front;
  std::uint8_t* esp = outer + sa.header_bytes - kEspHeaderBytes;
  if (g.iv_source == IvSource::Random && !crypto.next_cbc_iv(esp + kEspHeaderBytes, g.iv)) [[unlikely]]
    return Drop::CryptoFailed;
  const std::uint8_t tos = traffic_class(p) & sa.class_mask;
  const auto df = static_cast<std::uint16_t>((inner_df(p) & sa.df_copied) | sa.df_set);
  if (shown != inner) [[unlikely]]
    std::memset(payload + inner, 0, shown - inner);
  std::uint8_t* trailer = payload + shown;
  std::memcpy(trailer, kPadding.data(), kPadding.size());  // the rest is overwritten: by the trailer, then by the ICV
  trailer[pad] = static_cast<std::uint8_t>(pad);
  trailer[pad + 1] = inner_next_header(p);

  if (!sa.count(inner)) [[unlikely]]
    sa.reach_mark();
  const std::uint64_t sequence = sa.sequence();
  const std::uint32_t total = front + inner + back;
  const std::uint16_t port = sa.outer_family == Family::V4 ? write_outer_v4(outer, sa, total, tos, static_cast<std::uint16_t>(sequence), df)
                                                           : write_outer_v6(outer, sa, total, tos);
  store_be32(esp + 4, static_cast<std::uint32_t>(sequence));
  if (g.iv_source == IvSource::Counter) store_be64(esp + kEspHeaderBytes, sequence);  // unique under the key

  p.push(front);
  p.resize(total);
  becomes_outer(p, sa, port);
  op = {&sa.keys, esp, text, false, 0, static_cast<std::uint32_t>(sequence >> 32)};
  return Drop::Count_;
}

/// What of the first eight bytes of an IPv4 header an outer one may take over, of a packet of another family.
std::uint64_t like_ipv4(const Packet& p) {
  return std::uint64_t{traffic_class(p)} << 8 | std::uint64_t{__builtin_bswap16(inner_df(p))} << 48;
}

/// What prepare() does, for packets of one SA in a row that is usual (OutboundRow). From `i` to `end` of the burst; those that are kept go
/// behind the `kept` first ones.
template <bool kUdp>
std::size_t prepare_row(Burst& burst, std::size_t i, std::size_t end, std::size_t kept, EspBatch& batch, EspContext& context) {
  using Row = OutboundRow<kUdp>;
  constexpr std::uint32_t kFront = Row::kFront;
  OutboundSa& sa = *burst[i]->outbound;
  Row row(sa);
  for (; i < end; ++i) {
    Packet& p = *burst[i];
    const std::uint32_t inner = p.length;
    const std::uint32_t text = row.text(inner), back = text - inner + row.icv, total = inner + back + kFront;
    if (p.headroom < kFront || p.tailroom < Row::kRoomy || total > kMaxIpLength) [[unlikely]]
      if (p.headroom < kFront || p.tailroom < std::max<std::uint32_t>(back, kPadding.size()) || total > kMaxIpLength) {
        count_drop(sa, Drop::NoBuffer);
        context.drops.drop(p, Drop::NoBuffer);
        continue;
      }
    std::uint8_t* const payload = p.data;
    if (p.family == Family::V4) [[likely]] {
      row.write(payload, inner, Row::first_of(payload), kProtocolIpip, batch.ops[kept]);
    } else {
      row.write(payload, inner, like_ipv4(p), inner_next_header(p), batch.ops[kept]);
    }
    std::uint32_t room;  // both at once
    std::memcpy(&room, &p.headroom, sizeof room);
    room -= kFront | back << 16;
    std::memcpy(&p.headroom, &room, sizeof room);
    p.data = payload - kFront;
    p.length = total;
    p.family = Family::V4;
    p.l4_offset = kIpv4HeaderBytes;
    p.set_flow_word(kUdp ? sa.local_port | std::uint32_t{row.header.remote_port()} << 16 : 0, sa.outer_protocol, p.vrf);
    batch.inner_bytes[kept] = inner;
    burst[kept++] = &p;
  }
  row.take(sa);
  return kept;
}
}  // namespace

/// All that can be said before encryption. in: plain packets. out: ESP packets in clear, one operation each.
void esp_out_prepare(Burst& burst, EspBatch& batch, EspContext& context) {
  const std::size_t all = burst.size();
  std::size_t kept = 0;
  std::array<std::uint8_t, kBurstMax> ends;  // of the rows, each of packets of one SA
  std::size_t rows = 0;
  const OutboundSa* last = all != 0 ? burst[0]->outbound : nullptr;
  const auto prefetch = [&](const Packet& p) {
    p.outbound->prefetch();
    prefetch_keys(p.outbound->keys, p.outbound->key_lines, false, p.length);
    __builtin_prefetch(p.outbound->counters, 1);
  };
  if (all != 0) prefetch(*burst[0]);
  for (std::size_t i = 1; i < all; ++i) {
    if (burst[i]->outbound == last) [[likely]]
      continue;
    last = burst[i]->outbound;
    prefetch(*burst[i]);
    ends[rows++] = static_cast<std::uint8_t>(i);
  }
  ends[rows++] = static_cast<std::uint8_t>(all);
  for (std::size_t i = 0, row = 0; i < all; ++row) {
    const std::size_t end = ends[row];
    const OutboundSa& sa = *burst[i]->outbound;
    context.see(&sa);
    if (usual_row(sa, end - i)) [[likely]] {
      kept = as_row(sa, [&]<bool kUdp>() { return prepare_row<kUdp>(burst, i, end, kept, batch, context); });
      i = end;
      continue;
    }
    for (; i < end; ++i) {
      Packet& p = *burst[i];
      const std::uint32_t inner = p.length;
      const Drop verdict = prepare(p, context.crypto, batch.ops[kept]);
      if (verdict != Drop::Count_) [[unlikely]] {
        count_drop(*p.outbound, verdict);
        context.drops.drop(p, verdict);
        continue;
      }
      batch.inner_bytes[kept] = inner;
      burst[kept++] = &p;
    }
  }
  burst.truncate(kept);
}

/// Counts what was encrypted; neighbours in the burst under one SA are counted together.
void esp_out_finish(Burst& burst, const EspBatch& batch, EspContext& context) {
  std::size_t kept = 0;
  OutboundSa* sa = nullptr;
  bool ah = false;
  std::uint64_t packets = 0, bytes = 0;
  const auto flush = [&] {
    if (packets == 0) return;
    sa->counters->packets.add(packets);
    sa->counters->bytes.add(bytes);
    sa->counters->sequence.set(sa->sequence());
    sa->counters->last_used_ns.set(context.now_ns);
    packets = bytes = 0;
  };
  for (std::size_t i = 0; i < burst.size(); ++i) {
    Packet& p = *burst[i];
    if (p.outbound != sa) {
      flush();
      sa = p.outbound;
      ah = sa->geometry.ah;
    }
    if (!batch.ops[i].ok) [[unlikely]] {
      count_drop(*sa, Drop::CryptoFailed);
      context.drops.drop(p, Drop::CryptoFailed);
      continue;
    }
    if (ah) [[unlikely]]
      ah_out_finish(p);
    else if (p.family == Family::V6 && p.protocol == kProtocolUdp) [[unlikely]]
      set_udp_checksum(p);
    packets += 1;
    bytes += batch.inner_bytes[i];
    burst[kept++] = &p;
  }
  flush();
  burst.truncate(kept);
}

void esp_out(Burst& burst, EspContext& context) {
  EspBatch batch;
  esp_out_prepare(burst, batch, context);
  context.crypto.encrypt(std::span(batch.ops).first(burst.size()));
  esp_out_finish(burst, batch, context);
}

}  // namespace culvert::dp
