// Main Mode: what both roles share. The ladder is in the header.
#include "control/ikev1/exchange_main_mode.hpp"

#include <algorithm>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/lifecycle.hpp"

namespace culvert::ikev1 {

void on_main_mode(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  if (h.message_id)  // RFC 2408 §4.1: zero in phase 1
    return core.junk(in.now, peer, Exchange::MainMode, Reason::Unexpected, "A Main Mode message has a message id.");
  if (!h.spi_r) return on_message_1(core, in);

  auto id = core.table.find(h.spi_i, h.spi_r);
  if (!id) id = core.table.find_initiating(h.spi_i);
  IsakmpSa* sa = id ? core.find(*id) : nullptr;
  if (!sa) return core.junk(in.now, peer, Exchange::MainMode, Reason::UnknownSa, "A Main Mode message names cookies that nobody here has.");

  const bool proven = sa->established() != nullptr;
  switch (sa->replies.check(in.framed.message, proven ? ike::kMaxRepeatsProven : ike::kMaxRepeatsUnproven)) {
    case ike::Duplicate::Answer:
      return core.send(in.now, *sa, Bytes(sa->replies.reply()));
    case ike::Duplicate::Ignore:
      return;
    case ike::Duplicate::New:
      break;
  }
  // Until the peer is authenticated its address is the one that we know (message 5 and 6 prove a change themselves).
  const bool same_peer = peer == sa->remote && in.datagram.local == sa->local;
  if (auto* s = std::get_if<MmAwaitSa>(&sa->state); s && same_peer) return on_message_2(core, in, *sa, *s);
  if (auto* s = std::get_if<MmAwaitKeInit>(&sa->state); s && same_peer) return on_message_3(core, in, *sa, *s);
  if (auto* s = std::get_if<MmAwaitKe>(&sa->state); s && same_peer) return on_message_4(core, in, *sa, *s);
  if (auto* s = std::get_if<MmAwaitAuthInit>(&sa->state)) return on_message_5(core, in, *sa, *s);
  if (auto* s = std::get_if<MmAwaitAuth>(&sa->state)) return on_message_6(core, in, *sa, *s);
  core.junk(in.now, peer, Exchange::MainMode, Reason::Unexpected, "A Main Mode message does not fit the state of its SA.");
}

void on_main_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, const ike::DhResult& result, JobId job) {
  if (auto* s = std::get_if<MmMakingKey>(&sa.state); s && s->job == job) return send_message_3(core, now, sa, *s, result);
  if (auto* s = std::get_if<MmResponding>(&sa.state); s && s->job == job) return send_message_4(core, now, sa, *s, result);
  if (auto* s = std::get_if<MmDeriving>(&sa.state); s && s->job == job) return send_message_5(core, now, sa, *s, result);
}

namespace {

Outstanding* outstanding(MmState& state) {
  return std::visit(
      [](auto& s) -> Outstanding* {
        if constexpr (requires { s.tx; })
          return &s.tx;
        else
          return nullptr;
      },
      state);
}

/// No answer that counts, but the peer has said something.
ike::Cause unanswered(const IsakmpSa& sa, unsigned number, ike::Evidence evidence) {
  return {.number = number, .evidence = std::move(evidence), .said = sa.hint->cause.said, .by = ike::RefusedBy::Peer};
}

void out_of_patience(Core& core, TimePoint now, IsakmpSa& sa) {
  const std::string peer = sa.remote.to_string();
  std::string hint = sa.hint ? " The peer had answered, unauthenticated: " + sa.hint->text : "";
  if (std::holds_alternative<MmAwaitAuth>(sa.state) && sa.hint)
    return main_mode_failed(core, now, sa, Reason::AuthFailed,
                            "No valid answer to message 5 from " + peer + ": the pre-shared keys probably differ." + hint,
                            unanswered(sa, 5, ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}}));
  // Message 5 is the first one on port 4500 (RFC 3947 §4): where there is a NAT, silence has a second likely cause.
  if (std::holds_alternative<MmAwaitAuth>(sa.state))
    return main_mode_failed(
        core, now, sa, Reason::AuthFailed,
        "No answer at all to message 5 from " + peer + ": " +
            (sa.local.port == ike::kNatPort ? "UDP 4500 is blocked on the way, or the pre-shared keys differ"
                                            : "the pre-shared keys probably differ") +
            " (the peer keeps silent then).",
        {.number = 5, .evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Unanswered, {}}, .by = ike::RefusedBy::Nobody});
  const bool first = std::holds_alternative<MmAwaitSa>(sa.state);
  if (sa.hint && sa.hint->reason == Reason::PeerNoProposal)
    return main_mode_failed(core, now, sa, Reason::PeerNoProposal,
                            peer + " accepts none of our proposals (we offered " + suites_text(core.connection(sa)) + ")." + hint,
                            unanswered(sa, 1, ike::ProposalEvidence{suites_text(core.connection(sa)), {}, {}, {}}));
  const Reason reason = sa.hint ? sa.hint->reason : Reason::Timeout;
  main_mode_failed(core, now, sa, reason,
                   "No answer to message " + std::string(first ? "1" : "3") + " from " + peer + " after " +
                       std::to_string(outstanding(sa.state)->sent()) + " attempts." + hint,
                   sa.hint ? sa.hint->cause : ike::Cause{.number = first ? 1U : 3U});
}

}  // namespace

void on_main_mode_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  if (Outstanding* tx = outstanding(sa.state)) {
    switch (tx->poll(now, core.config.ike, core.services)) {
      case ike::Due::Nothing:
        return;
      case ike::Due::SendAgain:
        return core.send(now, sa, Bytes(tx->message()));
      case ike::Due::GiveUp:
        return out_of_patience(core, now, sa);
    }
    return;
  }
  if (sa.role != Role::Responder || sa.established() || std::holds_alternative<MmClosing>(sa.state) || now < sa.half_open_until) return;
  if (std::holds_alternative<MmRefused>(sa.state)) return core.drop(sa);  // reported when it was refused
  const auto* auth = std::get_if<MmAwaitAuthInit>(&sa.state);
  if (auth && auth->bad_messages > 0) {
    core.say(sa, Severity::Debug, Exchange::MainMode, Reason::AuthFailed, "The half-open ISAKMP SA that never authenticated is gone.");
    return core.drop(sa);
  }
  core.ended(now, sa, Exchange::MainMode, Role::Responder, Reason::Timeout,
             sa.remote.to_string() + " began Main Mode and did not finish it in time.", {}, {.number = auth ? 5U : 3U});
  core.drop(sa);
}

std::optional<TimePoint> main_mode_deadline(const IsakmpSa& sa) {
  const auto own = std::visit(
      [](const auto& s) -> std::optional<TimePoint> {
        if constexpr (requires { s.tx; })
          return s.tx.deadline();
        else
          return std::nullopt;
      },
      sa.state);
  if (own) return own;
  const bool half_open = sa.role == Role::Responder && !sa.established() && !std::holds_alternative<MmClosing>(sa.state);
  return half_open ? std::optional(sa.half_open_until) : std::nullopt;
}

void main_mode_hint(Core& core, TimePoint now, IsakmpSa& sa, Hint hint) {
  Outstanding* tx = outstanding(sa.state);
  if (!tx || sa.role != Role::Initiator) return;
  tx->hurry(now + kHintedWait);
  if (!sa.hint) core.say(sa, Severity::Info, Exchange::MainMode, hint.reason, "An unauthenticated answer, only remembered: " + hint.text);
  sa.hint = std::move(hint);
}

void main_mode_failed(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message, ike::Cause cause) {
  core.ended(now, sa, Exchange::MainMode, sa.role, reason, message, {}, std::move(cause));
  core.drop(sa);
  if (sa.role == Role::Initiator) connecting_failed(core, now, sa.connection, sa.replaces);
}

Keys make_keys(const IsakmpSa& sa, const IkeSuite& suite, const KeyExchange& ke, ByteView psk, ByteView g_xy) {
  Phase1Secrets secrets = derive_phase1({suite.prf, psk, ke.nonce_i, ke.nonce_r, g_xy, sa.spi_i, sa.spi_r});
  Cipher cipher(suite.encr, phase1_encryption_key(secrets, suite.key_bits / 8U));
  return {std::move(secrets), std::move(cipher), phase1_iv(suite.prf, ke.g_xi, ke.g_xr)};
}

bool nonce_ok(const Message& message) {
  const std::size_t size = message.find<Nonce>()->data.size();  // presence: message_rules.hpp
  return size >= kMinNonce && size <= kMaxNonce;
}

void become_established(Core& core, TimePoint now, IsakmpSa& sa, Negotiated negotiated, Keys keys, std::string local_id,
                        std::string remote_id) {
  const config::Connection& c = core.connection(sa);
  const Schedule when = schedule(core.services, now, {c.rekey_time, c.rand_time, c.rekey_time + c.over_time}, negotiated.life_seconds);
  std::string text = "ISAKMP SA established with " + remote_id + " at " + sa.remote.to_string() + " as " + local_id + ", " +
                     negotiated.suite.to_string() + ", " + sa.nat.to_string() + ".";
  MmEstablished next{std::move(negotiated),
                     std::move(keys),
                     std::move(local_id),
                     std::move(remote_id),
                     now,
                     when.rekey_at,
                     when.expires_at,
                     0,
                     std::nullopt,
                     {}};
  sa.state = std::move(next);
  core.table.promote(sa.id);
  core.ended(now, sa, Exchange::MainMode, sa.role, Reason::Ok, std::move(text));
  main_mode_established(core, now, sa);
}

}  // namespace culvert::ikev1
