// Main Mode: which message or completion goes where. The ladder is in the header.
#include "control/ikev1/exchange_main_mode.hpp"

#include "control/ikev1/phase1_newcomers.hpp"

namespace culvert::ikev1 {

void on_main_mode(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const Endpoint& peer = in.datagram.remote;
  if (h.message_id)  // RFC 2408 §4.1: zero in phase 1
    return core.junk(in.now, peer, Exchange::MainMode, Reason::Unexpected, "A Main Mode message has a message id.");
  if (!h.spi_r) return on_message_1(core, in);
  if (welcome(core, in, Exchange::MainMode)) return;
  IsakmpSa* sa = sa_of_message(core, in, Exchange::MainMode);
  if (!sa) return;
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
  if (auto* s = std::get_if<MmDeriving>(&sa.state); s && s->job == job) return on_shared_secret(core, now, sa, *s, result);
}

void on_main_mode_signed(Core& core, TimePoint now, IsakmpSa& sa, const ike::SignResult& result) {
  auto* message_5 = std::get_if<MmSigning>(&sa.state);
  auto* message_6 = std::get_if<MmSigningReply>(&sa.state);
  const JobId job = message_5 ? message_5->job : message_6 ? message_6->job : 0;
  if (job != result.job) return;
  if (!result.ok) return phase1_failed(core, now, sa, Reason::NoSecret, "Our private key did not sign: " + result.error + ".");
  if (message_5) return send_message_5(core, now, sa, std::move(static_cast<Derived&>(*message_5)), &result.signature);
  const Claim claim = std::move(message_6->claim);
  send_message_6(core, now, sa, std::move(static_cast<Derived&>(*message_6)), claim, &result.signature);
}

void on_main_mode_verified(Core& core, TimePoint now, IsakmpSa& sa, const ike::VerifyResult& result) {
  if (auto* s = std::get_if<MmVerifying>(&sa.state); s && s->job == result.job) return on_responder_verified(core, now, sa, *s, result);
  if (auto* s = std::get_if<MmVerifyingInit>(&sa.state); s && s->job == result.job) return on_initiator_verified(core, now, sa, *s, result);
}

}  // namespace culvert::ikev1
