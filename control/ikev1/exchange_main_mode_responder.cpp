// Main Mode, responder: messages 1, 3 and 5 in; 2, 4 and 6 out. The ladder is in exchange_main_mode.hpp.
// A stranger gets at most what it sent: message 2 is one transform of message 1 and those vendor ids that message 1 had.
#include <algorithm>

#include "control/ike/connection_select.hpp"
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

void refuse_statelessly(Core& core, const Incoming& in, NotifyType type) {
  core.send_stateless({in.datagram.local, in.datagram.remote, {}}, clear_notification(in.header().spi_i, IkeSpi{}, MessageId{}, type));
}

/// The bounds on what strangers may make us keep. False: refused, and said so.
bool has_room(Core& core, const Incoming& in) {
  const config::Ike& limits = core.config.ike;
  const IpAddress& source = in.datagram.remote.address;
  const char* why = nullptr;
  if (core.table.size() >= ike::kMaxIkeSas)
    why = "There are too many ISAKMP SAs.";
  else if (core.table.half_open() >= limits.half_open_limit)
    why = "Too many negotiations of strangers are under way (ike.half_open_limit).";
  else if (core.table.half_open(source) >= limits.half_open_per_source)
    why = "This address has too many negotiations under way (ike.half_open_per_source).";
  if (why) core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Limit, why);
  return why == nullptr;
}

struct Selection {
  std::size_t connection = 0;
  IkeChoice choice;
};
/// The first candidate that accepts a proposal; nullopt: refused, and said so.
std::optional<Selection> select_connection(Core& core, const Incoming& in, const Sa& offered) {
  const auto options = ike::candidates(core.config, in.datagram.local.address, in.datagram.remote.address);
  for (const std::size_t index : options)
    if (auto choice = select_ike(core.connection(index).proposals, offered)) return Selection{index, std::move(*choice)};
  refuse_statelessly(core, in, NotifyType::NoProposalChosen);
  if (core.refused_before(ike::fingerprint(in.framed.message))) return std::nullopt;
  if (options.empty()) {
    core.junk(
        in.now, in.datagram.remote, Exchange::MainMode, Reason::NoConnection,
        "No connection is configured between " + in.datagram.local.address.to_string() + " and " + in.datagram.remote.address.to_string() +
            ".",
        {.number = 1, .evidence = ike::AddressEvidence{in.datagram.local.address.to_string(), in.datagram.remote.address.to_string(), {}}});
    return std::nullopt;
  }
  const auto mismatch = select_ike(core.connection(options.front()).proposals, offered);
  core.refused(in.now, options.front(), in.datagram.remote, Exchange::MainMode, Reason::NoProposalChosen,
               "No proposal of " + in.datagram.remote.to_string() + " is acceptable: " + mismatch.error().text() + ".",
               {.number = 1, .evidence = evidence(mismatch.error())});
  return std::nullopt;
}

}  // namespace

void on_message_1(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  if (const auto known = core.table.find_half_open(h.spi_i, peer)) {
    IsakmpSa* sa = core.find(*known);
    if (sa && sa->replies.check(in.framed.message, ike::kMaxRepeatsUnproven) == ike::Duplicate::Answer)
      core.send(in.now, *sa, Bytes(sa->replies.reply()));
    return;
  }
  if (h.encrypted() || core.table.find_initiating(h.spi_i))  // the latter: our own message, reflected
    return core.junk(in.now, peer, Exchange::MainMode, Reason::Unexpected, "A first message of Main Mode is encrypted, or our own.");
  if (core.shutting_down || !has_room(core, in)) return;
  const auto message = open_clear(in, MessageKind::MainMode1);
  if (!message) return core.junk(in.now, peer, Exchange::MainMode, message.error().reason, message.error().text);
  auto selected = select_connection(core, in, *message->find<Sa>());
  if (!selected) return;

  auto owned = std::make_unique<IsakmpSa>(IsakmpSa{core.new_sa_id(),
                                                   selected->connection,
                                                   Role::Responder,
                                                   h.spi_i,
                                                   core.new_cookie(),
                                                   in.datagram.local,
                                                   peer,
                                                   {},
                                                   in.now,
                                                   in.now + core.config.ike.half_open_timeout,
                                                   MmMakingKey{},
                                                   {},
                                                   {},
                                                   {},
                                                   {},
                                                   {},
                                                   in.now,
                                                   false});
  IsakmpSa& sa = *owned;
  sa.nat.forced = core.connection(selected->connection).encap;
  Negotiated negotiated{selected->choice.suite, message->raw(PayloadType::Sa)->body, selected->choice.life_seconds.value_or(0), false, {}};
  note_extensions(*message, negotiated, sa.nat);
  Builder b;
  b.add(selected->choice.reply);
  answer_extensions(sa, negotiated, b);
  sa.state = MmAwaitKeInit{std::move(negotiated)};
  core.table.add_responder(sa.id, sa.spi_i, sa.spi_r, peer);
  core.add(std::move(owned));
  sa.replies.accept(in.framed.message);
  sa.replies.set_reply(clear_message(sa, ike::kExchangeMainMode, MessageId{}, b));
  core.send(in.now, sa, Bytes(sa.replies.reply()));
}

void on_message_3(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKeInit& state) {
  const auto message = open_clear(in, MessageKind::MainMode3);
  if (!message) return core.junk(in.now, sa.remote, Exchange::MainMode, message.error().reason, message.error().text);
  if (!nonce_ok(*message))
    return main_mode_failed(core, in.now, sa, Reason::BadNonce, "Message 3 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).",
                            {.number = 3});
  if (const std::string bad = bad_nat_d(sa, state.negotiated.suite.prf, *message); !bad.empty())
    return core.junk(in.now, sa.remote, Exchange::MainMode, Reason::Malformed, "In message 3 " + bad + ".");
  sa.replies.accept(in.framed.message);
  if (sa.nat.supported) look_for_nat(sa, state.negotiated.suite.prf, *message);
  KeyExchange ke{message->find<Ke>()->data, {}, message->find<Nonce>()->data, {}};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, state.negotiated.suite.group, nullptr, ke.g_xi});
  Negotiated negotiated = std::move(state.negotiated);
  sa.state = MmResponding{std::move(negotiated), std::move(ke), job};
}

void send_message_4(Core& core, TimePoint now, IsakmpSa& sa, MmResponding& state, const ike::DhResult& result) {
  if (!result.ok) {
    core.ended(now, sa, Exchange::MainMode, Role::Responder, Reason::BadKe,
               "Message 3 has a key exchange value that is invalid for its group.", {}, {.number = 3});
    sa.state = MmRefused{};
    return;
  }
  const auto psk = core.services.secret(core.connection(sa).name);
  if (!psk)
    return main_mode_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read: " + psk.error() + ".",
                            {.number = 3, .evidence = unreadable(psk.error())});
  Negotiated negotiated = std::move(state.negotiated);
  KeyExchange ke = std::move(state.ke);
  ke.g_xr = result.public_value;
  ke.nonce_r = core.random(kNonceBytes);
  Builder b;
  b.add(Ke{ke.g_xr}).add(Nonce{ke.nonce_r});
  if (sa.nat.supported) add_nat_d(core, sa, negotiated.suite.prf, b);
  Keys keys = make_keys(sa, negotiated.suite, ke, psk->view(), result.shared.view());
  sa.state = MmAwaitAuthInit{std::move(negotiated), std::move(ke), std::move(keys)};
  sa.replies.set_reply(clear_message(sa, ike::kExchangeMainMode, MessageId{}, b));
  core.send(now, sa, Bytes(sa.replies.reply()));
}

namespace {

/// A message 5 that proves nothing: a wrong pre-shared key, or somebody else's message. The first one is answered and reported,
/// the SA waits for a good one until its time is over or too many came.
void bad_message_5(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state, const std::string& detail) {
  if (++state.bad_messages == 1) {
    core.ended(in.now, sa, Exchange::MainMode, Role::Responder, Reason::AuthFailed,
               "Message 5 of " + in.datagram.remote.to_string() + " does not prove the pre-shared key, which probably differs: " + detail,
               {}, {.number = 5, .evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, detail}});
    core.send_stateless({in.datagram.local, in.datagram.remote, {}},
                        clear_notification(sa.spi_i, sa.spi_r, core.new_message_id(sa), NotifyType::AuthenticationFailed));
    return;
  }
  if (state.bad_messages >= kMaxBadAuth) sa.state = MmRefused{};  // and with it the keys are gone
}

/// The connection that the identity means: the one chosen by address, or another with the same addresses, the same secret
/// and the same suite.
std::optional<std::size_t> connection_of(Core& core, const IsakmpSa& sa, const IkeSuite& suite, const Id& peer) {
  if (matches(core.connection(sa).remote_id, peer)) return sa.connection;
  const auto secret = core.services.secret(core.connection(sa).name);
  for (const std::size_t index : ike::candidates(core.config, sa.local.address, sa.remote.address)) {
    const config::Connection& c = core.connection(index);
    if (index == sa.connection || !matches(c.remote_id, peer)) continue;
    if (std::ranges::find(c.proposals, suite) == c.proposals.end()) continue;
    const auto other = core.services.secret(c.name);
    if (secret && other && *secret == *other) return index;
  }
  return std::nullopt;
}

}  // namespace

void on_message_5(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state) {
  if (!in.header().encrypted())
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected,
                     "A clear message came where message 5 must be encrypted.");
  const auto opened = open_sealed(in, MessageKind::MainMode5, state.keys.cipher, state.keys.iv);
  if (!opened) return bad_message_5(core, in, sa, state, opened.error().text);
  const Payload* id = opened->message.raw(PayloadType::Id);
  const Phase1HashInputs inputs{state.ke.g_xi, state.ke.g_xr, sa.spi_i, sa.spi_r, state.negotiated.sa_i_body, id->body};
  if (!equal_constant_time(hash_i(state.keys.secrets, inputs), opened->message.find<Hash>()->data))
    return bad_message_5(core, in, sa, state, "HASH_I is wrong.");

  // From here on the peer has proved that it has the key: its address is taken over (RFC 3947 §4).
  const Id peer = *opened->message.find<Id>();
  const Message message = opened->message;
  sa.replies.accept(in.framed.message);
  sa.local = in.datagram.local;
  sa.remote = in.datagram.remote;
  state.keys.iv = opened->next;
  const auto connection = phase1_port_ok(peer) ? connection_of(core, sa, state.negotiated.suite, peer) : std::nullopt;
  if (!connection) {
    core.send(in.now, sa, informational(core, sa, state.keys, refusal(sa, NotifyType::InvalidIdInformation)));
    return main_mode_failed(
        core, in.now, sa, phase1_port_ok(peer) ? Reason::WrongIdentity : Reason::BadPayloads,
        "The peer calls itself " + to_text(peer) + ", but " + to_text(core.connection(sa).remote_id) + " is configured.",
        {.number = 5, .evidence = ike::IdentityEvidence{to_text(core.connection(sa).remote_id), to_text(peer), false, true}});
  }
  if (const auto settled = settle_peer(core, in.now, sa, *connection, peer, says_initial_contact(message)); !settled) {
    core.send(in.now, sa, informational(core, sa, state.keys, refusal(sa, settled.error().notify)));
    return main_mode_failed(core, in.now, sa, settled.error().reason, settled.error().text);
  }

  const Id own = to_id(core.connection(sa).local_id, sa.local.address);
  const Bytes own_body = encode_body(own);
  Builder b;
  b.add_raw(PayloadType::Id, own_body);
  b.add(Hash{hash_r(state.keys.secrets, {state.ke.g_xi, state.ke.g_xr, sa.spi_i, sa.spi_r, state.negotiated.sa_i_body, own_body})});
  sa.replies.set_reply(sealed_message(sa, state.keys.cipher, state.keys.iv, ike::kExchangeMainMode, MessageId{}, b));
  core.send(in.now, sa, Bytes(sa.replies.reply()));
  Negotiated negotiated = std::move(state.negotiated);
  Keys keys = std::move(state.keys);
  become_established(core, in.now, sa, std::move(negotiated), std::move(keys), to_text(own), to_text(peer));
  apply_phase1_notifications(core, in.now, sa, message);
}

}  // namespace culvert::ikev1
