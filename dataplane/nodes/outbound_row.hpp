// What all packets in a row under one outbound SA have alike, taken out of the SA once, so that each of them costs a few registers; and the
// writing of one, with all that is not secret of it. For the usual kind of SA only; what is written here must come to the same as what
// esp_out.cpp writes of any packet. Owns the numbers that its packets take until take(), and is good within one burst.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

/// RFC 4303 §2.4: the padding bytes, 1, 2, 3, ...
inline constexpr auto kPadding = [] {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
  return bytes;
}();

/// What stands in front of the payload of a packet under a usual SA, from its IPv4 header to the SPI, as it lies in memory.
struct OuterHeader {
  std::uint64_t first = 0x45, copied = 0;  ///< to the fragment offset; what of the inner header's is taken over
  std::uint64_t second = 0;                ///< TTL, protocol, source, and all ones as checksum
  std::uint64_t third = 0;                 ///< destination; SPI, or the ports of UDP
  std::uint64_t fourth = 0;                ///< in UDP: no length, no checksum (RFC 3948 §2.1), SPI
  std::uint64_t sum = 0;                   ///< over what does not change, less than 2^35

  explicit OuterHeader(const OutboundSa& sa) {
    const PeerWord to = sa.peer.load(std::memory_order_relaxed);
    const std::uint32_t peer = __builtin_bswap32(peer_address(to));
    const std::uint32_t spi = __builtin_bswap32(sa.spi.value);
    std::memcpy(&second, sa.header.data() + 8, sizeof second);
    second &= ~std::uint64_t{0xffff0000};
    sum = (second & 0xffffffff) + (second >> 32) + peer;
    second |= 0xffff0000;
    const std::uint32_t ports = __builtin_bswap32(std::uint32_t{sa.local_port} << 16 | peer_port(to));
    third = peer | std::uint64_t{sa.udp ? ports : spi} << 32;
    fourth = std::uint64_t{spi} << 32;
    first |= std::uint64_t{__builtin_bswap16(sa.df_set)} << 48;
    copied = std::uint64_t{sa.class_mask} << 8 | std::uint64_t{__builtin_bswap16(sa.df_copied)} << 48;
  }
  /// Host order; and the port where that is in UDP.
  [[nodiscard]] std::uint32_t destination() const { return __builtin_bswap32(static_cast<std::uint32_t>(third)); }
  [[nodiscard]] std::uint16_t remote_port() const { return __builtin_bswap16(static_cast<std::uint16_t>(third >> 48)); }
  /// `inner`: the first eight bytes inside, of IPv4.
  template <bool kUdp>
  void write(std::uint8_t* to, std::uint64_t inner, std::uint32_t total, std::uint64_t sequence) const {
    const std::uint64_t begin = first | (inner & copied) | __builtin_bswap64(std::uint64_t{total} << 32 | (sequence & 0xffff) << 16);
    const std::uint64_t all = add_with_carry(sum, begin);
    const auto half = static_cast<std::uint32_t>((all + std::rotr(all, 32)) >> 32);
    const std::uint64_t rest = second ^ ((half + std::rotr(half, 16)) & 0xffff0000);
    std::memcpy(to, &begin, sizeof begin);
    std::memcpy(to + 8, &rest, sizeof rest);
    std::memcpy(to + 16, &third, sizeof third);
    if constexpr (kUdp) {
      const std::uint64_t last = fourth | __builtin_bswap16(static_cast<std::uint16_t>(total - kIpv4HeaderBytes));
      std::memcpy(to + 24, &last, sizeof last);
    }
  }
};

/// Whether an SA is of the usual kind (ESP over IPv4 in tunnel mode, native or in UDP, nothing hidden, the IV the sequence number), and has
/// nothing to say to any of so many packets.
inline bool usual_row(const OutboundSa& sa, std::size_t packets) {
  const EspGeometry& g = sa.geometry;
  const bool kind = g.iv_source == IvSource::Counter && !g.ah && !g.transport && sa.outer_family == Family::V4 && sa.pad_to == 0 &&
                    !(sa.udp && sa.local_port == kIkePort);  // there is a marker
  return kind && !sa.halted() && sa.usage.packets + packets < sa.usage.packets_mark &&
         sa.usage.bytes + packets * kMaxIpLength < sa.usage.bytes_mark;
}
/// Calls row.operator()<kUdp>() as the SA has it.
template <class Call>
auto as_row(const OutboundSa& sa, Call&& row) {
  return sa.udp ? row.template operator()<true>() : row.template operator()<false>();
}

template <bool kUdp>
struct OutboundRow {
  static constexpr std::uint32_t kIv = 8, kEspFront = kEspHeaderBytes + kIv;
  static constexpr std::uint32_t kFront = kIpv4HeaderBytes + (kUdp ? kUdpHeaderBytes : 0) + kEspFront;
  static constexpr std::uint32_t kRoomy = 64;  ///< behind a packet: more than any suite's padding, trailer and ICV

  OuterHeader header;
  const SaKeys* keys;
  std::uint32_t up, icv;
  std::uint64_t sequence, bytes = 0;  ///< the last number taken; of inner packets

  explicit OutboundRow(const OutboundSa& sa)
      : header(sa), keys(&sa.keys), up(sa.geometry.align - 1U), icv(sa.geometry.icv), sequence(sa.sequence()) {}

  static std::uint64_t first_of(const std::uint8_t* ip) {
    std::uint64_t first;
    std::memcpy(&first, ip, sizeof first);
    return first;
  }
  [[nodiscard]] std::uint32_t text(std::uint32_t inner) const { return (inner + kEspTrailerBytes + up) & ~up; }
  /// The packet of `inner` bytes at `payload` takes the next number: writes trailer, outer header and ESP header, and its operation. There
  /// must be room. `first`: the first eight bytes of an IPv4 header like its own. Returns the bytes that it has then.
  std::uint32_t write(std::uint8_t* payload, std::uint32_t inner, std::uint64_t first, std::uint32_t next_header, CryptoOp& op) {
    const std::uint32_t length = text(inner), pad = length - kEspTrailerBytes - inner, total = kFront + length + icv;
    std::uint8_t* const trailer = payload + inner;
    std::memcpy(trailer, kPadding.data(), kPadding.size());  // the rest is overwritten: by the trailer, then by the ICV
    const auto last = static_cast<std::uint16_t>(pad | next_header << 8);
    std::memcpy(trailer + pad, &last, sizeof last);
    ++sequence;
    const std::uint64_t iv = __builtin_bswap64(sequence);  // unique under the key
    const auto low = static_cast<std::uint32_t>(iv >> 32);
    header.write<kUdp>(payload - kFront, first, total, sequence);
    std::memcpy(payload - kIv - sizeof low, &low, sizeof low);
    std::memcpy(payload - kIv, &iv, sizeof iv);
    op.keys = keys;
    op.esp = payload - kEspFront;
    op.text_length = length;
    op.sequence_high = static_cast<std::uint32_t>(sequence >> 32);
    bytes += inner;
    return total;
  }
  /// The SA has given these numbers away.
  void take(OutboundSa& sa) const {
    sa.usage.packets = sequence;
    sa.usage.bytes += bytes;
  }
};

}  // namespace culvert::dp
