// The payloads of IKEv2 (RFC 7296 §3), one struct each, in host form.
// Owns their wire layout in both directions. Never judges whether a payload may stand where it stands (message_rules.hpp) nor what an SA
// offers (proposal.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/ipsec/selector.hpp"
#include "common/types.hpp"

namespace culvert::ikev2 {

// Bounds, each above anything that a sane peer sends and low enough that a message of 64 KB costs microseconds.
inline constexpr std::size_t kMaxPayloads = 64;                ///< of a message, vendor ids apart
inline constexpr std::size_t kMaxVendorIds = 64;               ///< of a message
inline constexpr std::size_t kMaxProposals = 64;               ///< of an SA
inline constexpr std::size_t kMaxTransforms = 255;             ///< of a proposal: the field has eight bits
inline constexpr std::size_t kMaxConfigAttributes = 128;       ///< of a configuration payload
inline constexpr std::size_t kMaxSelectors = 255;              ///< of a TS payload: the field has eight bits
inline constexpr std::size_t kMaxDeleteSpis = 1024;            ///< of a Delete payload
inline constexpr std::size_t kMaxIdentity = 2048;              ///< identification data
inline constexpr std::size_t kMaxCertificate = 16384;          ///< data of a CERT or CERTREQ payload
inline constexpr std::size_t kMaxCertificates = 8;             ///< CERT payloads of a message
inline constexpr std::size_t kMaxAuth = 2048;                  ///< authentication data: RSA with 16,384 bits
inline constexpr std::size_t kMinNonce = 16, kMaxNonce = 256;  ///< RFC 7296 §3.9

/// RFC 7296 §3.2; Skf: RFC 7383 §2.5.
enum class PayloadType : std::uint8_t {
  None = 0,
  Sa = 33,
  Ke = 34,
  IdI = 35,
  IdR = 36,
  Cert = 37,
  CertReq = 38,
  Auth = 39,
  Nonce = 40,
  Notify = 41,
  Delete = 42,
  Vendor = 43,
  TsI = 44,
  TsR = 45,
  Sk = 46,
  Cp = 47,
  Eap = 48,
  Skf = 53,
};
/// "SA", "KE", "IDi", ...; "payload 77" for a number without a name.
std::string name(PayloadType t);

/// RFC 7296 §3.3.2.
enum class TransformType : std::uint8_t {
  Encr = 1,
  Prf = 2,
  Integ = 3,
  Ke = 4,
  Esn = 5,
  AddKe1 = 6,  ///< to 12: additional key exchanges (RFC 9370 §2.2.1)
  AddKe7 = 12
};
/// The n-th of them, from 0.
constexpr TransformType additional_type(std::size_t n) {
  return static_cast<TransformType>(static_cast<std::size_t>(TransformType::AddKe1) + n);
}
constexpr bool is_additional(TransformType t) { return t >= TransformType::AddKe1 && t <= TransformType::AddKe7; }
/// Security protocol identifiers, RFC 7296 §3.3.1.
inline constexpr std::uint8_t kProtoIke = 1, kProtoAh = 2, kProtoEsp = 3;

/// RFC 7296 §3.3.2. The one attribute that there is, Key Length, is `key_bits`.
struct Transform {
  TransformType type{};
  std::uint16_t id = 0;
  std::optional<std::uint16_t> key_bits{};
  bool unknown_attribute = false;  ///< it has another one, so that it may not be chosen (RFC 7296 §3.3.6); never written
  friend bool operator==(const Transform&, const Transform&) = default;
};
struct Proposal {
  std::uint8_t number = 0;    ///< from 1
  std::uint8_t protocol = 0;  ///< kProtoIke, ...
  Bytes spi;                  ///< none, 8 bytes of IKE, 4 of ESP and AH; others are a parse error
  std::vector<Transform> transforms;
  friend bool operator==(const Proposal&, const Proposal&) = default;
};
struct Sa {
  static constexpr PayloadType kType = PayloadType::Sa;
  std::vector<Proposal> proposals;  ///< at least one
  friend bool operator==(const Sa&, const Sa&) = default;
};

///  |   Key Exchange Method Num     |           RESERVED            |  Key Exchange Data ...     RFC 7296 §3.4
struct Ke {
  static constexpr PayloadType kType = PayloadType::Ke;
  DhGroup group{};  ///< any number of a peer's
  Bytes data;
  friend bool operator==(const Ke&, const Ke&) = default;
};

/// RFC 7296 §3.5.
enum class IdType : std::uint8_t { Ipv4Addr = 1, Fqdn = 2, Rfc822Addr = 3, Ipv6Addr = 5, DerAsn1Dn = 9, DerAsn1Gn = 10, KeyId = 11 };
///  |   ID Type     |                 RESERVED                      |  Identification Data ...
template <PayloadType Type>
struct Identification {
  static constexpr PayloadType kType = Type;
  IdType type{};
  Bytes data;
  friend bool operator==(const Identification&, const Identification&) = default;
};
using IdI = Identification<PayloadType::IdI>;
using IdR = Identification<PayloadType::IdR>;

///  | Cert Encoding |  Certificate Data, or SHA-1 hashes of trusted keys ...     RFC 7296 §3.6, §3.7
template <PayloadType Type>
struct Certificate {
  static constexpr PayloadType kType = Type;
  std::uint8_t encoding = 0;
  Bytes data;
  friend bool operator==(const Certificate&, const Certificate&) = default;
};
inline constexpr std::uint8_t kX509Signature = 4;  ///< RFC 7296 §3.6
using Cert = Certificate<PayloadType::Cert>;
using CertReq = Certificate<PayloadType::CertReq>;

/// RFC 7296 §3.8, RFC 4754, RFC 7427.
enum class AuthMethodId : std::uint8_t {
  Rsa = 1,
  SharedKey = 2,
  Dss = 3,
  EcdsaP256 = 9,
  EcdsaP384 = 10,
  EcdsaP521 = 11,
  Null = 13,
  Digital = 14
};
///  | Auth Method   |                RESERVED                       |  Authentication Data ...     RFC 7296 §3.8
struct Auth {
  static constexpr PayloadType kType = PayloadType::Auth;
  AuthMethodId method{};
  Bytes data;
  friend bool operator==(const Auth&, const Auth&) = default;
};

/// A payload whose body is one string of bytes.
template <PayloadType Type>
struct Blob {
  static constexpr PayloadType kType = Type;
  Bytes data;
  friend bool operator==(const Blob&, const Blob&) = default;
};
using Nonce = Blob<PayloadType::Nonce>;    ///< RFC 7296 §3.9: 16 to 256 bytes, others are a parse error
using Vendor = Blob<PayloadType::Vendor>;  ///< RFC 7296 §3.12
using Eap = Blob<PayloadType::Eap>;        ///< RFC 7296 §3.16: the EAP message, not looked at

/// RFC 7296 §3.10.1 and IANA's registry.
enum class NotifyType : std::uint16_t {
  UnsupportedCriticalPayload = 1,
  InvalidIkeSpi = 4,
  InvalidMajorVersion = 5,
  InvalidSyntax = 7,
  InvalidMessageId = 9,
  InvalidSpi = 11,
  NoProposalChosen = 14,
  InvalidKePayload = 17,
  AuthenticationFailed = 24,
  SinglePairRequired = 34,
  NoAdditionalSas = 35,
  InternalAddressFailure = 36,
  FailedCpRequired = 37,
  TsUnacceptable = 38,
  InvalidSelectors = 39,
  UnacceptableAddresses = 40,
  UnexpectedNatDetected = 41,
  TemporaryFailure = 43,
  ChildSaNotFound = 44,
  InvalidGroupId = 45,
  AuthorizationFailed = 46,
  StateNotFound = 47,
  TsMaxQueue = 48,
  InitialContact = 16384,
  SetWindowSize = 16385,
  AdditionalTsPossible = 16386,
  IpcompSupported = 16387,
  NatDetectionSourceIp = 16388,
  NatDetectionDestinationIp = 16389,
  Cookie = 16390,
  UseTransportMode = 16391,
  HttpCertLookupSupported = 16392,
  RekeySa = 16393,
  EspTfcPaddingNotSupported = 16394,
  NonFirstFragmentsAlso = 16395,
  MobikeSupported = 16396,
  AdditionalIp4Address = 16397,
  AdditionalIp6Address = 16398,
  NoAdditionalAddresses = 16399,
  UpdateSaAddresses = 16400,
  Cookie2 = 16401,
  NoNatsAllowed = 16402,
  AuthLifetime = 16403,
  MultipleAuthSupported = 16404,
  AnotherAuthFollows = 16405,
  RedirectSupported = 16406,
  Redirect = 16407,
  RedirectedFrom = 16408,
  TicketLtOpaque = 16409,
  TicketRequest = 16410,
  TicketAck = 16411,
  TicketNack = 16412,
  TicketOpaque = 16413,
  EapOnlyAuthentication = 16417,
  ChildlessIkev2Supported = 16418,
  QuickCrashDetection = 16419,
  Ikev2MessageIdSyncSupported = 16420,
  IpsecReplayCounterSyncSupported = 16421,
  Ikev2MessageIdSync = 16422,
  IpsecReplayCounterSync = 16423,
  Ikev2FragmentationSupported = 16430,
  SignatureHashAlgorithms = 16431,
  UsePpk = 16435,
  PpkIdentity = 16436,
  NoPpkAuth = 16437,
  IntermediateExchangeSupported = 16438,
  AdditionalKeyExchange = 16441,
  UseAggfrag = 16442,
  SupportedAuthMethods = 16443,
  SaResourceInfo = 16444,
};
/// "NO_PROPOSAL_CHOSEN"; "notification 12345" for a number without a name.
std::string name(NotifyType t);
/// Error notifications have the numbers below 16384 (RFC 7296 §3.10.1).
inline bool is_error(NotifyType t) { return static_cast<std::uint16_t>(t) < 16384; }

///  |  Protocol ID  |   SPI Size    |      Notify Message Type      |  SPI ...  |  Notification Data ...     RFC 7296 §3.10
struct Notify {
  static constexpr PayloadType kType = PayloadType::Notify;
  std::uint8_t protocol = 0;  ///< of the SPI; 0: none is named
  NotifyType type{};
  Bytes spi;
  Bytes data;
  friend bool operator==(const Notify&, const Notify&) = default;
};

/// RFC 7296 §3.11. The IKE SA itself: protocol kProtoIke, no SPIs. Others: SPIs of four bytes, anything else is a parse error.
struct Delete {
  static constexpr PayloadType kType = PayloadType::Delete;
  std::uint8_t protocol = 0;
  std::vector<Spi> spis;
  friend bool operator==(const Delete&, const Delete&) = default;
};

/// RFC 7296 §3.13. Selectors of unknown types are left out when one is read (their number is in `unknown`). OPAQUE ports (65535-0) read as
/// any, as RFC 7296 §2.9 has it for what has no ports.
template <PayloadType Type>
struct Selectors {
  static constexpr PayloadType kType = Type;
  std::vector<TrafficSelector> selectors;
  std::size_t unknown = 0;
  friend bool operator==(const Selectors&, const Selectors&) = default;
};
using TsI = Selectors<PayloadType::TsI>;
using TsR = Selectors<PayloadType::TsR>;

/// RFC 7296 §3.15.
enum class ConfigType : std::uint8_t { Request = 1, Reply = 2, Set = 3, Ack = 4 };
/// RFC 7296 §3.15.1.
enum class ConfigAttributeType : std::uint16_t {
  InternalIp4Address = 1,
  InternalIp4Netmask = 2,
  InternalIp4Dns = 3,
  InternalIp4Nbns = 4,
  InternalIp4Dhcp = 6,
  ApplicationVersion = 7,
  InternalIp6Address = 8,
  InternalIp6Dns = 10,
  InternalIp6Dhcp = 12,
  InternalIp4Subnet = 13,
  SupportedAttributes = 14,
  InternalIp6Subnet = 15,
  InternalDnsDomain = 25,
};
struct ConfigAttribute {
  ConfigAttributeType type{};
  Bytes value;
  friend bool operator==(const ConfigAttribute&, const ConfigAttribute&) = default;
};
///  |   CFG Type    |                    RESERVED                   |  Configuration Attributes ...
struct Cp {
  static constexpr PayloadType kType = PayloadType::Cp;
  ConfigType type{};
  std::vector<ConfigAttribute> attributes;
  friend bool operator==(const Cp&, const Cp&) = default;
};

/// A payload that nobody here reads.
struct Opaque {
  Bytes data;
  friend bool operator==(const Opaque&, const Opaque&) = default;
};

using Content = std::variant<Sa, Ke, IdI, IdR, Cert, CertReq, Auth, Nonce, Notify, Delete, Vendor, TsI, TsR, Cp, Eap, Opaque>;

/// Parses a body (without the generic payload header) of the given type; unknown types, SK and SKF become Opaque.
Parsed<Content> parse_body(PayloadType type, ByteView body);
/// The body of a payload. Lists must be within the bounds above, strings within 16 bits of length.
Bytes encode_body(const Content& content);

}  // namespace culvert::ikev2
