// Aggressive Mode, responder: messages 1 and 3 in; 2 out. The ladder is in exchange_aggressive_mode.hpp.
#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/nat_payloads.hpp"

namespace culvert::ikev1 {

void on_aggressive_1(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  const auto junk = [&](Reason reason, const std::string& text) { core.junk(in.now, peer, Exchange::AggressiveMode, reason, text); };
  if (first_message_again(core, in)) return;
  if (h.encrypted() || core.table.find_initiating(h.spi_i))  // the latter: our own message, reflected
    return junk(Reason::Unexpected, "A first message of Aggressive Mode is encrypted, or our own.");
  if (core.shutting_down || !has_room(core, in, Exchange::AggressiveMode)) return;
  auto message = open_clear(in, MessageKind::AggressiveMode1);
  if (!message) return junk(message.error().reason, message.error().text);
  const Id& id = *message->find<Id>();
  if (!nonce_ok(*message)) return junk(Reason::BadNonce, "Message 1 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).");
  if (!phase1_port_ok(id)) return junk(Reason::BadPayloads, "The identity in message 1 has a port that is not IKE's (RFC 2407 §4.6.2).");
  auto selected = select_connection(core, in, Exchange::AggressiveMode, *message->find<Sa>(), &id);
  if (!selected) return;

  auto owned = new_responder(core, in, selected->connection, Exchange::AggressiveMode);
  IsakmpSa& sa = *owned;
  const config::Connection& c = core.connection(sa);
  if (selected->stranger && selected->auth.psk())
    core.refused(in.now, selected->connection, peer, Exchange::AggressiveMode, Reason::WrongIdentity, wrong_identity_text(id, c),
                 {.number = 1, .evidence = identity_evidence(id, c, false)});
  Negotiated negotiated{.suite = selected->choice.suite,
                        .sa_i_body = message->raw(PayloadType::Sa)->body,
                        .life_seconds = selected->choice.life_seconds.value_or(0),
                        .vendor_ids = {},
                        .auth = selected->auth};
  note_extensions(*message, negotiated, sa.nat);
  KeyExchange ke{message->find<Ke>()->data, {}, message->find<Nonce>()->data, {}};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, negotiated.suite.group, nullptr, ke.g_xi});
  AmPeer claimed{id, message->raw(PayloadType::Id)->body, selected->stranger};
  sa.state = AmResponding{
      std::move(negotiated), std::move(ke), std::move(claimed), selected->choice.reply, message->count(PayloadType::CertReq) > 0, job};
  core.table.add_responder(sa.id, sa.spi_i, sa.spi_r, peer);
  core.add(std::move(owned));
  sa.replies.accept(in.framed.message);
}

void on_aggressive_key(Core& core, TimePoint now, IsakmpSa& sa, AmResponding& state, const ike::DhResult& result) {
  if (!result.ok) {
    core.ended(now, sa, Exchange::AggressiveMode, Role::Responder, Reason::BadKe,
               "Message 1 has a key exchange value that is invalid for its group.", {}, {.number = 1});
    sa.state = MmRefused{};
    return;
  }
  Negotiated negotiated = std::move(state.negotiated);
  KeyExchange ke = std::move(state.ke);
  ke.g_xr = result.public_value;
  ke.nonce_r = core.random(kNonceBytes);
  const SecretBytes nobodys(core.random(kNonceBytes));
  auto keys = make_keys(core, sa, negotiated, ke, result.shared.view(), state.peer.stranger ? &nobodys : nullptr);
  if (!keys)
    return phase1_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read: " + keys.error() + ".",
                         {.number = 1, .evidence = unreadable(keys.error())});
  Derived derived{std::move(negotiated), std::move(ke), std::move(*keys)};
  AmSigningReply next{std::move(derived), std::move(state.peer), std::move(state.reply), state.certificates_wanted, 0};
  if (!next.negotiated.auth.signs(Role::Responder)) return send_aggressive_2(core, now, sa, std::move(next), nullptr);
  next.job = ask_signature(core, sa, next);
  sa.state = std::move(next);
}

void send_aggressive_2(Core& core, TimePoint now, IsakmpSa& sa, AmSigningReply state, const Bytes* signature) {
  const Negotiated& negotiated = state.negotiated;
  Builder b;
  b.add(state.reply).add(Ke{state.ke.g_xr}).add(Nonce{state.ke.nonce_r}).add(own_id(core, sa));
  add_proof(core, sa, state, signature, b, state.certificates_wanted);
  answer_extensions(core.connection(sa), sa, negotiated, b);
  if (sa.nat.supported) add_nat_d(core, sa, negotiated.suite.prf, b);
  const std::size_t size = ike::kHeaderSize + b.chain().size();
  add_cert_requests(core, sa, negotiated.auth, sa.allowance.left() - std::min(size, sa.allowance.left()), b);
  sa.replies.set_reply(clear_message(sa, ike::kExchangeAggressive, MessageId{}, b));
  AmPeer peer = std::move(state.peer);
  sa.state = AmAwaitProof{std::move(static_cast<Derived&>(state)), std::move(peer), 0};
  answer_stranger(core, now, sa);
}

namespace {

/// The peer's hashes are of the ports that it uses now, or of those that it began with: RFC 3947 §4 leaves that open for message 3.
void look_for_nat_in_3(IsakmpSa& sa, Prf hash, const Claim& claim) {
  const Endpoint local = sa.local, remote = sa.remote;
  look_for_nat(sa, hash, claim.message);
  const ike::NatStatus before = sa.nat;
  sa.local = claim.local;
  sa.remote = claim.remote;
  look_for_nat(sa, hash, claim.message);
  sa.nat.local = sa.nat.local && before.local;
  sa.nat.remote = sa.nat.remote && before.remote;
  sa.local = local;
  sa.remote = remote;
}

void established(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim, bool encrypted) {
  if (sa.nat.supported) look_for_nat_in_3(sa, derived.negotiated.suite.prf, claim);
  if (!admit(core, now, sa, derived, claim)) return;
  become_established(core, now, sa, std::move(derived), to_text(own_id(core, sa)), to_text(claim.id));
  if (encrypted) apply_phase1_notifications(core, now, sa, claim.message);  // HASH_I covers none of them
}

}  // namespace

void on_aggressive_3(Core& core, const Incoming& in, IsakmpSa& sa, AmAwaitProof& state) {
  const auto bad = [&](const std::string& detail) {  // too many: the keys go, the place stays taken
    if (bad_last_message(core, in, sa, state.negotiated, state.bad_messages, detail)) sa.state = MmRefused{};
  };
  const bool signs = state.negotiated.auth.signs(Role::Initiator);
  const MessageKind kind = signs ? MessageKind::AggressiveMode3Signed : MessageKind::AggressiveMode3;
  const bool encrypted = in.header().encrypted();  // RFC 2409 §5.4 draws it in clear; RFC 3947 §4 and every peer in the field encrypt it
  Message message;
  if (encrypted) {
    auto opened = open_sealed(in, kind, state.keys.cipher, state.keys.iv);
    if (!opened) return bad(opened.error().text);
    message = std::move(opened->message);
    if (signs || hash_proves(sa, state, Role::Initiator, state.peer.id_body, message)) state.keys.iv = opened->next;
  } else {
    auto opened = open_clear(in, kind);
    if (!opened) return bad(opened.error().text);
    message = std::move(*opened);
  }
  if (!signs && !hash_proves(sa, state, Role::Initiator, state.peer.id_body, message)) return bad("HASH_I is wrong.");
  if (const std::string wrong = bad_nat_d(sa, state.negotiated.suite.prf, message); !wrong.empty()) return bad(wrong);

  Claim claim{state.peer.id, state.peer.id_body, std::move(message), in.datagram.local, in.datagram.remote};
  const bool stranger = state.peer.stranger;
  Derived derived = std::move(static_cast<Derived&>(state));
  sa.replies.accept(in.framed.message);
  if (stranger) return refuse_claim(core, in.now, sa, derived, claim, 3, {.ok = false, .reason = Reason::WrongIdentity, .message = {}});
  if (!signs) return established(core, in.now, sa, std::move(derived), claim, encrypted);
  const JobId job = ask_verification(core, sa, derived, claim);
  sa.state = AmVerifyingProof{std::move(derived), std::move(claim), encrypted, job};
}

void on_aggressive_initiator_verified(Core& core, TimePoint now, IsakmpSa& sa, AmVerifyingProof& state, const ike::VerifyResult& result) {
  Derived derived = std::move(static_cast<Derived&>(state));
  const Claim claim = std::move(state.claim);
  const bool encrypted = state.encrypted;
  const std::optional<ike::Datagram> early = std::move(state.early);
  if (!result.ok) return refuse_claim(core, now, sa, derived, claim, 3, result);
  if (early) core.deferred.push_back(*early);
  established(core, now, sa, std::move(derived), claim, encrypted);
}

}  // namespace culvert::ikev1
