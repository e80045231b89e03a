// EAP packets (RFC 3748 §4) and the kinds of them that are known here.
// Owns their layout. Never decides whether one may come: server.hpp and client.hpp do.
//
//   |     Code      |  Identifier   |            Length             |  Type (of requests and responses)  |  Type-Data ...
#pragma once

#include <cstdint>
#include <string>

#include "common/bytes.hpp"

namespace culvert::eap {

inline constexpr std::size_t kMaxPacket = 4096;  ///< of either side; more than any of these methods says at once
inline constexpr std::size_t kMaxName = 255;     ///< bytes of an identity, and of the name in a method

enum class Code : std::uint8_t { Request = 1, Response = 2, Success = 3, Failure = 4 };
enum class Type : std::uint8_t { None = 0, Identity = 1, Notification = 2, Nak = 3, Md5 = 4, Tls = 13, Mschapv2 = 26, Expanded = 254 };
/// "EAP-MSCHAPv2"; "EAP type 21" for a number that has no name here.
std::string name(Type type);

/// How a user proves himself.
enum class Method : std::uint8_t { Mschapv2, Md5, Tls };
Type type_of(Method method);

struct Packet {
  Code code{};
  std::uint8_t id = 0;
  Type type{};  ///< None: of success and failure
  Bytes data;
};
/// What stands behind the length that a packet says is passed over (RFC 3748 §4.1).
Parsed<Packet> parse(ByteView bytes);
Bytes encode(const Packet& packet);

}  // namespace culvert::eap
