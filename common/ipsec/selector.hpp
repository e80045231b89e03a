// Traffic selectors (RFC 4301 §4.4.1.1) and their set algebra, shared by policy, negotiation and the packet path's checks.
// Owns no lookup structure. Trivially copyable: it stands in shared memory as it is.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/ip.hpp"

namespace culvert {

/// One end of a flow: a range of addresses, one protocol (0: any), a range of ports (0-65535: any).
/// Ports mean something for TCP, UDP, SCTP, DCCP and UDP-Lite only; with protocol 0 they must be "any".
struct TrafficSelector {
  IpAddress first;
  IpAddress last;
  std::uint16_t port_first = 0;
  std::uint16_t port_last = 0xffff;
  std::uint8_t protocol = 0;

  static TrafficSelector from(const Prefix& prefix, std::uint8_t protocol = 0, std::uint16_t port = 0);
  /// swanctl's form: "10.1.0.0/24", "10.1.0.5", "10.1.0.0/24[tcp/80]", "10.1.0.0/24[udp]", "0.0.0.0/0[icmp]", "10.1.0.1-10.1.0.9".
  static std::expected<TrafficSelector, std::string> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  /// The prefix, if the range is exactly one.
  [[nodiscard]] std::optional<Prefix> prefix() const;

  [[nodiscard]] bool any_port() const { return port_first == 0 && port_last == 0xffff; }
  /// Whether a packet with this address, protocol and port (0 where the protocol has none or it is unknown) is inside.
  [[nodiscard]] bool matches(const IpAddress& address, std::uint8_t proto, std::uint16_t port) const;
  [[nodiscard]] bool contains(const TrafficSelector& other) const;
  [[nodiscard]] std::optional<TrafficSelector> intersect(const TrafficSelector& other) const;
  friend constexpr auto operator<=>(const TrafficSelector&, const TrafficSelector&) = default;
};

}  // namespace culvert
