// Aggressive Mode, responder: messages 1 and 3 in; 2 out. The ladder is in exchange_aggressive_mode.hpp.
#include <algorithm>
#include <utility>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_aggressive_mode.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/nat_payloads.hpp"
#include "control/ikev1/phase1_newcomers.hpp"

namespace culvert::ikev1 {

namespace {

/// Message 1, if it is one that can be answered; else nullopt, and said so.
std::optional<Message> read_message_1(Core& core, const Incoming& in) {
  const auto junk = [&](Reason reason, const std::string& text) -> std::optional<Message> {
    core.junk(in.now, in.datagram.remote, Exchange::AggressiveMode, reason, text);
    return std::nullopt;
  };
  auto message = open_clear(in, MessageKind::AggressiveMode1);
  if (!message) return junk(message.error().reason, message.error().text);
  if (!nonce_ok(*message)) return junk(Reason::BadNonce, "Message 1 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).");
  if (!phase1_port_ok(*message->find<Id>()))
    return junk(Reason::BadPayloads, "The identity in message 1 has a port that is not IKE's (RFC 2407 §4.6.2).");
  return std::move(*message);
}

Negotiated negotiate(const Message& message, const Selection& selected, ike::NatStatus& nat) {
  Negotiated out{.suite = selected.choice.suite,
                 .sa_i_body = message.raw(PayloadType::Sa)->body,
                 .life = selected.choice.life,
                 .vendor_ids = {},
                 .auth = selected.auth};
  note_extensions(message, out, nat);
  return out;
}

AmPeer peer_of(const Message& message, const Selection& selected) {
  return {*message.find<Id>(), message.raw(PayloadType::Id)->body, selected.stranger};
}

/// What all messages 2 have but proof and requests for certificates.
Builder begin_message_2(Core& core, const IsakmpSa& sa, const Sa& reply, const KeyExchange& ke) {
  Builder b;
  b.add(reply).add(Ke{ke.g_xr}).add(Nonce{ke.nonce_r}).add(own_id(core, sa));
  return b;
}
void end_message_2(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, Builder& b) {
  answer_extensions(core.connection(sa), negotiated, b);
  if (sa.nat.supported) add_nat_d(core, sa, negotiated.suite.prf, b);
}

void bad_public_value(Core& core, TimePoint now, IsakmpSa& sa) {
  core.ended(now, sa, Exchange::AggressiveMode, Role::Responder, Reason::BadKe,
             "Message 1 has a key exchange value that is invalid for its group.", {}, {.number = 1});
  sa.state = MmRefused{};
}
void unreadable_secret(Core& core, TimePoint now, IsakmpSa& sa, const std::string& error) {
  phase1_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read: " + error + ".",
                {.number = 1, .evidence = unreadable(error)});
}

// ---------------------------------------------------------------------------------------------------------------- with a pre-shared key

/// So long a key pair serves, and so many wait for the next one.
constexpr auto kReplyKeyUse = seconds{1};
constexpr std::size_t kMaxAwaitingKey = 64;

/// The key pair for this group. nullptr: it is being made, and message 1 waits for it.
std::shared_ptr<const ike::ReplyKey> reply_key(Core& core, const Incoming& in, DhGroup group) {
  ReplyKeySlot& slot = core.reply_keys[group];
  auto key = slot.key.lock();
  const bool fresh = key && in.now - key->made < kReplyKeyUse;
  if (!fresh && slot.job == 0) {
    slot.job = core.add_job({.reply_key = group});
    core.actions.emplace_back(ike::ComputeDh{slot.job, group, nullptr, {}});
  }
  if (key && in.now - key->made < 2 * kReplyKeyUse) return key;
  if (slot.waiting.size() < kMaxAwaitingKey)
    slot.waiting.push_back({in.datagram.local, in.datagram.remote, Bytes(in.framed.message.begin(), in.framed.message.end())});
  return nullptr;
}

/// The key of HASH_R. For an identity that nobody expects it is made of a secret that nobody has.
std::expected<SecretBytes, std::string> proving_key(Core& core, const IsakmpSa& sa, const AmAnswered& state) {
  auto secret = core.services.secret(core.connection(sa).name);
  if (!secret) return std::unexpected(secret.error());
  if (core.nobodys_secret.empty()) core.nobodys_secret = SecretBytes(core.random(kNonceBytes));
  const SecretBytes& psk = state.peer.stranger ? core.nobodys_secret : *secret;
  return psk_skeyid(state.negotiated.suite.prf, psk.view(), state.ke.nonce_i, state.ke.nonce_r);
}

void report_stranger(Core& core, const Incoming& in, const IsakmpSa& sa, const AmPeer& peer) {
  const config::Connection& c = core.connection(sa);
  core.refused(in.now, sa.connection, in.datagram.remote, Exchange::AggressiveMode, Reason::WrongIdentity, wrong_identity_text(peer.id, c),
               {.number = 1, .evidence = identity_evidence(peer.id, c, false)});
}

void begin_with_psk(Core& core, const Incoming& in, const Selection& selected) {
  auto key = reply_key(core, in, selected.choice.suite.group);
  if (!key) return;
  const auto sa = begin_newcomer(
      core, in,
      {.mode = Exchange::AggressiveMode, .reported = selected.stranger, .nonce = core.random(kNonceBytes), .key = std::move(key)});
  if (sa && selected.stranger) report_stranger(core, in, *sa, std::get<AmAnswered>(sa->state).peer);
}

}  // namespace

void on_reply_key(Core& core, TimePoint now, DhGroup group, const ike::DhResult& result) {
  ReplyKeySlot& slot = core.reply_keys[group];
  slot.job = 0;
  const auto waiting = std::exchange(slot.waiting, {});
  if (!result.ok) return;  // they will ask again
  const auto key = std::make_shared<const ike::ReplyKey>(ike::ReplyKey{result.key, result.public_value, now});
  slot.key = key;
  for (const ike::Datagram& first : waiting) on_aggressive_1(core, {now, first, *ike::parse_header(first.data)});
}

std::unique_ptr<IsakmpSa> answer_aggressive_mode(Core& core, const Incoming& in, const ike::Newcomer& newcomer) {
  const auto message = read_message_1(core, in);
  if (!message) return nullptr;
  const auto selected = select_connection(core, in, Exchange::AggressiveMode, *message);
  if (!selected || !selected->auth.psk()) return nullptr;
  auto sa = new_responder(core, in, selected->connection, Exchange::AggressiveMode, newcomer.spi_r);
  AmAnswered state{.negotiated = negotiate(*message, *selected, sa->nat),
                   .ke = {message->find<Ke>()->data, newcomer.key->public_value, message->find<Nonce>()->data, newcomer.nonce},
                   .peer = peer_of(*message, *selected)};
  auto skeyid = proving_key(core, *sa, state);
  if (!skeyid) {
    core.ended(in.now, *sa, Exchange::AggressiveMode, Role::Responder, Reason::NoSecret,
               "The pre-shared key cannot be read: " + skeyid.error() + ".", {}, {.number = 1, .evidence = unreadable(skeyid.error())});
    return nullptr;
  }
  const Phase1Secrets proving{
      .prf = state.negotiated.suite.prf, .skeyid = std::move(*skeyid), .skeyid_d = {}, .skeyid_a = {}, .skeyid_e = {}};
  const Bytes own = encode_body(own_id(core, *sa));
  Builder b = begin_message_2(core, *sa, selected->choice.reply, state.ke);
  b.add(Hash{hash_r(proving, {state.ke.g_xi, state.ke.g_xr, sa->spi_i, sa->spi_r, state.negotiated.sa_i_body, own})});
  end_message_2(core, *sa, state.negotiated, b);
  sa->state = std::move(state);
  sa->replies.accept(in.framed.message);
  sa->replies.set_reply(clear_message(*sa, ike::kExchangeAggressive, MessageId{}, b));
  return sa;
}

void on_aggressive_newcomer_3(Core& core, const Incoming& in, IsakmpSa& sa, AmAnswered& state, const ike::Newcomer& newcomer) {
  state.third = {in.datagram.local, in.datagram.remote, Bytes(in.framed.message.begin(), in.framed.message.end())};
  state.job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{state.job, state.negotiated.suite.group, newcomer.key->key, state.ke.g_xi});
}

void on_aggressive_newcomer_key(Core& core, TimePoint now, IsakmpSa& sa, AmAnswered& state, const ike::DhResult& result) {
  if (!result.ok) return bad_public_value(core, now, sa);
  auto keys = make_keys(core, sa, state.negotiated, state.ke, result.shared.view(), state.peer.stranger ? &core.nobodys_secret : nullptr);
  if (!keys) return unreadable_secret(core, now, sa, keys.error());
  const ike::Datagram third = std::move(state.third);
  if (state.early) core.deferred.push_back(std::move(*state.early));
  AmPeer peer = std::move(state.peer);
  sa.state = AmAwaitProof{{std::move(state.negotiated), std::move(state.ke), std::move(*keys)}, std::move(peer), 0};
  on_aggressive_3(core, {now, third, *ike::parse_header(third.data)}, sa, std::get<AmAwaitProof>(sa.state));
}

// ---------------------------------------------------------------------------------------------------------------- with signatures

namespace {

/// A place among those that are answered at the price of a key exchange and a signature, whoever asks: half of all. When half of these
/// are taken somebody has to ask twice, which a flood of made-up messages does not; and when all are, the oldest that has had its time to
/// answer gives way. So at most half of ike.half_open_limit is computed in kTimeToAnswer for those who may not be there at all.
constexpr auto kTimeToAnswer = seconds{5};
bool may_cost(Core& core, const Incoming& in) {
  const auto refuse = [&](const char* why) {
    core.junk(in.now, in.datagram.remote, Exchange::AggressiveMode, Reason::Limit, why);
    return false;
  };
  const std::size_t places = std::max<std::size_t>(core.config.ike.half_open_limit / 2, 1);
  const auto& taken = core.table.unheard();
  if (taken.size() >= (places + 1) / 2 && !core.repeats.seen(in.now, in.framed.message))
    return refuse("Many who began Aggressive Mode have not gone on: a first message is taken when it comes again.");
  if (taken.size() >= places) {
    IsakmpSa* oldest = core.find(*taken.begin());
    if (!oldest || in.now - oldest->created < kTimeToAnswer)
      return refuse("Too many who began Aggressive Mode have not gone on (half of ike.half_open_limit).");
    not_finished(core, in.now, *oldest);
  }
  return look_for_room(core, in.now, in.datagram.remote, Exchange::AggressiveMode) == Room::Yes;
}

void begin_with_signatures(Core& core, const Incoming& in, const Message& message, Selection selected) {
  if (!may_cost(core, in)) return;
  auto owned = new_responder(core, in, selected.connection, Exchange::AggressiveMode, core.new_cookie());
  IsakmpSa& sa = *owned;
  Negotiated negotiated = negotiate(message, selected, sa.nat);
  KeyExchange ke{message.find<Ke>()->data, {}, message.find<Nonce>()->data, {}};
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::ComputeDh{job, negotiated.suite.group, nullptr, ke.g_xi});
  AmPeer peer = peer_of(message, selected);
  sa.state = AmResponding{std::move(negotiated),
                          std::move(ke),
                          std::move(peer),
                          std::move(selected.choice.reply),
                          message.count(PayloadType::CertReq) > 0,
                          job};
  core.table.add_responder(sa.id, sa.spi_i, sa.spi_r, in.datagram.remote, false);
  core.add(std::move(owned));
  sa.replies.accept(in.framed.message);
}

}  // namespace

void on_aggressive_1(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  if (begins_again(core, in, Exchange::AggressiveMode)) return;
  if (h.encrypted() || core.table.find_initiating(h.spi_i))  // the latter: our own message, reflected
    return core.junk(in.now, in.datagram.remote, Exchange::AggressiveMode, Reason::Unexpected,
                     "A first message of Aggressive Mode is encrypted, or our own.");
  if (core.shutting_down) return;
  const auto message = read_message_1(core, in);
  if (!message) return;
  auto selected = select_connection(core, in, Exchange::AggressiveMode, *message);
  if (!selected) return;
  if (selected->auth.psk()) return begin_with_psk(core, in, *selected);
  begin_with_signatures(core, in, *message, std::move(*selected));
}

void on_aggressive_key(Core& core, TimePoint now, IsakmpSa& sa, AmResponding& state, const ike::DhResult& result) {
  if (!result.ok) return bad_public_value(core, now, sa);
  Negotiated negotiated = std::move(state.negotiated);
  KeyExchange ke = std::move(state.ke);
  ke.g_xr = result.public_value;
  ke.nonce_r = core.random(kNonceBytes);
  auto keys = make_keys(core, sa, negotiated, ke, result.shared.view());
  if (!keys) return unreadable_secret(core, now, sa, keys.error());
  Derived derived{std::move(negotiated), std::move(ke), std::move(*keys)};
  AmSigningReply next{std::move(derived), std::move(state.peer), std::move(state.reply), state.certificates_wanted, 0};
  if (!next.negotiated.auth.signs(Role::Responder)) return send_aggressive_2(core, now, sa, std::move(next), nullptr);
  next.job = ask_signature(core, sa, next);
  sa.state = std::move(next);
}

void send_aggressive_2(Core& core, TimePoint now, IsakmpSa& sa, AmSigningReply state, const Bytes* signature) {
  const Negotiated& negotiated = state.negotiated;
  Builder b = begin_message_2(core, sa, state.reply, state.ke);
  add_proof(core, sa, state, signature, b, state.certificates_wanted);
  end_message_2(core, sa, negotiated, b);
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
  if (encrypted) note_extensions(claim.message, derived.negotiated);
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
