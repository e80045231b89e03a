// Main Mode, initiator: messages 1, 3 and 5 out; 2, 4 and 6 in. The ladder is in exchange_main_mode.hpp.
#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/nat_payloads.hpp"
#include "control/ikev1/notifications.hpp"

namespace culvert::ikev1 {

namespace {
/// A wrong message 4 may be forged: this many are tried (each costs a Diffie-Hellman computation) before we give up.
constexpr unsigned kMaxBadKe = 3;

Bytes main_mode_message(const IsakmpSa& sa, const Builder& b) { return clear_message(sa, ike::kExchangeMainMode, MessageId{}, b); }
}  // namespace

bool start_main_mode(Core& core, TimePoint now, const Phase1Start& start) {
  IsakmpSa* sa = new_initiator(core, now, start, Exchange::MainMode);
  if (!sa) return false;
  const config::Connection& c = core.connection(*sa);
  const Phase1Auth auth = wanted_auth(core, start.connection, Role::Initiator).value_or(Phase1Auth{});
  Sa offer = build_ike_offer(c.proposals, offered_life(c), auth);
  Builder b;
  b.add(offer);
  offer_extensions(c, auth, b);
  Bytes message = main_mode_message(*sa, b);
  sa->state = MmAwaitSa{std::move(offer), auth, Outstanding(now, message, core.config.ike, core.services)};
  core.say(*sa, Severity::Info, Exchange::MainMode, Reason::Ok, "Main Mode begins towards " + sa->remote.to_string() + ".");
  core.send(now, *sa, message);
  return true;
}

void on_message_2(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitSa& state) {
  const auto message = open_clear(in, MessageKind::MainMode2);
  if (!message) return phase1_hint(core, in.now, sa, {message.error().reason, message.error().text, {.number = 2}});
  const auto choice = accept_ike(state.offer, *message->find<Sa>());
  if (!choice)
    return phase1_hint(core, in.now, sa,
                       {Reason::NoProposalChosen,
                        "The answer to our proposals is none of them: " + choice.error().text(),
                        {.number = 2, .evidence = evidence(choice.error())}});

  sa.replies.accept(in.framed.message);
  sa.spi_r = in.header().spi_r;
  core.table.complete_initiator(sa.id, sa.spi_i, sa.spi_r);
  sa.hint.reset();
  Negotiated negotiated{
      .suite = choice->suite, .sa_i_body = encode_body(state.offer), .life = choice->life, .vendor_ids = {}, .auth = state.auth};
  note_extensions(*message, negotiated, sa.nat);
  const JobId job = core.add_job({.sa = sa.id});
  const DhGroup group = negotiated.suite.group;
  sa.state = MmMakingKey{std::move(negotiated), job};
  core.actions.emplace_back(ike::ComputeDh{job, group, nullptr, std::nullopt});
}

void send_message_3(Core& core, TimePoint now, IsakmpSa& sa, MmMakingKey& state, const ike::DhResult& result) {
  if (!result.ok) return phase1_failed(core, now, sa, Reason::Internal, "A Diffie-Hellman key pair could not be made.");
  Bytes nonce = core.random(kNonceBytes);
  Builder b;
  b.add(Ke{result.public_value}).add(Nonce{nonce});
  if (sa.nat.supported) add_nat_d(core, sa, state.negotiated.suite.prf, b);
  Bytes message = main_mode_message(sa, b);
  sa.state = MmAwaitKe{std::move(state.negotiated), result.key, std::move(nonce),
                       result.public_value,         0,          Outstanding(now, message, core.config.ike, core.services)};
  core.send(now, sa, message);
}

void on_message_4(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKe& state) {
  const auto message = open_clear(in, MessageKind::MainMode4);
  if (!message) return phase1_hint(core, in.now, sa, {message.error().reason, message.error().text, {.number = 4}});
  if (!nonce_ok(*message))
    return phase1_hint(core, in.now, sa,
                       {Reason::BadNonce, "Message 4 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).", {.number = 4}});
  if (message->find<Nonce>()->data == state.nonce_i)
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected, "Our own message 3 came back to us.");
  if (const std::string bad = bad_nat_d(sa, state.negotiated.suite.prf, *message); !bad.empty())
    return phase1_hint(core, in.now, sa, {Reason::Malformed, "In message 4 " + bad + ".", {.number = 4}});
  sa.replies.accept(in.framed.message);
  if (sa.nat.supported) look_for_nat(sa, state.negotiated.suite.prf, *message);
  note_extensions(*message, state.negotiated);
  KeyExchange ke{state.g_xi, message->find<Ke>()->data, state.nonce_i, message->find<Nonce>()->data};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, state.negotiated.suite.group, state.key, ke.g_xr});
  MmAwaitKe before = std::move(state);
  sa.state = MmDeriving{std::move(before), std::move(ke), job};
}

void on_shared_secret(Core& core, TimePoint now, IsakmpSa& sa, MmDeriving& state, const ike::DhResult& result) {
  if (!result.ok) {
    MmAwaitKe before = std::move(state.before);
    ++before.bad_ke;
    const bool enough = before.bad_ke >= kMaxBadKe;
    sa.state = std::move(before);
    if (enough)
      return phase1_failed(core, now, sa, Reason::BadKe, "The peer's key exchange values are invalid for their group.", {.number = 4});
    return phase1_hint(core, now, sa, {Reason::BadKe, "Message 4 has a key exchange value that is invalid for its group.", {.number = 4}});
  }
  auto keys = make_keys(core, sa, state.before.negotiated, state.ke, result.shared.view());
  if (!keys)
    return phase1_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read any more: " + keys.error() + ".",
                         {.number = 5, .evidence = unreadable(keys.error())});
  Derived derived{std::move(state.before.negotiated), std::move(state.ke), std::move(*keys)};
  sa.hint.reset();
  if (!derived.negotiated.auth.signs(Role::Initiator)) return send_message_5(core, now, sa, std::move(derived), nullptr);
  const JobId job = ask_signature(core, sa, derived);
  sa.state = MmSigning{std::move(derived), job};
}

void send_message_5(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Bytes* signature) {
  Builder b;
  b.add(own_id(core, sa));
  add_proof(core, sa, derived, signature, b);
  add_cert_requests(core, sa, derived.negotiated.auth, kMaxCertificate, b);
  add_initial_contact(core, sa, b);
  move_to_nat_port(sa);
  Bytes message = sealed_message(sa, derived.keys.cipher, derived.keys.iv, ike::kExchangeMainMode, MessageId{}, b);
  sa.state = MmAwaitAuth{std::move(derived), Outstanding(now, message, core.config.ike, core.services)};
  core.send(now, sa, message);
}

namespace {
void established(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim) {
  if (!admit(core, now, sa, derived, claim)) return;
  note_extensions(claim.message, derived.negotiated);
  become_established(core, now, sa, std::move(derived), to_text(own_id(core, sa)), to_text(claim.id));
  apply_phase1_notifications(core, now, sa, claim.message);
}
}  // namespace

void on_message_6(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuth& state) {
  const auto hint = [&](const std::string& text) { phase1_hint(core, in.now, sa, {Reason::AuthFailed, text}); };
  if (!in.header().encrypted())
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected,
                     "A clear message came where message 6 must be encrypted.");
  const bool signs = state.negotiated.auth.signs(Role::Responder);
  auto opened = open_sealed(in, signs ? MessageKind::MainMode6Signed : MessageKind::MainMode6, state.keys.cipher, state.keys.iv);
  if (!opened) return hint("Message 6 does not decrypt to what it should be: " + opened.error().text);
  const Bytes id_body = opened->message.raw(PayloadType::Id)->body;
  if (!signs && !hash_proves(sa, state, Role::Responder, id_body, opened->message)) return hint("HASH_R in message 6 is wrong.");

  Claim claim{*opened->message.find<Id>(), id_body, std::move(opened->message), in.datagram.local, in.datagram.remote};
  Derived derived = std::move(static_cast<Derived&>(state));
  sa.replies.accept(in.framed.message);
  derived.keys.iv = opened->next;
  const config::Connection& c = core.connection(sa);
  // The peer's identity comes before anything that would tell it more of us (RFC 2407 §4.6.2).
  if (!phase1_port_ok(claim.id) || !matches(c.remote_id, claim.id)) {
    const Reason why = phase1_port_ok(claim.id) ? Reason::WrongIdentity : Reason::BadPayloads;
    sa.local = claim.local;
    sa.remote = claim.remote;
    core.send(in.now, sa, informational(core, sa, derived.keys, refusal_and_delete(sa, NotifyType::InvalidIdInformation)));
    return phase1_failed(core, in.now, sa, why, wrong_identity_text(claim.id, c),
                         {.number = 6, .evidence = identity_evidence(claim.id, c, !signs)});
  }
  if (!signs) return established(core, in.now, sa, std::move(derived), claim);
  const JobId job = ask_verification(core, sa, derived, claim);
  sa.state = MmVerifying{std::move(derived), std::move(claim), job, std::nullopt};
}

void on_responder_verified(Core& core, TimePoint now, IsakmpSa& sa, MmVerifying& state, const ike::VerifyResult& result) {
  Derived derived = std::move(static_cast<Derived&>(state));
  const Claim claim = std::move(state.claim);
  const std::optional<ike::Datagram> early = std::move(state.early);
  if (!result.ok) return refuse_claim(core, now, sa, derived, claim, 6, result);
  if (early) core.deferred.push_back(*early);
  established(core, now, sa, std::move(derived), claim);
}

}  // namespace culvert::ikev1
