// The ISAKMP header's codec and its checks.
#include "control/ike/header.hpp"

#include <algorithm>

namespace culvert::ike {

namespace {
constexpr std::uint8_t kNewestMajor = 2;
}

std::string_view name(HeaderFault f) {
  switch (f) {
    case HeaderFault::Short:
      return "short";
    case HeaderFault::Length:
      return "length";
    case HeaderFault::MajorVersion:
      return "major_version";
    case HeaderFault::ZeroSpi:
      return "zero_spi";
  }
  return "unknown";
}

std::expected<Framed, HeaderError> parse_header(ByteView datagram) {
  if (datagram.size() < kHeaderSize) return std::unexpected(HeaderError{HeaderFault::Short, {}});
  Reader r(datagram);
  Header h;
  h.spi_i.value = r.be<std::uint64_t>();
  h.spi_r.value = r.be<std::uint64_t>();
  h.next_payload = r.be<std::uint8_t>();
  const auto version = r.be<std::uint8_t>();
  h.major = static_cast<std::uint8_t>(version >> 4);
  h.minor = version & 0x0f;
  h.exchange = r.be<std::uint8_t>();
  h.flags = r.be<std::uint8_t>();
  h.message_id.value = r.be<std::uint32_t>();
  h.length = r.be<std::uint32_t>();
  const std::size_t pad = h.major == 1 ? kMaxTrailingPad : 0;
  if (h.length < kHeaderSize || h.length > datagram.size() || datagram.size() - h.length > pad)
    return std::unexpected(HeaderError{HeaderFault::Length, h});
  if (h.major == 0 || h.major > kNewestMajor) return std::unexpected(HeaderError{HeaderFault::MajorVersion, h});
  if (!h.spi_i) return std::unexpected(HeaderError{HeaderFault::ZeroSpi, h});
  const ByteView message = datagram.first(h.length);
  return Framed{h, message, message.subspan(kHeaderSize)};
}

Bytes encode_message(Header header, ByteView body) {
  Writer w;
  w.be(header.spi_i.value);
  w.be(header.spi_r.value);
  w.be(header.next_payload);
  w.be(static_cast<std::uint8_t>(header.major << 4 | (header.minor & 0x0f)));
  w.be(header.exchange);
  w.be(header.flags);
  w.be(header.message_id.value);
  w.be(static_cast<std::uint32_t>(kHeaderSize + body.size()));
  w.bytes(body);
  return std::move(w).take();
}

std::optional<ByteView> strip_non_esp_marker(ByteView udp_payload) {
  if (udp_payload.size() < kNonEspMarker) return std::nullopt;
  const ByteView marker = udp_payload.first(kNonEspMarker);
  if (std::any_of(marker.begin(), marker.end(), [](std::uint8_t b) { return b != 0; })) return std::nullopt;
  return udp_payload.subspan(kNonEspMarker);
}

Bytes with_non_esp_marker(ByteView message) {
  Bytes out(kNonEspMarker + message.size());
  std::copy(message.begin(), message.end(), out.begin() + kNonEspMarker);
  return out;
}

bool is_nat_keepalive(ByteView udp_payload) { return udp_payload.size() == 1 && udp_payload[0] == kNatKeepalive; }

}  // namespace culvert::ike
