// Distinguished names (X.501): their DER form as in certificates and ID payloads, their text form, and how two are compared.
// Owns a bounded reader of exactly this part of DER, since the pure core must not know the cryptographic library.
// Never fails on anything but malformed input, and never shows bytes that are not printable.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"

namespace culvert {

inline constexpr std::size_t kMaxName = 2048;     ///< DER bytes of a name: what an ID payload may carry
inline constexpr std::size_t kMaxNameParts = 64;  ///< attributes of a name, all RDNs together

/// RFC 5280 §4.1.2.4: AttributeTypeAndValue.
struct NameAttribute {
  Bytes oid;             ///< contents of the OBJECT IDENTIFIER
  std::uint8_t tag = 0;  ///< of the value
  Bytes value;           ///< its contents
};
using Rdn = std::vector<NameAttribute>;  ///< RelativeDistinguishedName: one attribute, seldom more, in no order
struct DistinguishedName {
  std::vector<Rdn> rdns;
};

/// Reads a Name. Everything must be there and nothing left over; lengths are definite and as short as DER wants them.
Parsed<DistinguishedName> parse_name(ByteView der);
Bytes encode_name(const DistinguishedName& name);

/// "C=CH, O=Example, CN=gw": known attribute names (any case) or dotted OIDs; '\' before ',', '+', '"', '\' or as two hex digits;
/// '+' between attributes of one RDN. A value "*" makes it a pattern (matches_name). The error is for an operator.
std::expected<DistinguishedName, std::string> parse_name_text(std::string_view text);
/// The same form. What is not printable ASCII becomes \XX (RFC 4514 §2.4); a value that is no string, "#" and its hexadecimal.
std::string name_text(const DistinguishedName& name);
/// Of DER; what cannot be read shows as hexadecimal.
std::string name_text(ByteView der);

/// Whether two names are the same, RDN by RDN in order (RFC 5280 §7.1): strings of any type without regard to case and to spaces
/// around and doubled, other values byte by byte.
bool same_name(ByteView a, ByteView b);
/// The same, but a value "*" in `pattern` stands for any value of that attribute. Never for a pattern that a peer sent.
bool matches_name(ByteView pattern, ByteView name);
/// Whether a value of it is "*".
bool has_wildcard(const DistinguishedName& name);

}  // namespace culvert
