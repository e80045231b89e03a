// What is inside of an authentic ESP packet, where that is plain: its trailer, an IPv4 header, and what RFC 6040 says of marks. What is
// said here must come to the same as what esp_in.cpp asks of any packet (unwrap). Owns nothing; never looks at bytes before the ICV's
// verdict.
#pragma once

#include <array>

#include "dataplane/nodes/esp.hpp"
#include "dataplane/nodes/inbound_row.hpp"

namespace culvert::dp {

/// RFC 4303 §2.4: the padding bytes, 1, 2, 3, ...
inline constexpr auto kPaddingBytes = [] {
  std::array<std::uint8_t, 255> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
  return bytes;
}();
/// Whether `pad` bytes of padding are 1, 2, 3, ... At least 12 bytes of trailer and ICV follow them.
inline bool padding_right(const std::uint8_t* padding, std::uint32_t pad) {
  if (pad > 8) return std::memcmp(padding, kPaddingBytes.data(), pad) == 0;
  std::uint64_t got, want;
  std::memcpy(&got, padding, sizeof got);
  std::memcpy(&want, kPaddingBytes.data(), sizeof want);
  return pad == 0 || ((got ^ want) << (64 - 8 * pad)) == 0;  // the first byte in memory is the lowest one
}

/// The marks of RFC 3168.
namespace ecn {
inline constexpr std::uint8_t kMask = 3, kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;

/// RFC 6040 §4.2: the inner mark that results, by the inner and the outer one that arrive. kDropped: the packet must not go on.
inline constexpr std::uint8_t kDropped = 0xff;
inline constexpr std::array<std::array<std::uint8_t, 4>, 4> kMerged = {{
    // outer: Not-ECT  ECT(1)   ECT(0)   CE
    {{kNotEct, kNotEct, kNotEct, kDropped}},  // inner: Not-ECT
    {{kEct1, kEct1, kEct1, kCe}},             //        ECT(1)
    {{kEct0, kEct1, kEct0, kCe}},             //        ECT(0)
    {{kCe, kCe, kCe, kCe}},                   //        CE
}};
}  // namespace ecn

/// Whether the inner DSCP and ECN stay as they are, given those of the outer header.
inline bool keeps_class(const InboundRow& row, std::uint8_t inner, std::uint8_t outer) {
  return !row.copy_dscp && ecn::kMerged[inner & ecn::kMask][outer & ecn::kMask] == (inner & ecn::kMask);
}

/// What strip_esp() asks of a short trailer, as bits of the last word of the text: padding, its length, and that IPv4 is inside.
struct Trailers {
  std::array<std::uint64_t, 7> want{}, bits{};
};
inline constexpr auto kTrailers = [] {
  Trailers t;
  for (std::size_t pad = 0; pad < t.want.size(); ++pad) {
    t.want[pad] = std::uint64_t{kProtocolIpip} << 56 | std::uint64_t{pad} << 48;
    for (std::size_t k = 0; k < pad; ++k) t.want[pad] |= std::uint64_t{k + 1} << (8 * (6 - pad + k));
    t.bits[pad] = ~std::uint64_t{0} << (48 - 8 * pad);
  }
  return t;
}();
/// The same of any trailer of a text of `length` bytes, with a packet in front of it.
[[gnu::noinline]] inline bool long_trailer_right(const std::uint8_t* text, std::uint32_t length, std::uint32_t pad) {
  return text[length - 1] == kProtocolIpip && pad + kEspTrailerBytes + kIpv4WithPorts <= length &&
         padding_right(text + length - kEspTrailerBytes - pad, pad);
}

/// What unwrap() finds in a packet of a usual row, if there is nothing special about it; it is not counted yet. False: ask that one.
inline bool open_plain(const Packet& p, const InboundRow& row, const CryptoOp& op, Opened& out) {
  std::uint8_t* const ip = op.esp + row.front;
  // Where the peer has moved from IPv6 within a burst, its row says what it is now; where it may move, this packet may say so.
  if (p.family != Family::V4 || (row.follows && !row.from_peer(p)) || op.text_length < kIpv4WithPorts + sizeof(std::uint64_t)) [[unlikely]]
    return false;
  std::uint64_t trailer, first, second;
  std::uint32_t third, ports;
  std::memcpy(&trailer, ip + op.text_length - sizeof trailer, sizeof trailer);
  std::memcpy(&first, ip, sizeof first);
  std::memcpy(&second, ip + 8, sizeof second);
  std::memcpy(&third, ip + 16, sizeof third);
  std::memcpy(&ports, ip + kIpv4HeaderBytes, sizeof ports);
  const std::uint32_t pad = trailer >> 48 & 0xff;
  if (pad < kTrailers.want.size() ? ((trailer ^ kTrailers.want[pad]) & kTrailers.bits[pad]) != 0
                                  : !long_trailer_right(ip, op.text_length, pad)) [[unlikely]]
    return false;
  // As parse_usual(): version 4, no options, no fragment, not longer than what came, the checksum.
  constexpr std::uint64_t kFixed = 0xff | std::uint64_t{__builtin_bswap16(kIpv4Mf | kIpv4OffsetMask)} << 48;
  const std::uint32_t room = op.text_length - kEspTrailerBytes - pad;
  const std::uint32_t total = __builtin_bswap16(static_cast<std::uint16_t>(first >> 16));
  if ((first & kFixed) != 0x45 || total - kIpv4WithPorts > room - kIpv4WithPorts) [[unlikely]]
    return false;
  if (!sum_right(add_with_carry(add_with_carry(first, second), third))) [[unlikely]]
    return false;
  if (static_cast<std::uint8_t>(first >> 8) != p.data[1] && !keeps_class(row, static_cast<std::uint8_t>(first >> 8), p.data[1]))
      [[unlikely]]
    return false;
  if (!row.admits(static_cast<std::uint32_t>(second >> 32), third)) [[unlikely]]
    return false;
  const auto protocol = static_cast<std::uint8_t>(second >> 8);
  out.ip = ip;
  out.length = total;
  out.policy = row.policy;
  out.key = {row.inside | protocol | second >> 32 << 32, third | std::uint64_t{kHasPorts[protocol] ? ports : 0} << 32};
  return true;
}

}  // namespace culvert::dp
