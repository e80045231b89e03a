// EAP, a server that hands the user over to another one behind his identity (RFC 3748 §7.1, RFC 3579 §2). Owns which packets go through:
// requests to the user, his responses to them, and one end.
#include "control/ikev2/eap/server.hpp"

namespace culvert::eap {

Forward Server::hand_over() {
  state_ = State::Elsewhere;
  return {encode({Code::Response, id_, Type::Identity, user_})};
}

Server::Verdict Server::on_relayed(bool accepted, ByteView packet, SecretBytes msk) {
  if (state_ != State::Elsewhere) return refuse(Problem::Protocol, "nobody has been asked");
  // A server may leave out the last packet, which then is made here.
  const auto p = accepted && packet.empty() ? Parsed<Packet>(Packet{Code::Success, id_, Type::None, {}}) : parse(packet);
  if (!p) return refuse(Problem::Protocol, std::string("its packet of EAP does not parse (") + p.error().rule + ")");
  if (p->code != (accepted ? Code::Success : Code::Request))  // RFC 3579 §2.6.3
    return refuse(Problem::Protocol, "its packet of EAP says something else than the server does");
  if (!accepted) {
    id_ = p->id;
    return Reply{encode(*p)};
  }
  msk_ = std::move(msk);
  state_ = State::Over;
  return Proved{encode({Code::Success, id_, Type::None, {}})};
}

}  // namespace culvert::eap
