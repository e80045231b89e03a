#include "control/ikev2/eap/packet.hpp"

namespace culvert::eap {

namespace {
constexpr std::size_t kHeader = 4;
}

std::string name(Type type) {
  switch (type) {
    case Type::Identity:
      return "EAP-Identity";
    case Type::Notification:
      return "EAP-Notification";
    case Type::Nak:
      return "EAP-Nak";
    case Type::Md5:
      return "EAP-MD5";
    case Type::Tls:
      return "EAP-TLS";
    case Type::Mschapv2:
      return "EAP-MSCHAPv2";
    default:
      return "EAP type " + std::to_string(static_cast<unsigned>(type));
  }
}

Type type_of(Method method) { return method == Method::Mschapv2 ? Type::Mschapv2 : method == Method::Tls ? Type::Tls : Type::Md5; }

Parsed<Packet> parse(ByteView bytes) {
  static constexpr const char* kRule = "RFC 3748 §4";
  Reader r(bytes);
  if (bytes.size() > kMaxPacket) r.fail(ParseErrc::TooMany, kRule);
  Packet out;
  const auto code = r.be<std::uint8_t>(kRule);
  out.code = Code{code};
  out.id = r.be<std::uint8_t>(kRule);
  const auto length = r.be<std::uint16_t>(kRule);
  if (code < 1 || code > 4) r.fail(ParseErrc::BadValue, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  const bool typed = out.code == Code::Request || out.code == Code::Response;
  if (length < kHeader + (typed ? 1 : 0) || length - kHeader > r.remaining() || (!typed && length != kHeader)) {
    r.fail(ParseErrc::BadLength, kRule);
    return std::unexpected(r.error());
  }
  if (!typed) return out;
  out.type = Type{r.be<std::uint8_t>(kRule)};
  const ByteView data = r.take(length - kHeader - 1, kRule);
  if (out.type == Type::None) r.fail(ParseErrc::BadValue, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  out.data.assign(data.begin(), data.end());
  return out;
}

Bytes encode(const Packet& p) {
  const bool typed = p.type != Type::None;
  Writer w;
  w.be(static_cast<std::uint8_t>(p.code));
  w.be(p.id);
  w.be(static_cast<std::uint16_t>(kHeader + (typed ? 1 + p.data.size() : 0)));
  if (typed) {
    w.be(static_cast<std::uint8_t>(p.type));
    w.bytes(p.data);
  }
  return std::move(w).take();
}

}  // namespace culvert::eap
