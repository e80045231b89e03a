// Encapsulation (RFC 4303 §3.3; in UDP: RFC 3948), with AH's steps in ah.cpp. Headers of the whole burst first, then the crypto over all of
// it, so that the cipher's code and tables stay hot. A sequence number is taken only by a packet that will be encrypted.
#include <algorithm>
#include <utility>

#include "dataplane/nodes/ah.hpp"
#include "dataplane/nodes/esp.hpp"
#include "dataplane/nodes/outer_header.hpp"

namespace culvert::dp {

namespace {
/// RFC 4303 §2.4: the padding bytes, 1, 2, 3, ...
constexpr auto kPadding = [] {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
  return bytes;
}();

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

/// Whether the SA is of the usual kind (ESP over IPv4 in tunnel mode, not in UDP, nothing hidden, the IV the sequence number), and has
/// nothing to say to any of so many packets.
bool is_usual(const OutboundSa& sa, std::size_t packets) {
  const EspGeometry& g = sa.geometry;
  const bool kind = g.iv_source == IvSource::Counter && !g.ah && !g.transport && !sa.udp && sa.outer_family == Family::V4 && sa.pad_to == 0;
  return kind && !sa.halted() && sa.usage.packets + packets < sa.usage.packets_mark &&
         sa.usage.bytes + packets * kMaxIpLength < sa.usage.bytes_mark;
}

/// What prepare() does, for a row of packets of one SA that is_usual(): what they have alike is asked once, and each outer header is made
/// in registers. From `i` to `end` of the burst; those that are kept go behind the `kept` first ones.
std::size_t prepare_row(Burst& burst, std::size_t i, std::size_t end, std::size_t kept, EspBatch& batch, EspContext& context) {
  constexpr std::uint32_t kIv = 8, kFront = kIpv4HeaderBytes + kEspHeaderBytes + kIv;
  OutboundSa& sa = *burst[i]->outbound;
  const SaKeys* const keys = &sa.keys;
  const std::uint32_t up = sa.geometry.align - 1U, icv = sa.geometry.icv;
  const std::uint16_t df_copied = sa.df_copied, df_set = sa.df_set;
  const std::uint8_t class_mask = sa.class_mask;
  const std::uint32_t peer = __builtin_bswap32(peer_address(sa.peer.load(std::memory_order_relaxed)));
  // Of the outer header as it lies in memory: TTL, protocol, source; destination, SPI; the sum over all that does not change.
  std::uint64_t middle;
  std::uint32_t spi;
  std::memcpy(&middle, sa.header.data() + 8, sizeof middle);
  std::memcpy(&spi, sa.header.data() + kIpv4HeaderBytes, sizeof spi);
  middle &= ~std::uint64_t{0xffff0000};
  const std::uint64_t last = peer | std::uint64_t{spi} << 32;
  const std::uint64_t sum = (middle & 0xffffffff) + (middle >> 32) + peer;
  std::uint64_t sequence = sa.sequence(), bytes = 0;
  for (; i < end; ++i) {
    Packet& p = *burst[i];
    const std::uint32_t inner = p.length;
    const std::uint32_t text = (inner + kEspTrailerBytes + up) & ~up;
    const std::uint32_t total = kFront + text + icv, back = text - inner + icv;
    if (p.headroom < kFront || p.tailroom < std::max<std::uint32_t>(back, kPadding.size()) || total > kMaxIpLength) [[unlikely]] {
      count_drop(sa, Drop::NoBuffer);
      context.drops.drop(p, Drop::NoBuffer);
      continue;
    }
    std::uint8_t* const payload = p.data;
    std::uint8_t* const outer = payload - kFront;
    const std::uint8_t tos = traffic_class(p) & class_mask;
    const std::uint32_t df = (inner_df(p) & df_copied) | df_set;
    std::uint8_t* const trailer = payload + inner;
    const std::uint32_t pad = text - kEspTrailerBytes - inner;
    std::memcpy(trailer, kPadding.data(), kPadding.size());  // the rest is overwritten: by the trailer, then by the ICV
    const auto end_of_text = static_cast<std::uint16_t>(pad | std::uint32_t{inner_next_header(p)} << 8);
    std::memcpy(trailer + pad, &end_of_text, sizeof end_of_text);

    ++sequence;
    const std::uint64_t numbers =
        std::uint64_t{0x45} << 56 | std::uint64_t{tos} << 48 | std::uint64_t{total} << 32 | (sequence & 0xffff) << 16 | df;
    const std::uint64_t first = __builtin_bswap64(numbers), iv = __builtin_bswap64(sequence);
    const auto checksum = static_cast<std::uint16_t>(~fold_checksum(sum + (first & 0xffffffff) + (first >> 32)));
    const std::uint64_t second = middle | std::uint64_t{checksum} << 16;
    const auto low = static_cast<std::uint32_t>(iv >> 32);
    std::memcpy(outer, &first, sizeof first);
    std::memcpy(outer + 8, &second, sizeof second);
    std::memcpy(outer + 16, &last, sizeof last);
    std::memcpy(outer + 24, &low, sizeof low);
    std::memcpy(outer + 28, &iv, sizeof iv);  // unique under the key

    p.data = outer;
    p.length = total;
    p.headroom = static_cast<std::uint16_t>(p.headroom - kFront);
    p.tailroom = static_cast<std::uint16_t>(p.tailroom - back);
    p.family = Family::V4;
    p.l4_offset = kIpv4HeaderBytes;
    p.set_flow_word(0, kProtocolEsp);
    batch.ops[kept] = {keys, outer + kIpv4HeaderBytes, text, false, 0, static_cast<std::uint32_t>(sequence >> 32)};
    batch.inner_bytes[kept] = inner;
    burst[kept++] = &p;
    bytes += inner;
  }
  sa.usage.packets = sequence;
  sa.usage.bytes += bytes;
  return kept;
}
}  // namespace

/// All that can be said before encryption. in: plain packets. out: ESP packets in clear, one operation each.
void esp_out_prepare(Burst& burst, EspBatch& batch, EspContext& context) {
  const OutboundSa* last = nullptr;
  for (const Packet* p : burst) {
    __builtin_prefetch(p->data + p->length, 1);  // where the trailer will stand
    if (p->outbound == std::exchange(last, p->outbound)) continue;
    p->outbound->prefetch();
    prefetch_keys(p->outbound->keys, p->length);
    __builtin_prefetch(p->outbound->counters, 1);
  }
  std::size_t kept = 0;
  const std::size_t all = burst.size();
  for (std::size_t i = 0, end; i < all; i = end) {
    const OutboundSa* const sa = burst[i]->outbound;
    for (end = i + 1; end < all && burst[end]->outbound == sa;) ++end;
    if (is_usual(*sa, end - i)) [[likely]] {
      kept = prepare_row(burst, i, end, kept, batch, context);
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
