// Aggressive Mode: which message or completion goes where. The ladder is in the header.
#include "control/ikev1/exchange_aggressive_mode.hpp"

#include "control/ikev1/phase1_newcomers.hpp"

namespace culvert::ikev1 {

void on_aggressive_mode(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  const auto junk = [&](const char* text) { core.junk(in.now, peer, Exchange::AggressiveMode, Reason::Unexpected, text); };
  if (h.message_id) return junk("An Aggressive Mode message has a message id.");  // RFC 2408 §4.1: zero in phase 1
  if (!h.spi_r) return on_aggressive_1(core, in);
  if (welcome(core, in, Exchange::AggressiveMode)) return;
  IsakmpSa* sa = sa_of_message(core, in, Exchange::AggressiveMode);
  if (!sa) return;
  const bool same_peer = peer == sa->remote && in.datagram.local == sa->local;
  if (auto* s = std::get_if<AmAwaitReply>(&sa->state); s && same_peer) return on_aggressive_2(core, in, *sa, *s);
  if (auto* s = std::get_if<AmAwaitProof>(&sa->state)) return on_aggressive_3(core, in, *sa, *s);
  junk("An Aggressive Mode message does not fit the state of its SA.");
}

void on_aggressive_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, const ike::DhResult& result, JobId job) {
  if (auto* s = std::get_if<AmMakingKey>(&sa.state); s && s->job == job) return send_aggressive_1(core, now, sa, *s, result);
  if (auto* s = std::get_if<AmResponding>(&sa.state); s && s->job == job) return on_aggressive_key(core, now, sa, *s, result);
  if (auto* s = std::get_if<AmAnswered>(&sa.state); s && s->job == job) return on_aggressive_newcomer_key(core, now, sa, *s, result);
  if (auto* s = std::get_if<AmDeriving>(&sa.state); s && s->job == job) return on_aggressive_secret(core, now, sa, *s, result);
}

void on_aggressive_mode_signed(Core& core, TimePoint now, IsakmpSa& sa, const ike::SignResult& result) {
  auto* message_2 = std::get_if<AmSigningReply>(&sa.state);
  auto* message_3 = std::get_if<AmSigning>(&sa.state);
  const JobId job = message_2 ? message_2->job : message_3 ? message_3->job : 0;
  if (job != result.job) return;
  if (!result.ok) return phase1_failed(core, now, sa, Reason::NoSecret, "Our private key did not sign: " + result.error + ".");
  if (message_2) return send_aggressive_2(core, now, sa, std::move(*message_2), &result.signature);
  const Claim claim = std::move(message_3->claim);
  send_aggressive_3(core, now, sa, std::move(static_cast<Derived&>(*message_3)), claim, &result.signature);
}

void on_aggressive_mode_verified(Core& core, TimePoint now, IsakmpSa& sa, const ike::VerifyResult& result) {
  if (auto* s = std::get_if<AmVerifying>(&sa.state); s && s->job == result.job)
    return on_aggressive_responder_verified(core, now, sa, *s, result);
  if (auto* s = std::get_if<AmVerifyingProof>(&sa.state); s && s->job == result.job)
    return on_aggressive_initiator_verified(core, now, sa, *s, result);
}

}  // namespace culvert::ikev1
