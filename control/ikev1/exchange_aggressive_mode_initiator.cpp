// Aggressive Mode, initiator: messages 1 and 3 out; 2 in. The ladder is in exchange_aggressive_mode.hpp.
#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/nat_payloads.hpp"

namespace culvert::ikev1 {

namespace {

/// A wrong message 2 may be forged: this many are tried (each costs a Diffie-Hellman computation, or a verification) before we give up.
constexpr unsigned kMaxBadReplies = 5;

/// Message 2 is in clear and was not proved: we go on waiting for a better one, for a while.
void reply_refused(Core& core, TimePoint now, IsakmpSa& sa, AmAwaitReply before, Hint hint) {
  const bool enough = ++before.bad_replies >= kMaxBadReplies;
  sa.spi_r = {};
  sa.state = std::move(before);
  if (enough) return phase1_failed(core, now, sa, hint.reason, hint.text, hint.cause);
  phase1_hint(core, now, sa, std::move(hint));
}

}  // namespace

bool start_aggressive_mode(Core& core, TimePoint now, const Phase1Start& start) {
  IsakmpSa* sa = new_initiator(core, now, start, Exchange::AggressiveMode);
  if (!sa) return false;
  const Phase1Auth auth = wanted_auth(core, start.connection, Role::Initiator).value_or(Phase1Auth{});
  const JobId job = core.add_job({.sa = sa->id});
  sa->state = AmMakingKey{auth, job};
  core.actions.emplace_back(ike::ComputeDh{job, core.connection(*sa).proposals.front().group, nullptr, std::nullopt});
  core.say(*sa, Severity::Info, Exchange::AggressiveMode, Reason::Ok, "Aggressive Mode begins towards " + sa->remote.to_string() + ".");
  return true;
}

void send_aggressive_1(Core& core, TimePoint now, IsakmpSa& sa, const AmMakingKey& state, const ike::DhResult& result) {
  if (!result.ok) return phase1_failed(core, now, sa, Reason::Internal, "A Diffie-Hellman key pair could not be made.");
  const config::Connection& c = core.connection(sa);
  Sa offer = build_ike_offer(same_group(c.proposals), offered_life(c), state.auth);
  Bytes nonce = core.random(kNonceBytes);
  Builder b;
  b.add(offer).add(Ke{result.public_value}).add(Nonce{nonce}).add(own_id(core, sa));
  add_cert_requests(core, sa, state.auth, kMaxCertificate, b);
  offer_extensions(c, state.auth, b);
  Bytes message = clear_message(sa, ike::kExchangeAggressive, MessageId{}, b);
  sa.state = AmAwaitReply{state.auth,
                          std::move(offer),
                          result.key,
                          std::move(nonce),
                          result.public_value,
                          0,
                          Outstanding(now, message, core.config.ike, core.services)};
  core.send(now, sa, message);
}

void on_aggressive_2(Core& core, const Incoming& in, IsakmpSa& sa, AmAwaitReply& state) {
  const auto refuse = [&](Reason reason, const std::string& text, ike::Evidence found = {}) {
    phase1_hint(core, in.now, sa, {reason, text, {.number = 2, .evidence = std::move(found)}});
  };
  const bool signs = state.auth.signs(Role::Responder);
  auto message = open_clear(in, signs ? MessageKind::AggressiveMode2Signed : MessageKind::AggressiveMode2);
  if (!message) return refuse(message.error().reason, message.error().text);
  const auto choice = accept_ike(state.offer, *message->find<Sa>());
  if (!choice)
    return refuse(Reason::NoProposalChosen, "The answer to our proposals is none of them: " + choice.error().text(),
                  evidence(choice.error()));
  if (!nonce_ok(*message)) return refuse(Reason::BadNonce, "Message 2 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).");
  if (message->find<Nonce>()->data == state.nonce_i)
    return core.junk(in.now, in.datagram.remote, Exchange::AggressiveMode, Reason::Unexpected, "Our own message 1 came back to us.");

  sa.spi_r = in.header().spi_r;
  Negotiated negotiated{
      .suite = choice->suite, .sa_i_body = encode_body(state.offer), .life = choice->life, .vendor_ids = {}, .auth = state.auth};
  sa.nat.supported = false;  // whatever a message 2 before this one said
  note_extensions(*message, negotiated, sa.nat);
  if (const std::string bad = bad_nat_d(sa, negotiated.suite.prf, *message); !bad.empty())
    return refuse(Reason::Malformed, "In message 2 " + bad + ".");
  sa.replies.accept(in.framed.message);
  KeyExchange ke{state.g_xi, message->find<Ke>()->data, state.nonce_i, message->find<Nonce>()->data};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, negotiated.suite.group, state.key, ke.g_xr});
  const Payload& id = *message->raw(PayloadType::Id);
  Claim claim{std::get<Id>(id.content), id.body, std::move(*message), in.datagram.local, in.datagram.remote};
  AmAwaitReply before = std::move(state);
  sa.state = AmDeriving{std::move(before), std::move(negotiated), std::move(ke), std::move(claim), job};
}

namespace {

/// The responder is who it should be: our own proof.
void accept_responder(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, Claim claim) {
  if (!admit(core, now, sa, derived, claim)) return;
  if (!derived.negotiated.auth.signs(Role::Initiator)) return send_aggressive_3(core, now, sa, std::move(derived), claim, nullptr);
  const JobId job = ask_signature(core, sa, derived);
  sa.state = AmSigning{std::move(derived), std::move(claim), job};
}

}  // namespace

void on_aggressive_secret(Core& core, TimePoint now, IsakmpSa& sa, AmDeriving& state, const ike::DhResult& result) {
  AmAwaitReply before = std::move(state.before);
  Claim claim = std::move(state.claim);
  const auto refuse = [&](Reason reason, const std::string& text, ike::Evidence found = {}) {
    reply_refused(core, now, sa, std::move(before), {reason, text, {.number = 2, .evidence = std::move(found)}});
  };
  if (!result.ok) return refuse(Reason::BadKe, "Message 2 has a key exchange value that is invalid for its group.");
  auto keys = make_keys(core, sa, state.negotiated, state.ke, result.shared.view());
  if (!keys)
    return phase1_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read any more: " + keys.error() + ".",
                         {.number = 2, .evidence = unreadable(keys.error())});
  Derived derived{std::move(state.negotiated), std::move(state.ke), std::move(*keys)};
  const bool signs = derived.negotiated.auth.signs(Role::Responder);
  if (!signs && !hash_proves(sa, derived, Role::Responder, claim.id_body, claim.message))
    return refuse(Reason::AuthFailed,
                  "HASH_R in message 2 is wrong: the pre-shared keys probably differ, or the peer expects another identity.",
                  ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}});
  const config::Connection& c = core.connection(sa);
  // The peer's identity comes before anything that would tell it more of us (RFC 2407 §4.6.2).
  if (!phase1_port_ok(claim.id) || !matches(c.remote_id, claim.id)) {
    const Reason why = phase1_port_ok(claim.id) ? Reason::WrongIdentity : Reason::BadPayloads;
    if (signs) return refuse(why, wrong_identity_text(claim.id, c), identity_evidence(claim.id, c, false));
    core.send(now, sa, informational(core, sa, derived.keys, refusal_and_delete(sa, NotifyType::InvalidIdInformation)));
    return phase1_failed(core, now, sa, why, wrong_identity_text(claim.id, c),
                         {.number = 2, .evidence = identity_evidence(claim.id, c, true)});
  }
  if (!signs) return accept_responder(core, now, sa, std::move(derived), std::move(claim));
  const JobId job = ask_verification(core, sa, derived, claim);
  sa.state = AmVerifying{std::move(derived), std::move(before), std::move(claim), job};
}

void on_aggressive_responder_verified(Core& core, TimePoint now, IsakmpSa& sa, AmVerifying& state, const ike::VerifyResult& result) {
  Derived derived = std::move(static_cast<Derived&>(state));
  Claim claim = std::move(state.claim);
  AmAwaitReply before = std::move(state.before);
  if (result.ok) return accept_responder(core, now, sa, std::move(derived), std::move(claim));
  reply_refused(
      core, now, sa, std::move(before),
      {result.reason == Reason::Ok ? Reason::AuthFailed : result.reason, result.message, refused_claim(core, sa, claim, 2, result)});
}

void send_aggressive_3(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim, const Bytes* signature) {
  core.table.complete_initiator(sa.id, sa.spi_i, sa.spi_r);
  sa.hint.reset();
  if (sa.nat.supported) look_for_nat(sa, derived.negotiated.suite.prf, claim.message);
  Builder b;
  if (sa.nat.supported) {
    move_to_nat_port(sa);
    add_nat_d(core, sa, derived.negotiated.suite.prf, b);
  }
  add_proof(core, sa, derived, signature, b);
  Bytes message = sealed_message(sa, derived.keys.cipher, derived.keys.iv, ike::kExchangeAggressive, MessageId{}, b);
  core.send(now, sa, message);
  sa.replies.set_reply(message);
  Outstanding unconfirmed(now, std::move(message), core.config.ike, core.services);
  become_established(core, now, sa, std::move(derived), to_text(own_id(core, sa)), to_text(claim.id));
  if (MmEstablished* est = sa.established()) est->unconfirmed = std::move(unconfirmed);
}

}  // namespace culvert::ikev1
