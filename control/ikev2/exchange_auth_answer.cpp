// IKE_AUTH, responder: how an initiator is refused, and the answer to one that has proved itself.
#include <algorithm>

#include "control/ikev2/certificates.hpp"
#include "control/ikev2/childless.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_auth_responder.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/shares.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {

void make_child(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const Message& m, Builder proof) {
  const auto* sa_payload = m.find<Sa>();
  const auto* ts_i = m.find<TsI>();
  const auto* ts_r = m.find<TsR>();
  const auto refused = [&](const ChildRefusal& r) {
    proof.notify(r.notify, r.data);
    answer(core, now, sa, ike::kExchangeAuth, id, proof);
    core.ended(now, sa, Exchange::IkeAuth, Role::Responder, r.reason, r.text, r.child, r.cause);
  };
  const auto given = give_address(core, sa, m);
  if (!given) return refused(given.error());
  if (*given) proof.add(**given);  // also where this CHILD SA is refused: another one may be about the address
  if (!sa_payload || !ts_i || !ts_r) return answer(core, now, sa, ike::kExchangeAuth, id, proof);  // RFC 6023 §4
  if (const auto apart = must_be_apart(core, sa)) return refused(*apart);
  auto granted = grant(core, sa,
                       {.offered = *sa_payload,
                        .ts_i = *ts_i,
                        .ts_r = *ts_r,
                        .transport = m.notify(NotifyType::UseTransportMode) != nullptr,
                        .pfs = false,
                        .unpadded = m.notify(NotifyType::EspTfcPaddingNotSupported) != nullptr});
  const bool lacks = !core.connection(sa).pools.empty() && !*given;
  if (!granted) return refused(lacks && granted.error().notify == NotifyType::TsUnacceptable ? must_ask(core, sa) : granted.error());
  AnsweringChild what;
  what.pair = std::move(granted->pair);
  what.nonce_i = sa.nonce_i;
  what.nonce_r = sa.nonce_r;
  what.pair.lowest_nonce = std::min(sa.nonce_i, sa.nonce_r);
  what.reply = std::move(granted->reply);
  what.grouped = answers_grouped(core, sa, what.pair, m);
  what.auth = true;
  what.proof = std::move(proof);
  derive_pair(sa, what.pair, Role::Responder, what.nonce_i, what.nonce_r, nullptr);
  const JobId job = install_inbound(core, sa, what.pair);
  sa.answering = Answering{id, job, std::move(what)};
}

/// What else carries the traffic is what the peer had before it began anew: how long it may still send and take in by that; nullopt: it is
/// something else. With `unique: never` the peer would not say so.
std::optional<milliseconds> farewell(Core& core, const IkeSa& sa) {
  if (core.connection(sa).unique == config::Unique::Never) return kContactWait;
  std::optional<milliseconds> out;
  for (const IkeSa* o : core.sas_with(sa, sa.remote_id))
    if (o->peer == sa.peer && o->established() && o->established()->forgotten)
      out = std::max(out.value_or(milliseconds{}), o->never_was() ? milliseconds{} : kContactWait);
  return out;
}

}  // namespace

void refuse_initiator(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, AuthVerdict verdict) {
  if (drop_trial(core, now, sa, verdict.reason, verdict.text)) return;
  core.reassign(sa, verdict.connection);
  answer_error(core, now, sa, ike::kExchangeAuth, id, NotifyType::AuthenticationFailed);
  core.ended(now, sa, Exchange::IkeAuth, Role::Responder, verdict.reason, std::move(verdict.text), {}, std::move(verdict.cause));
  sa.state = Refused{};
  sa.rounds = {};
}

bool refuse_nat(Core& core, const Incoming& in, IkeSa& sa, const Message& message) {
  if (!core.connection(sa).mobike || !message.notify(NotifyType::MobikeSupported) || !forbids_nat(in, message)) return false;
  answer_error(core, in.now, sa, ike::kExchangeAuth, in.header().message_id.value, NotifyType::UnexpectedNatDetected);
  core.ended(in.now, sa, Exchange::IkeAuth, Role::Responder, Reason::PeerRefused,
             "The peer forbids a NAT (NO_NATS_ALLOWED, RFC 4555 §3.9), and there is one between.", {}, {.number = 3});
  sa.state = Refused{};
  return true;
}

std::optional<AuthVerdict> other_names(Core& core, const IkeSa& sa, std::size_t index, const IdI& id, const IdR* wanted) {
  const config::Connection& c = config::proofs(core.config.connections[index], sa.rounds.now);
  AuthVerdict out{.reason = Reason::WrongIdentity, .text = {}, .connection = index};
  if (!matches(c.remote_id, id)) {
    out.text = "The peer calls itself " + text(id) + ", expected was " + c.remote_id.text + ".";
    out.cause.evidence = ike::IdentityEvidence{c.remote_id.text, text(id), false, false};
  } else if (wanted && !is_own(c.local_id, sa.local.address, *wanted)) {
    out.text = "The peer takes us for " + text(*wanted) + ", and we are " + c.local_id.text + ".";
    out.cause.evidence = ike::IdentityEvidence{text(*wanted), c.local_id.text, true, false};
  } else {
    return std::nullopt;
  }
  return out;
}

SecretBytes octets_of_initiator(const IkeSa& sa, ByteView init_request, const Message& m, const SecretBytes& sk_pi) {
  return signed_octets(sa.keys.prf, init_request, sa.nonce_r, sk_pi.view(), m.raw(PayloadType::IdI)->body, sa.int_auth);
}

SecretBytes octets_of_reply(Core& core, const IkeSa& sa, const Bytes& init_reply) {
  const IdR own = own_id<IdR>(core.proofs(sa).local_id, sa.local.address);
  return signed_octets(sa.keys.prf, init_reply, sa.nonce_i, sa.keys.pr.view(), encode_body(own), sa.int_auth);
}

void add_introduction(Core& core, IkeSa& sa, Builder& out) {
  const IdR own = own_id<IdR>(core.proofs(sa).local_id, sa.local.address);
  if (sa.rounds.now == 0) sa.local_id = text(own);
  out.add(own);
  if (core.proofs(sa).local_auth.auth == config::Proof::Pubkey) add_certificates(core, sa, out);
}

void finish_auth(Core& core, TimePoint now, IkeSa& sa, const AuthRequest& request, Proven who, Builder answer,
                 const std::optional<Auth>& proof) {
  const std::shared_ptr<const Message> kept = sa.rounds.first;  // of several rounds the first says what all is about
  const Message& asked = kept ? *kept : request.message;
  const bool first = asked.notify(NotifyType::InitialContact) != nullptr;
  if (elsewhere_stays(core, sa, who.identity, who.key))
    return refuse_initiator(core, now, sa, request.id,
                            {Reason::AlreadyConnected,
                             who.identity + " is connected from another address, which stays (unique: keep).",
                             {.number = 3},
                             sa.connection});
  if (auto no = childless_refused(core, sa, asked)) return refuse_initiator(core, now, sa, request.id, std::move(*no));
  add_auth_lifetime(core, now, sa, answer);
  if (proof) answer.add(*proof);
  confirm_ppk(sa, answer);
  if (send_elsewhere(core, now, sa, request.id, who.identity, answer)) return;
  note_token(core, sa, request.message);
  add_token(core, sa, answer);
  add_ticket(core, sa, asked, who, answer);
  note_mobility(core, sa, asked);
  if (sa.mobility.agreed) offer_mobility(core, sa, answer);
  note_sync(core, sa, asked);
  confirm_sync(sa, answer);
  add_window(core, sa, answer);
  established(core, now, sa, std::move(who.identity), who.key);
  if (first) peer_restarted(core, now, sa);
  make_child(core, now, sa, request.id, asked, std::move(answer));
}

void on_auth_installed(Core& core, TimePoint now, IkeSa& sa, bool ok, const std::string& error) {
  const std::uint32_t id = sa.answering->id;
  AnsweringChild what = std::move(std::get<AnsweringChild>(sa.answering->what));
  sa.answering.reset();
  Builder b = std::move(what.proof);
  if (!ok) {
    forget_pair(core, what.pair, false);
    b.notify(NotifyType::TemporaryFailure);
    answer(core, now, sa, ike::kExchangeAuth, id, b);
    return core.ended(now, sa, Exchange::IkeAuth, Role::Responder, Reason::InstallFailed,
                      "The data plane refused the inbound SA: " + error + ".", what.pair.child);
  }
  add_child_answer(what, b);
  const bool wait = what.ended || carried_by_another(core, sa, what.pair);
  // What the initiator sends as soon as it has the answer may be answered at once: our outbound half is asked of the data plane before
  // that.
  Child& made = pair_up(core, now, sa, std::move(what.pair), Role::Responder, Exchange::IkeAuth, wait);
  answer(core, now, sa, ike::kExchangeAuth, id, b);
  made.ended = what.ended;
  if (const auto wait_for = farewell(core, sa)) made.ready_at = now + *wait_for;
}

}  // namespace culvert::ikev2
