// Main Mode, initiator: messages 1, 3 and 5 out; 2, 4 and 6 in. The ladder is in exchange_main_mode.hpp.
#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/nat_payloads.hpp"
#include "control/ikev1/peers.hpp"

namespace culvert::ikev1 {

namespace {
/// A wrong message 4 may be forged: this many are tried (each costs a Diffie-Hellman computation) before we give up.
constexpr unsigned kMaxBadKe = 3;

std::uint32_t offered_life(const config::Connection& c) { return static_cast<std::uint32_t>((c.rekey_time + c.over_time).count()); }

Bytes main_mode_message(const IsakmpSa& sa, const Builder& b) { return clear_message(sa, ike::kExchangeMainMode, MessageId{}, b); }
}  // namespace

bool start_main_mode(Core& core, TimePoint now, const MainModeStart& start) {
  const config::Connection& c = core.connection(start.connection);
  auto owned = std::make_unique<IsakmpSa>(IsakmpSa{core.new_sa_id(),
                                                   start.connection,
                                                   Role::Initiator,
                                                   core.new_cookie(),
                                                   {},
                                                   start.local,
                                                   start.remote,
                                                   {},
                                                   now,
                                                   {},
                                                   MmMakingKey{},
                                                   {},
                                                   {},
                                                   {},
                                                   {},
                                                   start.replaces,
                                                   now,
                                                   false});
  IsakmpSa& sa = *owned;
  const bool room = core.table.size() < ike::kMaxIkeSas;
  const auto psk = core.services.secret(c.name);
  if (!room || !psk) {
    core.ended(now, sa, Exchange::MainMode, Role::Initiator, room ? Reason::NoSecret : Reason::Limit,
               room ? "The pre-shared key cannot be read (" + psk.error() + "); nothing was sent."
                    : "There are too many ISAKMP SAs; nothing was sent.",
               {}, {.number = 1, .evidence = room ? unreadable(psk.error()) : ike::Evidence{}});
    connecting_failed(core, now, start.connection, start.replaces);
    return false;
  }
  sa.nat.forced = c.encap;
  Sa offer = build_ike_offer(c.proposals, offered_life(c));
  Builder b;
  b.add(offer);
  offer_extensions(b);
  Bytes message = main_mode_message(sa, b);
  sa.state = MmAwaitSa{std::move(offer), Outstanding(now, message, core.config.ike, core.services)};
  core.table.add_initiator(sa.id, sa.spi_i);
  core.add(std::move(owned));
  core.say(sa, Severity::Info, Exchange::MainMode, Reason::Ok, "Main Mode begins towards " + sa.remote.to_string() + ".");
  core.send(now, sa, message);
  return true;
}

void on_message_2(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitSa& state) {
  const auto refuse = [&](Reason reason, const std::string& text, ike::Evidence found = {}) {
    main_mode_hint(core, in.now, sa, {reason, text, {.number = 2, .evidence = std::move(found)}});
  };
  const auto message = open_clear(in, MessageKind::MainMode2);
  if (!message) return refuse(message.error().reason, message.error().text);
  const auto choice = accept_ike(state.offer, *message->find<Sa>());
  if (!choice)
    return refuse(Reason::NoProposalChosen, "The answer to our proposals is none of them: " + choice.error().text(),
                  evidence(choice.error()));

  sa.replies.accept(in.framed.message);
  sa.spi_r = in.header().spi_r;
  core.table.complete_initiator(sa.id, sa.spi_i, sa.spi_r);
  sa.hint.reset();
  Negotiated negotiated{choice->suite, encode_body(state.offer), choice->life_seconds.value_or(0), false, {}};
  note_extensions(*message, negotiated, sa.nat);
  const JobId job = core.add_job({.sa = sa.id});
  const DhGroup group = negotiated.suite.group;
  sa.state = MmMakingKey{std::move(negotiated), job};
  core.actions.emplace_back(ike::ComputeDh{job, group, nullptr, std::nullopt});
}

void send_message_3(Core& core, TimePoint now, IsakmpSa& sa, MmMakingKey& state, const ike::DhResult& result) {
  if (!result.ok) return main_mode_failed(core, now, sa, Reason::Internal, "A Diffie-Hellman key pair could not be made.");
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
  if (!message) return main_mode_hint(core, in.now, sa, {message.error().reason, message.error().text, {.number = 4}});
  if (!nonce_ok(*message))
    return main_mode_hint(core, in.now, sa,
                          {Reason::BadNonce, "Message 4 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).", {.number = 4}});
  if (message->find<Nonce>()->data == state.nonce_i)
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected, "Our own message 3 came back to us.");
  if (const std::string bad = bad_nat_d(sa, state.negotiated.suite.prf, *message); !bad.empty())
    return main_mode_hint(core, in.now, sa, {Reason::Malformed, "In message 4 " + bad + ".", {.number = 4}});
  sa.replies.accept(in.framed.message);
  if (sa.nat.supported) look_for_nat(sa, state.negotiated.suite.prf, *message);
  KeyExchange ke{state.g_xi, message->find<Ke>()->data, state.nonce_i, message->find<Nonce>()->data};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, state.negotiated.suite.group, state.key, ke.g_xr});
  MmAwaitKe before = std::move(state);
  sa.state = MmDeriving{std::move(before), std::move(ke), job};
}

void send_message_5(Core& core, TimePoint now, IsakmpSa& sa, MmDeriving& state, const ike::DhResult& result) {
  if (!result.ok) {
    MmAwaitKe before = std::move(state.before);
    ++before.bad_ke;
    const bool enough = before.bad_ke >= kMaxBadKe;
    sa.state = std::move(before);
    if (enough)
      return main_mode_failed(core, now, sa, Reason::BadKe, "The peer's key exchange values are invalid for their group.", {.number = 4});
    return main_mode_hint(core, now, sa,
                          {Reason::BadKe, "Message 4 has a key exchange value that is invalid for its group.", {.number = 4}});
  }
  const config::Connection& c = core.connection(sa);
  const auto psk = core.services.secret(c.name);
  if (!psk)
    return main_mode_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read any more: " + psk.error() + ".",
                            {.number = 5, .evidence = unreadable(psk.error())});
  Negotiated negotiated = std::move(state.before.negotiated);
  KeyExchange ke = std::move(state.ke);
  Keys keys = make_keys(sa, negotiated.suite, ke, psk->view(), result.shared.view());
  sa.hint.reset();

  const Id id = to_id(c.local_id, sa.local.address);
  const Bytes id_body = encode_body(id);
  Builder b;
  b.add_raw(PayloadType::Id, id_body);
  b.add(Hash{hash_i(keys.secrets, {ke.g_xi, ke.g_xr, sa.spi_i, sa.spi_r, negotiated.sa_i_body, id_body})});
  if (sa.nat.leaves_port_500()) {  // RFC 3947 §4: the initiator moves, the responder follows
    sa.local.port = ike::kNatPort;
    if (sa.remote.port == ike::kIkePort) sa.remote.port = ike::kNatPort;
  }
  Bytes message = sealed_message(sa, keys.cipher, keys.iv, ike::kExchangeMainMode, MessageId{}, b);
  sa.state = MmAwaitAuth{std::move(negotiated), std::move(ke), std::move(keys), Outstanding(now, message, core.config.ike, core.services)};
  core.send(now, sa, message);
}

void on_message_6(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuth& state) {
  const auto hint = [&](const std::string& text) { main_mode_hint(core, in.now, sa, {Reason::AuthFailed, text}); };
  if (!in.header().encrypted())
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected,
                     "A clear message came where message 6 must be encrypted.");
  const auto opened = open_sealed(in, MessageKind::MainMode6, state.keys.cipher, state.keys.iv);
  if (!opened) return hint("Message 6 does not decrypt to what it should be: " + opened.error().text);
  const Payload* id = opened->message.raw(PayloadType::Id);
  const Bytes expected =
      hash_r(state.keys.secrets, {state.ke.g_xi, state.ke.g_xr, sa.spi_i, sa.spi_r, state.negotiated.sa_i_body, id->body});
  if (!equal_constant_time(expected, opened->message.find<Hash>()->data)) return hint("HASH_R in message 6 is wrong.");

  const config::Connection& c = core.connection(sa);
  const Id& peer = *opened->message.find<Id>();
  sa.replies.accept(in.framed.message);
  state.keys.iv = opened->next;
  sa.local = in.datagram.local;
  sa.remote = in.datagram.remote;
  if (!phase1_port_ok(peer) || !matches(c.remote_id, peer)) {
    const Reason why = phase1_port_ok(peer) ? Reason::WrongIdentity : Reason::BadPayloads;
    core.send(in.now, sa, informational(core, sa, state.keys, refusal_and_delete(sa, NotifyType::InvalidIdInformation)));
    return main_mode_failed(core, in.now, sa, why,
                            "The peer calls itself " + to_text(peer) + ", but " + to_text(c.remote_id) + " is configured.",
                            {.number = 6, .evidence = ike::IdentityEvidence{to_text(c.remote_id), to_text(peer), false, true}});
  }
  const Message message = opened->message;
  if (const auto settled = settle_peer(core, in.now, sa, core.run(sa.connection).connection, peer, says_initial_contact(message));
      !settled) {
    core.send(in.now, sa, informational(core, sa, state.keys, refusal_and_delete(sa, settled.error().notify)));
    return main_mode_failed(core, in.now, sa, settled.error().reason, settled.error().text);
  }
  become_established(core, in.now, sa, std::move(state.negotiated), std::move(state.keys), to_text(to_id(c.local_id, sa.local.address)),
                     to_text(peer));
  apply_phase1_notifications(core, in.now, sa, message);
}

}  // namespace culvert::ikev1
