// What Main Mode and Aggressive Mode share: which method a connection wants, keys, proofs and their
// verification, what strangers may make us keep, how patience ends. Owns no ladder: those are in exchange_main_mode.hpp and
// exchange_aggressive_mode.hpp.
//
// Signing and verifying are jobs. What fails of a signature ends the attempt: the message decrypted under the keys of this very key
// exchange, so that nobody else can have sent it. A peer that is refused so is told AUTHENTICATION-FAILED whatever the reason is;
// the reason is for our operator.
#pragma once

#include <expected>
#include <string>

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

struct Phase1Start {
  std::size_t connection = 0;
  Endpoint local, remote;
  std::vector<SaId> replaces;
};
/// Sends message 1. False: it cannot be sent (no secret, no private key, too many SAs), which has been reported.
bool start_phase1(Core& core, TimePoint now, const Phase1Start& start);
/// Retransmission, and the end of patience.
void on_phase1_timer(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> phase1_deadline(const IsakmpSa& sa);
/// Aggressive Mode, initiator: our last message is refused under the keys, when we took the SA for established.
void last_message_refused(Core& core, TimePoint now, IsakmpSa& sa, NotifyType type);
/// An unauthenticated refusal while we wait for an answer.
void phase1_hint(Core& core, TimePoint now, IsakmpSa& sa, Hint hint);
/// An authenticated end: a notification under HASH(1) before the last message, or our own decision.
void phase1_failed(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message, ike::Cause cause = {});

// -------------------------------------------------------------------------------------------- between the exchanges' files

/// How the connection proves itself and wants the peer to, in this role; error: it cannot, and why.
std::expected<Phase1Auth, std::string> wanted_auth(Core& core, std::size_t connection, Role role);
std::uint32_t offered_life(const config::Connection& c);
/// A new SA that we initiate, in the table; nullptr: too many, or no key, which has been reported.
IsakmpSa* new_initiator(Core& core, TimePoint now, const Phase1Start& start, Exchange mode);

/// RFC 3947 §4: the initiator moves where a NAT was found, the responder follows.
void move_to_nat_port(IsakmpSa& sa);
bool nonce_ok(const Message& message);

/// Error: the pre-shared key cannot be read, and why. `instead`: another one than the connection's.
std::expected<Keys, std::string> make_keys(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const KeyExchange& ke,
                                           ByteView g_xy, const SecretBytes* instead = nullptr);
Id own_id(Core& core, const IsakmpSa& sa);
/// HASH_I or HASH_R: what `side` shows, or signs.
Bytes proof_octets(const IsakmpSa& sa, const Derived& derived, Role side, ByteView id_body);
bool hash_proves(const IsakmpSa& sa, const Derived& derived, Role side, ByteView id_body, const Message& message);
JobId ask_signature(Core& core, const IsakmpSa& sa, const Derived& derived);
JobId ask_verification(Core& core, const IsakmpSa& sa, const Derived& derived, const Claim& claim);
/// HASH; or CERT and, from `signature`, SIG.
void add_proof(Core& core, const IsakmpSa& sa, const Derived& derived, const Bytes* signature, Builder& out, bool certificates = true);
/// CERTREQ where the peer will sign: an authority each, or a single empty one if they would take more than `room` bytes.
/// `others`: connections whose authorities are asked for, too.
void add_cert_requests(Core& core, const IsakmpSa& sa, const Phase1Auth& auth, std::size_t room, Builder& out,
                       std::span<const std::size_t> others = {});
/// For the record of a claim in message `number` that is refused.
ike::Cause refused_claim(Core& core, const IsakmpSa& sa, const Claim& claim, unsigned number, const ike::VerifyResult& why);
/// The peer's signature, certificate or identity in message `number` is refused: it is told so, and its half-open SA stays closed until its
/// time is over.
void refuse_claim(Core& core, TimePoint now, IsakmpSa& sa, const Derived& derived, const Claim& claim, unsigned number,
                  const ike::VerifyResult& why);
/// The peer has proved itself: its address is taken over (RFC 3947 §4), and it goes to the run where it belongs. False: it may not come
/// in (unique, too many peers), which it has been told; the attempt is over.
bool admit(Core& core, TimePoint now, IsakmpSa& sa, const Derived& derived, const Claim& claim);
std::string wrong_identity_text(const Id& received, const config::Connection& c);
ike::IdentityEvidence identity_evidence(const Id& received, const config::Connection& c, bool proven);
/// A message of phase 2 that overtakes what we compute for the peer's last one of phase 1 (message 3, message 6) is kept, one of them,
/// and taken in when the SA is established: then it stands in Core::deferred. True: it was kept.
bool comes_early(Core& core, const Incoming& in);
void become_established(Core& core, TimePoint now, IsakmpSa& sa, Derived derived, std::string local_id, std::string remote_id);

// -------------------------------------------------------------------------------------------- responder

/// The bounds on what strangers may make us keep. Said so if there is none.
enum class Room : std::uint8_t { Yes, NotForThisSource, NotForAnybody };
Room look_for_room(Core& core, TimePoint now, const Endpoint& peer, Exchange mode);
/// The half-open SA of somebody who did not go on in time; and the words for that.
void not_finished(Core& core, TimePoint now, IsakmpSa& sa);
std::string not_finished_text(const Endpoint& peer, Exchange mode);
void refuse_statelessly(Core& core, const Incoming& in, NotifyType type);
struct Selection {
  std::size_t connection = 0;
  Phase1Auth auth;
  IkeChoice choice;
  bool stranger = false;  ///< it expects another identity, and so do all others
};
/// The first connection with these addresses and this exchange that accepts a proposal of message 1 with its method, in Aggressive Mode
/// the first that also expects the identity; nullopt: refused, and said so.
std::optional<Selection> select_connection(Core& core, const Incoming& in, Exchange mode, const Message& message);
/// A half-open SA under this cookie, not in the table yet.
std::unique_ptr<IsakmpSa> new_responder(Core& core, const Incoming& in, std::size_t connection, Exchange mode, IkeSpi cookie);
/// Sends the cached reply if the stranger's allowance has room for it. False: it has not.
bool answer_stranger(Core& core, TimePoint now, IsakmpSa& sa);
/// The first message once more: true if it was that, and has been dealt with.
bool first_message_again(Core& core, const Incoming& in);
/// The SA of a message that is not the first one, if it is this exchange's and new; otherwise it has been dealt with.
IsakmpSa* sa_of_message(Core& core, const Incoming& in, Exchange mode);
/// Other connections that an SA of these addresses may mean, with the same exchange, suite and authentication, best first. With a peer:
/// those that its identity fits.
std::vector<std::size_t> other_candidates(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const Id* peer = nullptr);
/// The connection that the identity means: the one chosen before it was known, or another with the same addresses, suite and method,
/// and with the same pre-shared key where there is one.
std::optional<std::size_t> connection_of(Core& core, const IsakmpSa& sa, const Negotiated& negotiated, const Id& peer);
/// A last message that proves nothing: a wrong pre-shared key, or somebody else's message. The first one is answered and reported;
/// true: there were too many now.
bool bad_last_message(Core& core, const Incoming& in, IsakmpSa& sa, const Negotiated& negotiated, unsigned& count,
                      const std::string& detail);

}  // namespace culvert::ikev1
