#include "control/radius/access.hpp"

namespace culvert::radius {

namespace {
constexpr std::size_t kMaxReplyMessage = 500;

/// "192.0.2.1[4500]", as strongSwan writes it.
std::string station(const Endpoint& at, bool with_port) {
  return at.address.to_string() + (with_port ? "[" + std::to_string(at.port) + "]" : "");
}

/// The addresses that the user is to have. 255.255.255.254 and 255.255.255.255 leave it to the gateway and to him (RFC 2865 §5.8).
std::vector<IpAddress> framed_of(const Packet& reply) {
  std::vector<IpAddress> out;
  for (const Type type : {Type::FramedIpAddress, Type::FramedIpv6Address}) {
    const Attribute* a = reply.find(type);
    if (!a || a->value.size() != (type == Type::FramedIpAddress ? std::size_t{4} : std::size_t{16})) continue;
    const auto address = IpAddress::from_bytes(a->value);
    if (!address || address->is_unspecified() || *address == IpAddress::v4(0xfffffffe) || *address == IpAddress::v4(0xffffffff)) continue;
    out.push_back(*address);
  }
  return out;
}

ike::RadiusAnswer unusable(std::string why) { return {.kind = ike::RadiusAnswer::Kind::Unusable, .error = std::move(why)}; }
}  // namespace

std::optional<Packet> access_request(const ike::AskRadius& q, const config::Radius& config, const config::RadiusServer& server) {
  Packet out;
  out.code = Code::AccessRequest;
  const auto text = [&](Type type, std::string_view value) {
    if (!value.empty()) out.add(type, value.substr(0, kMaxValue));
  };
  if (q.user.empty() || q.user.size() > kMaxValue) return std::nullopt;
  out.add(Type::UserName, q.user);
  out.add(Type::NasPortType, kPortVirtual);
  out.add(Type::ServiceType, kServiceFramed);
  out.add(Type::NasPort, static_cast<std::uint32_t>(q.sa));
  text(Type::NasPortId, q.connection);
  out.add(q.local.address.family == Family::V6 ? Type::NasIpv6Address : Type::NasIpAddress, q.local.address.view());
  text(Type::CalledStationId, station(q.local, config.station_id_with_port));
  text(Type::CallingStationId, station(q.remote, config.station_id_with_port));
  text(Type::NasIdentifier, server.nas_identifier.empty() ? config.nas_identifier : server.nas_identifier);
  out.add_split(Type::EapMessage, q.eap);
  if (!q.state.empty()) out.add(Type::State, q.state);
  return out;
}

ike::RadiusAnswer read_answer(const Packet& reply) {
  using Kind = ike::RadiusAnswer::Kind;
  ike::RadiusAnswer out;
  switch (reply.code) {
    case Code::AccessChallenge:
      out.kind = Kind::Challenge;
      break;
    case Code::AccessAccept:
      out.kind = Kind::Accept;
      break;
    case Code::AccessReject:
      out.kind = Kind::Reject;
      break;
    default:
      return unusable("it is of code " + std::to_string(static_cast<unsigned>(reply.code)) + ", which answers no question about a user");
  }
  out.eap = reply.joined(Type::EapMessage);
  out.message = printable(reply.joined(Type::ReplyMessage), kMaxReplyMessage);
  if (out.kind == Kind::Challenge) {
    if (out.eap.empty()) return unusable("it asks for something else than EAP");
    if (reply.count(Type::State) > 1) return unusable("it has more than one State (RFC 2865 §5.24)");
    if (const Attribute* state = reply.find(Type::State)) out.state = state->value;
  }
  if (out.kind != Kind::Accept) return out;
  if (const Attribute* user = reply.find(Type::UserName)) out.user = user->value;
  out.framed = framed_of(reply);
  if (const auto seconds = reply.number(Type::SessionTimeout)) out.session_timeout = std::chrono::seconds(*seconds);
  return out;
}

}  // namespace culvert::radius
