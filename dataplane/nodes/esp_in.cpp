// Decapsulation (RFC 4303 §3.4; in UDP: RFC 3948), with AH's steps in ah.cpp. Cheap checks first, then the crypto over the whole burst,
// then everything that only an authenticated packet deserves. Must never look at decrypted bytes before the ICV's verdict, nor let an
// unauthenticated packet change an SA's state.
#include <algorithm>
#include <utility>

#include "dataplane/nodes/ah.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/esp.hpp"
#include "dataplane/nodes/inbound_row.hpp"
#include "dataplane/nodes/inbound_rows.hpp"
#include "dataplane/nodes/open_plain.hpp"
#include "dataplane/nodes/outer_header.hpp"

namespace culvert::dp {

namespace {
void count_drop(InboundSa& sa, Drop reason) { sa.counters->drop(Direction::Inbound, reason); }

/// Where the SPI stands: first in ESP, behind four bytes in AH.
std::uint32_t spi_offset(const Packet& p) {
  if (p.protocol == kProtocolEsp) [[likely]]
    return p.l4_offset;
  if (p.protocol == kProtocolUdp) return p.l4_offset + udp_esp_bytes(p.destination_port);
  return p.l4_offset + (p.protocol == kProtocolAh ? kAhHeaderBytes - kEspHeaderBytes : 0U);
}

/// Whether the outer header is the one that was negotiated (RFC 4301 §5.2, step 3a). A peer behind a NAT may have got another address.
bool from_peer(const Packet& p, const InboundSa& sa) {
  if (p.family != sa.outer_family || sa.outer_protocol != p.protocol) return false;
  const bool v4 = p.family == Family::V4;
  const auto same = [&](std::uint32_t at, const std::array<std::uint8_t, 16>& address) {
    return v4 ? std::memcmp(p.data + at, address.data(), 4) == 0 : std::memcmp(p.data + at, address.data(), 16) == 0;
  };
  if (!same(destination_at(p.family), sa.match.local_address)) return false;
  if ((sa.udp && p.destination_port != sa.local_port) || p.vrf != sa.outer_vrf) return false;
  if (sa.follows.load(std::memory_order_relaxed)) return true;
  return same(source_at(p.family), sa.match.remote_address) && (!sa.udp || p.source_port == sa.remote_port);
}

/// Cuts the packet to what its UDP header says. False if that is impossible.
bool trim_udp(Packet& p) {
  const std::uint32_t udp = load_be16(p.data + p.l4_offset + 4);
  if (udp < kUdpHeaderBytes || udp > p.length - p.l4_offset) return false;
  p.resize(p.l4_offset + udp);
  return true;
}

Drop prepare_ah(Packet& p, CryptoOp& op, std::uint64_t& sequence) {
  const InboundSa& sa = *p.inbound;
  std::uint32_t low = 0;
  if (const Drop verdict = ah_in_prepare(p, op, low); verdict != Drop::Count_) return verdict;
  sequence = sa.geometry.esn ? sa.replay.extended(low) : low;
  op.sequence_high = static_cast<std::uint32_t>(sequence >> 32);
  return replay_drop(sa.replay.check(sequence));
}

/// All that RFC 4303 §3.4 asks before the ICV can be verified.
Drop prepare(Packet& p, CryptoOp& op, std::uint64_t& sequence) {
  InboundSa& sa = *p.inbound;
  if (!from_peer(p, sa)) [[unlikely]]
    if (!sa.relocate() || !from_peer(p, sa)) return Drop::EspWrongPeer;
  if (sa.udp && !trim_udp(p)) [[unlikely]]
    return Drop::EspRunt;
  if (sa.expired()) [[unlikely]]
    return Drop::EspExpired;
  const EspGeometry g = sa.geometry;
  if (g.ah) [[unlikely]]
    return prepare_ah(p, op, sequence);
  const std::uint32_t offset = spi_offset(p);
  const std::uint32_t overhead = offset + kEspHeaderBytes + g.iv + g.icv;
  // The smallest text is a pad length and a next header, filled up to the alignment.
  if (p.length < overhead + g.align || ((p.length - overhead) & (g.align - 1U)) != 0) [[unlikely]]
    return Drop::EspRunt;
  std::uint8_t* esp = p.data + offset;
  const std::uint32_t low = load_be32(esp + 4);
  sequence = g.esn ? sa.replay.extended(low) : low;
  op = {&sa.keys, esp, p.length - overhead, false, 0, static_cast<std::uint32_t>(sequence >> 32)};
  return replay_drop(sa.replay.check(sequence));
}

/// The inner DSCP and ECN given those of the outer header, which differ. False: the packet must be dropped.
[[gnu::noinline]] bool merge_class(Packet& p, std::uint8_t outer, const InboundSa& sa) {
  const std::uint8_t inner = traffic_class(p);
  const std::uint8_t mark = ecn::kMerged[inner & ecn::kMask][outer & ecn::kMask];
  if (mark == ecn::kDropped) return false;
  const auto merged = static_cast<std::uint8_t>(((sa.copy_dscp ? outer : inner) & ~ecn::kMask) | mark);
  if (merged == inner) return true;
  set_traffic_class(p, merged);
  return true;
}

/// Transport mode behind NAT (RFC 3948 §3.1.2): TCP and UDP checksums were made over the addresses before translation.
void repair_checksum(Packet& p, std::uint16_t repair) {
  const std::uint32_t at = p.protocol == kProtocolTcp ? 16 : 6;
  if (repair == 0 || (p.protocol != kProtocolTcp && p.protocol != kProtocolUdp) || p.length < p.l4_offset + at + 2) return;
  std::uint8_t* field = p.data + p.l4_offset + at;
  const std::uint16_t old = load_be16(field);
  if (p.protocol == kProtocolUdp && old == 0) return;  // there is none
  // RFC 1624: the field is the complement of the sum, which grows by what the addresses grow by.
  const std::uint32_t sum = static_cast<std::uint16_t>(~old) + std::uint32_t{repair};
  const auto folded = static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
  store_be16(field, p.protocol == kProtocolUdp && folded == 0 ? std::uint16_t{0xffff} : folded);
}

/// Of an authentic ESP packet: checks padding and next header (RFC 4303 §2.4, §2.6), and leaves what it carries, not parsed, of the
/// family that it says.
Drop strip_esp(Packet& p, const CryptoOp& op, std::uint8_t& tos) {
  const EspGeometry& g = p.inbound->geometry;
  std::uint8_t* text = op.esp + kEspHeaderBytes + g.iv;
  const std::uint32_t pad = text[op.text_length - 2];
  const std::uint8_t next_header = text[op.text_length - 1];
  if (pad + kEspTrailerBytes > op.text_length) [[unlikely]]
    return Drop::EspPadding;
  const std::uint32_t inner = op.text_length - kEspTrailerBytes - pad;
  if (!padding_right(text + inner, pad)) [[unlikely]]
    return Drop::EspPadding;
  tos = traffic_class(p);
  if (g.transport) [[unlikely]] {
    if (next_header == kProtocolNone) return Drop::EspDummy;
    const std::uint32_t by = static_cast<std::uint32_t>(text - p.data) - p.l4_offset;
    p.resize(p.l4_offset + by + inner);
    move_header(p, p.l4_offset, static_cast<std::int32_t>(by), next_header);
    return Drop::Count_;
  }
  if (next_header != kProtocolIpip && next_header != kProtocolIpv6) [[unlikely]]
    return next_header == kProtocolNone ? Drop::EspDummy : Drop::EspNextHeader;
  p.family = next_header == kProtocolIpip ? Family::V4 : Family::V6;
  p.pull(static_cast<std::uint32_t>(text - p.data));
  p.resize(inner);
  return Drop::Count_;
}

/// All that is asked of an authentic packet; leaves the inner packet, parsed.
Drop unwrap(Packet& p, const CryptoOp& op, std::uint64_t sequence) {
  InboundSa& sa = *p.inbound;
  if (sa.expired()) [[unlikely]]
    return Drop::EspExpired;
  if (sa.follows.load(std::memory_order_relaxed) && sa.replay.top() == sequence) sa.follow_peer(p);
  std::uint8_t outer_tos = 0;
  if (const Drop verdict = sa.geometry.ah ? ah_in_strip(p, outer_tos) : strip_esp(p, op, outer_tos); verdict != Drop::Count_) [[unlikely]]
    return verdict;
  p.vrf = sa.vrf;
  const Family said = p.family;
  if (!parse_ip(p) || p.family != said) [[unlikely]]  // an inner packet that is shorter than the text is padded for confidentiality (§2.7)
    return Drop::EspInner;
  if (sa.geometry.transport) [[unlikely]]
    repair_checksum(p, sa.checksum_repair);
  else if (traffic_class(p) != outer_tos && !merge_class(p, outer_tos, sa)) [[unlikely]]  // the same outside and inside is what it was
    return Drop::EspEcn;
  if (!sa.admits(p)) [[unlikely]]
    return Drop::EspSelector;
  if (!sa.count(p.length)) [[unlikely]]
    sa.reach_mark();
  return Drop::Count_;
}

/// prepare() of a packet of a usual row.
inline Drop prepare_usual(Packet& p, const InboundRow& row, CryptoOp& op, std::uint64_t& sequence) {
  if (!row.from_peer(p) || !row.whole(p)) [[unlikely]]
    return prepare(p, op, sequence);
  const std::uint32_t overhead = p.l4_offset + row.shim + row.overhead;
  if (p.length < overhead + row.align || ((p.length - overhead) & (row.align - 1U)) != 0) [[unlikely]]
    return Drop::EspRunt;
  std::uint8_t* const esp = p.data + p.l4_offset + row.shim;
  sequence = load_be32(esp + 4);
  op.keys = &row.sa->keys;
  op.esp = esp;
  op.text_length = p.length - overhead;  // nobody asks for the rest
  return replay_drop(row.sa->replay.check(sequence));
}

}  // namespace

std::size_t esp_in_prepare_alike(const Burst& burst, const InboundRow& row, EspBatch& batch) {
  const Packet& like = *burst[0];
  if (!row.from_peer(like) || like.l4_offset != kIpv4HeaderBytes) return 0;
  const std::uint32_t outer = kIpv4HeaderBytes + row.shim, overhead = outer + row.overhead, align = row.align, odd = align - 1;
  const SaKeys* const keys = &row.sa->keys;
  const ReplayWindow& window = row.sa->replay;
  const std::uint64_t top = window.top();
  std::size_t n = 0;
  for (; n < burst.size(); ++n) {
    const Packet& p = *burst[n];
    const std::uint32_t text = p.length - overhead;  // a large number where there is none
    std::uint8_t* const esp = p.data + outer;
    const std::uint64_t sequence = load_be32(esp + 4);
    if (text - align > kMaxIpLength || (text & odd) != 0 || (sequence <= top && window.check(sequence) != ReplayVerdict::Fresh))
        [[unlikely]]
      break;
    CryptoOp& op = batch.ops[n];
    op.keys = keys;
    op.esp = esp;
    op.text_length = text;
    batch.sequence[n] = sequence;
  }
  return n;
}

/// in: packets with an SA. out: those worth the crypto, one operation each.
void esp_in_prepare(Burst& burst, EspBatch& batch, EspContext& context, bool alike) {
  const std::size_t all = burst.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < all;) {
    InboundSa& sa = *burst[i]->inbound;
    context.see(&sa);
    prefetch_keys(sa.keys, sa.key_lines, true, burst[i]->length);
    __builtin_prefetch(sa.counters, 1);
    InboundRow row;
    if (i + 1 < all && burst[i + 1]->inbound == &sa) {  // not worth it for one
      row.ask(sa);
      row.expect_outside();
      if (alike && row.usual && i == 0) [[likely]]
        kept = i = esp_in_prepare_alike(burst, row, batch);
    }
    for (; i < all && burst[i]->inbound == &sa; ++i) {
      Packet& p = *burst[i];
      const Drop verdict =
          row.usual ? prepare_usual(p, row, batch.ops[kept], batch.sequence[kept]) : prepare(p, batch.ops[kept], batch.sequence[kept]);
      if (verdict != Drop::Count_) [[unlikely]] {
        count_drop(sa, verdict);
        context.drops.drop(p, verdict);
        continue;
      }
      burst[kept++] = &p;
    }
  }
  burst.truncate(kept);
}

/// Whether it goes on.
[[gnu::noinline]] bool esp_in_finish_one(Packet& p, Drop verdict, const CryptoOp& op, std::uint64_t sequence, EspContext& context) {
  InboundSa& sa = *p.inbound;
  if (verdict == Drop::Count_) {
    verdict = unwrap(p, op, sequence);
    if (verdict == Drop::Count_) return true;
    sa.counters->refused.add(1);
  }
  count_drop(sa, verdict);
  context.drops.drop(p, verdict);
  return false;
}

void settle(Packet& p, const Opened& opened) {
  if (opened.ip == nullptr) return;
  p.pull(static_cast<std::uint32_t>(opened.ip - p.data));
  p.resize(opened.length);
  p.vrf = opened.key.vrf();
  (void)parse_ip(p);  // as it is plain
}

/// in: decrypted packets. out: inner packets.
void esp_in_finish(Burst& burst, const EspBatch& batch, EspContext& context) {
  const std::size_t all = burst.size();
  InboundRows rows(context);
  const auto kept = rows.open(batch, std::span<Packet* const>(burst.begin(), all), 0, [&](std::size_t n, Packet& p, const Opened& opened) {
    settle(p, opened);
    burst[n] = &p;
  });
  rows.end();
  burst.truncate(kept);
}

void esp_in_lookup(Burst& burst, const InboundTable& table, DropSink& drops, EarlyPackets* early, std::uint64_t now) {
  std::array<std::uint32_t, kBurstMax> spis;
  std::size_t kept = 0;
  burst.filter([&](Packet& p) {
    const std::uint32_t offset = spi_offset(p);
    if (p.length < offset + kEspHeaderBytes) [[unlikely]] {
      drops.drop(p, Drop::EspRunt);
      return false;
    }
    const std::uint32_t spi = spis[kept++] = load_be32(p.data + offset);
    table.prefetch_slot(Spi{spi});
    return true;
  });
  std::uint32_t last = 0;  // no SA has this one
  InboundSa* sa = nullptr;
  std::size_t i = 0;
  for (Packet* p : burst) {
    const std::uint32_t spi = spis[i++];
    if (spi != std::exchange(last, spi)) sa = table.prefetch(Spi{spi});
    p->inbound = sa;
  }
  i = 0;
  burst.filter([&](Packet& p) {
    if (const std::uint32_t spi = spis[i++]; p.inbound != nullptr && p.inbound->spi.value == spi) [[likely]]
      return true;
    if (early == nullptr || !early->takes(p, Spi{spis[i - 1]}, now)) drops.drop(p, Drop::EspNoSa);
    return false;
  });
}

void esp_in(Burst& burst, EspContext& context) {
  EspBatch batch;
  esp_in_prepare(burst, batch, context);
  context.crypto.decrypt(std::span(batch.ops).first(burst.size()));
  esp_in_finish(burst, batch, context);
}

}  // namespace culvert::dp
