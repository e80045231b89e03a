// What tells the flow of a packet: by it policies, ways and what was said of them before are looked up. Owns the layout, which DPDK's acl
// reads.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "dataplane/packet.hpp"

namespace culvert::dp {

using V6Bytes = std::array<std::uint8_t, 16>;  ///< an address in network order

/// What a packet is looked up by, in the layout that the classifier reads (network byte order): protocol, 1 if it has ports that
/// are hidden (Packet::ports_hidden), the VRF, 1 if it is a fragment (which no policy asks for), source, destination, source port,
/// destination port. Two numbers, so that it is made, hashed and compared in registers.
struct FlowKey {
  static constexpr std::uint32_t kProtocolAt = 0, kSourceAt = 4, kDestinationAt = 8, kSourcePortAt = 12, kDestinationPortAt = 14;
  std::uint64_t first, second;  // no initial values: there are many in a burst

  /// Addresses and ports in host order.
  static FlowKey of(std::uint8_t protocol, std::uint32_t source, std::uint32_t destination, std::uint16_t source_port,
                    std::uint16_t destination_port, bool ports_hidden = false, VrfId vrf = kDefaultVrf) {
    return make(protocol, ports_hidden, vrf, false, __builtin_bswap32(source), __builtin_bswap32(destination), source_port,
                destination_port);
  }
  /// As the packet goes: local -> remote.
  static FlowKey outbound(const Packet& p) {
    const std::uint64_t word = p.flow_word();
    std::uint64_t addresses;
    std::memcpy(&addresses, p.data + 12, sizeof addresses);
    const std::uint32_t ports = std::rotl(__builtin_bswap32(static_cast<std::uint32_t>(word)), 16);
    return {word >> 32 | addresses << 32, addresses >> 32 | std::uint64_t{ports} << 32};
  }
  /// Mirrored, for a packet that came in: its source is the remote side.
  [[nodiscard]] FlowKey mirrored() const {
    const std::uint64_t destination = second & 0xffffffff, ports = second >> 32;
    return {(first & 0xffffffff) | destination << 32, first >> 32 | (ports >> 16 | (ports & 0xffff) << 16) << 32};
  }
  /// Host order.
  [[nodiscard]] VrfId vrf() const { return static_cast<VrfId>(first >> 16); }
  [[nodiscard]] bool fragment() const { return (first >> 24 & 1) != 0; }
  /// What all fragments of a packet have alike.
  [[nodiscard]] FlowKey without_ports() const { return {first & ~std::uint64_t{0xff00}, second & 0xffffffff}; }
  [[nodiscard]] std::uint32_t source() const { return __builtin_bswap32(static_cast<std::uint32_t>(first >> 32)); }
  [[nodiscard]] std::uint32_t destination() const { return __builtin_bswap32(static_cast<std::uint32_t>(second)); }
  [[nodiscard]] std::uint16_t source_port() const { return __builtin_bswap16(static_cast<std::uint16_t>(second >> 32)); }
  [[nodiscard]] std::uint16_t destination_port() const { return __builtin_bswap16(static_cast<std::uint16_t>(second >> 48)); }
  [[nodiscard]] std::uint8_t protocol() const { return static_cast<std::uint8_t>(first); }
  [[nodiscard]] bool ports_hidden() const { return (first >> 8 & 1) != 0; }
  friend bool operator==(const FlowKey&, const FlowKey&) = default;

 private:
  static FlowKey make(std::uint8_t protocol, bool hidden, VrfId vrf, bool fragment, std::uint32_t source, std::uint32_t destination,
                      std::uint16_t sport, std::uint16_t dport) {
    const std::uint64_t ports = std::uint64_t{__builtin_bswap16(sport)} | std::uint64_t{__builtin_bswap16(dport)} << 16;
    return {protocol | std::uint64_t{hidden} << 8 | std::uint64_t{vrf} << 16 | std::uint64_t{fragment} << 24 | std::uint64_t{source} << 32,
            destination | ports << 32};
  }
};
static_assert(sizeof(FlowKey) == 16 && std::endian::native == std::endian::little);

/// The same of an IPv6 packet, in the same order.
struct FlowKeyV6 {
  static constexpr std::uint32_t kProtocolAt = 0, kSourceAt = 4, kDestinationAt = 20, kSourcePortAt = 36, kDestinationPortAt = 38;
  std::array<std::uint64_t, 5> words{};

  static FlowKeyV6 of(std::uint8_t protocol, const V6Bytes& source, const V6Bytes& destination, std::uint16_t source_port,
                      std::uint16_t destination_port, bool ports_hidden = false, VrfId vrf = kDefaultVrf) {
    return make(protocol, ports_hidden, vrf, false, source.data(), destination.data(), source_port, destination_port);
  }
  static FlowKeyV6 outbound(const Packet& p) {
    return make(p.protocol, p.ports_hidden, p.vrf, p.fragment, p.data + 8, p.data + 24, p.source_port, p.destination_port);
  }
  [[nodiscard]] FlowKeyV6 mirrored() const {
    FlowKeyV6 out;
    const std::uint8_t* from = bytes();
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    std::memcpy(to, from, 4);
    std::memcpy(to + kSourceAt, from + kDestinationAt, 16);
    std::memcpy(to + kDestinationAt, from + kSourceAt, 16);
    std::memcpy(to + kSourcePortAt, from + kDestinationPortAt, 2);
    std::memcpy(to + kDestinationPortAt, from + kSourcePortAt, 2);
    return out;
  }
  [[nodiscard]] VrfId vrf() const { return bytes()[2]; }
  [[nodiscard]] bool fragment() const { return bytes()[3] != 0; }
  /// What all fragments of a packet have alike.
  [[nodiscard]] FlowKeyV6 without_ports() const {
    FlowKeyV6 out = *this;
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    to[1] = 0;
    std::memset(to + kSourcePortAt, 0, 4);
    return out;
  }
  [[nodiscard]] V6Bytes source() const { return address(kSourceAt); }
  [[nodiscard]] V6Bytes destination() const { return address(kDestinationAt); }
  [[nodiscard]] std::uint16_t source_port() const { return load_be16(bytes() + kSourcePortAt); }
  [[nodiscard]] std::uint16_t destination_port() const { return load_be16(bytes() + kDestinationPortAt); }
  [[nodiscard]] std::uint8_t protocol() const { return bytes()[0]; }
  [[nodiscard]] bool ports_hidden() const { return bytes()[1] != 0; }
  friend bool operator==(const FlowKeyV6&, const FlowKeyV6&) = default;

 private:
  [[nodiscard]] V6Bytes address(std::size_t at) const {
    V6Bytes out;
    std::memcpy(out.data(), bytes() + at, out.size());
    return out;
  }
  [[nodiscard]] const std::uint8_t* bytes() const { return reinterpret_cast<const std::uint8_t*>(words.data()); }
  static FlowKeyV6 make(std::uint8_t protocol, bool hidden, VrfId vrf, bool fragment, const std::uint8_t* source,
                        const std::uint8_t* destination, std::uint16_t sport, std::uint16_t dport) {
    FlowKeyV6 out;
    auto* to = reinterpret_cast<std::uint8_t*>(out.words.data());
    to[0] = protocol;
    to[1] = hidden ? 1 : 0;
    to[2] = vrf;
    to[3] = fragment ? 1 : 0;
    std::memcpy(to + kSourceAt, source, 16);
    std::memcpy(to + kDestinationAt, destination, 16);
    store_be16(to + kSourcePortAt, sport);
    store_be16(to + kDestinationPortAt, dport);
    return out;
  }
};
static_assert(sizeof(FlowKeyV6) == 40);

}  // namespace culvert::dp
