// The attributes of Mode Config, XAuth and Cisco's Unity extensions by number, and the wire forms of those that have structure.
// Owns numbers and forms. Never decides what is asked for or given (mode_config.hpp, xauth.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/net/ip.hpp"
#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

/// draft-dukes-ike-mode-cfg-02 §3.3.4; draft-beaulieu-ike-xauth-02 §6.2; Unity as Cisco's clients and strongSwan have it.
enum class Cfg : std::uint16_t {
  Ip4Address = 1,
  Ip4Netmask = 2,
  Ip4Dns = 3,
  Ip4Nbns = 4,
  AddressExpiry = 5,
  Ip4Dhcp = 6,
  ApplicationVersion = 7,
  Ip6Address = 8,
  Ip6Dns = 10,
  Ip4Subnet = 13,
  SupportedAttributes = 14,
  XauthType = 16520,
  XauthUserName = 16521,
  XauthUserPassword = 16522,
  XauthPasscode = 16523,
  XauthMessage = 16524,
  XauthChallenge = 16525,
  XauthDomain = 16526,
  XauthStatus = 16527,
  XauthNextPin = 16528,
  XauthAnswer = 16529,
  UnityBanner = 28672,
  UnitySavePassword = 28673,
  UnityDefaultDomain = 28674,
  UnitySplitDns = 28675,
  UnitySplitInclude = 28676,
  UnityLocalLan = 28678,
  UnityPfs = 28679,
};

inline constexpr std::uint16_t kXauthGeneric = 0;             ///< XAUTH-TYPE: user name and password, or pass code
inline constexpr std::uint16_t kXauthFail = 0, kXauthOk = 1;  ///< XAUTH-STATUS
inline constexpr std::size_t kMaxXauthValue = 256;            ///< bytes of a user name, of a password: longer ones are nobody's
inline constexpr std::size_t kMaxSplitIncludes = 64;          ///< networks that one attribute may list
inline constexpr std::size_t kMaxConfigText = 1024;           ///< of a banner, a domain, a version: more of it is cut

/// The first attribute of the number; nullptr: none.
const Attribute* find(std::span<const Attribute> attributes, Cfg type);
[[nodiscard]] inline bool has(std::span<const Attribute> attributes, Cfg type) { return find(attributes, type) != nullptr; }

Attribute empty_attribute(Cfg type);  ///< no value: "tell me", or in an ACK "taken"
Attribute number_attribute(Cfg type, std::uint16_t value);
Attribute bytes_attribute(Cfg type, ByteView value);
Attribute text_attribute(Cfg type, const std::string& value);
Attribute address_attribute(Cfg type, const IpAddress& address);
/// Unity: address, mask, and six bytes of protocol and ports that everybody leaves zero, for each network.
Attribute split_include_attribute(std::span<const Prefix> networks);

/// nullopt: not four bytes (sixteen for the attributes of IPv6). Zero is "any": IpAddress::is_unspecified().
std::optional<IpAddress> address_of(const Attribute& a);
/// nullopt: not whole entries, a mask with holes, or more than kMaxSplitIncludes.
std::optional<std::vector<Prefix>> split_include_of(const Attribute& a);
/// Printable, cut to kMaxConfigText.
std::string text_of(const Attribute& a);

}  // namespace culvert::ikev1
