// The payloads of IKEv1 (RFC 2408 §3, RFC 2407 §4.6, RFC 3947), one struct each, in host form.
// Owns their wire layout in both directions. Never judges whether a payload may stand where it stands (message_rules.hpp)
// nor what an SA offers (proposal.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/bytes.hpp"
#include "common/types.hpp"

namespace culvert::ikev1 {

// Bounds, each above anything that a sane peer sends and low enough that a message of 64 KB costs microseconds.
inline constexpr std::size_t kMaxPayloads = 64;           ///< of a message, vendor ids apart
inline constexpr std::size_t kMaxVendorIds = 512;         ///< of a message: all that are known fit into one
inline constexpr std::size_t kMaxProposals = 32;          ///< of an SA; Windows offers 5, strongSwan's default 1
inline constexpr std::size_t kMaxTransforms = 128;        ///< of a proposal; strongSwan's default expands to about 60
inline constexpr std::size_t kMaxAttributes = 32;         ///< of a transform; 7 are in common use
inline constexpr std::size_t kMaxConfigAttributes = 128;  ///< of a Mode Config payload; a Cisco client asks for about 25
inline constexpr std::size_t kMaxDeleteSpis = 1024;       ///< of a Delete payload: more than a peer has CHILD SAs with us
inline constexpr std::size_t kMaxSpi = 16;                ///< RFC 2408 §3.5: the SPI of an ISAKMP proposal has 0 to 16 bytes
inline constexpr std::size_t kMaxIdentity = 2048;         ///< identification data; a distinguished name has some hundred bytes
inline constexpr std::size_t kMaxCertificate = 16384;     ///< data of a CERT or CERTREQ payload; four times the largest in use
inline constexpr std::size_t kMaxCertificates = 8;        ///< CERT payloads of a message: an end entity's and a chain of authorities
inline constexpr std::size_t kMaxSignature = 2048;        ///< data of a SIG payload: RSA with 16,384 bits

enum class PayloadType : std::uint8_t {
  None = 0,
  Sa = 1,
  Proposal = 2,
  Transform = 3,
  Ke = 4,
  Id = 5,
  Cert = 6,
  CertReq = 7,
  Hash = 8,
  Sig = 9,
  Nonce = 10,
  Notify = 11,
  Delete = 12,
  Vendor = 13,
  Attributes = 14,
  NatD = 20,
  NatOa = 21,  ///< RFC 3947 §3.2, §5.2
  NatDDraft = 130,
  NatOaDraft = 131,  ///< the numbers of draft-ietf-ipsec-nat-t-ike-00 to -03
};
/// "SA", "KE", ...; "payload 77" for a number without a name.
std::string name(PayloadType t);

inline constexpr std::uint32_t kIpsecDoi = 1;                                                   ///< RFC 2407 §4.1
inline constexpr std::uint32_t kSituationIdentityOnly = 1;                                      ///< RFC 2407 §4.2.1
inline constexpr std::uint8_t kProtoIsakmp = 1, kProtoAh = 2, kProtoEsp = 3, kProtoIpcomp = 4;  ///< RFC 2407 §4.4.1

/// RFC 2408 §3.3. TV (two bytes of value) where `basic`, otherwise TLV.
struct Attribute {
  std::uint16_t type = 0;  ///< without the format bit
  bool basic = true;
  Bytes value;
  static Attribute tv(std::uint16_t type, std::uint16_t value);
  static Attribute tlv32(std::uint16_t type, std::uint32_t value);
  /// As a number, of either format; nullopt: no bytes, or more than eight.
  [[nodiscard]] std::optional<std::uint64_t> number() const;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};
struct Transform {
  std::uint8_t number = 0;
  std::uint8_t id = 0;
  std::vector<Attribute> attributes;
  friend bool operator==(const Transform&, const Transform&) = default;
};
struct Proposal {
  std::uint8_t number = 0;
  std::uint8_t protocol = 0;
  Bytes spi;
  std::vector<Transform> transforms;
  friend bool operator==(const Proposal&, const Proposal&) = default;
};
/// RFC 2408 §3.4-3.6 under the IPsec DOI, situation identity only; parsing refuses any other.
struct Sa {
  static constexpr PayloadType kType = PayloadType::Sa;
  std::vector<Proposal> proposals;
  friend bool operator==(const Sa&, const Sa&) = default;
};

/// A payload whose body is one string of bytes.
template <PayloadType Type>
struct Blob {
  static constexpr PayloadType kType = Type;
  Bytes data;
  static void wire(auto& io, auto& self) { io.rest(self.data); }
  friend bool operator==(const Blob&, const Blob&) = default;
};
using Ke = Blob<PayloadType::Ke>;          ///< RFC 2408 §3.7
using Hash = Blob<PayloadType::Hash>;      ///< RFC 2408 §3.11
using Nonce = Blob<PayloadType::Nonce>;    ///< RFC 2408 §3.13
using Vendor = Blob<PayloadType::Vendor>;  ///< RFC 2408 §3.16
using NatD = Blob<PayloadType::NatD>;      ///< RFC 3947 §3.2
using Sig = Blob<PayloadType::Sig>;        ///< RFC 2408 §3.12

///  |  Encoding     |  Certificate Data, or Certificate Authority ...     RFC 2408 §3.9, §3.10
template <PayloadType Type>
struct Certificate {
  static constexpr PayloadType kType = Type;
  std::uint8_t encoding = 0;  ///< kX509Signature, ...
  Bytes data;
  static void wire(auto& io, auto& self) {
    io.be(self.encoding);
    io.rest(self.data);
  }
  friend bool operator==(const Certificate&, const Certificate&) = default;
};
inline constexpr std::uint8_t kX509Signature = 4;  ///< RFC 2408 §3.9
using Cert = Certificate<PayloadType::Cert>;
using CertReq = Certificate<PayloadType::CertReq>;  ///< no data: any authority

/// RFC 2407 §4.6.2.1.
enum class IdType : std::uint8_t {
  Ipv4Addr = 1,
  Fqdn = 2,
  UserFqdn = 3,
  Ipv4Subnet = 4,
  Ipv6Addr = 5,
  Ipv6Subnet = 6,
  Ipv4Range = 7,
  Ipv6Range = 8,
  DerAsn1Dn = 9,
  DerAsn1Gn = 10,
  KeyId = 11,
};
///  |    ID Type    |  Protocol ID  |             Port              |  Identification Data ...     RFC 2407 §4.6.2
struct Id {
  static constexpr PayloadType kType = PayloadType::Id;
  IdType type{};
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;
  Bytes data;
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.be(self.protocol);
    io.be(self.port);
    io.rest(self.data);
  }
  friend bool operator==(const Id&, const Id&) = default;
};

/// RFC 2408 §3.14.1, RFC 2407 §4.6.3, RFC 3706 §5.3.
enum class NotifyType : std::uint16_t {
  InvalidPayloadType = 1,
  DoiNotSupported = 2,
  SituationNotSupported = 3,
  InvalidCookie = 4,
  InvalidMajorVersion = 5,
  InvalidMinorVersion = 6,
  InvalidExchangeType = 7,
  InvalidFlags = 8,
  InvalidMessageId = 9,
  InvalidProtocolId = 10,
  InvalidSpi = 11,
  InvalidTransformId = 12,
  AttributesNotSupported = 13,
  NoProposalChosen = 14,
  BadProposalSyntax = 15,
  PayloadMalformed = 16,
  InvalidKeyInformation = 17,
  InvalidIdInformation = 18,
  InvalidCertEncoding = 19,
  InvalidCertificate = 20,
  CertTypeUnsupported = 21,
  InvalidCertAuthority = 22,
  InvalidHashInformation = 23,
  AuthenticationFailed = 24,
  InvalidSignature = 25,
  AddressNotification = 26,
  NotifySaLifetime = 27,
  CertificateUnavailable = 28,
  UnsupportedExchangeType = 29,
  UnequalPayloadLengths = 30,
  Connected = 16384,
  ResponderLifetime = 24576,
  ReplayStatus = 24577,
  InitialContact = 24578,
  RUThere = 36136,
  RUThereAck = 36137,
};
/// "NO-PROPOSAL-CHOSEN"; "notification 12345" for a number without a name.
std::string name(NotifyType t);
/// Error notifications have the numbers below 16384 (RFC 2408 §3.14.1).
inline bool is_error(NotifyType t) { return static_cast<std::uint16_t>(t) < 16384; }

///  |  DOI (32)  | Protocol-ID | SPI Size | Notify Message Type |  SPI ...  |  Notification Data ...     RFC 2408 §3.14
struct Notify {
  static constexpr PayloadType kType = PayloadType::Notify;
  std::uint32_t doi = kIpsecDoi;
  std::uint8_t protocol = 0;
  NotifyType type{};
  Bytes spi;  ///< both cookies for ISAKMP, 4 bytes for ESP
  Bytes data;
  static void wire(auto& io, auto& self) {
    auto spi_size = static_cast<std::uint8_t>(self.spi.size());
    io.be(self.doi);
    io.be(self.protocol);
    io.be(spi_size);
    io.be(self.type);
    io.bytes(self.spi, spi_size);
    io.rest(self.data);
  }
  friend bool operator==(const Notify&, const Notify&) = default;
};

/// RFC 2408 §3.15. All SPIs have the same size.
struct Delete {
  static constexpr PayloadType kType = PayloadType::Delete;
  std::uint32_t doi = kIpsecDoi;
  std::uint8_t protocol = 0;
  std::uint8_t spi_size = 0;
  std::vector<Bytes> spis;
  friend bool operator==(const Delete&, const Delete&) = default;
};

///  |    ID Type    |   RESERVED (24)   |  IPv4 or IPv6 address     RFC 3947 §5.2
struct NatOa {
  static constexpr PayloadType kType = PayloadType::NatOa;
  IdType type{};
  Bytes address;
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.reserved(3);
    io.rest(self.address);
  }
  friend bool operator==(const NatOa&, const NatOa&) = default;
};

/// draft-dukes-ike-mode-cfg-02 §3.1.
enum class ConfigType : std::uint8_t { Request = 1, Reply = 2, Set = 3, Ack = 4 };
///  |     Type      |   RESERVED    |           Identifier          |  Attributes ...     draft-dukes-ike-mode-cfg-02 §3.1
struct ConfigPayload {
  static constexpr PayloadType kType = PayloadType::Attributes;
  ConfigType type{};
  std::uint16_t identifier = 0;
  std::vector<Attribute> attributes;
  friend bool operator==(const ConfigPayload&, const ConfigPayload&) = default;
};

/// A payload that nobody here reads: unknown and private numbers.
struct Opaque {
  Bytes data;
  static void wire(auto& io, auto& self) { io.rest(self.data); }
  friend bool operator==(const Opaque&, const Opaque&) = default;
};

using Content = std::variant<Sa, Ke, Id, Hash, Nonce, Notify, Delete, Vendor, NatD, NatOa, ConfigPayload, Sig, Cert, CertReq, Opaque>;

/// Parses a body (without the generic payload header) of the given type; unknown types become Opaque.
Parsed<Content> parse_body(PayloadType type, ByteView body);
/// The body of a payload. Lists must be within the bounds above, strings within 16 bits of length.
Bytes encode_body(const Content& content);

}  // namespace culvert::ikev1
