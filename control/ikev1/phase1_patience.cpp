// Phase 1: retransmission, hints, and the ends of patience and of attempts.
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

namespace {

/// Message 5 of Main Mode got no good answer.
void proof_unanswered(Core& core, TimePoint now, IsakmpSa& sa, const MmAwaitAuth& state, const std::string& hint) {
  const std::string peer = sa.remote.to_string();
  const std::string guess = state.negotiated.auth.psk()
                                ? "the pre-shared keys probably differ"
                                : "the peer probably refuses our identity or certificate, or does not trust its authority";
  ike::Cause cause{.number = 5, .by = ike::RefusedBy::Nobody};
  if (state.negotiated.auth.psk()) cause.evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Unanswered, {}};
  if (sa.hint) {
    cause.said = sa.hint->cause.said;
    cause.by = ike::RefusedBy::Peer;
    if (state.negotiated.auth.psk()) cause.evidence = ike::SecretEvidence{ike::SecretEvidence::Problem::Differs, {}};
    return phase1_failed(core, now, sa, Reason::AuthFailed, "No valid answer to message 5 from " + peer + ": " + guess + "." + hint,
                         std::move(cause));
  }
  // Message 5 is the first one on port 4500 (RFC 3947 §4): where there is a NAT, silence has a second likely cause.
  const bool moved = sa.local.port == ike::kNatPort;
  const std::string short_guess = state.negotiated.auth.psk() ? "the pre-shared keys differ" : guess;
  phase1_failed(core, now, sa, Reason::AuthFailed,
                "No answer at all to message 5 from " + peer + ": " +
                    (moved ? "UDP 4500 is blocked on the way, or " + short_guess : guess) + " (the peer keeps silent then).",
                std::move(cause));
}

void out_of_patience(Core& core, TimePoint now, IsakmpSa& sa) {
  const std::string peer = sa.remote.to_string();
  const std::string hint = sa.hint ? " The peer had answered, unauthenticated: " + sa.hint->text : "";
  if (const auto* auth = std::get_if<MmAwaitAuth>(&sa.state)) return proof_unanswered(core, now, sa, *auth, hint);
  const unsigned number = std::holds_alternative<MmAwaitKe>(sa.state) ? 3 : 1;
  if (sa.hint && sa.hint->reason == Reason::PeerNoProposal) {
    const std::string offered = suites_text(core.connection(sa));
    return phase1_failed(core, now, sa, Reason::PeerNoProposal,
                         peer + " accepts none of our proposals (we offered " + offered + ")." + hint,
                         {.number = number,
                          .evidence = ike::ProposalEvidence{offered, {}, {}, {}},
                          .said = sa.hint->cause.said,
                          .by = ike::RefusedBy::Peer});
  }
  const bool wrong = sa.hint && std::holds_alternative<AmAwaitReply>(sa.state);
  phase1_failed(core, now, sa, sa.hint ? sa.hint->reason : Reason::Timeout,
                std::string(wrong ? "No valid answer" : "No answer") + " to message " + std::to_string(number) + " from " + peer +
                    " after " + std::to_string(outstanding(sa.state)->sent()) + " attempts." + hint,
                sa.hint ? sa.hint->cause : ike::Cause{.number = number});
}

bool half_open(const IsakmpSa& sa) {
  return sa.role == Role::Responder && !sa.established() && !std::holds_alternative<MmClosing>(sa.state);
}

}  // namespace

namespace {

/// Message 3 of Aggressive Mode once more, in case that it was lost: the responder does not ask for it.
void confirm_again(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est) {
  switch (est.unconfirmed->poll(now, core.config.ike, core.services)) {
    case ike::Due::Nothing:
      return;
    case ike::Due::SendAgain:
      return core.send(now, sa, Bytes(est.unconfirmed->message()));
    case ike::Due::GiveUp:
      return est.unconfirmed.reset();
  }
}

/// How many last messages came that prove nothing; nullopt: it is not awaited.
std::optional<unsigned> bad_messages(const MmState& state) {
  return std::visit(
      [](const auto& s) -> std::optional<unsigned> {
        if constexpr (requires { s.bad_messages; })
          return s.bad_messages;
        else
          return std::nullopt;
      },
      state);
}

}  // namespace

std::string not_finished_text(const Endpoint& peer, Exchange mode) {
  const bool main_mode = mode == Exchange::MainMode;
  return peer.to_string() + " began " + (main_mode ? "Main Mode" : "Aggressive Mode") + " and did not finish it in time." +
         (main_mode ? "" : " It has our proof: it may have found that wrong, for want of the same pre-shared key or authority.");
}

void not_finished(Core& core, TimePoint now, IsakmpSa& sa) {
  const bool main_mode = sa.mode == Exchange::MainMode;
  const auto bad = bad_messages(sa.state);
  const auto* proof = std::get_if<AmAwaitProof>(&sa.state);
  if (std::holds_alternative<MmRefused>(sa.state)) return core.drop(sa);  // reported when it was refused
  const bool decoy = proof && proof->peer.stranger && proof->negotiated.auth.psk();
  if (bad.value_or(0) > 0 || decoy) {  // ... and so was this
    core.say(sa, Severity::Debug, sa.mode, Reason::AuthFailed, "The half-open ISAKMP SA that never authenticated is gone.");
    return core.drop(sa);
  }
  core.ended(now, sa, sa.mode, Role::Responder, Reason::Timeout, not_finished_text(sa.remote, sa.mode), {},
             {.number = main_mode && bad ? 5U : 3U});
  core.drop(sa);
}

void on_phase1_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  if (MmEstablished* est = sa.established(); est && est->unconfirmed) return confirm_again(core, now, sa, *est);
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
  if (!half_open(sa) || now < sa.half_open_until) return;
  not_finished(core, now, sa);
}

std::optional<TimePoint> phase1_deadline(const IsakmpSa& sa) {
  const auto own = std::visit(
      [](const auto& s) -> std::optional<TimePoint> {
        if constexpr (requires { s.tx; })
          return s.tx.deadline();
        else
          return std::nullopt;
      },
      sa.state);
  if (own) return own;
  if (const MmEstablished* est = sa.established(); est && est->unconfirmed) return est->unconfirmed->deadline();
  return half_open(sa) ? std::optional(sa.half_open_until) : std::nullopt;
}

void phase1_hint(Core& core, TimePoint now, IsakmpSa& sa, Hint hint) {
  Outstanding* tx = outstanding(sa.state);
  if (!tx || sa.role != Role::Initiator) return;
  tx->hurry(now + kHintedWait);
  if (!sa.hint) core.say(sa, Severity::Info, sa.mode, hint.reason, "An unauthenticated answer, only remembered: " + hint.text);
  sa.hint = std::move(hint);
}

void phase1_failed(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message, ike::Cause cause) {
  core.ended(now, sa, sa.mode, sa.role, reason, message, {}, std::move(cause));
  core.drop(sa);
  if (sa.role == Role::Initiator) connecting_failed(core, now, sa.connection, sa.replaces);
}

void last_message_refused(Core& core, TimePoint now, IsakmpSa& sa, NotifyType type) {
  abandon_quick_modes(core, sa);
  phase1_failed(core, now, sa, Reason::AuthFailed,
                "The peer refused message 3 with " + name(type) + ": it does not accept our certificate, its signature or our identity.",
                {.number = 3, .said = name(type), .said_proven = true, .by = ike::RefusedBy::Peer});
}

}  // namespace culvert::ikev1
