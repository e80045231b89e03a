// Main Mode (RFC 2409 §5.1, §5.4) with NAT detection (RFC 3947) and DPD's vendor id (RFC 3706).
// Owns the way of an ISAKMP SA to Established; lifecycle.hpp decides when one is begun and what follows.
//
//   I -> R   1  HDR, SA, VID(NAT-T), VID(DPD)
//   I <- R   2  HDR, SA, VID...                    | N(NO-PROPOSAL-CHOSEN) in clear, once, and no state kept
//   I -> R   3  HDR, KE, Ni, NAT-D(R), NAT-D(I)      NAT-D where both sent the vendor id
//   I <- R   4  HDR, KE, Nr, NAT-D(I), NAT-D(R)    | silence: a bad KE or nonce; the half-open SA is dropped
//   pre-shared key
//   I -> R   5  HDR*, IDii, HASH_I                   from port 4500 to 4500 where a NAT was found
//   I <- R   6  HDR*, IDir, HASH_R                 | N(AUTHENTICATION-FAILED) in clear, once: it does not decrypt
//                                                  | N*(INVALID-ID-INFORMATION) under HASH(1): another identity is expected
//   signatures: in 4 CERTREQ..., and
//   I -> R   5  HDR*, IDii, CERT..., SIG_I, CERTREQ...
//   I <- R   6  HDR*, IDir, CERT..., SIG_R         | N*(AUTHENTICATION-FAILED) under HASH(1): identity, certificate or signature
//   I -> R      N*(AUTHENTICATION-FAILED), D         the same of message 6
//
// What is not authenticated never ends an exchange: refusals in clear are remembered as hints that name the reason when the
// time is over, which they shorten. The responder sends nothing on its own: it answers, and repeats an answer a few times.
#pragma once

#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

bool start_main_mode(Core& core, TimePoint now, const Phase1Start& start);
void on_main_mode(Core& core, const Incoming& in);
void on_main_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, const ike::DhResult& result, JobId job);
void on_main_mode_signed(Core& core, TimePoint now, IsakmpSa& sa, const ike::SignResult& result);
void on_main_mode_verified(Core& core, TimePoint now, IsakmpSa& sa, const ike::VerifyResult& result);

// ---- between the files of this exchange

void on_message_1(Core& core, const Incoming& in);
void on_message_2(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitSa& state);
void on_message_3(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKeInit& state);
void on_message_4(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitKe& state);
void on_message_5(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuthInit& state);
void on_message_6(Core& core, const Incoming& in, IsakmpSa& sa, MmAwaitAuth& state);
void send_message_3(Core& core, TimePoint now, IsakmpSa& sa, MmMakingKey& state, const ike::DhResult& result);
void send_message_4(Core& core, TimePoint now, IsakmpSa& sa, MmResponding& state, const ike::DhResult& result);
void on_shared_secret(Core& core, TimePoint now, IsakmpSa& sa, MmDeriving& state, const ike::DhResult& result);
/// `signature`: ours, absent where we show a hash.
void send_message_5(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Bytes* signature);
void send_message_6(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim, const Bytes* signature);
void on_initiator_verified(Core& core, TimePoint now, IsakmpSa& sa, MmVerifyingInit& state, const ike::VerifyResult& result);
void on_responder_verified(Core& core, TimePoint now, IsakmpSa& sa, MmVerifying& state, const ike::VerifyResult& result);

}  // namespace culvert::ikev1
