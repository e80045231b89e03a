// The states of a CHILD SA, and of the exchanges under an IKE SA, as types: a part of states.hpp. Owns no behaviour.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "control/ike/engine_types.hpp"
#include "control/ike/retransmit.hpp"
#include "control/ike/sa_table.hpp"
#include "control/ike/selectors.hpp"
#include "control/ikev2/keymat.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/selector_lists.hpp"

namespace culvert::ikev2 {

using ike::JobId;
using ike::Outstanding;
using ike::PeerKey;
using ike::Reason;
using ike::Role;
using ike::SaId;
using ike::TimePoint;

/// A message as it is sent: whole, or in fragments (RFC 7383 §2.5), each sealed on its own.
using Datagrams = std::vector<Bytes>;

// ---------------------------------------------------------------------------------------------------------------- CHILD SAs

enum class Life : std::uint8_t {
  Live,
  Replaced,  ///< a newer one of the peer's making has its place; the peer deletes this one, else we do at `until`
  Deleting,  ///< we are about to delete it, or have asked to
  Ended,     ///< deleted; its inbound half takes in what is on its way until `until`
};

/// Which of the pairs for the same traffic one is, where there is one for each worker (RFC 9611): by default that which is for all workers.
/// What this is does not go by what the other side calls it: of two pairs each side may take another one for that of all.
struct Share {
  std::uint64_t line = 0;    ///< the first pair of it: those that rekey it have its place; 0: for all
  std::uint16_t worker = 0;  ///< whose packets leave by it, and who takes in what comes by it
  [[nodiscard]] bool own() const { return line != 0; }
  friend bool operator==(const Share&, const Share&) = default;
};

/// A CHILD SA: both of its IPsec SAs.
struct Child {
  std::uint64_t pair = 0;
  std::size_t child = 0;  ///< index into the connection's children
  Role role{};            ///< ours in the exchange that made it
  Spi spi_in, spi_out;
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  SelectorLists selectors;
  bool udp_encap = false;
  Life life{};
  TimePoint established, rekey_at, expires_at;
  TimePoint until{};                  ///< of Replaced and Ended
  std::optional<EspKeys> outbound{};  ///< of our outbound SA while it waits: the peer that rekeys shows when it is ready (RFC 7296 §2.8)
  TimePoint ready_at{};               ///< when it waits no longer
  TimePoint sending_since{};
  std::uint64_t rekeyed = 0;  ///< the pair that this one replaces; 0: none
  std::uint64_t line = 0;     ///< the first of those that this one goes on for; 0: that is not known
  Role began{};               ///< ours in the exchange that made that one
  Bytes lowest_nonce{};       ///< of the rekeying that made it (RFC 7296 §2.8.1)
  bool redundant = false;     ///< both sides have made one of the same at once, and the other one stays
  unsigned failures = 0;      ///< of rekeying it, in a row
  bool due = false;           ///< to be replaced: a task says so
  bool ended = false;         ///< an operator has ended it; it is deleted when the peer has shown that it has it
  Share share{};
  bool unpadded = false;       ///< the peer takes in no TFC padding (RFC 7296 §3.10.1)
  std::uint32_t shown_by = 0;  ///< a request of the peer with this ID, or a higher one, shows that it has our answer (RFC 7296 §2.3)
  /// Whether the other one, of the same IKE SA, has its place: is of the same traffic, and of the same workers.
  [[nodiscard]] bool doubles(const Child& other) const {
    return other.child == child && other.share == share && other.selectors == selectors;
  }
};

/// The outer addresses of both ends.
struct Path {
  Endpoint local, remote;
  friend bool operator==(const Path&, const Path&) = default;
};

/// What is to be made into a CHILD SA when its inbound half is in the data plane.
struct NewPair {
  std::uint64_t pair = 0;
  std::size_t child = 0;
  Spi spi_in, spi_out;
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  SelectorLists selectors;
  EspKeys inbound, outbound;
  std::uint64_t rekeyed = 0;
  Bytes lowest_nonce;
  Path at{};  ///< where the inbound half was put
  Share share{};
  bool unpadded = false;  ///< as in Child
};

// ---------------------------------------------------------------------------------------------------------------- our requests

/// What we want of the peer under an IKE SA, in the order of asking.
struct Task {
  enum class Kind : std::uint8_t {
    NewChild,
    RekeyChild,
    RekeyIke,
    DeleteChild,
    DeleteIke,
    Liveness,
    UpdateAddresses,
    CheckAddress,
    Redirect,
    CrashToken
  };
  Kind kind{};
  std::size_t child = 0;   ///< NewChild: what is configured
  std::uint64_t pair = 0;  ///< RekeyChild, DeleteChild
  Reason reason{};         ///< of a Delete: for the log
  Spi spi{};               ///< DeleteChild of one that we do not have
  SaProtocol protocol = SaProtocol::Esp;
  std::optional<std::uint16_t> worker{};  ///< NewChild: for whom alone
  friend bool operator==(const Task&, const Task&) = default;
};

/// CREATE_CHILD_SA of ours about a CHILD SA, or the one of IKE_AUTH.
struct MakeChild {
  std::uint64_t pair = 0;
  std::size_t child = 0;
  std::uint64_t rekeyed = 0;
  Spi spi_in;
  std::vector<EspSuite> suites;  ///< offered
  SelectorLists asked;
  std::optional<ike::Selectors> packet{};  ///< that is the reason: in front of these
  bool transport = false;                  ///< asked for
  DhGroup group{};                         ///< of the KE payload
  Bytes nonce;                             ///< ours; of IKE_AUTH that of IKE_SA_INIT
  std::shared_ptr<crypto::KeyExchange> key;
  std::vector<Spi> deleted{};  ///< what the peer deleted meanwhile and we do not have: its Delete may have come before its answer
  bool ended = false;          ///< an operator has ended the child meanwhile
  Bytes rival_nonce{};         ///< the lowest one of the peer's own rekeying of the same, which we have answered meanwhile
  Share share{};
  bool grouped = false;  ///< the peer has answered that there may be several for this traffic (SA_RESOURCE_INFO)
};
/// CREATE_CHILD_SA of ours that replaces the IKE SA.
struct MakeIke {
  IkeSpi spi;
  DhGroup group{};
  Bytes nonce;
  std::shared_ptr<crypto::KeyExchange> key;
};

struct RequestMakingKey {
  JobId job{};
};
struct RequestSent {
  Outstanding tx;  ///< its pace; the message is IkeSa::last_request
};
struct RequestDeriving {
  JobId job{};
  Bytes nonce_r;
  // of a CHILD SA
  std::optional<NewPair> pair;  ///< without keys yet
  // of an IKE SA
  IkeSuite suite{};
  IkeSpi spi_r{};
  SecretBytes token{};  ///< the peer's (RFC 6290)
};
struct RequestInstalling {
  JobId job{};
  NewPair pair;
};
/// The secrets of a CREATE_CHILD_SA with additional key exchanges (RFC 9370 §2.2.4).
struct FollowUpKeys {
  std::vector<DhGroup> methods;  ///< of the additional ones, in their order
  std::size_t done = 0;          ///< of these
  SecretBytes first{}, more{};   ///< SK(0), and those of the additional ones behind each other
  /// The method whose turn it is; None: all are done.
  [[nodiscard]] DhGroup due() const { return done < methods.size() ? methods[done] : DhGroup::None; }
};
/// Of our request, from the answer to CREATE_CHILD_SA on.
struct FollowUps {
  FollowUpKeys keys;
  RequestDeriving agreed;                    ///< in CREATE_CHILD_SA, while an additional key exchange is under way
  Bytes link;                                ///< the peer's, to be sent back
  std::shared_ptr<crypto::KeyExchange> key;  ///< our half of the one that is under way
};
/// A request of ours, from its making to the end of what its answer leads to.
struct Request {
  Task task;
  std::uint32_t id = 0;
  TimePoint begun;
  std::variant<std::monostate, MakeChild, MakeIke> make;
  std::variant<RequestMakingKey, RequestSent, RequestDeriving, RequestInstalling> state;
  std::optional<FollowUps> more{};  ///< its additional key exchanges, if the peer has chosen any
  unsigned retries = 0;             ///< with another group
  unsigned rounds = 0;              ///< of all retransmissions, that a living peer has left unanswered
  bool auth = false;                ///< it is that of IKE_AUTH
  bool moot = false;  ///< the SA is to be closed: nothing comes of the answer, but the peer must have had the request (a window of 1)
};

// ---------------------------------------------------------------------------------------------------------------- the peer's requests

struct AnsweringChild {
  NewPair pair;  ///< without keys before the DH job is done
  Bytes nonce_i, nonce_r;
  Bytes public_value;  ///< ours
  Sa reply;
  bool auth = false;  ///< it is that of IKE_AUTH, whose answer has this in front
  Builder proof{};
  bool ended = false;        ///< an operator has ended the child meanwhile
  std::optional<Ke> last{};  ///< of its last additional key exchange: the answer to that is all that is left to say
  bool grouped = false;      ///< both sides may make several for this traffic (SA_RESOURCE_INFO)
};
/// Of an IKE SA and a child of it that has a pair for each worker: when, and how many, we ask for.
struct Shares {
  std::optional<std::size_t> limit{};  ///< as many as there were when the peer wanted no more (TS_MAX_QUEUE)
  TimePoint retry_at{};
  unsigned failures = 0;
};
struct AnsweringIke {
  IkeSuite suite;
  IkeSpi spi_i, spi_r;
  Bytes nonce_i, nonce_r;
  Sa reply;
};
/// An additional key exchange of what is pending.
struct AnsweringFollowUp {};
/// The peer's CREATE_CHILD_SA, which is answered, and has additional key exchanges to come.
struct Pending {
  std::variant<AnsweringChild, AnsweringIke> what;
  FollowUpKeys keys;
  Bytes link;         ///< what the peer says of the next one
  TimePoint until{};  ///< when it is given up
};
/// A request of the peer that we are at work on: a job must end before it is answered.
struct Answering {
  std::uint32_t id = 0;
  JobId job{};
  std::variant<AnsweringChild, AnsweringIke, AnsweringFollowUp> what;
};

}  // namespace culvert::ikev2
