// Main Mode, responder: messages 1, 3 and 5 in; 2, 4 and 6 out. The ladder is in exchange_main_mode.hpp.
// A stranger gets at most what it sent: message 2 is one transform of message 1 and those vendor ids that message 1 had.
#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/extensions.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/nat_payloads.hpp"
#include "control/ikev1/notifications.hpp"
#include "control/ikev1/phase1_newcomers.hpp"

namespace culvert::ikev1 {

std::unique_ptr<IsakmpSa> answer_main_mode(Core& core, const Incoming& in, const ike::Newcomer& newcomer) {
  const auto message = open_clear(in, MessageKind::MainMode1);
  if (!message) {
    core.junk(in.now, in.datagram.remote, Exchange::MainMode, message.error().reason, message.error().text);
    return nullptr;
  }
  auto selected = select_connection(core, in, Exchange::MainMode, *message);
  if (!selected) return nullptr;
  auto sa = new_responder(core, in, selected->connection, Exchange::MainMode, newcomer.spi_r);
  Negotiated negotiated{.suite = selected->choice.suite,
                        .sa_i_body = message->raw(PayloadType::Sa)->body,
                        .life = selected->choice.life,
                        .vendor_ids = {},
                        .auth = selected->auth};
  note_extensions(*message, negotiated, sa->nat);
  Builder b;
  b.add(selected->choice.reply);
  answer_extensions(core.connection(selected->connection), negotiated, b);
  sa->state = MmAwaitKeInit{std::move(negotiated)};
  sa->replies.accept(in.framed.message);
  sa->replies.set_reply(clear_message(*sa, ike::kExchangeMainMode, MessageId{}, b));
  return sa;
}

void on_message_1(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  if (begins_again(core, in, Exchange::MainMode)) return;
  if (h.encrypted() || core.table.find_initiating(h.spi_i))  // the latter: our own message, reflected
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected,
                     "A first message of Main Mode is encrypted, or our own.");
  if (!core.shutting_down) begin_newcomer(core, in, {.mode = Exchange::MainMode});
}

void on_message_3(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKeInit& state) {
  const auto message = open_clear(in, MessageKind::MainMode3);
  if (!message) return core.junk(in.now, sa.remote, Exchange::MainMode, message.error().reason, message.error().text);
  if (!nonce_ok(*message))
    return phase1_failed(core, in.now, sa, Reason::BadNonce, "Message 3 has a nonce that is not 8 to 256 bytes long (RFC 2409 §5).",
                         {.number = 3});
  if (const std::string bad = bad_nat_d(sa, state.negotiated.suite.prf, *message); !bad.empty())
    return core.junk(in.now, sa.remote, Exchange::MainMode, Reason::Malformed, "In message 3 " + bad + ".");
  sa.replies.accept(in.framed.message);
  if (sa.nat.supported) look_for_nat(sa, state.negotiated.suite.prf, *message);
  note_extensions(*message, state.negotiated);
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
  Negotiated negotiated = std::move(state.negotiated);
  KeyExchange ke = std::move(state.ke);
  ke.g_xr = result.public_value;
  ke.nonce_r = core.random(kNonceBytes);
  auto keys = make_keys(core, sa, negotiated, ke, result.shared.view());
  SecretBytes g_xy = negotiated.auth.psk() ? SecretBytes(result.shared.view()) : SecretBytes();
  if (!keys)
    return phase1_failed(core, now, sa, Reason::NoSecret, "The pre-shared key cannot be read: " + keys.error() + ".",
                         {.number = 3, .evidence = unreadable(keys.error())});
  Builder b;
  b.add(Ke{ke.g_xr}).add(Nonce{ke.nonce_r});
  if (sa.nat.supported) add_nat_d(core, sa, negotiated.suite.prf, b);
  answer_extensions(core.connection(sa), negotiated, b);
  const std::size_t size = ike::kHeaderSize + b.chain().size();
  const auto others = negotiated.auth.psk() ? std::vector<std::size_t>{} : other_candidates(core, sa, negotiated);
  add_cert_requests(core, sa, negotiated.auth, sa.allowance.left() - std::min(size, sa.allowance.left()), b, others);
  sa.state = MmAwaitAuthInit{{std::move(negotiated), std::move(ke), std::move(*keys)}, 0, std::move(g_xy)};
  sa.replies.set_reply(clear_message(sa, ike::kExchangeMainMode, MessageId{}, b));
  answer_stranger(core, now, sa);
}

namespace {

/// The pre-shared key is chosen before the peer's identity is known, by address alone (RFC 2409 §5.4). Other connections that these
/// addresses may mean have others: where message 5 proves one of them, that connection is the one.
void find_secret(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state) {
  const auto proves = [&](const Keys& keys) {
    const auto opened = open_sealed(in, MessageKind::MainMode5, keys.cipher, keys.iv);
    if (!opened) return false;
    const Derived tried{state.negotiated, state.ke, keys};
    return hash_proves(sa, tried, Role::Initiator, opened->message.raw(PayloadType::Id)->body, opened->message);
  };
  if (!state.negotiated.auth.psk() || proves(state.keys)) return;
  std::vector<SecretBytes> known;
  if (auto first = core.services.secret(core.connection(sa).name)) known.push_back(std::move(*first));
  for (const std::size_t index : other_candidates(core, sa, state.negotiated)) {
    auto secret = core.services.secret(core.connection(index).name);
    if (!secret || std::ranges::find(known, *secret) != known.end()) continue;
    if (known.size() >= config::kMaxSecrets) return;
    auto keys = make_keys(core, sa, state.negotiated, state.ke, state.g_xy.view(), &*secret);
    known.push_back(std::move(*secret));
    if (!keys || !proves(*keys)) continue;
    state.keys = std::move(*keys);
    return core.reassign(sa, index);
  }
}

/// So many connections a certificate is tried on: each is a verification for somebody who has proved nothing.
constexpr std::size_t kMaxTrials = 8;

/// Connections that this identity may mean besides the one of the SA: whose the peer is, its certificate's authority tells.
std::vector<std::size_t> also_meant(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const Id& peer) {
  std::vector<std::size_t> out = other_candidates(core, sa, negotiated, &peer);
  if (out.size() >= kMaxTrials) out.resize(kMaxTrials - 1);
  return out;
}

/// The certificate is of no authority that this connection trusts: another one may.
bool try_next(Core& core, IsakmpSa& sa, MmVerifyingInit& state, const ike::VerifyResult& result) {
  if (result.ok || result.reason != Reason::CertUntrusted || state.others.empty()) return false;
  if (!state.first) state.first.emplace(sa.connection, result);
  core.reassign(sa, state.others.front());
  state.others.erase(state.others.begin());
  state.job = ask_verification(core, sa, state, state.claim);
  return true;
}

/// The peer is who it says: our own proof.
void accept_initiator(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, Claim claim) {
  if (!admit(core, now, sa, derived, claim)) return;
  if (!derived.negotiated.auth.signs(Role::Responder)) return send_message_6(core, now, sa, std::move(derived), claim, nullptr);
  const JobId job = ask_signature(core, sa, derived);
  sa.state = MmSigningReply{std::move(derived), std::move(claim), job};
}

}  // namespace

void on_message_5(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state) {
  if (!in.header().encrypted())
    return core.junk(in.now, in.datagram.remote, Exchange::MainMode, Reason::Unexpected,
                     "A clear message came where message 5 must be encrypted.");
  const auto bad = [&](const std::string& detail) {  // too many: the keys go, the place stays taken
    if (bad_last_message(core, in, sa, state.negotiated, state.bad_messages, detail)) sa.state = MmRefused{};
  };
  const Phase1Auth auth = state.negotiated.auth;
  const bool signs = auth.signs(Role::Initiator);
  find_secret(core, in, sa, state);
  auto opened = open_sealed(in, signs ? MessageKind::MainMode5Signed : MessageKind::MainMode5, state.keys.cipher, state.keys.iv);
  if (!opened) return bad(opened.error().text);
  const Bytes id_body = opened->message.raw(PayloadType::Id)->body;
  if (!signs && !hash_proves(sa, state, Role::Initiator, id_body, opened->message)) return bad("HASH_I is wrong.");

  Claim claim{*opened->message.find<Id>(), id_body, std::move(opened->message), in.datagram.local, in.datagram.remote};
  Derived derived = std::move(static_cast<Derived&>(state));
  sa.replies.accept(in.framed.message);
  derived.keys.iv = opened->next;
  const bool port_ok = phase1_port_ok(claim.id);
  const auto connection = port_ok ? connection_of(core, sa, derived.negotiated, claim.id) : std::nullopt;
  if (!connection) {
    const Reason why = port_ok ? Reason::WrongIdentity : Reason::BadPayloads;
    const std::string text = wrong_identity_text(claim.id, core.connection(sa));
    if (!auth.psk()) return refuse_claim(core, in.now, sa, derived, claim, 5, {.ok = false, .reason = why, .message = text});
    // With the pre-shared key the peer has proved that it may know more: that it is not the key.
    sa.local = claim.local;
    sa.remote = claim.remote;
    core.send(in.now, sa, informational(core, sa, derived.keys, refusal(sa, NotifyType::InvalidIdInformation)));
    return phase1_failed(core, in.now, sa, why, text, {.number = 5, .evidence = identity_evidence(claim.id, core.connection(sa), true)});
  }
  if (*connection != sa.connection) core.reassign(sa, *connection);
  if (!signs) return accept_initiator(core, in.now, sa, std::move(derived), std::move(claim));
  const JobId job = ask_verification(core, sa, derived, claim);
  auto others = also_meant(core, sa, derived.negotiated, claim.id);
  sa.state = MmVerifyingInit{std::move(derived), std::move(claim), job, std::move(others), {}};
}

void on_initiator_verified(Core& core, TimePoint now, IsakmpSa& sa, MmVerifyingInit& state, const ike::VerifyResult& result) {
  if (try_next(core, sa, state, result)) return;
  Derived derived = std::move(static_cast<Derived&>(state));
  Claim claim = std::move(state.claim);
  if (const auto first = std::move(state.first); first && result.reason == Reason::CertUntrusted) {
    core.reassign(sa, first->first);  // nobody trusts it: the connection that came first says so
    return refuse_claim(core, now, sa, derived, claim, 5, first->second);
  }
  if (!result.ok) return refuse_claim(core, now, sa, derived, claim, 5, result);
  accept_initiator(core, now, sa, std::move(derived), std::move(claim));
}

void send_message_6(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim, const Bytes* signature) {
  const Id own = own_id(core, sa);
  note_extensions(claim.message, derived.negotiated);
  Builder b;
  b.add(own);
  add_proof(core, sa, derived, signature, b);
  answer_extensions(core.connection(sa), derived.negotiated, b);
  add_initial_contact(core, sa, b);
  add_isakmp_lifetime(core, sa, derived.negotiated, b);
  sa.replies.set_reply(sealed_message(sa, derived.keys.cipher, derived.keys.iv, ike::kExchangeMainMode, MessageId{}, b));
  core.send(now, sa, Bytes(sa.replies.reply()));
  become_established(core, now, sa, std::move(derived), to_text(own), to_text(claim.id));
  apply_phase1_notifications(core, now, sa, claim.message);
}

}  // namespace culvert::ikev1
