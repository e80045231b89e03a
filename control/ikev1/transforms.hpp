// One transform of an offer, read: its attributes as numbers, its name in words, and what is wrong with it.
// Owns the attribute numbers (RFC 2409 App. A, RFC 2407 §4.5) and the names of algorithms that we do not have.
// Never compares with what is wanted: that is proposal.cpp's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/ipsec/algorithms.hpp"
#include "control/ikev1/payloads.hpp"
#include "control/ikev1/proposal.hpp"

namespace culvert::ikev1 {

/// The longest attribute value that a transform may have. No value that we accept needs more than 8 bytes; without the
/// limit a reply would carry back whatever was put into an attribute that we ignore.
inline constexpr std::size_t kMaxAttributeValue = 16;

namespace oakley {                          // RFC 2409 App. A
inline constexpr std::uint8_t kKeyIke = 1;  ///< transform id, RFC 2407 §4.4.2
inline constexpr std::uint16_t kEncryption = 1, kHash = 2, kAuthMethod = 3, kGroup = 4, kGroupOrder = 16, kLifeType = 11,
                               kLifeDuration = 12, kPrf = 13, kKeyLength = 14;
inline constexpr std::uint16_t kPreSharedKey = 1;
inline constexpr std::uint16_t kFirstPrivate = 16384;
}  // namespace oakley
namespace doi {  // RFC 2407 §4.5
inline constexpr std::uint16_t kLifeType = 1, kLifeDuration = 2, kGroup = 3, kEncapsulation = 4, kAuth = 5, kKeyLength = 6,
                               kEsn = 11;  // RFC 4304 §2
inline constexpr std::uint16_t kEsn64 = 1;
inline constexpr std::uint16_t kFirstPrivate = 32001;
}  // namespace doi
inline constexpr std::uint16_t kSeconds = 1, kKilobytes = 2;  ///< values of both life types

struct ReadIkeTransform {
  std::optional<std::uint16_t> cipher, key_bits, hash, auth, group;
  Lifetime life;
  std::string problem;  ///< empty: well formed; otherwise a phrase such as "the attribute 14 stands there twice"
  [[nodiscard]] const EncrInfo* encr_info() const;  ///< nullptr: not in the table
  [[nodiscard]] const PrfInfo* prf_info() const;
  [[nodiscard]] const DhInfo* dh_info() const;
  [[nodiscard]] std::string to_string() const;  ///< "aes128-sha1-modp1024"
};
ReadIkeTransform read_ike_transform(const Transform& t);

/// Of ESP or AH.
struct ReadEspTransform {
  SaProtocol protocol{};
  std::uint8_t id = 0;
  std::optional<std::uint16_t> key_bits, auth, group, mode;
  bool esn = false;
  Lifetime life;
  std::string problem;
  [[nodiscard]] const EncrInfo* encr_info() const;    ///< of ESP
  [[nodiscard]] const IntegInfo* integ_info() const;  ///< nullptr: not in the table, none given, or not the one that AH's transform id says
  [[nodiscard]] const DhInfo* dh_info() const;
  /// The suite, if every part of it is in the table and they go together: an AEAD without an authentication algorithm, all else with one
  /// (RFC 4106 §8.3; ESP without integrity is refused).
  [[nodiscard]] std::optional<EspSuite> suite() const;
  [[nodiscard]] std::optional<SaMode> sa_mode() const;
  [[nodiscard]] std::string to_string() const;  ///< "aes128-sha1-modp2048"
};
ReadEspTransform read_esp_transform(const Transform& t, SaProtocol protocol);

/// Reads pairs of life type and duration. `problem` is set on a duration without a type, of zero, of more than 8 bytes,
/// or on two of one type. (RFC 2409 App. A lets a duration be of any length.)
Lifetime read_lifetime(std::span<const Attribute> attributes, std::uint16_t type_number, std::uint16_t duration_number,
                       std::string& problem);

/// "modp1024", or "group 77".
std::string dh_name(std::uint16_t group);
/// "3des", "aes128"; "cipher 77" for a number without a name.
std::string ike_cipher_name(std::uint16_t cipher, std::optional<std::uint16_t> key_bits);
std::string ike_hash_name(std::uint16_t hash);
std::string auth_method_name(std::uint16_t method);
std::string esp_transform_name(std::uint8_t id, std::optional<std::uint16_t> key_bits);
std::string esp_auth_name(std::uint16_t auth);
std::string encapsulation_name(std::uint16_t mode);

}  // namespace culvert::ikev1
