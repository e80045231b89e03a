#include "control/ikev2/redirect_data.hpp"

#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

namespace {
enum class GatewayType : std::uint8_t { Ipv4 = 1, Ipv6 = 2, Fqdn = 3 };
}  // namespace

Bytes encode_redirect(const RedirectData& data) {
  const auto& address = data.gateway.address;
  const ByteView who = address ? address->view() : as_bytes(data.gateway.name);
  Writer out;
  out.be(static_cast<std::uint8_t>(!address ? GatewayType::Fqdn : address->family == Family::V6 ? GatewayType::Ipv6 : GatewayType::Ipv4));
  out.be(static_cast<std::uint8_t>(who.size()));
  out.bytes(who);
  out.bytes(data.nonce);
  return std::move(out).take();
}

std::optional<RedirectData> read_redirect(ByteView data) {
  Reader r(data);
  const auto type = static_cast<GatewayType>(r.be<std::uint8_t>());
  const ByteView who = r.take(r.be<std::uint8_t>());
  const ByteView nonce = r.take(r.remaining());
  if (!r.ok() || (!nonce.empty() && (nonce.size() < kMinNonce || nonce.size() > kMaxNonce))) return std::nullopt;
  std::optional<config::GatewayName> gateway;
  if (type == GatewayType::Fqdn) {
    gateway = config::parse_gateway({reinterpret_cast<const char*>(who.data()), who.size()});
    if (gateway && gateway->address) return std::nullopt;
  } else if ((type == GatewayType::Ipv4 && who.size() == 4) || (type == GatewayType::Ipv6 && who.size() == 16)) {
    if (const auto address = IpAddress::from_bytes(who)) gateway = config::parse_gateway(address->to_string());
  }
  if (!gateway) return std::nullopt;
  return RedirectData{std::move(*gateway), Bytes(nonce.begin(), nonce.end())};
}

}  // namespace culvert::ikev2
