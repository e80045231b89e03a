// The text form of distinguished names, both ways (RFC 4514 in spirit, but in the order of the DER, as certificates are shown).
#include <algorithm>
#include <array>

#include "common/dn_detail.hpp"

namespace culvert {

using namespace name_detail;

namespace {

/// What an attribute is called, by its object identifier. The first name of an OID is the one that is shown.
struct KnownAttribute {
  std::string_view name;
  std::string_view oid;  ///< contents
  std::uint8_t tag = 0;  ///< of the values that we write; 0: PrintableString where it suffices, else UTF8String
};
using namespace std::string_view_literals;
constexpr std::array kKnown{
    KnownAttribute{"C", "\x55\x04\x06"sv, kPrintable},
    KnownAttribute{"ST", "\x55\x04\x08"sv},
    KnownAttribute{"S", "\x55\x04\x08"sv},
    KnownAttribute{"L", "\x55\x04\x07"sv},
    KnownAttribute{"O", "\x55\x04\x0a"sv},
    KnownAttribute{"OU", "\x55\x04\x0b"sv},
    KnownAttribute{"CN", "\x55\x04\x03"sv},
    KnownAttribute{"SN", "\x55\x04\x04"sv},
    KnownAttribute{"serialNumber", "\x55\x04\x05"sv, kPrintable},
    KnownAttribute{"street", "\x55\x04\x09"sv},
    KnownAttribute{"T", "\x55\x04\x0c"sv},
    KnownAttribute{"D", "\x55\x04\x0d"sv},
    KnownAttribute{"postalCode", "\x55\x04\x11"sv},
    KnownAttribute{"N", "\x55\x04\x29"sv},
    KnownAttribute{"GN", "\x55\x04\x2a"sv},
    KnownAttribute{"I", "\x55\x04\x2b"sv},
    KnownAttribute{"dnQualifier", "\x55\x04\x2e"sv, kPrintable},
    KnownAttribute{"E", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"sv, kIa5},
    KnownAttribute{"emailAddress", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"sv, kIa5},
    KnownAttribute{"UN", "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x02"sv},
    KnownAttribute{"UID", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"sv},
    KnownAttribute{"DC", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"sv, kIa5},
};

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string dotted(ByteView oid) {
  std::string out;
  std::uint64_t arc = 0;
  for (const std::uint8_t byte : oid) {
    if (arc > (UINT64_MAX >> 7)) return "oid#" + to_hex(oid);
    arc = (arc << 7) | (byte & 0x7f);
    if ((byte & 0x80) != 0) continue;
    if (out.empty()) {
      const std::uint64_t first = std::min<std::uint64_t>(arc / 40, 2);
      out = std::to_string(first) + "." + std::to_string(arc - 40 * first);
    } else {
      out += "." + std::to_string(arc);
    }
    arc = 0;
  }
  return out;
}

std::optional<Bytes> oid_of(std::string_view text) {
  std::vector<std::uint64_t> arcs;
  while (true) {
    const std::size_t dot = std::min(text.find('.'), text.size());
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || part.size() > 10 || !std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
    std::uint64_t arc = 0;
    for (const char c : part) arc = arc * 10 + static_cast<std::uint64_t>(c - '0');
    arcs.push_back(arc);
    if (dot == text.size()) break;
    text.remove_prefix(dot + 1);
  }
  if (arcs.size() < 3 || arcs.size() > 16 || arcs[0] > 2 || (arcs[0] < 2 && arcs[1] > 39)) return std::nullopt;
  arcs[1] += 40 * arcs[0];
  Bytes out;
  for (std::size_t i = 1; i < arcs.size(); ++i) {
    Bytes groups{static_cast<std::uint8_t>(arcs[i] & 0x7f)};
    for (std::uint64_t rest = arcs[i] >> 7; rest != 0; rest >>= 7) groups.push_back(static_cast<std::uint8_t>(0x80 | (rest & 0x7f)));
    out.insert(out.end(), groups.rbegin(), groups.rend());
  }
  return out;
}

constexpr std::string_view kSpecial = ",+\"\\;<>=#";

std::string escaped(const std::string& text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    const bool edge = c == ' ' && (i == 0 || i + 1 == text.size());
    if (byte < 0x20 || byte >= 0x7f) {
      out += {'\\', kDigits[byte >> 4], kDigits[byte & 15]};
    } else if ((c == '#' || c == '=') && i != 0) {
      out.push_back(c);
    } else if (edge || kSpecial.find(c) != std::string_view::npos) {
      out += {'\\', c};
    } else {
      out.push_back(c);
    }
  }
  return out;
}

bool printable_string(std::string_view s) {  // X.680 §41.4
  return std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view(" '()+,-./:=?").contains(c);
  });
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (lower(c) >= 'a' && lower(c) <= 'f') return static_cast<unsigned>(lower(c) - 'a' + 10);
  return std::nullopt;
}

/// Reads a value up to ',' or '+' that is not escaped, and leaves `text` there.
std::expected<std::string, std::string> read_value(std::string_view& text) {
  std::string out;
  std::size_t kept = 0;  // up to here spaces at the end are meant
  while (!text.empty() && text[0] != ',' && text[0] != '+') {
    if (text[0] != '\\') {
      out.push_back(text[0]);
      if (text[0] != ' ') kept = out.size();
      text.remove_prefix(1);
      continue;
    }
    if (text.size() < 2) return std::unexpected("nothing follows the last '\\'");
    const auto high = hex_digit(text[1]);
    const auto low = text.size() > 2 ? hex_digit(text[2]) : std::nullopt;
    if (high && low) {
      out.push_back(static_cast<char>((*high << 4) | *low));
      text.remove_prefix(3);
    } else {
      out.push_back(text[1]);
      text.remove_prefix(2);
    }
    kept = out.size();
  }
  out.resize(kept);
  return out;
}

void skip_spaces(std::string_view& text) {
  while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
}

std::expected<NameAttribute, std::string> read_attribute(std::string_view& text) {
  skip_spaces(text);
  const std::size_t sign = text.find_first_of("=,+");
  if (sign == std::string_view::npos || text[sign] != '=') return std::unexpected("each part must be ATTRIBUTE=VALUE");
  std::string_view name = text.substr(0, sign);
  while (name.ends_with(' ')) name.remove_suffix(1);
  text.remove_prefix(sign + 1);
  skip_spaces(text);
  NameAttribute out;
  const auto known = std::ranges::find_if(kKnown, [&](const KnownAttribute& k) { return same_word(k.name, name); });
  if (known != kKnown.end()) {
    out.oid = to_bytes(known->oid);
  } else if (auto oid = oid_of(name)) {
    out.oid = std::move(*oid);
  } else {
    std::string all;
    for (const auto& k : kKnown) all += (all.empty() ? "" : ", ") + std::string(k.name);
    return std::unexpected("unknown attribute " + printable(as_bytes(name), 32) + "; known are " + all + ", and dotted OIDs");
  }
  const bool hex = text.starts_with('#');
  auto value = read_value(text);
  if (!value) return std::unexpected(std::move(value.error()));
  if (value->empty()) return std::unexpected("the attribute " + printable(as_bytes(name), 32) + " has no value");
  if (hex) {
    const auto der = from_hex(std::string_view(*value).substr(1));
    Reader r(der ? ByteView(*der) : ByteView{});
    const Element e = element(r);
    if (!r.ok() || r.remaining() != 0) return std::unexpected("'#' must be followed by one DER element in hexadecimal");
    out.tag = e.tag;
    out.value.assign(e.contents.begin(), e.contents.end());
    return out;
  }
  const std::uint8_t wanted = known != kKnown.end() ? known->tag : std::uint8_t{0};
  out.tag = wanted == kIa5 ? kIa5 : printable_string(*value) ? kPrintable : kUtf8;
  out.value = to_bytes(*value);
  return out;
}

}  // namespace

std::expected<DistinguishedName, std::string> parse_name_text(std::string_view text) {
  if (text.size() > kMaxName) return std::unexpected("it is longer than " + std::to_string(kMaxName) + " bytes");
  DistinguishedName out;
  std::size_t parts = 0;
  char before = ',';
  while (true) {
    auto attribute = read_attribute(text);
    if (!attribute) return std::unexpected(std::move(attribute.error()));
    if (++parts > kMaxNameParts) return std::unexpected("it has more than " + std::to_string(kMaxNameParts) + " attributes");
    if (before == ',') out.rdns.emplace_back();
    out.rdns.back().push_back(std::move(*attribute));
    if (text.empty()) break;
    before = text[0];
    text.remove_prefix(1);
  }
  if (encode_name(out).size() > kMaxName) return std::unexpected("it is longer than " + std::to_string(kMaxName) + " bytes");
  return out;
}

std::string name_text(const DistinguishedName& name) {
  std::string out;
  for (const Rdn& rdn : name.rdns) {
    for (std::size_t i = 0; i < rdn.size(); ++i) {
      const NameAttribute& a = rdn[i];
      out += i != 0 ? " + " : out.empty() ? "" : ", ";
      const auto known = std::ranges::find_if(kKnown, [&](const KnownAttribute& k) { return std::ranges::equal(as_bytes(k.oid), a.oid); });
      out += known != kKnown.end() ? std::string(known->name) : dotted(a.oid);
      const auto text = string_of(a);
      if (text) {
        out += "=" + escaped(*text);
      } else {
        Writer w;
        put(w, a.tag, a.value);
        out += "=#" + to_hex(w.view());
      }
    }
  }
  return out;
}

std::string name_text(ByteView der) {
  const auto name = parse_name(der);
  return name ? name_text(*name) : "#" + to_hex(der.first(std::min<std::size_t>(der.size(), 64)));
}

}  // namespace culvert
