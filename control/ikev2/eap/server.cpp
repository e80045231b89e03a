#include "control/ikev2/eap/server.hpp"

#include <algorithm>
#include <array>

#include "control/crypto/hash.hpp"

namespace culvert::eap {

namespace {
constexpr std::size_t kMd5 = 16, kMaxWishes = 8;

bool may_be_name(ByteView name) {
  return !name.empty() && name.size() <= kMaxName && std::ranges::find(name, std::uint8_t{0}) == name.end();
}
}  // namespace

std::string wishes(const Packet& nak) {
  std::string out;
  for (std::size_t i = 0; i < std::min(nak.data.size(), kMaxWishes); ++i)
    if (nak.data[i] != 0) out += (out.empty() ? "" : ", ") + name(Type{nak.data[i]});
  return out.empty() ? "nothing else" : out;
}

Bytes Server::request(Type type, Bytes data) { return encode({Code::Request, ++id_, type, std::move(data)}); }

Refusal Server::refuse(Problem problem, std::string text) {
  state_ = State::Over;
  return {problem, std::move(text)};
}

Bytes Server::begin() { return request(Type::Identity, {}); }

Server::Verdict Server::on_packet(ByteView bytes) {
  const auto p = parse(bytes);
  if (!p) return refuse(Problem::Protocol, std::string("a packet of EAP does not parse (") + p.error().rule + ")");
  if (p->code != Code::Response || p->id != id_)
    return refuse(Problem::Protocol, "a packet of EAP answers no request of ours (RFC 3748 §4.1)");
  if (state_ == State::Identity) return on_identity(*p);
  if (state_ == State::Elsewhere) return Forward{encode(*p)};
  if (state_ != State::Challenged && state_ != State::Told) return refuse(Problem::Protocol, "a packet of EAP comes that is not due");
  if (p->type == Type::Nak && state_ == State::Challenged)
    return refuse(Problem::Method, "it does not do " + name(type_of(method_)) + ", which we ask for, and wants " + wishes(*p));
  if (p->type != type_of(method_)) return refuse(Problem::Protocol, "it answers with " + name(p->type));
  return method_ == Method::Mschapv2 ? on_mschapv2(*p) : on_md5(*p);
}

Server::Verdict Server::on_identity(const Packet& p) {
  if (p.type != Type::Identity) return refuse(Problem::Protocol, "it answers with " + name(p.type) + " when it is asked who it is");
  if (!may_be_name(p.data)) return refuse(Problem::UnknownUser, "it says no name, or one that nobody can have");
  user_ = p.data;
  state_ = State::Chosen;
  return Identified{user_};
}

Bytes Server::choose(Method method, const std::string& own) {
  method_ = method;
  state_ = State::Challenged;
  const Bytes name = to_bytes(own.substr(0, kMaxName));
  if (method == Method::Mschapv2)
    return request(Type::Mschapv2, encode(MsChallenge{static_cast<std::uint8_t>(id_ + 1), seed_.challenge, name}));
  Writer w;  // RFC 3748 §5.4, RFC 1994 §4.1
  w.be(static_cast<std::uint8_t>(seed_.challenge.size()));
  w.bytes(seed_.challenge);
  w.bytes(name);
  return request(Type::Md5, std::move(w).take());
}

Server::Verdict Server::on_mschapv2(const Packet& p) {
  const auto op = ms_op(p.data);
  if (state_ == State::Told) {
    if (op != MsOp::Success) return refuse(Problem::Protocol, "it does not take our proof that we know its password, too");
    state_ = State::Over;
    return Proved{encode({Code::Success, id_, Type::None, {}})};
  }
  const auto m = parse_ms_response(p.data);
  if (!m) return refuse(Problem::Protocol, std::string("an answer of EAP-MSCHAPv2 does not parse (") + m.error().rule + ")");
  if (m->id != id_) return refuse(Problem::Protocol, "an answer of EAP-MSCHAPv2 is to another challenge");
  if (!may_be_name(m->name)) return refuse(Problem::UnknownUser, "it says no name, or one that nobody can have");
  user_ = m->name;  // this one is part of the proof, which the identity is not
  proof_ = m->proof;
  peer_challenge_ = m->challenge;
  return AskUser{user_};
}

Server::Verdict Server::on_md5(const Packet& p) {
  Reader r(p.data);
  const auto size = r.be<std::uint8_t>();
  const ByteView value = r.take(size);
  if (!r.ok() || size != kMd5 || state_ != State::Challenged)
    return refuse(Problem::Protocol, "an answer of EAP-MD5 is none (RFC 1994 §4.1)");
  proof_.assign(value.begin(), value.end());
  return AskUser{user_};
}

Server::Verdict Server::on_user(const Credential* credential) {
  if (state_ != State::Challenged || proof_.empty()) return refuse(Problem::Protocol, "nobody has answered yet");
  return method_ == Method::Mschapv2 ? check_mschapv2(credential) : check_md5(credential);
}

Server::Verdict Server::check_mschapv2(const Credential* credential) {
  const Bytes nobody(16, 0);  // who is not there costs as much as who is
  const ByteView hash = credential ? credential->nt_hash.view() : ByteView(nobody);
  const Challenges c{seed_.challenge, peer_challenge_, user_};
  const bool same = equal_constant_time(nt_response(c, hash).view(), proof_);
  if (!credential) return refuse(Problem::UnknownUser, "there is no such user");
  if (!same) return refuse(Problem::WrongPassword, "its password is another");
  const SecretBytes ours = authenticator_response(c, hash, proof_);
  msk_ = mschapv2_msk(hash, proof_);
  state_ = State::Told;
  Bytes message(ours.view().begin(), ours.view().end());
  const Bytes welcome = to_bytes(" M=Welcome");
  message.insert(message.end(), welcome.begin(), welcome.end());
  return Reply{request(Type::Mschapv2, encode(MsVerdict{MsOp::Success, static_cast<std::uint8_t>(id_), std::move(message)}))};
}

Server::Verdict Server::check_md5(const Credential* credential) {
  const std::array<std::uint8_t, 1> id{id_};
  const ByteView password = credential ? credential->password.view() : ByteView{};
  const Bytes expected = crypto::digest(Prf::HmacMd5, {id, password, seed_.challenge});
  const bool same = equal_constant_time(expected, proof_);
  if (!credential) return refuse(Problem::UnknownUser, "there is no such user");
  if (!same) return refuse(Problem::WrongPassword, "its password is another");
  state_ = State::Over;
  return Proved{encode({Code::Success, id_, Type::None, {}})};
}

std::optional<Bytes> Server::farewell() {
  if (method_ != Method::Mschapv2 || proof_.empty()) return std::nullopt;
  // 691: the account or its password is invalid (RFC 2759 §6). No second try under this SA: who guesses pays for all of it again.
  std::string text = "E=691 R=0 C=" + to_hex(seed_.more) + " V=3 M=Refused";
  const auto used = id_;
  return request(Type::Mschapv2, encode(MsVerdict{MsOp::Failure, used, to_bytes(text)}));
}

}  // namespace culvert::eap
