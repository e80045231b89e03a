#include "control/radius/packet.hpp"

#include <algorithm>

namespace culvert::radius {

void Packet::add(Type type, std::uint32_t number) {
  Writer w;
  w.be(number);
  attributes.push_back({type, std::move(w).take()});
}

void Packet::add_split(Type type, ByteView value) {
  while (!value.empty()) {
    const std::size_t part = std::min(value.size(), kMaxValue);
    add(type, value.first(part));
    value = value.subspan(part);
  }
}

const Attribute* Packet::find(Type type) const {
  const auto it = std::ranges::find(attributes, type, &Attribute::type);
  return it == attributes.end() ? nullptr : &*it;
}

std::size_t Packet::count(Type type) const { return static_cast<std::size_t>(std::ranges::count(attributes, type, &Attribute::type)); }

Bytes Packet::joined(Type type) const {
  Bytes out;
  for (const Attribute& a : attributes)
    if (a.type == type) out.insert(out.end(), a.value.begin(), a.value.end());
  return out;
}

std::optional<std::uint32_t> Packet::number(Type type) const {
  const Attribute* found = find(type);
  if (!found || found->value.size() != sizeof(std::uint32_t)) return std::nullopt;
  return Reader(found->value).be<std::uint32_t>();
}

Parsed<Packet> parse(ByteView datagram) {
  static constexpr const char* kRule = "RFC 2865 §3";
  static constexpr const char* kAttributeRule = "RFC 2865 §5";
  Reader header(datagram);
  Packet out;
  out.code = Code{header.be<std::uint8_t>(kRule)};
  out.id = header.be<std::uint8_t>(kRule);
  const auto length = header.be<std::uint16_t>(kRule);
  const ByteView authenticator = header.take(out.authenticator.size(), kRule);
  if (header.ok() && (length < kHeader || length > kMaxPacket || length > datagram.size())) header.fail(ParseErrc::BadLength, kRule);
  if (!header.ok()) return std::unexpected(header.error());
  std::ranges::copy(authenticator, out.authenticator.begin());
  Reader r(datagram.subspan(kHeader, length - kHeader));
  while (r.ok() && r.remaining() > 0) {
    const auto type = r.be<std::uint8_t>(kAttributeRule);
    const auto size = r.be<std::uint8_t>(kAttributeRule);
    if (size < 2) r.fail(ParseErrc::BadLength, kAttributeRule);
    const ByteView value = r.take(size - std::size_t{2}, kAttributeRule);
    if (r.ok()) out.add(Type{type}, value);
  }
  if (!r.ok()) return std::unexpected(ParseError{r.error().code, r.error().offset + kHeader, r.error().rule});
  return out;
}

std::optional<Bytes> encode(const Packet& packet) {
  std::size_t size = kHeader;
  for (const Attribute& a : packet.attributes) {
    if (a.value.empty() || a.value.size() > kMaxValue) return std::nullopt;
    size += 2 + a.value.size();
  }
  if (size > kMaxPacket) return std::nullopt;
  Writer w;
  w.be(static_cast<std::uint8_t>(packet.code));
  w.be(packet.id);
  w.be(static_cast<std::uint16_t>(size));
  w.bytes(packet.authenticator);
  for (const Attribute& a : packet.attributes) {
    w.be(static_cast<std::uint8_t>(a.type));
    w.be(static_cast<std::uint8_t>(a.value.size() + 2));
    w.bytes(a.value);
  }
  return std::move(w).take();
}

}  // namespace culvert::radius
