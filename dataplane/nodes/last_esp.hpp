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
    const bool udp = p.protocol == kProtocolUdp && p.destination_port == kNatTPort;
    if (p.family != Family::V4 || !(udp || p.protocol == kProtocolEsp) || p.fragment || p.l4_offset != kIpv4HeaderBytes) return;
    sa_ = p.inbound;
    shim_ = udp ? kUdpHeaderBytes : 0;
    flow_ = p.flow_word();
    std::memcpy(&ends_, p.data + 12, sizeof ends_);
    std::memcpy(&ports_, p.data + kIpv4HeaderBytes, sizeof ports_);
    std::memcpy(&spi_, p.data + kIpv4HeaderBytes + shim_, sizeof spi_);
  }
  /// Whether `p`, of IPv4 and parsed, is like it; then it has its SA.
  [[nodiscard]] bool like(Packet& p) const {
    if (sa_ == nullptr || p.flow_word() != flow_ || p.l4_offset != kIpv4HeaderBytes ||
        p.length < kIpv4HeaderBytes + shim_ + kEspHeaderBytes)
      return false;
    if (shim_ == 0 ? !same_ends<false>(p.data) : !same_ends<true>(p.data) || !same_udp(p.data, p.length)) return false;
    p.inbound = sa_;
    return true;
  }
  /// Whether packets of a VRF can be like it.
  [[nodiscard]] bool is_of(VrfId vrf) const { return sa_ != nullptr && flow_ >> 48 == vrf; }
  /// Whether it came in UDP.
  [[nodiscard]] bool in_udp() const { return shim_ != 0; }
  /// The same as like() of a frame to `own` that is_ipv4_to() and parse_usual() would have taken for one of a VRF that this is_of(): then
  /// it is parsed as they do it. False: it is unchanged, and they may take it. `Udp`: in_udp().
  template <bool Summed, bool Udp>
  [[nodiscard]] bool like_frame(Packet& p, MacBits own) const {
    constexpr std::uint32_t kLeast = kIpv4HeaderBytes + (Udp ? kUdpHeaderBytes : 0) + kEspHeaderBytes;
    const std::uint8_t* const ip = p.data + kEthernetBytes;
    if (p.length < kEthernetBytes + kLeast || !same_ends<Udp>(ip)) return false;
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
    if ((to ^ own) << 16 != 0 || type != __builtin_bswap16(kEtherTypeIpv4) || (first & kFixed) != 0x45 ||
        static_cast<std::uint8_t>(second >> 8) != (Udp ? kProtocolUdp : kProtocolEsp) || total - kLeast > room - kLeast ||
        (Udp && !same_udp(ip, total))) [[unlikely]]
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
  template <bool Udp>
  [[nodiscard]] bool same_ends(const std::uint8_t* ip) const {
    std::uint64_t ends;
    std::uint32_t spi;
    std::memcpy(&ends, ip + 12, sizeof ends);
    std::memcpy(&spi, ip + kIpv4HeaderBytes + (Udp ? kUdpHeaderBytes : 0), sizeof spi);
    return ends == ends_ && spi == spi_;
  }
  /// The ports, of a packet of `total` bytes that its UDP header says, too.
  [[nodiscard]] bool same_udp(const std::uint8_t* ip, std::uint32_t total) const {
    std::uint32_t ports;
    std::memcpy(&ports, ip + kIpv4HeaderBytes, sizeof ports);
    return ports == ports_ && load_be16(ip + kIpv4HeaderBytes + 4) == total - kIpv4HeaderBytes;
  }

  InboundSa* sa_ = nullptr;  // nullptr: there is none, whatever the rest says
  std::uint64_t flow_ = 0;   // Packet::flow_word()
  std::uint64_t ends_ = 0;   // as in the packet
  std::uint32_t spi_ = 0;
  std::uint32_t ports_ = 0, shim_ = 0;  // of UDP; and its header's bytes, 0: there is none
};

}  // namespace culvert::dp
