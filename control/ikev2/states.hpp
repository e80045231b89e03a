// The states of an IKE SA, of a CHILD SA and of the exchanges on them, as types: a field exists only where it means something.
// Owns no behaviour: exchange_*.cpp move an SA from one state to the next.
//
//   initiator   MakingKey -dh-> InitSent -reply-> Deriving -dh-> AuthSent -reply-> Established      (InitSent -cookie, other group-> again)
//   responder   Responding -dh-> AwaitAuth -request-> Established                           (Refused: keeps its place half-open)
//   with signatures, before AuthSent and behind each request and reply of IKE_AUTH:
//     initiator   Deriving -dh-> Signing -sig-> AuthSent -reply-> Verifying -ok-> Established
//     responder   AwaitAuth -request-> VerifyingInit -ok-> SigningReply -sig-> Established                       (either may be left out)
//   with EAP, the initiator's user behind the responder's signature (RFC 7296 §2.16):
//     initiator   AuthSent -reply-> Verifying -ok-> ProvingUser -reply-> ... -reply-> Established
//     responder   AwaitAuth -request-> SigningForEap -sig-> AskingUser -request-> ... -request-> Established
//   with several proofs of a side (RFC 4739), once more for each of them from the initiator's proof on:
//     initiator   ... AuthSent -reply-> Signing -sig-> AuthSent ...
//     responder   ... SigningReply -sig-> AwaitProof -request-> VerifyingInit ...
//   with additional key exchanges (RFC 9370), between IKE_SA_INIT and IKE_AUTH, once for each:
//     initiator   Deriving -dh-> Intermediate -dh, reply, dh-> Intermediate ... AuthSent
//     responder   AwaitAuth -request-> AnsweringIntermediate -dh-> AwaitAuth
//   then        Established -Delete-> Closing
//
// Each side has one request under way at a time, unless the peer has more (window.hpp), and answers one of the peer's at a time.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/config/config.hpp"
#include "common/secret.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/nat_traversal.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ike/sa_table.hpp"
#include "control/ike/selectors.hpp"
#include "control/ikev2/child_states.hpp"
#include "control/ikev2/cipher.hpp"
#include "control/ikev2/eap/client.hpp"
#include "control/ikev2/eap/server.hpp"
#include "control/ikev2/forgeries.hpp"
#include "control/ikev2/fragments.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/sa_parts.hpp"
#include "control/ikev2/signatures.hpp"
#include "control/ikev2/sync_rules.hpp"

namespace culvert::ikev2 {

// ---------------------------------------------------------------------------------------------------------------- IKE SAs

/// An unauthenticated notification: not acted on, but named when the exchange has failed anyway.
struct Hint {
  Reason reason{};
  std::string text;
  ike::Cause cause{};
};

struct MakingKey {
  JobId job{};
};
struct InitSent {
  std::shared_ptr<crypto::KeyExchange> key;
  Bytes public_value;
  Outstanding tx;
};
/// IKE_SA_INIT with another group, that went out before somebody, who need not be the peer, asked for the one that it is now.
struct FormerInit {
  DhGroup group{};
  std::shared_ptr<crypto::KeyExchange> key;
  Bytes public_value, request;
};
struct Deriving {
  JobId job{};
  Bytes nonce_r;
  Bytes reply;  ///< the whole message: the responder signs it
};
/// An additional key exchange (RFC 9370 §2.2.2): our half is being made, then the request is out, then the secret is being computed.
struct Intermediate {
  Bytes reply;  ///< of IKE_SA_INIT
  JobId job{};
  std::shared_ptr<crypto::KeyExchange> key{};
  std::optional<Outstanding> tx{};  ///< while the request is out
};
/// Our signature is being made.
struct Signing {
  JobId job{};
  Bytes reply;  ///< of IKE_SA_INIT
  ike::SignatureScheme scheme{};
  std::optional<Auth> proof{};      ///< made already, with the PPK: what is being made now is for a peer that has none
  std::optional<MakeChild> make{};  ///< of a further proof: what the first request has asked for
};
/// IKE_AUTH was sent. The SA is half there: keys, no proof.
struct AuthSent {
  Outstanding tx;
  MakeChild make;
};
/// The responder's signature is being checked.
struct Verifying {
  JobId job{};
  MakeChild make;
  Message reply;  ///< of IKE_AUTH
};
/// We are a user, and the responder has proved itself.
struct ProvingUser {
  Outstanding tx;
  MakeChild make;
  eap::Client eap;
  unsigned rounds = 0;
  bool proved = false;  ///< EAP has come to its end, and our AUTH is out
  JobId job{};          ///< of EAP-TLS: no request is out
  std::shared_ptr<ike::TlsSession> tls{};
  std::optional<ike::TlsStepped> trouble{};  ///< why TLS has failed
};
struct Responding {
  JobId job{};
  IkeSuite suite;
  Bytes request;  ///< IKE_SA_INIT as received: the initiator signs it
  Bytes nonce_i;
  Sa reply;
};
struct AwaitAuth {
  Bytes request, reply;  ///< IKE_SA_INIT both ways
};
/// A proof that comes from another address than IKE_SA_INIT did is being judged: what the SA goes back to if it is none (strays.hpp).
struct StrayTrial {
  Path before;  ///< where IKE_SA_INIT was answered
  AwaitAuth state;
  std::size_t connection = 0;
  Path from;  ///< where the proof came from
  std::size_t print = 0;
};
struct Stray {
  Forgeries forgeries;  ///< from elsewhere
  bool tried = false;   ///< one such proof is judged, and no more
  std::optional<StrayTrial> trial{};
  std::optional<Endpoint> begun_at{};  ///< where the peer was in IKE_SA_INIT, until it has shown where it is
  bool asked = false;                  ///< ... whether it is where it has proved itself
};
/// An additional key exchange of the initiator's is being answered.
struct AnsweringIntermediate {
  AwaitAuth after;
  JobId job{};
  std::uint32_t id = 0;  ///< of the message
};
/// A proof was taken, and another one is to come (RFC 4739).
struct AwaitProof {
  Bytes init_reply;  ///< ours, that we sign
};
/// The request of IKE_AUTH, while it is judged: nothing that comes meanwhile is answered.
struct AuthRequest {
  std::uint32_t id = 0;  ///< of the message
  Message message;
  Bytes init_reply;  ///< ours, that we sign
};
/// The initiator's signature is being checked.
struct VerifyingInit {
  JobId job{};
  AuthRequest request;
  PeerSignature proof;
  Bytes octets;                                                      ///< that it signs
  std::vector<std::size_t> others;                                   ///< connections that may be meant instead
  std::optional<std::pair<std::size_t, ike::VerifyResult>> first{};  ///< the verdict of the first connection
};
/// The initiator is who it says; our signature is being made.
struct SigningReply {
  JobId job{};
  AuthRequest request;
  ike::SignatureScheme scheme{};
};
/// The initiator asks for EAP: our signature, which comes before anything of it, is being made.
struct EapOpening {
  AuthRequest request;
  std::vector<std::size_t> connections;  ///< that may be meant: the user's name tells
};
struct SigningForEap {
  JobId job{};
  EapOpening opening;
  ike::SignatureScheme scheme{};
};
/// ... whom a server elsewhere knows.
struct RadiusTalk {
  std::optional<std::size_t> server{};  ///< that has answered
  Bytes state{};                        ///< its word, which it wants to hear again
  std::optional<std::chrono::seconds> session_timeout{};
  std::vector<IpAddress> framed{};  ///< the virtual addresses that it gives him
};
/// The initiator is to be a user.
struct AskingUser {
  EapOpening opening;  ///< the message ID is that of the request at work
  eap::Server eap;
  unsigned rounds = 0;
  JobId job{};           ///< he is being looked up, or a step of EAP-TLS made
  bool proved = false;   ///< only the initiator's AUTH is missing
  bool refused = false;  ///< and told so: only the end is missing
  struct Verdict {
    TimePoint told_at;
    Reason reason{};
    std::string text, problem;
  };
  std::optional<Verdict> verdict{};  ///< a refusal whose time has not come
  RadiusTalk radius{};
  std::shared_ptr<ike::TlsSession> tls{};
  std::optional<ike::TlsStepped> trouble{};  ///< why TLS has failed
};
/// Failed at the price of a key exchange: keeps its place among the half-open ones until its time is over, so that a stranger cannot make
/// us compute more often than ike.half_open_limit and ike.half_open_timeout allow. Repeats its last answer, and gives no other.
struct Refused {};
struct Established {
  TimePoint since, rekey_at, expires_at;
  bool replaced = false;             ///< a newer IKE SA has its CHILD SAs
  bool unclaimed = false;            ///< ... and if the peer does not know it by now, it never will
  std::optional<TimePoint> until{};  ///< Replaced by the peer's: when we delete it if the peer does not
  unsigned rekey_failures = 0;
  Bytes lowest_nonce{};                ///< of the rekeying that made it
  std::optional<TimePoint> look_at{};  ///< both sides have begun at once: when it is seen to that one of the two SAs goes
  bool forgotten = false;              ///< the peer has begun anew and knows nothing of this one: it ends at `until`, without a word
  TimePoint twins_since{};             ///< since when both are there
  bool leaving = false;                ///< ... this one: nothing begins under it any more
  TimePoint calm_since{};              ///< since when nothing has changed under it
  bool carried = false;                ///< what was under it goes by the other one
};
/// Deleted by us: the request is under way.
struct Closing {
  TimePoint forget_at;
};
using State =
    std::variant<MakingKey, InitSent, Deriving, Intermediate, Signing, AuthSent, Verifying, ProvingUser, Responding, AwaitAuth,
                 AnsweringIntermediate, AwaitProof, VerifyingInit, SigningReply, SigningForEap, AskingUser, Refused, Established, Closing>;

/// Virtual addresses of one side: one of each family at most.
struct VirtualAddresses {
  std::optional<IpAddress> v4{}, v6{};
  [[nodiscard]] const std::optional<IpAddress>& of(Family family) const { return family == Family::V6 ? v6 : v4; }
  void set(const IpAddress& address) { (address.family == Family::V6 ? v6 : v4) = address; }
  [[nodiscard]] bool any() const { return v4 || v6; }
};

struct Ticket;  // ticket.hpp

/// Who the initiator is.
struct Proven {
  std::string identity;  ///< printable
  std::optional<PeerKey> key;
};
/// Several proofs of a side (RFC 4739), until the last one.
struct Rounds {
  std::size_t now = 0;      ///< the one at work, from 0 on
  bool said = false;        ///< the peer takes several: MULTIPLE_AUTH_SUPPORTED
  Bytes init_request;       ///< IKE_SA_INIT of the initiator, which it signs each time; empty: only once, and at once
  std::vector<Bytes> keys;  ///< by which the peer has proved itself so far (ike::VerifyResult::key)
  // of an initiator
  std::optional<IdR> id;  ///< the responder's first one
  Bytes latest_id;        ///< its latest one: the body of the payload
  // of a responder
  std::shared_ptr<const Message> first;  ///< request of IKE_AUTH, which says what all is about; null: the one at work is
  std::optional<Proven> who;             ///< the initiator, so far
  unsigned weight = 0;                   ///< of the proof that says so: a secret that several may have, a signature, a user
};

struct IkeSa {
  SaId id = 0;
  std::size_t connection = 0;  ///< index into the configuration; of a responder the likeliest until IKE_AUTH tells
  Role role{};                 ///< the original one
  IkeSpi spi_i, spi_r;
  Role first_role{};  ///< those of the first of all SAs that this one goes on for
  IkeSpi first_spi_i;
  Endpoint local, remote;
  ike::NatStatus nat;
  TimePoint created, half_open_until;
  State state;

  IkeSuite suite;
  IkeKeys keys;
  std::optional<Cipher> seal, open;       ///< our direction, the peer's
  std::optional<Cipher> opened_by;        ///< what the request was encrypted with that the last answer is for, if not `open`
  IntAuth int_auth;                       ///< of IKE_INTERMEDIATE
  Rounds rounds;                          ///< of IKE_AUTH
  Bytes nonce_i, nonce_r;                 ///< of IKE_SA_INIT; kept until IKE_AUTH is over
  DhGroup group{};                        ///< of our KE payload
  Bytes init_request;                     ///< of an initiator: IKE_SA_INIT as last sent
  std::optional<SignatureHashes> hashes;  ///< that the peer takes in signatures; nullopt: it does not say
  bool use_ppk = false;                   ///< both sides have said that they take PPKs (RFC 8784 §3)
  bool lacks_ppk = false;                 ///< of a responder: the peer alone has said so
  std::optional<PpkKeys> ppk;             ///< with the PPK, until it is known whether it is used
  bool with_ppk = false;                  ///< its keys are of it
  Bytes cookie;                           ///< the responder's, to be sent back
  std::vector<FormerInit> former_inits;   ///< until one of all is answered
  unsigned init_tries = 0;                ///< cookies and groups that the responder asked for

  Mobility mobility;
  Redirecting redirecting;
  std::optional<Pass> pass;               ///< of a client that comes back: what it shows (RFC 5723)
  std::shared_ptr<const Ticket> resumed;  ///< of a gateway: what it was shown
  std::optional<GivenTicket> given;       ///< ... and what it gave the client, under this SA or one that it has rekeyed
  SecretBytes crash_token;                ///< the peer's, that it shows when it has lost this SA (RFC 6290)
  Synchronizing sync;                     ///< of counters (RFC 6311)
  bool fragments = false;                 ///< both sides have announced that they take them in (RFC 7383 §2.3)
  FragmentsById request_parts;
  Fragments reply_parts;
  std::uint32_t next_request = 0;   ///< message ID of our next request
  Datagrams last_request;           ///< as sent
  std::uint32_t next_expected = 0;  ///< of the peer's next one
  Datagrams last_answer;            ///< to the one before
  std::size_t last_print = 0;       ///< of the request that it answers
  unsigned repeats = 0;             ///< of the answer
  Window window;                    ///< what is before these, and behind

  std::string local_id, remote_id;             ///< printable; of the peer once it has proved it: of a user his name
  std::string user;                            ///< with EAP: who the peer is, printable; empty: no user
  std::optional<TimePoint> session_end;        ///< with RADIUS: so long he may stay, rekeyed or not
  std::vector<IpAddress> framed;               ///< ... and the virtual addresses that he is to have; none: any of the pools
  std::optional<PeerKey> peer;                 ///< of a connection that can have many
  VirtualAddresses inner_local, inner_remote;  ///< ours as a client, the peer's as a gateway
  ike::GivenConfig told;                       ///< beside the former
  std::string lease;                           ///< who holds the latter (configuration.hpp)
  std::vector<Child> children;
  std::map<std::size_t, Shares> shares;  ///< by child
  std::deque<Task> tasks;
  std::optional<Request> request;
  std::optional<Answering> answering;
  std::optional<Pending> pending;
  std::size_t first_child = 0;  ///< of an initiator: what IKE_AUTH is to make
  bool childless = false;       ///< ... nothing: CREATE_CHILD_SA makes that, too
  Reauth reauth;
  bool unnamed = false;             ///< of an initiator: asks without saying whom (IDr), to learn who is there
  std::vector<SaId> replaces;       ///< IKE SAs that this one takes the place of when it is up (re-authentication)
  std::optional<SaId> successor;    ///< of a rekeying by the peer while ours is under way
  std::optional<SaId> predecessor;  ///< whose successor this is, so far
  std::optional<SaId> heir;         ///< who has got its CHILD SAs
  std::optional<SaId> loser;        ///< of a rekeying by both sides at once: the peer's, which the peer deletes
  bool confirmed = true;            ///< the peer has shown that it knows this SA: false of one that it rekeys to, and may not know yet
  TimePoint last_heard, last_sent;
  std::optional<Hint> hint;
  ike::Allowance allowance;
  Forgeries forgeries;  ///< until it is established
  Stray stray;
  bool dead = false;

  [[nodiscard]] const Established* established() const { return std::get_if<Established>(&state); }
  [[nodiscard]] Established* established() { return std::get_if<Established>(&state); }
  [[nodiscard]] bool leaving() const { return established() && established()->leaving; }
  /// The peer may not have it: we have answered IKE_AUTH, and heard nothing since.
  [[nodiscard]] bool unproven() const { return established() && role == Role::Responder && last_heard <= established()->since; }
  /// ... and has begun anew since: it was never there.
  [[nodiscard]] bool never_was() const { return unproven() && established()->forgotten; }
  /// The CHILD SA that a CREATE_CHILD_SA of the peer is about to make; nullptr: none.
  [[nodiscard]] AnsweringChild* their_child() {
    auto* child = answering ? std::get_if<AnsweringChild>(&answering->what) : nullptr;
    return child || !pending ? child : std::get_if<AnsweringChild>(&pending->what);
  }
  [[nodiscard]] Child* find(std::uint64_t pair) {
    const auto it = std::ranges::find(children, pair, &Child::pair);
    return it == children.end() ? nullptr : &*it;
  }
  /// Of an initiator that waits for the end of IKE_AUTH: what that is to make.
  [[nodiscard]] MakeChild* half_made() {
    if (auto* sent = std::get_if<AuthSent>(&state)) return &sent->make;
    if (auto* proving = std::get_if<ProvingUser>(&state)) return &proving->make;
    if (auto* signing = std::get_if<Signing>(&state)) return signing->make ? &*signing->make : nullptr;
    auto* verifying = std::get_if<Verifying>(&state);
    return verifying ? &verifying->make : nullptr;
  }
  /// By the peer's inbound SPI, as it names a CHILD SA in REKEY_SA and Delete.
  [[nodiscard]] Child* find_outbound(Spi spi) {
    const auto it = std::ranges::find_if(children, [&](const Child& c) { return c.spi_out == spi && c.life != Life::Ended; });
    return it == children.end() ? nullptr : &*it;
  }
};

}  // namespace culvert::ikev2
