// IP addresses, prefixes, ranges and endpoints of either family, as small trivially copyable values.
// Owns their text form. Never touches a socket or a packet.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.hpp"
#include "common/types.hpp"

namespace culvert {

enum class Family : std::uint8_t { None = 0, V4 = 4, V6 = 6 };

/// An address in network byte order; an IPv4 address fills the first four bytes, the rest is zero.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  Family family = Family::None;

  static constexpr IpAddress v4(std::uint32_t host_order) {
    IpAddress a;
    a.family = Family::V4;
    for (int i = 0; i < 4; ++i) a.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    return a;
  }
  [[nodiscard]] constexpr std::uint32_t v4_host() const {
    return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
           static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
  }
  [[nodiscard]] constexpr std::size_t size() const { return family == Family::V4 ? 4 : family == Family::V6 ? 16 : 0; }
  [[nodiscard]] ByteView view() const { return ByteView(bytes).first(size()); }
  [[nodiscard]] bool is_unspecified() const { return bytes == std::array<std::uint8_t, 16>{}; }
  /// 4 or 16 bytes in network order; anything else fails.
  static std::expected<IpAddress, std::string> from_bytes(ByteView bytes);
  static std::expected<IpAddress, std::string> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  /// The address so many places behind this one; wraps around at the end of the family.
  [[nodiscard]] IpAddress plus(std::uint64_t places) const;
  /// How many places behind `first` it stands; nullopt: not behind it, of another family, or 2^64 and more.
  [[nodiscard]] std::optional<std::uint64_t> places_behind(const IpAddress& first) const;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

/// An address with a prefix length. `address` keeps its host bits: "10.9.0.1/24" is both an interface address and a network.
struct Prefix {
  IpAddress address;
  std::uint8_t length = 0;

  static std::expected<Prefix, std::string> parse(std::string_view text);  ///< "10.0.0.0/8"; without "/n" a host
  [[nodiscard]] IpAddress first() const;
  [[nodiscard]] IpAddress last() const;
  [[nodiscard]] bool contains(const IpAddress& a) const;
  [[nodiscard]] std::string to_string() const;
  friend constexpr auto operator<=>(const Prefix&, const Prefix&) = default;
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;   ///< host byte order
  VrfId vrf = kDefaultVrf;  ///< that the address is one of

  [[nodiscard]] std::string to_string() const;  ///< "10.9.0.1:500", "[2001:db8::1]:4500"
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace culvert
