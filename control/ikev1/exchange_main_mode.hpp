// Main Mode with pre-shared keys (RFC 2409 §5.4) with NAT detection (RFC 3947) and DPD's vendor id (RFC 3706).
// Owns the way of an ISAKMP SA to Established; lifecycle.hpp decides when one is begun and what follows.
//
//   I -> R   1  HDR, SA, VID...                      extensions.hpp
//   I <- R   2  HDR, SA, VID...                    | N(NO-PROPOSAL-CHOSEN) in clear, once, and no state kept
//   I -> R   3  HDR, KE, Ni, NAT-D(R), NAT-D(I)      NAT-D where both sent the vendor id
//   I <- R   4  HDR, KE, Nr, NAT-D(I), NAT-D(R)    | silence: a bad KE or nonce; the half-open SA is dropped
//   I -> R   5  HDR*, IDii, HASH_I                   from port 4500 to 4500 where a NAT was found
//   I <- R   6  HDR*, IDir, HASH_R                 | N(AUTHENTICATION-FAILED) in clear, once: it does not decrypt
//                                                  | N*(INVALID-ID-INFORMATION) under HASH(1): another identity is expected
//
// What is not authenticated never ends an exchange: refusals in clear are remembered as hints that name the reason when the
// time is over, which they shorten. The responder sends nothing on its own: it answers, and repeats an answer a few times.
#pragma once

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

struct MainModeStart {
  std::size_t connection = 0;
  Endpoint local, remote;
  std::vector<SaId> replaces;
};
/// Sends message 1. False: it cannot be sent (no secret, too many SAs), which has been reported.
bool start_main_mode(Core& core, TimePoint now, const MainModeStart& start);
void on_main_mode(Core& core, const Incoming& in);
void on_main_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, const ike::DhResult& result, JobId job);
/// Retransmission, and the end of patience.
void on_main_mode_timer(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> main_mode_deadline(const IsakmpSa& sa);
/// An unauthenticated refusal while we wait for an answer.
void main_mode_hint(Core& core, TimePoint now, IsakmpSa& sa, Hint hint);
/// An authenticated end: a notification under HASH(1) before message 6, or our own decision.
void main_mode_failed(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message, ike::Cause cause = {});

// ---- between the files of this exchange

void on_message_1(Core& core, const Incoming& in);
void on_message_2(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitSa& state);
void on_message_3(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKeInit& state);
void on_message_4(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKe& state);
void on_message_5(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state);
void on_message_6(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuth& state);
void send_message_3(Core& core, TimePoint now, IsakmpSa& sa, MmMakingKey& state, const ike::DhResult& result);
void send_message_4(Core& core, TimePoint now, IsakmpSa& sa, MmResponding& state, const ike::DhResult& result);
void send_message_5(Core& core, TimePoint now, IsakmpSa& sa, MmDeriving& state, const ike::DhResult& result);

Keys make_keys(const IsakmpSa& sa, const IkeSuite& suite, const KeyExchange& ke, ByteView psk, ByteView g_xy);
bool nonce_ok(const Message& message);
void become_established(Core& core, TimePoint now, IsakmpSa& sa, Negotiated negotiated, Keys keys, std::string local_id,
                        std::string remote_id);

}  // namespace culvert::ikev1
