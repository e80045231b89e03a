// Traffic selectors (RFC 4301 §4.4.1.1) and their set algebra, shared by policy, negotiation and the packet path's checks.
// Owns no lookup structure. Trivially copyable: it stands in shared memory as it is.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
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
  /// Whether there is something that both mean.
  [[nodiscard]] bool meets(const TrafficSelector& other) const;
  [[nodiscard]] std::optional<TrafficSelector> intersect(const TrafficSelector& other) const;
  friend constexpr auto operator<=>(const TrafficSelector&, const TrafficSelector&) = default;
};

/// What a pair of SAs, or their policy, selects beside the first selector of each side (RFC 4301 §4.4.1.2): a packet is meant if its two
/// ends are each inside of one of their side. Both sides share the room, so that it has one size in shared memory.
struct MoreSelectors {
  static constexpr std::size_t kMost = 14;
  std::uint8_t locals = 0, remotes = 0;
  std::array<TrafficSelector, kMost> all{};  ///< ours, then theirs

  /// Each list with its first selector in front. nullopt: a side has none, or there are too many.
  static std::optional<MoreSelectors> behind_first(std::span<const TrafficSelector> local, std::span<const TrafficSelector> remote);
  /// False of what only a hostile process says: then there is no looking at it.
  [[nodiscard]] bool sound() const { return std::size_t{locals} + remotes <= kMost; }
  [[nodiscard]] bool any() const { return locals != 0 || remotes != 0; }
  [[nodiscard]] std::span<const TrafficSelector> local() const { return {all.data(), locals}; }
  [[nodiscard]] std::span<const TrafficSelector> remote() const { return {all.data() + locals, remotes}; }
  friend constexpr auto operator<=>(const MoreSelectors&, const MoreSelectors&) = default;
};
inline constexpr std::size_t kMaxPairSelectors = MoreSelectors::kMost + 2;  ///< of a pair of SAs, both sides counted

/// Whether there can be packets between the two: those of one family, and of a protocol that both admit.
[[nodiscard]] bool can_pair(const TrafficSelector& local, const TrafficSelector& remote);
/// "10.1.0.0/24, 2001:db8:1::/48".
[[nodiscard]] std::string to_string(const TrafficSelector& first, std::span<const TrafficSelector> more);

}  // namespace culvert
