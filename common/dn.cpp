#include "common/dn.hpp"

#include <algorithm>

#include "common/dn_detail.hpp"

namespace culvert {

using namespace name_detail;

namespace {
void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | ((c >> 18) & 0x07)));
    out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}
}  // namespace

namespace name_detail {
Element element(Reader& r) {
  Element out;
  out.tag = r.be<std::uint8_t>("X.690 §8.1.2");
  std::size_t length = r.be<std::uint8_t>("X.690 §8.1.3");
  if (length == 0x81) {
    length = r.be<std::uint8_t>("X.690 §8.1.3");
    if (length < 0x80) r.fail(ParseErrc::BadLength, "X.690 §10.1: longer than needed");
  } else if (length == 0x82) {
    length = r.be<std::uint16_t>("X.690 §8.1.3");
    if (length < 0x100) r.fail(ParseErrc::BadLength, "X.690 §10.1: longer than needed");
  } else if (length > 0x82 || length == 0x80) {
    r.fail(ParseErrc::BadLength, "X.690 §10.1: an indefinite or very long length");
  }
  out.contents = r.take(length, "X.690 §8.1.3");
  if ((out.tag & 0x1f) == 0x1f) r.fail(ParseErrc::BadValue, "X.690 §8.1.2.4: a long tag");
  return out;
}
void put(Writer& w, std::uint8_t tag, ByteView contents) {
  w.be(tag);
  if (contents.size() >= 0x100) {
    w.be(std::uint8_t{0x82});
    w.be(static_cast<std::uint16_t>(contents.size()));
  } else {
    if (contents.size() >= 0x80) w.be(std::uint8_t{0x81});
    w.be(static_cast<std::uint8_t>(contents.size()));
  }
  w.bytes(contents);
}

std::optional<std::string> string_of(const NameAttribute& a) {
  std::string out;
  switch (a.tag) {
    case kUtf8:
    case kNumeric:
    case kPrintable:
    case kIa5:
    case kVisible:
      out.assign(a.value.begin(), a.value.end());
      return out;
    case kTeletex:  // in practice Latin-1
      for (const std::uint8_t c : a.value) append_utf8(out, c);
      return out;
    case kBmp:
    case kUniversal: {
      const std::size_t width = a.tag == kBmp ? 2 : 4;
      if (a.value.size() % width != 0) return std::nullopt;
      for (std::size_t i = 0; i < a.value.size(); i += width) {
        std::uint32_t c = 0;
        for (std::size_t k = 0; k < width; ++k) c = (c << 8) | a.value[i + k];
        if (c > 0x10ffff) return std::nullopt;
        append_utf8(out, c);
      }
      return out;
    }
    default:
      return std::nullopt;
  }
}

bool is_star(const NameAttribute& a) { return a.value.size() == 1 && a.value[0] == '*' && string_of(a).has_value(); }
}  // namespace name_detail

namespace {

/// X.690 §8.19.2: each arc ends, and has no zeros in front.
bool valid_oid(ByteView oid) {
  bool first = true;
  for (const std::uint8_t byte : oid) {
    if (first && byte == 0x80) return false;
    first = (byte & 0x80) == 0;
  }
  return first && !oid.empty();
}

ByteView contents_of(Reader& r, std::uint8_t tag) {
  const Element e = element(r);
  if (r.ok() && e.tag != tag) r.fail(ParseErrc::BadValue, "RFC 5280 §4.1.2.4");
  return r.ok() ? e.contents : ByteView{};
}
/// RFC 5280 §7.1, of RFC 4518 what matters: case of ASCII folded, spaces at the ends dropped and runs of them made one.
std::string prepared(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out.push_back(lower(c));
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

bool same_attribute(const NameAttribute& wanted, const NameAttribute& received, bool pattern) {
  if (wanted.oid != received.oid) return false;
  if (pattern && is_star(wanted)) return true;
  const auto a = string_of(wanted), b = string_of(received);
  if (a && b) return prepared(*a) == prepared(*b);
  return wanted.tag == received.tag && wanted.value == received.value;
}

/// The attributes of an RDN are a set: each of `wanted` finds one of its own.
bool same_rdn(const Rdn& wanted, const Rdn& received, bool pattern) {
  if (wanted.size() != received.size()) return false;
  std::vector<bool> used(received.size());
  return std::ranges::all_of(wanted, [&](const NameAttribute& w) -> bool {
    for (std::size_t i = 0; i < received.size(); ++i)
      if (!used[i] && same_attribute(w, received[i], pattern)) {
        used[i] = true;
        return true;
      }
    return false;
  });
}

}  // namespace

Parsed<DistinguishedName> parse_name(ByteView der) {
  Reader r(der);
  if (der.size() > kMaxName) r.fail(ParseErrc::TooMany, "a distinguished name above 2 KB");
  DistinguishedName out;
  std::size_t parts = 0;
  Reader rdns(contents_of(r, kSequence));
  if (r.ok() && r.remaining() != 0) r.fail(ParseErrc::Trailing, "RFC 5280 §4.1.2.4: bytes behind the name");
  while (r.ok() && rdns.remaining() != 0) {
    Reader attributes(contents_of(rdns, kSet));
    Rdn rdn;
    while (rdns.ok() && attributes.remaining() != 0) {
      Reader pair(contents_of(attributes, kSequence));
      const ByteView oid = contents_of(pair, kOid);
      const Element value = element(pair);
      if (pair.ok() && (pair.remaining() != 0 || !valid_oid(oid)))
        pair.fail(ParseErrc::BadValue, "RFC 5280 §4.1.2.4: AttributeTypeAndValue");
      if (pair.ok() && ++parts > kMaxNameParts) pair.fail(ParseErrc::TooMany, "a distinguished name of more than 64 attributes");
      if (!pair.ok()) attributes.fail(pair.error().code, pair.error().rule);
      if (!attributes.ok()) break;
      rdn.push_back({Bytes(oid.begin(), oid.end()), value.tag, Bytes(value.contents.begin(), value.contents.end())});
    }
    if (rdns.ok() && attributes.ok() && rdn.empty()) rdns.fail(ParseErrc::BadValue, "RFC 5280 §4.1.2.4: an empty RDN");
    if (!attributes.ok()) rdns.fail(attributes.error().code, attributes.error().rule);
    if (!rdns.ok()) break;
    out.rdns.push_back(std::move(rdn));
  }
  if (!rdns.ok()) r.fail(rdns.error().code, rdns.error().rule);
  if (!r.ok()) return std::unexpected(r.error());
  return out;
}

Bytes encode_name(const DistinguishedName& name) {
  Writer rdns;
  for (const Rdn& rdn : name.rdns) {
    std::vector<Bytes> pairs;
    for (const NameAttribute& a : rdn) {
      Writer contents, pair;
      put(contents, kOid, a.oid);
      put(contents, a.tag, a.value);
      put(pair, kSequence, contents.view());
      pairs.push_back(std::move(pair).take());
    }
    std::ranges::sort(pairs);  // X.690 §11.6: a SET OF in DER is ordered
    Writer set;
    for (const Bytes& p : pairs) set.bytes(p);
    put(rdns, kSet, set.view());
  }
  Writer out;
  put(out, kSequence, rdns.view());
  return std::move(out).take();
}

namespace {
bool same(ByteView wanted, ByteView received, bool pattern) {
  const auto a = parse_name(wanted), b = parse_name(received);
  return a && b && std::ranges::equal(a->rdns, b->rdns, [pattern](const Rdn& x, const Rdn& y) { return same_rdn(x, y, pattern); });
}
}  // namespace

bool same_name(ByteView a, ByteView b) { return same(a, b, false); }
bool matches_name(ByteView pattern, ByteView name) { return same(pattern, name, true); }

bool has_wildcard(const DistinguishedName& name) {
  return std::ranges::any_of(name.rdns, [](const Rdn& rdn) { return std::ranges::any_of(rdn, is_star); });
}

}  // namespace culvert
