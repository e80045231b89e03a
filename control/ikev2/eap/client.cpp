#include "control/ikev2/eap/client.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "control/crypto/hash.hpp"
#include "control/crypto/nt_hash.hpp"

namespace culvert::eap {

namespace {

Refusal protocol(std::string text) { return {Problem::Protocol, std::move(text)}; }

Reply response(const Packet& request, Type type, Bytes data) { return {encode({Code::Response, request.id, type, std::move(data)})}; }

/// What an MS-CHAPv2 Failure says, for an operator: 646 and so on (RFC 2759 §6).
std::string meaning(ByteView message) {
  struct Row {
    std::string_view code, text;
  };
  static constexpr std::array kRows{Row{"E=646", "these hours are not allowed"}, Row{"E=647", "the account is disabled"},
                                    Row{"E=648", "the password has expired"},    Row{"E=649", "the account may not dial in"},
                                    Row{"E=691", "name or password are wrong"},  Row{"E=709", "the password could not be changed"}};
  const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
  const auto row = std::ranges::find_if(kRows, [&](const Row& r) { return text.starts_with(r.code); });
  return row != kRows.end() ? std::string(row->text) : "it says \"" + printable(message, 64) + "\"";
}

}  // namespace

Client::Verdict Client::on_packet(ByteView bytes) {
  if (failed_) return *failed_;
  if (tls_steps_) return protocol("a packet of EAP comes that is not due");
  const auto p = parse(bytes);
  if (!p) return protocol(std::string("a packet of EAP does not parse (") + p.error().rule + ")");
  switch (p->code) {
    case Code::Request:
      return on_request(*p);
    case Code::Success:
      if (state_ == State::Done) return Proved{};
      return protocol("it says Success before " + name(type_of(own_.method)) + " has come to its end");
    case Code::Failure:
      if (!other_.empty()) return Refusal{Problem::Method, "it asks for " + other_ + ", and we do " + name(type_of(own_.method))};
      return Refusal{Problem::Refused, own_.method == Method::Tls ? "it takes no certificate of ours for this name, or does not let us in"
                                                                  : "name or password are wrong, or it does not let us in"};
    default:
      return protocol("it answers what nobody has asked");
  }
}

Client::Verdict Client::on_request(const Packet& p) {
  if (p.type == Type::Identity) return response(p, Type::Identity, own_.identity);
  if (p.type == Type::Notification) return response(p, Type::Notification, {});
  if (p.type == Type::Nak) return protocol("it asks with a Nak");
  if (p.type == Type::Tls && own_.method == Method::Tls) return on_tls_packet(p);
  if (p.type == type_of(own_.method)) return own_.method == Method::Mschapv2 ? on_mschapv2(p) : on_md5(p);
  if (state_ != State::Begun) return protocol("it asks for " + name(p.type) + " in the middle of " + name(type_of(own_.method)));
  other_ = name(p.type);
  return response(p, Type::Nak, {static_cast<std::uint8_t>(type_of(own_.method))});  // RFC 3748 §5.3.1
}

Client::Verdict Client::on_mschapv2(const Packet& p) {
  if (ms_op(p.data) != MsOp::Challenge) return on_ms_verdict(p);
  const auto m = parse_ms_challenge(p.data);
  if (!m) return protocol(std::string("a challenge of EAP-MSCHAPv2 does not parse (") + m.error().rule + ")");
  if (state_ != State::Begun) return protocol("a second challenge of EAP-MSCHAPv2 comes");  // one answer for each challenge of ours
  other_.clear();
  const SecretBytes hash = crypto::nt_hash(own_.password.view());
  const Challenges c{m->challenge, own_.challenge, own_.identity};
  const SecretBytes proof = nt_response(c, hash.view());
  expected_ = authenticator_response(c, hash.view(), proof.view());
  msk_ = mschapv2_msk(hash.view(), proof.view());
  state_ = State::Answered;
  return response(p, Type::Mschapv2,
                  encode(MsResponse{m->id, own_.challenge, Bytes(proof.view().begin(), proof.view().end()), own_.identity}));
}

Client::Verdict Client::on_ms_verdict(const Packet& p) {
  const auto m = parse_ms_verdict(p.data);
  if (!m || state_ != State::Answered) return protocol("a message of EAP-MSCHAPv2 does not belong there");
  if (m->op == MsOp::Failure) return Refusal{Problem::Refused, meaning(m->message)};
  const ByteView said = ByteView(m->message).first(std::min(m->message.size(), expected_.size()));
  if (!equal_constant_time(said, expected_.view()))
    return Refusal{Problem::WrongPassword, "it does not know the password itself: its proof is wrong"};
  state_ = State::Done;
  return response(p, Type::Mschapv2, {static_cast<std::uint8_t>(MsOp::Success)});
}

Client::Verdict Client::on_md5(const Packet& p) {
  Reader r(p.data);
  const auto size = r.be<std::uint8_t>();
  const ByteView challenge = r.take(size);
  if (!r.ok() || size == 0 || state_ != State::Begun) return protocol("a challenge of EAP-MD5 does not belong there");
  const std::array<std::uint8_t, 1> id{p.id};
  const Bytes proof = crypto::digest(Prf::HmacMd5, {id, own_.password.view(), challenge});
  other_.clear();
  state_ = State::Done;
  Writer w;
  w.be(static_cast<std::uint8_t>(proof.size()));
  w.bytes(proof);
  w.bytes(own_.identity);
  return response(p, Type::Md5, std::move(w).take());
}

Client::Verdict Client::on_tls_packet(const Packet& p) {
  auto taken = tls_.take(p.data);
  if (!taken) return protocol(std::move(taken.error()));
  other_.clear();
  tls_request_ = p.id;
  if (std::holds_alternative<TlsFragments::More>(*taken)) return response(p, Type::Tls, TlsFragments::ack());
  if (std::holds_alternative<TlsFragments::GoOn>(*taken)) return response(p, Type::Tls, tls_.next());
  const bool begins = std::holds_alternative<TlsFragments::Begin>(*taken);
  if (begins != (state_ == State::Begun) || std::holds_alternative<TlsFragments::Nothing>(*taken))
    return protocol("a message of EAP-TLS does not belong there");
  state_ = state_ == State::Begun ? State::Answered : state_;
  tls_steps_ = true;
  return StepTls{begins ? Bytes{} : std::move(std::get<TlsFragments::Whole>(*taken).message)};
}

Client::Verdict Client::on_tls(TlsNews news) {
  if (!std::exchange(tls_steps_, false)) return protocol("TLS has not been asked");
  if (news.failure) {
    const Refusal refusal{Problem::Tls, std::move(*news.failure)};
    if (news.output.empty()) return refusal;
    failed_ = refusal;
  } else if (news.done) {
    msk_ = std::move(news.msk);
    state_ = State::Done;
  }
  const bool speaks = !news.output.empty();
  if (!speaks && !news.done) return protocol("it leaves a message of TLS unfinished");
  tls_.load(std::move(news.output));
  return Reply{encode({Code::Response, tls_request_, Type::Tls, speaks ? tls_.next() : TlsFragments::ack()})};
}

}  // namespace culvert::eap
