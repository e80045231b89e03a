// RADIUS packets (RFC 2865 §3, RFC 2869, RFC 3579): what they look like, and nothing of what they mean.
// Owns the layout and every length in it. Never looks at a secret: proof.hpp does. Never decides whether one may come: client.hpp does.
//
//   |     Code      |  Identifier   |            Length             |  Authenticator (16)  |  Attributes: Type, Length, Value (1..253) ...
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::radius {

inline constexpr std::size_t kHeader = 20, kMaxPacket = 4096, kMaxValue = 253;

enum class Code : std::uint8_t {
  AccessRequest = 1,
  AccessAccept = 2,
  AccessReject = 3,
  AccountingRequest = 4,
  AccountingResponse = 5,
  AccessChallenge = 11,
};
enum class Type : std::uint8_t {
  UserName = 1,
  NasIpAddress = 4,
  NasPort = 5,
  ServiceType = 6,
  FramedIpAddress = 8,
  ReplyMessage = 18,
  State = 24,
  Class = 25,
  VendorSpecific = 26,
  SessionTimeout = 27,
  CalledStationId = 30,
  CallingStationId = 31,
  NasIdentifier = 32,
  NasPortType = 61,
  EapMessage = 79,
  MessageAuthenticator = 80,
  NasPortId = 87,
  NasIpv6Address = 95,
  FramedIpv6Address = 168,
};
inline constexpr std::uint32_t kServiceFramed = 2, kPortVirtual = 5;  ///< RFC 2865 §5.6, §5.41

using Authenticator = std::array<std::uint8_t, 16>;

struct Attribute {
  Type type{};
  Bytes value;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};

struct Packet {
  Code code{};
  std::uint8_t id = 0;
  Authenticator authenticator{};
  std::vector<Attribute> attributes;

  void add(Type type, ByteView value) { attributes.push_back({type, Bytes(value.begin(), value.end())}); }
  void add(Type type, std::string_view text) { add(type, as_bytes(text)); }
  void add(Type type, std::uint32_t number);
  /// As many attributes as it takes, of which all but the last are full (RFC 3579 §3.1).
  void add_split(Type type, ByteView value);

  [[nodiscard]] const Attribute* find(Type type) const;  ///< the first one; nullptr: none
  [[nodiscard]] std::size_t count(Type type) const;
  [[nodiscard]] Bytes joined(Type type) const;                         ///< the values of all, one behind the other
  [[nodiscard]] std::optional<std::uint32_t> number(Type type) const;  ///< of four bytes; nullopt: none, or another length
};

/// What stands behind the length that a packet says is passed over (RFC 2865 §3). Attributes of types without a name here are kept.
Parsed<Packet> parse(ByteView datagram);
/// nullopt: an attribute is empty or too long, or all of them are.
std::optional<Bytes> encode(const Packet& packet);

}  // namespace culvert::radius
