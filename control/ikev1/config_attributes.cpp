#include "control/ikev1/config_attributes.hpp"

#include <algorithm>
#include <bit>

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kSplitEntry = 14;  // address, mask, protocol, source port, destination port

std::uint32_t mask_of(std::uint8_t length) { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }
std::uint16_t number_of(Cfg type) { return static_cast<std::uint16_t>(type); }
}  // namespace

const Attribute* find(std::span<const Attribute> attributes, Cfg type) {
  const auto it = std::ranges::find(attributes, number_of(type), &Attribute::type);
  return it == attributes.end() ? nullptr : &*it;
}

Attribute empty_attribute(Cfg type) { return {number_of(type), false, {}}; }
Attribute number_attribute(Cfg type, std::uint16_t value) { return Attribute::tv(number_of(type), value); }
Attribute bytes_attribute(Cfg type, ByteView value) { return {number_of(type), false, Bytes(value.begin(), value.end())}; }
Attribute text_attribute(Cfg type, const std::string& value) { return bytes_attribute(type, as_bytes(value)); }
Attribute address_attribute(Cfg type, const IpAddress& address) { return bytes_attribute(type, address.view()); }

Attribute split_include_attribute(std::span<const Prefix> networks) {
  Writer w;
  for (const Prefix& p : networks) {
    w.bytes(p.first().view());
    w.be(mask_of(p.length));
    w.zeros(6);
  }
  return {number_of(Cfg::UnitySplitInclude), false, std::move(w).take()};
}

std::optional<IpAddress> address_of(const Attribute& a) {
  const bool v6 = a.type == number_of(Cfg::Ip6Address) || a.type == number_of(Cfg::Ip6Dns);
  // RFC 4306's form of the IPv6 address has the prefix length behind it, which some peers send here, too.
  const std::size_t size = v6 ? 16 : 4;
  if (a.basic || (a.value.size() != size && !(v6 && a.value.size() == 17))) return std::nullopt;
  const auto address = IpAddress::from_bytes(ByteView(a.value).first(size));
  return address ? std::optional(*address) : std::nullopt;
}

std::optional<std::vector<Prefix>> split_include_of(const Attribute& a) {
  if (a.value.size() % kSplitEntry != 0 || a.value.size() / kSplitEntry > kMaxSplitIncludes) return std::nullopt;
  std::vector<Prefix> out;
  Reader r(a.value);
  while (r.remaining() > 0) {
    const auto address = r.be<std::uint32_t>();
    const auto mask = r.be<std::uint32_t>();
    r.skip(6);
    const auto length = static_cast<std::uint8_t>(std::popcount(mask));
    if (mask != mask_of(length)) return std::nullopt;
    out.push_back({IpAddress::v4(address & mask), length});
  }
  return out;
}

std::string text_of(const Attribute& a) { return printable(a.value, kMaxConfigText); }

}  // namespace culvert::ikev1
