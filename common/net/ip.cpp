#include "common/net/ip.hpp"

#include <charconv>

#include <arpa/inet.h>

namespace culvert {

std::expected<IpAddress, std::string> IpAddress::from_bytes(ByteView b) {
  IpAddress a;
  if (b.size() == 4) {
    a.family = Family::V4;
  } else if (b.size() == 16) {
    a.family = Family::V6;
  } else {
    return std::unexpected("an address has 4 or 16 bytes, not " + std::to_string(b.size()));
  }
  std::copy(b.begin(), b.end(), a.bytes.begin());
  return a;
}

std::expected<IpAddress, std::string> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  IpAddress a;
  if (inet_pton(AF_INET, copy.c_str(), a.bytes.data()) == 1) {
    a.family = Family::V4;
    return a;
  }
  if (inet_pton(AF_INET6, copy.c_str(), a.bytes.data()) == 1) {
    a.family = Family::V6;
    return a;
  }
  return std::unexpected("not an IP address: '" + copy + "'");
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = "-";
  if (family != Family::None) inet_ntop(family == Family::V4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

IpAddress IpAddress::plus(std::uint64_t places) const {
  IpAddress out = *this;
  for (std::size_t i = size(); i-- > 0 && places != 0;) {
    const std::uint64_t sum = (places & 0xff) + out.bytes[i];
    out.bytes[i] = static_cast<std::uint8_t>(sum);
    places = (places >> 8) + (sum >> 8);
  }
  return out;
}

std::optional<std::uint64_t> IpAddress::places_behind(const IpAddress& first) const {
  if (family != first.family || *this < first) return std::nullopt;
  IpAddress difference;
  int borrow = 0;
  for (std::size_t i = size(); i-- > 0;) {
    const int digit = bytes[i] - first.bytes[i] - borrow;
    borrow = digit < 0 ? 1 : 0;
    difference.bytes[i] = static_cast<std::uint8_t>(digit + 256 * borrow);
  }
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (out >> 56 != 0) return std::nullopt;
    out = out << 8 | difference.bytes[i];
  }
  return out;
}

std::expected<Prefix, std::string> Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::unexpected(address.error());
  const unsigned width = static_cast<unsigned>(address->size()) * 8;
  unsigned length = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, errc] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (errc != std::errc{} || end != digits.data() + digits.size() || length > width)
      return std::unexpected("a prefix length from 0 to " + std::to_string(width) + " must follow '/'");
  }
  return Prefix{*address, static_cast<std::uint8_t>(length)};
}

namespace {
/// `address` with all bits below the prefix set to `bit`.
IpAddress fill_host_bits(const Prefix& p, bool bit) {
  IpAddress a = p.address;
  for (std::size_t i = p.length; i < a.size() * 8; ++i) {
    const auto mask = static_cast<std::uint8_t>(0x80 >> (i % 8));
    auto& byte = a.bytes[i / 8];
    byte = static_cast<std::uint8_t>(bit ? byte | mask : byte & ~mask);
  }
  return a;
}
}  // namespace

IpAddress Prefix::first() const { return fill_host_bits(*this, false); }
IpAddress Prefix::last() const { return fill_host_bits(*this, true); }

bool Prefix::contains(const IpAddress& a) const { return a.family == address.family && first() <= a && a <= last(); }

std::string Prefix::to_string() const { return address.to_string() + "/" + std::to_string(length); }

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.family == Family::V6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace culvert
