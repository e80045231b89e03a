// IKE_AUTH with EAP, initiator.
#include "control/ikev2/exchange_auth_initiator.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_eap_tls.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

std::string own_user(const config::Connection& c, const IkeSa& sa) {
  return c.local_auth.eap_id.empty() ? text(own_id<IdI>(c.local_id, sa.local.address)) : c.local_auth.eap_id;
}

Reason reason_of(eap::Problem p) {
  switch (p) {
    case eap::Problem::Method:
      return Reason::EapMethod;
    case eap::Problem::WrongPassword:
      return Reason::EapWrongPassword;
    case eap::Problem::Refused:
    case eap::Problem::UnknownUser:
      return Reason::EapRefused;
    case eap::Problem::Tls:
      return Reason::EapTls;
    case eap::Problem::Protocol:
      break;
  }
  return Reason::BadPayloads;
}

/// Whom the server of EAP-TLS has to be: local.aaa_id, else who the gateway has proved to be.
IdR server_of(const config::Connection& c, const IkeSa& sa) {
  if (c.local_auth.aaa_id.type == config::Identity::Type::Any) return *sa.rounds.id;
  return own_id<IdR>(c.local_auth.aaa_id, sa.remote.address);
}

/// What comes of what the gateway says.
struct Said {
  Core& core;
  TimePoint now;
  IkeSa& sa;
  ProvingUser& state;

  void send(const Builder& b) const { state.tx = send_request(core, now, sa, ike::kExchangeAuth, b); }
  void operator()(const eap::Reply& r) const { send(Builder().add(Eap{r.packet})); }
  void operator()(const eap::StepTls& step) const {
    const IdR server = server_of(core.proofs(sa), sa);
    state.job = ask_tls(core, sa, state.tls, step.input, {static_cast<std::uint8_t>(server.type), server.data});
  }
  void operator()(const eap::Proved&) const {
    state.proved = true;
    const auto proof = [&](const SecretBytes& sk_pi) { return proof_behind_eap(sa, state.eap.msk(), sk_pi, own_octets(core, sa, sk_pi)); };
    std::optional<Auth> without;
    if (may_lack_ppk(core, sa)) without = proof(sa.keys.pi);
    Builder last;
    last.add(proof(proving_key(sa)));
    add_ppk(core, sa, without, last);
    add_follows(core, sa, last);
    if (last_round(core, sa)) add_token(core, sa, last);
    send(last);
  }
  void operator()(const eap::Refusal& r) const {
    if (r.problem == eap::Problem::Tls) return tls_failed(r);
    const std::string user = printable(as_bytes(own_user(core.proofs(sa), sa)), 64);
    const bool by_peer = r.problem == eap::Problem::Refused || r.problem == eap::Problem::Method;
    Cause cause{.number = 5, .by = by_peer ? ike::RefusedBy::Peer : ike::RefusedBy::Us};
    if (r.problem != eap::Problem::Protocol) cause.evidence = ike::UserEvidence{user, r.text};
    const std::string text =
        (by_peer ? "The gateway refuses user \"" + user + "\": " : std::string("EAP with the gateway: ")) + r.text + ".";
    // A gateway that has said Failure is through with us: whatever else comes is news to it.
    if (r.problem == eap::Problem::Refused)
      return connecting_failed(core, now, sa, Exchange::IkeAuth, Reason::EapRefused, text, std::move(cause));
    refuse_responder(core, now, sa, reason_of(r.problem), text, std::move(cause));
  }
  void tls_failed(const eap::Refusal& r) const {
    const std::string text = "EAP-TLS with the gateway: " + r.text + ".";
    const Reason reason = state.trouble->reason;
    Cause cause = cause_of(*state.trouble, ikev2::text(server_of(core.proofs(sa), sa)));
    // One that has our alert has ended it by now.
    if (state.eap.failed()) return connecting_failed(core, now, sa, Exchange::IkeAuth, reason, text, std::move(cause));
    refuse_responder(core, now, sa, reason, text, std::move(cause));
  }
};

}  // namespace

Auth proof_behind_eap(const IkeSa& sa, const SecretBytes& msk, const SecretBytes& sk_p, const SecretBytes& octets) {
  const SecretBytes auth = shared_key_auth(sa.keys.prf, msk.empty() ? sk_p.view() : msk.view(), octets.view());
  return {AuthMethodId::SharedKey, Bytes(auth.view().begin(), auth.view().end())};
}

bool same_proof(const Auth& a, const Auth& b) { return a.method == b.method && equal_constant_time(a.data, b.data); }

bool opens_eap(Core& core, TimePoint now, IkeSa& sa, const Message& reply) {
  const auto refused = [&](Reason reason, const std::string& text) {
    refuse_responder(core, now, sa, reason, text, {.number = 4});
    return false;
  };
  if (const auto fault = check(MessageKind::EapReply, reply)) return refused(Reason::BadPayloads, "The answer to IKE_AUTH: " + *fault);
  const bool theirs = config::proves_remote(core.connection(sa), sa.rounds.now);
  if (!theirs && (reply.find<IdR>() || reply.find<Auth>()))
    return refused(Reason::AuthRounds, "The gateway proves itself once more, which nobody has asked it for.");
  if (theirs && (!reply.find<IdR>() || !reply.find<Auth>()))
    return refused(Reason::AuthFailed, "The gateway asks for a user before it has proved itself by a certificate.");
  if (!reply.find<Eap>() && !reply.notify(NotifyType::Redirect))
    return refused(Reason::BadPayloads, "The gateway asks for no user, whose proof by EAP is configured.");
  return true;
}

void begin_eap(Core& core, TimePoint now, IkeSa& sa, Verifying done) {
  const config::Connection& c = core.proofs(sa);
  const eap::Method method = method_of(c.local_auth.auth);
  const auto password = method == eap::Method::Tls ? SecretBytes() : core.services.xauth_password(c.name);
  if (!password)
    return refuse_responder(core, now, sa, Reason::NoSecret, "The password of our user cannot be read: " + password.error() + ".",
                            {.number = 5});
  const Bytes first = done.reply.find<Eap>()->data;
  sa.state = ProvingUser{.tx = Outstanding(now, {}, core.config.ike, core.services),
                         .make = std::move(done.make),
                         .eap = eap::Client({method, to_bytes(own_user(c, sa)), *password, core.shared.random(16)})};
  auto& state = std::get<ProvingUser>(sa.state);
  std::visit(Said{core, now, sa, state}, state.eap.on_packet(first));
}

void on_tls_of_server(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state, ike::TlsStepped result) {
  state.job = 0;
  state.tls = result.failed ? nullptr : result.session;
  eap::TlsNews news = news_of(result);
  if (result.failed) state.trouble = std::move(result);
  std::visit(Said{core, now, sa, state}, state.eap.on_tls(std::move(news)));
}

bool on_eap_silence(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state) {
  if (!state.eap.failed()) return false;
  Said{core, now, sa, state}(*state.eap.failed());
  return true;
}

void on_eap_reply(Core& core, TimePoint now, IkeSa& sa, ProvingUser& state, const Message& m) {
  if (state.eap.failed()) return Said{core, now, sa, state}(*state.eap.failed());
  if (state.proved && m.find<Auth>()) {
    const MessageKind kind = !last_round(core, sa) ? MessageKind::RoundReply
                             : sa.childless        ? MessageKind::ChildlessReply
                                                   : MessageKind::AuthReply;
    if (const auto fault = check(kind, m))
      return refuse_responder(core, now, sa, Reason::BadPayloads, "The answer to IKE_AUTH: " + *fault, {.number = 6});
    if (auto fault = settle_ppk(core, sa, m)) return refuse_responder(core, now, sa, fault->reason, fault->text, std::move(fault->cause));
    const SecretBytes octets = octets_of_responder(sa, sa.init_request, sa.rounds.latest_id);
    if (!same_proof(*m.find<Auth>(), proof_behind_eap(sa, state.eap.msk(), sa.keys.pr, octets)))
      return refuse_responder(core, now, sa, Reason::AuthFailed,
                              "The gateway's proof behind EAP is wrong: the key of EAP is another one there.", {.number = 6});
    ProvingUser done = std::move(state);
    return end_round(core, now, sa, std::move(done.make), m);
  }
  // A Failure in EAP says more than the notification beside it.
  const Eap* said = state.proved ? nullptr : m.find<Eap>();
  if (!said && m.error()) return refused_by_responder(core, now, sa, *m.error());
  const auto fault = check(MessageKind::EapReply, m);
  const unsigned most = most_rounds(method_of(core.proofs(sa).local_auth.auth));
  if (fault || !said || ++state.rounds > most)
    return refuse_responder(core, now, sa, fault || !said ? Reason::BadPayloads : Reason::Limit,
                            fault   ? "The answer to IKE_AUTH: " + *fault
                            : !said ? "The answer to IKE_AUTH has no proof behind EAP."
                                    : "EAP has come to no end in " + std::to_string(most) + " rounds.",
                            {.number = 5});
  std::visit(Said{core, now, sa, state}, state.eap.on_packet(said->data));
}

}  // namespace culvert::ikev2
