// The 28 bytes that open every IKE message of either version (RFC 2408 §3.1, RFC 7296 §3.1), and the non-ESP marker.
// Owns the checks that come before anything else is read from a datagram. Never looks behind the header.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "common/bytes.hpp"
#include "common/types.hpp"

namespace culvert::ike {

inline constexpr std::size_t kHeaderSize = 28;
/// UDP carries no more than 65,507 bytes; nothing that we negotiate comes near it.
inline constexpr std::size_t kMaxDatagram = 65507;
/// RFC 2408 says nothing of bytes behind the message; some peers round an IKEv1 datagram up to a multiple of four.
inline constexpr std::size_t kMaxTrailingPad = 3;

/// IKEv1 exchange types (RFC 2408 §3.1, RFC 2409 App. A).
inline constexpr std::uint8_t kExchangeMainMode = 2;
inline constexpr std::uint8_t kExchangeAggressive = 4;
inline constexpr std::uint8_t kExchangeInformational = 5;
inline constexpr std::uint8_t kExchangeTransaction = 6;
inline constexpr std::uint8_t kExchangeQuickMode = 32;
inline constexpr std::uint8_t kExchangeNewGroup = 33;

/// IKEv2 exchange types (RFC 7296 §3.1).
inline constexpr std::uint8_t kExchangeSaInit = 34;
inline constexpr std::uint8_t kExchangeAuth = 35;
inline constexpr std::uint8_t kExchangeCreateChildSa = 36;
inline constexpr std::uint8_t kExchangeInformationalV2 = 37;
inline constexpr std::uint8_t kExchangeSessionResume = 38;  ///< RFC 5723 §4.3
inline constexpr std::uint8_t kExchangeIntermediate = 43;   ///< RFC 9242 §3.2
inline constexpr std::uint8_t kExchangeFollowupKe = 44;     ///< RFC 9370 §2.2.4

/// IKEv2 flags (RFC 7296 §3.1).
inline constexpr std::uint8_t kFlagInitiator = 0x08;  ///< of the sender: it began the IKE SA
inline constexpr std::uint8_t kFlagVersion = 0x10;
inline constexpr std::uint8_t kFlagResponse = 0x20;

/// IKEv1 flags (RFC 2408 §3.1).
inline constexpr std::uint8_t kFlagEncryption = 0x01;
inline constexpr std::uint8_t kFlagCommit = 0x02;
inline constexpr std::uint8_t kFlagAuthentication = 0x04;

struct Header {
  IkeSpi spi_i, spi_r;
  std::uint8_t next_payload = 0;
  std::uint8_t major = 1, minor = 0;
  std::uint8_t exchange = 0;
  std::uint8_t flags = 0;
  MessageId message_id;
  std::uint32_t length = 0;  ///< of the whole message, this header included
  [[nodiscard]] bool encrypted() const { return (flags & kFlagEncryption) != 0; }
  friend bool operator==(const Header&, const Header&) = default;
};

/// Why a datagram is no IKE message; a row a counter.
enum class HeaderFault : std::uint8_t {
  Short,         ///< fewer than 28 bytes
  Length,        ///< the length field contradicts the datagram
  MajorVersion,  ///< neither 1 nor 2; `HeaderError::header` is filled (RFC 2408 §5.2: INVALID-MAJOR-VERSION)
  ZeroSpi,       ///< the initiator's cookie is zero (RFC 2408 §2.5.3)
};
std::string_view name(HeaderFault f);

struct HeaderError {
  HeaderFault fault{};
  Header header;  ///< what was read; all zero with HeaderFault::Short
};

/// A message taken out of a datagram. The views point into the datagram.
struct Framed {
  Header header;
  ByteView message;  ///< header.length bytes: header and body, trailing pad cut off
  ByteView body;     ///< behind the header
};
/// `datagram` is the UDP payload without the non-ESP marker.
std::expected<Framed, HeaderError> parse_header(ByteView datagram);

/// The header and the body as one message; sets the length field.
Bytes encode_message(Header header, ByteView body);

/// RFC 3948 §2.2: four zero bytes precede IKE on port 4500.
inline constexpr std::size_t kNonEspMarker = 4;
/// What stands behind the marker; nullopt where there is none (ESP, a keepalive, a runt).
std::optional<ByteView> strip_non_esp_marker(ByteView udp_payload);
Bytes with_non_esp_marker(ByteView message);
/// RFC 3948 §2.3: a single byte 0xFF.
bool is_nat_keepalive(ByteView udp_payload);
inline constexpr std::uint8_t kNatKeepalive = 0xff;

}  // namespace culvert::ike
