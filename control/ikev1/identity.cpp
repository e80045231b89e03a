#include "control/ikev1/identity.hpp"

#include <algorithm>
#include <bit>
#include <cctype>

#include "common/dn.hpp"

namespace culvert::ikev1 {

namespace {

bool equal_ignoring_case(ByteView a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::tolower(a[i]) != std::tolower(static_cast<unsigned char>(b[i]))) return false;
  return true;
}

/// "*.example" is every longer name that ends so; other patterns have no star.
bool matches_text(const std::string& pattern, ByteView received) {
  if (!pattern.starts_with('*')) return equal_ignoring_case(received, pattern);
  const std::string_view end = std::string_view(pattern).substr(1);
  return received.size() > end.size() && equal_ignoring_case(received.last(end.size()), end);
}

/// The prefix length of a mask; nullopt: its ones are not all in front.
std::optional<std::uint8_t> mask_length(ByteView mask) {
  unsigned length = 0;
  bool ended = false;
  for (const std::uint8_t byte : mask) {
    const unsigned ones = static_cast<unsigned>(std::countl_one(byte));
    if (ended && byte != 0) return std::nullopt;
    if (ones + static_cast<unsigned>(std::countr_zero(byte)) < 8) return std::nullopt;
    length += ones;
    ended = ended || ones < 8;
  }
  return static_cast<std::uint8_t>(length);
}

Bytes mask_bytes(std::size_t size, unsigned length) {
  Bytes out(size, 0);
  for (unsigned i = 0; i < length; ++i) out[i / 8] = static_cast<std::uint8_t>(out[i / 8] | (0x80U >> (i % 8)));
  return out;
}

void append(Bytes& out, ByteView more) { out.insert(out.end(), more.begin(), more.end()); }

}  // namespace

Id to_id(const config::Identity& identity, const IpAddress& local) {
  using Type = config::Identity::Type;
  switch (identity.type) {
    case Type::Fqdn:
      return {IdType::Fqdn, 0, 0, to_bytes(identity.text)};
    case Type::UserFqdn:
      return {IdType::UserFqdn, 0, 0, to_bytes(identity.text)};
    case Type::Dn:
      return {IdType::DerAsn1Dn, 0, 0, identity.name};
    case Type::IpAddr:
      if (const auto a = IpAddress::parse(identity.text)) {
        const ByteView v = a->view();
        return {a->family == Family::V4 ? IdType::Ipv4Addr : IdType::Ipv6Addr, 0, 0, Bytes(v.begin(), v.end())};
      }
      break;
    case Type::KeyId:
      return {IdType::KeyId, 0, 0, to_bytes(identity.text.substr(config::kKeyIdPrefix.size()))};
    case Type::Any:
      break;
  }
  const ByteView v = local.view();
  return {local.family == Family::V6 ? IdType::Ipv6Addr : IdType::Ipv4Addr, 0, 0, Bytes(v.begin(), v.end())};
}

bool matches(const config::Identity& expected, const Id& received) {
  using Type = config::Identity::Type;
  switch (expected.type) {
    case Type::Any:
      return true;
    case Type::Fqdn:
      return received.type == IdType::Fqdn && matches_text(expected.text, received.data);
    case Type::UserFqdn:
      return received.type == IdType::UserFqdn && matches_text(expected.text, received.data);
    case Type::Dn:
      return received.type == IdType::DerAsn1Dn && matches_name(expected.name, received.data);
    case Type::KeyId:  // opaque: each byte counts (RFC 2407 §4.6.2.12)
      return received.type == IdType::KeyId &&
             std::ranges::equal(received.data, as_bytes(expected.text).subspan(config::kKeyIdPrefix.size()));
    case Type::IpAddr: {
      const auto want = IpAddress::parse(expected.text);
      const auto got = IpAddress::from_bytes(received.data);
      return (received.type == IdType::Ipv4Addr || received.type == IdType::Ipv6Addr) && want && got && *want == *got;
    }
  }
  return false;
}

std::string to_text(const Id& id) {
  if (id.type == IdType::Ipv4Addr || id.type == IdType::Ipv6Addr)
    if (const auto a = IpAddress::from_bytes(id.data)) return a->to_string();
  if (id.type == IdType::Fqdn || id.type == IdType::UserFqdn) return printable(id.data);
  if (id.type == IdType::DerAsn1Dn) return name_text(id.data);
  if (id.type == IdType::KeyId) return std::string(config::kKeyIdPrefix) + printable(id.data);
  if (const auto ts = from_proxy_id(id)) return ts->to_string();
  return "identity of type " + std::to_string(static_cast<unsigned>(id.type)) + " (" + std::to_string(id.data.size()) + " bytes) " +
         printable(id.data, 32);
}

std::string to_text(const config::Identity& identity) {
  return identity.type == config::Identity::Type::Any ? "any identity" : identity.text;
}

bool phase1_port_ok(const Id& id) {
  if (id.protocol == 0 && id.port == 0) return true;
  return id.protocol == 17 && (id.port == 500 || id.port == 4500 || id.port == 0);
}

std::optional<Id> to_proxy_id(const TrafficSelector& s) {
  if (!s.any_port() && s.port_first != s.port_last) return std::nullopt;
  const bool v4 = s.first.family == Family::V4;
  Id id;
  id.protocol = s.protocol;
  id.port = s.any_port() ? std::uint16_t{0} : s.port_first;
  const ByteView first = s.first.view(), last = s.last.view();
  append(id.data, first);
  const auto prefix = s.prefix();
  if (s.first == s.last) {
    id.type = v4 ? IdType::Ipv4Addr : IdType::Ipv6Addr;
  } else if (prefix) {
    id.type = v4 ? IdType::Ipv4Subnet : IdType::Ipv6Subnet;
    append(id.data, mask_bytes(first.size(), prefix->length));
  } else {
    id.type = v4 ? IdType::Ipv4Range : IdType::Ipv6Range;
    append(id.data, last);
  }
  return id;
}

std::optional<TrafficSelector> from_proxy_id(const Id& id) {
  const bool v4 = id.type == IdType::Ipv4Addr || id.type == IdType::Ipv4Subnet || id.type == IdType::Ipv4Range;
  const bool single = id.type == IdType::Ipv4Addr || id.type == IdType::Ipv6Addr;
  const bool subnet = id.type == IdType::Ipv4Subnet || id.type == IdType::Ipv6Subnet;
  if (!v4 && !single && !subnet && id.type != IdType::Ipv6Range) return std::nullopt;
  const std::size_t size = v4 ? 4 : 16;
  if (id.data.size() != (single ? size : 2 * size)) return std::nullopt;
  if (id.protocol == 0 && id.port != 0) return std::nullopt;
  const ByteView data = id.data;
  const auto first = IpAddress::from_bytes(data.first(size));
  if (!first) return std::nullopt;
  TrafficSelector out;
  out.protocol = id.protocol;
  if (id.port != 0) out.port_first = out.port_last = id.port;
  out.first = out.last = *first;
  if (subnet) {
    const auto length = mask_length(data.subspan(size));
    if (!length) return std::nullopt;
    const Prefix prefix{*first, *length};
    out.first = prefix.first();
    out.last = prefix.last();
  } else if (!single) {
    const auto last = IpAddress::from_bytes(data.subspan(size));
    if (!last || *last < *first) return std::nullopt;
    out.last = *last;
  }
  return out;
}

}  // namespace culvert::ikev1
