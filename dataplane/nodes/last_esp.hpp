// The packet under an SA that was looked up last: of one like it outside it is known that it is for us, who may send it, and which SA it
// has; the latter within a pass. Owns what such packets have alike.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/sad/sa_table.hpp"

namespace culvert::dp {

class LastEsp {
 public:
  void begin_pass(const InboundTable& table) {
    if (sa_ != nullptr) sa_ = table.find(Spi{__builtin_bswap32(spi_)});
  }
  void note(const Packet& p) {
    if (p.family != Family::V4 || p.protocol != kProtocolEsp || p.fragment || p.l4_offset != kIpv4HeaderBytes) return;
    sa_ = p.inbound;
    flow_ = p.flow_word();
    std::memcpy(&ends_, p.data + 12, sizeof ends_);
    std::memcpy(&spi_, p.data + kIpv4HeaderBytes, sizeof spi_);
  }
  /// Whether `p`, of IPv4 and parsed, is like it; then it has its SA.
  [[nodiscard]] bool like(Packet& p) const {
    if (sa_ == nullptr || p.flow_word() != flow_ || p.l4_offset != kIpv4HeaderBytes || !same_ends(p.data) ||
        p.length < kIpv4HeaderBytes + kEspHeaderBytes)
      return false;
    p.inbound = sa_;
    return true;
  }
  /// Whether packets of a VRF can be like it.
  [[nodiscard]] bool is_of(VrfId vrf) const { return sa_ != nullptr && flow_ >> 48 == vrf; }
  /// The same as like() of a frame to `own` that is_ipv4_to() and parse_usual() would have taken for one of a VRF that this is_of(): then
  /// it is parsed as they do it. False: it is unchanged, and they may take it.
  template <bool Summed>
  [[nodiscard]] bool like_frame(Packet& p, MacBits own) const {
    const std::uint8_t* const ip = p.data + kEthernetBytes;
    if (p.length < kEthernetBytes + kIpv4HeaderBytes + kEspHeaderBytes || !same_ends(ip)) return false;
    std::uint64_t to, first, second;
    std::uint32_t third;
    std::uint16_t type;
    std::memcpy(&to, p.data, sizeof to);
    std::memcpy(&type, p.data + 12, sizeof type);
    std::memcpy(&first, ip, sizeof first);
    std::memcpy(&second, ip + 8, sizeof second);
    std::memcpy(&third, ip + 16, sizeof third);
    constexpr std::uint64_t kFixed = 0xff | std::uint64_t{__builtin_bswap16(kIpv4Mf | kIpv4OffsetMask)} << 48;
    const std::uint32_t total = __builtin_bswap16(static_cast<std::uint16_t>(first >> 16)), room = p.length - kEthernetBytes;
    constexpr std::uint32_t kLeast = kIpv4HeaderBytes + kEspHeaderBytes;
    if ((to ^ own) << 16 != 0 || type != __builtin_bswap16(kEtherTypeIpv4) || (first & kFixed) != 0x45 ||
        static_cast<std::uint8_t>(second >> 8) != kProtocolEsp || total - kLeast > room - kLeast) [[unlikely]]
      return false;
    if (!(Summed && p.tag == Packet::kSummed) && !sum_right(add_with_carry(add_with_carry(first, second), third))) [[unlikely]]
      return false;
    p.data += kEthernetBytes;
    p.length = total;
    p.headroom = static_cast<std::uint16_t>(p.headroom + kEthernetBytes);
    p.tailroom = static_cast<std::uint16_t>(p.tailroom + room - total);
    p.l4_offset = kIpv4HeaderBytes;
    p.family = Family::V4;
    p.set_flow_word(flow_);
    p.inbound = sa_;
    return true;
  }

 private:
  /// Addresses and SPI of the IPv4 packet at `ip`.
  [[nodiscard]] bool same_ends(const std::uint8_t* ip) const {
    std::uint64_t ends;
    std::uint32_t spi;
    std::memcpy(&ends, ip + 12, sizeof ends);
    std::memcpy(&spi, ip + kIpv4HeaderBytes, sizeof spi);
    return ends == ends_ && spi == spi_;
  }

  InboundSa* sa_ = nullptr;  // nullptr: there is none, whatever the rest says
  std::uint64_t flow_ = 0;   // Packet::flow_word()
  std::uint64_t ends_ = 0;   // as in the packet
  std::uint32_t spi_ = 0;
};

}  // namespace culvert::dp
