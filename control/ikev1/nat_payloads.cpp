#include "control/ikev1/nat_payloads.hpp"

#include <algorithm>

#include "common/config/selectors.hpp"
#include "control/ikev1/keymat.hpp"

namespace culvert::ikev1 {

namespace {
using ike::NatDialect;

PayloadType nat_d_type(const ike::NatStatus& nat) {
  return nat.dialect == NatDialect::Rfc3947 ? PayloadType::NatD : PayloadType::NatDDraft;
}
PayloadType nat_oa_type(const ike::NatStatus& nat) {
  return nat.dialect == NatDialect::Rfc3947 ? PayloadType::NatOa : PayloadType::NatOaDraft;
}

std::vector<const Bytes*> bodies(const Message& message, PayloadType type) {
  std::vector<const Bytes*> out;
  for (const Payload& p : message.payloads())
    if (p.type == type) out.push_back(&p.body);
  return out;
}

NatOa original(const IpAddress& address) {
  const ByteView bytes = address.view();
  return {address.family == Family::V4 ? IdType::Ipv4Addr : IdType::Ipv6Addr, Bytes(bytes.begin(), bytes.end())};
}

std::optional<IpAddress> address_of(const Bytes& body) {
  const auto content = parse_body(PayloadType::NatOa, body);
  if (!content) return std::nullopt;
  const auto& oa = std::get<NatOa>(*content);
  const auto out = IpAddress::from_bytes(oa.address);
  const IdType wanted = out && out->family == Family::V4 ? IdType::Ipv4Addr : IdType::Ipv6Addr;
  return out && oa.type == wanted ? std::optional(*out) : std::nullopt;
}
}  // namespace

void add_nat_d(Core& core, const IsakmpSa& sa, Prf hash, Builder& out) {
  const PayloadType type = nat_d_type(sa.nat);
  const Bytes theirs = nat_d_hash(hash, sa.spi_i, sa.spi_r, sa.remote);
  out.add_raw(type, theirs);
  out.add_raw(type, core.connection(sa).encap ? core.random(theirs.size()) : nat_d_hash(hash, sa.spi_i, sa.spi_r, sa.local));
}

std::string bad_nat_d(const IsakmpSa& sa, Prf hash, const Message& message) {
  if (!sa.nat.supported) return {};
  const std::size_t size = nat_d_hash(hash, sa.spi_i, sa.spi_r, sa.local).size();
  for (const Bytes* body : bodies(message, nat_d_type(sa.nat)))
    if (body->size() != size)
      return "a NAT-D payload has " + std::to_string(body->size()) + " bytes, the hash has " + std::to_string(size) + " (RFC 3947 §3.2)";
  return {};
}

void look_for_nat(IsakmpSa& sa, Prf hash, const Message& message) {
  const auto received = bodies(message, nat_d_type(sa.nat));
  sa.nat.supported = sa.nat.supported && received.size() >= 2;
  if (sa.nat.supported)
    ike::detect_nat(sa.nat, received, sa.local, sa.remote, [&](const Endpoint& e) { return nat_d_hash(hash, sa.spi_i, sa.spi_r, e); });
}

void add_nat_oa(const IsakmpSa& sa, Role role, Builder& out) {
  const bool we_begin = role == Role::Initiator;
  for (const bool initiator : {true, false})
    out.add_raw(nat_oa_type(sa.nat), encode_body(original((initiator == we_begin ? sa.local : sa.remote).address)));
}

OriginalAddresses read_nat_oa(const IsakmpSa& sa, Role role, const Message& message) {
  const auto received = bodies(message, nat_oa_type(sa.nat));
  std::optional<IpAddress> initiator, responder;
  if (!received.empty()) initiator = address_of(*received[0]);
  if (received.size() > 1) responder = address_of(*received[1]);
  return role == Role::Initiator ? OriginalAddresses{initiator, responder} : OriginalAddresses{responder, initiator};
}

Selectors through_nat(const IsakmpSa& sa, const OriginalAddresses& original, const Selectors& named) {
  if (!sa.nat.encapsulate()) return named;
  const auto meant = [](const TrafficSelector& ts, const std::optional<IpAddress>& was, const IpAddress& is) {
    const bool host = was && ts.first == *was && ts.last == *was;
    return host ? config::at_address(ts, is) : ts;
  };
  return {meant(named.local, original.local, sa.local.address), meant(named.remote, original.remote, sa.remote.address)};
}

}  // namespace culvert::ikev1
