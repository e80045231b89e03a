// Aggressive Mode (RFC 2409 §5.1, §5.4) with NAT detection (RFC 3947) and DPD's vendor id (RFC 3706).
// Owns the way of an ISAKMP SA to Established in three messages; lifecycle.hpp decides when one is begun and what follows.
//
//   I -> R   1  HDR, SA, KE, Ni, IDii, VID..., [CERTREQ...]
//   I <- R   2  HDR, SA, KE, Nr, IDir, [CERT...], HASH_R | SIG_R, VID..., [NAT-D(I), NAT-D(R)], [CERTREQ...]
//               | N(NO-PROPOSAL-CHOSEN | INVALID-EXCHANGE-TYPE) in clear, once, responder cookie 0, and no state kept
//               | silence: a bad nonce or KE (with a pre-shared key that shows behind message 3); an answer that is longer than one and a
//               half times what was asked with (it comes when
//                 message 1 has been repeated often enough)
//   I -> R   3  HDR*, [NAT-D(R), NAT-D(I)], [CERT...], HASH_I | SIG_I     from port 4500 to 4500 where a NAT was found
//               | N(AUTHENTICATION-FAILED) in clear, once: no proof; under HASH(1): identity, certificate or signature
//   I -> R   3  again, until the responder says something under the keys: it has no other way to learn that it is awaited
//
// As responder with a pre-shared key message 2 needs no key exchange, only a key pair, which those who come within a second share
// (RFC 7296 §2.12 says what that takes: it is wiped with the last of them, and peers' values are judged as RFC 6989 asks). So
// message 1 makes a newcomer (phase1_newcomers.hpp), and g^xy is computed for message 3. With signatures message 2 itself needs both, and
// anybody can ask for it in anybody's name: these have half of the half-open places among them, and may be asked to ask twice.
//
// What it costs: with a pre-shared key, HASH_R goes in clear to whoever asks, and can be compared with guesses of the key at leisure.
// So as responder with a pre-shared key it is done only for connections that name this price. Whoever asks with an identity that
// nobody expects gets the same answer, made with a random key. Message 2 proves nothing until it is verified, and is in clear: a
// wrong one is a hint and no end.
#pragma once

#include "control/ikev1/phase1.hpp"

namespace culvert::ikev1 {

bool start_aggressive_mode(Core& core, TimePoint now, const Phase1Start& start);
void on_aggressive_mode(Core& core, const Incoming& in);
void on_aggressive_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, const ike::DhResult& result, JobId job);
void on_aggressive_mode_signed(Core& core, TimePoint now, IsakmpSa& sa, const ike::SignResult& result);
void on_aggressive_mode_verified(Core& core, TimePoint now, IsakmpSa& sa, const ike::VerifyResult& result);

// ---- between the files of this exchange

void on_aggressive_1(Core& core, const Incoming& in);
void on_aggressive_2(Core& core, const Incoming& in, IsakmpSa& sa, AmAwaitReply& state);
/// The first message 3 of a newcomer with a pre-shared key.
void on_aggressive_newcomer_3(Core& core, const Incoming& in, IsakmpSa& sa, AmAnswered& state, const ike::Newcomer& newcomer);
void on_aggressive_newcomer_key(Core& core, TimePoint now, IsakmpSa& sa, AmAnswered& state, const ike::DhResult& result);
/// A key pair for answers to newcomers, or none.
void on_reply_key(Core& core, TimePoint now, DhGroup group, const ike::DhResult& result);
void on_aggressive_3(Core& core, const Incoming& in, IsakmpSa& sa, AmAwaitProof& state);
void send_aggressive_1(Core& core, TimePoint now, IsakmpSa& sa, const AmMakingKey& state, const ike::DhResult& result);
void on_aggressive_key(Core& core, TimePoint now, IsakmpSa& sa, AmResponding& state, const ike::DhResult& result);
void on_aggressive_secret(Core& core, TimePoint now, IsakmpSa& sa, AmDeriving& state, const ike::DhResult& result);
/// `signature`: ours, absent where we show a hash.
void send_aggressive_2(Core& core, TimePoint now, IsakmpSa& sa, AmSigningReply state, const Bytes* signature);
void send_aggressive_3(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, const Claim& claim, const Bytes* signature);
void on_aggressive_responder_verified(Core& core, TimePoint now, IsakmpSa& sa, AmVerifying& state, const ike::VerifyResult& result);
void on_aggressive_initiator_verified(Core& core, TimePoint now, IsakmpSa& sa, AmVerifyingProof& state, const ike::VerifyResult& result);

}  // namespace culvert::ikev1
