// The states of an ISAKMP SA and of a Quick Mode, as types: a field exists only where it means something.
// Owns no behaviour: exchange_*.cpp move an SA from one state to the next.
//
//   phase 1: see phase1_states.hpp; behind it Established -> Closing
//
//   initiator   MakingKey -dh-> AwaitReply -2-> Deriving -dh-> Installing -ack-> Done       (MakingKey, Deriving: PFS only)
//   responder   Answering -dh-> InstallingInbound -ack-> AwaitConfirm -3-> Done
//               before Done: AwaitConnected, where the peer sets the commit bit
#pragma once

#include <algorithm>
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
#include "control/ikev1/access_states.hpp"
#include "control/ikev1/fragments.hpp"
#include "control/ikev1/keymat.hpp"
#include "control/ikev1/payloads.hpp"
#include "control/ikev1/phase1_states.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/trace.hpp"

namespace culvert::ikev1 {

using ike::Reason;
using ike::ReplyCache;
using ike::SaId;

using ike::PeerKey;

/// Of a state that waits for an answer: what it sent. nullptr: it waits for none.
template <class... States>
Outstanding* outstanding(std::variant<States...>& state) {
  return std::visit(
      [](auto& s) -> Outstanding* {
        if constexpr (requires { s.tx; })
          return &s.tx;
        else
          return nullptr;
      },
      state);
}

// ---------------------------------------------------------------------------------------------------------------- CHILD SAs

/// An IPsec SA as Delete and Notify payloads name it.
struct SaName {
  Spi spi;
  SaProtocol protocol = SaProtocol::Esp;
  SaId line = 0;  ///< of the ISAKMP SA under which the peer knows it
};

/// In use, or ready for it.
struct ChildLive {
  TimePoint rekey_at;
  unsigned failures = 0;                ///< of rekeying, in a row
  bool due = false;                     ///< to be replaced, if no newer pair carries its traffic by then (lifecycle.hpp: is_latest)
  std::optional<TimePoint> doubt_at{};  ///< to be replaced then, if no traffic shows that the peer has it: it has asked for message 3 again
};
/// A newer pair carries the traffic; this one still takes in what was on its way.
struct ChildSuperseded {
  TimePoint remove_at;
  bool tell_peer = true;  ///< it has not said itself that it removed it
};
/// Of a former culvertd: its keys are in the data plane only.
struct ChildOrphan {};
/// The peer said that it has forgotten everything (INITIAL-CONTACT); traffic from it would prove the contrary.
struct ChildDoubted {
  TimePoint since, remove_at;
};

/// A pair of IPsec SAs. Owned by its run, not by the ISAKMP SA that made it: it survives that one's replacement.
struct ChildSa {
  std::uint64_t pair = 0;
  std::size_t child = 0;  ///< index into the connection's children
  SaId made_by = 0;       ///< ISAKMP SA
  SaId line = 0;          ///< of that one
  std::string peer_id;    ///< printable identity of the peer it was made with
  Role role{};            ///< of an adopted pair: not known
  bool adopted = false;   ///< of a former culvertd
  Spi spi_in, spi_out;
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  bool udp_encap = false;
  TrafficSelector local_ts, remote_ts;
  Endpoint local, remote;
  TimePoint begun{}, established{}, expires_at{};
  bool outbound = true;  ///< false: confirmed so late that its successor was there already; it only takes in
  std::variant<ChildLive, ChildSuperseded, ChildOrphan, ChildDoubted> life;
};

// ---------------------------------------------------------------------------------------------------------------- Quick Mode

struct Life {
  std::uint64_t seconds = 0;
  std::uint64_t kbytes = 0;  ///< 0: none
};
/// A pair whose inbound half is on its way into the data plane; the outbound half follows when the peer is ready.
struct PendingPair {
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  Spi spi_out;
  TrafficSelector local_ts, remote_ts;
  Life life;
  EspKeys inbound, outbound;
};

struct QmMakingKey {
  JobId job{};
  DhGroup pfs{};
};
struct QmAwaitReply {
  std::vector<EspSuite> suites;
  Sa offer;
  Bytes nonce_i;
  std::shared_ptr<crypto::KeyExchange> key;  ///< null without PFS
  Outstanding tx;
};
struct QmDeriving {
  EspChoice choice;
  Life life;
  TrafficSelector local_ts, remote_ts;
  Bytes nonce_i, nonce_r;
  JobId job{};
};
struct QmInstalling {
  PendingPair pending;
  Bytes message3;
  JobId job{};
};
struct QmAnswering {
  EspChoice choice;
  TrafficSelector local_ts, remote_ts;
  std::vector<Bytes> id_bodies;  ///< IDci, IDcr as received: they go back unaltered (RFC 2409 §5.5)
  Bytes nonce_i;
  JobId job{};
};
struct QmInstallingInbound {
  PendingPair pending;
  Bytes nonce_i, nonce_r;
  Bytes message2;
  JobId job{};
};
struct QmAwaitConfirm {
  PendingPair pending;
  Bytes nonce_i, nonce_r;
  Outstanding tx;
};
/// All is installed but the outbound SA: the peer has set the commit bit, and says by CONNECTED when it is ready (RFC 2408 §3.1).
struct QmAwaitConnected {
  PendingPair pending;
  TimePoint give_up_at;  ///< then it goes on without: the notification may be lost, and nobody repeats it
};
/// Over, but a peer that missed our last message may still ask for it.
struct QmDone {
  TimePoint forget_at;
};
/// The responder gave up waiting for message 3. The peer may have sent it, and have the pair: the Delete of it, which nobody acknowledges,
/// goes as often as a request would. One alone is lost as easily as message 3 was, and half a pair would stay.
struct QmDenied {
  SaName ours;
  Outstanding tx;  ///< the pace alone: each Delete is a message of its own (farewells.cpp)
};
using QmState = std::variant<QmMakingKey, QmAwaitReply, QmDeriving, QmInstalling, QmAnswering, QmInstallingInbound, QmAwaitConfirm,
                             QmAwaitConnected, QmDone, QmDenied>;

struct QuickMode {
  MessageId id;
  Role role{};
  std::size_t child = 0;
  std::uint64_t pair = 0;
  TrafficSelector local_ts, remote_ts;  ///< asked for
  TimePoint begun, give_up_at;
  std::vector<std::uint64_t> replaces;  ///< pairs that were there when we began; initiator only
  std::vector<DhGroup> groups;          ///< for PFS, this attempt's first, then those of further ones; initiator only
  Spi spi_in;
  Spi early_out;           ///< of our outbound SA, if it was installed before message 3 came; responder only
  Iv iv{};                 ///< of the next message, whichever side sends it
  bool commit = false;     ///< the peer has set the commit bit
  bool connected = false;  ///< and its CONNECTED has overtaken message 3
  std::optional<IpAddress> original_local, original_remote;  ///< of NAT-OA: our addresses and the peer's, as the peer knows them
  ReplyCache replies;
  QmState state;
};

// ---------------------------------------------------------------------------------------------------------------- phase 1

/// Failed at the price of a key exchange. It keeps its place among the half-open ones until its time is over, so that a stranger
/// cannot make us compute more often than ike.half_open_limit and ike.half_open_timeout allow. Answers nothing.
struct MmRefused {};

/// Dead-peer detection, RFC 3706.
struct Dpd {
  TimePoint last_heard;
  TimePoint last_message;                        ///< on this ISAKMP SA, where `last_heard` counts traffic, too
  std::optional<TimePoint> next_probe;           ///< nullopt: not done on this SA
  std::uint32_t next_sequence = 0;               ///< of ours
  std::optional<std::uint32_t> unanswered_from;  ///< first sequence number since we heard from the peer
  std::optional<std::uint32_t> peer_sequence;    ///< highest of theirs
  bool given_up = false;                         ///< the peer is dead, and its children want nothing done about it
  TimePoint shown{};                             ///< when we last showed the peer our address (dpd.hpp)
  TimePoint doubted{};                           ///< when somebody last said that the peer has lost an SA
  TimePoint answer_window{};
  unsigned answers = 0;  ///< in this window
};
struct MmEstablished {
  Negotiated negotiated;
  Keys keys;
  std::string local_id, remote_id;  ///< printable
  TimePoint established, rekey_at, expires_at;
  unsigned rekey_failures = 0;
  std::uint64_t rekey_bytes = 0, life_bytes = 0;  ///< encrypted under it, both ways; 0: no limit, or reached
  std::optional<TimePoint> remove_at;             ///< a newer ISAKMP SA took its place
  Dpd dpd;
  Access access{};                           ///< what must still happen before Quick Modes
  std::optional<Outstanding> unconfirmed{};  ///< message 3 of Aggressive Mode, until something of the peer shows that it has it
};
/// We sent the Delete. A peer that missed it gets it again when it says something.
struct MmClosing {
  Negotiated negotiated;
  Keys keys;
  std::vector<Bytes> deletes;
  unsigned repeats = 0;
  TimePoint forget_at;
  std::optional<Outstanding> insisting{};  ///< the Delete, repeated: of a collision's loser until `forget_at`
};
using MmState =
    std::variant<MmAwaitSa, MmMakingKey, MmAwaitKe, MmDeriving, MmSigning, MmAwaitAuth, MmVerifying, MmAwaitKeInit, MmResponding,
                 MmAwaitAuthInit, MmVerifyingInit, MmSigningReply, AmMakingKey, AmAwaitReply, AmDeriving, AmVerifying, AmSigning,
                 AmResponding, AmAnswered, AmSigningReply, AmAwaitProof, AmVerifyingProof, MmRefused, MmEstablished, MmClosing>;

/// What an unauthenticated notification claimed: not acted on, but named when the exchange has failed anyway.
struct Hint {
  Reason reason{};
  std::string text;
  ike::Cause cause{};
};

/// Message ids of exchanges that were: a replayed first message must not open one again (RFC 2408 §3.1). Of the peer's Informational
/// messages what their HASH(1) begins with is remembered, too, to tell a copy from another message of that id.
class MessageIdHistory {
 public:
  /// More than rekeying and DPD at their defaults use in the life of an ISAKMP SA; older ones cannot be told from new, and a replay
  /// of one would count as a sign of life, and could move a peer behind a NAT to another address.
  static constexpr std::size_t kSize = 4096;
  [[nodiscard]] bool contains(MessageId id) const {
    for (const Used& m : used_)
      if (m.id == id) return true;
    return false;
  }
  void add(MessageId id) { add({id, 0}); }
  /// Whether this very message came before, or the id is that of an exchange, or ours. `hash`: of a verified one; at least four bytes.
  [[nodiscard]] bool contains_informational(MessageId id, ByteView hash) const {
    const Used sought{id, start_of(hash)};
    for (const Used& m : used_)
      if (m.id == id && (m.hash == 0 || m.hash == sought.hash)) return true;
    return false;
  }
  void add_informational(MessageId id, ByteView hash) { add({id, start_of(hash)}); }

 private:
  struct Used {
    MessageId id;
    std::uint32_t hash = 0;  ///< of an Informational message of the peer; 0: of an exchange, or ours
  };
  static std::uint32_t start_of(ByteView hash) {
    Reader r(hash);
    return std::max(r.be<std::uint32_t>(), 1U);
  }
  void add(Used used) {
    if (used_.size() < kSize)
      used_.push_back(used);
    else
      used_[next_] = used;
    next_ = (next_ + 1) % kSize;
  }
  std::vector<Used> used_;
  std::size_t next_ = 0;
};

struct IsakmpSa {
  SaId id = 0;
  std::size_t connection = 0;  ///< the run; until the peer is authenticated, that of the configured connection
  Role role{};
  IkeSpi spi_i, spi_r;
  Endpoint local, remote;
  ike::NatStatus nat;
  TimePoint created, half_open_until;  ///< the latter for the responder
  MmState state;
  ReplyCache replies;  ///< of Main Mode
  MessageIdHistory used_ids;
  std::map<MessageId, QuickMode> quick_modes;
  bool refused_quick_mode = false;  ///< the peer began one that we did not take
  std::optional<Hint> hint;
  std::vector<SaId> replaces;  ///< ISAKMP SAs that this one is to replace; initiator only
  SaId line = 0;               ///< the first of the ISAKMP SAs that this one goes on for; 0: that has not shown yet
  TimePoint last_sent;
  std::uint64_t sealed_bytes = 0;                ///< encrypted under its keys, both ways
  bool dead = false;                             ///< out of the table; memory is freed when the engine returns
  ike::Exchange mode = ike::Exchange::MainMode;  ///< of phase 1: it never changes under a pair of cookies
  ike::Allowance allowance;                      ///< until the peer has proved itself
  bool watched = false;                          ///< somebody is, perhaps this one
  mutable SealedNotes notes{};                   ///< while it is
  FragmentSet fragments{};                       ///< of the message that is being put together

  [[nodiscard]] const MmEstablished* established() const { return std::get_if<MmEstablished>(&state); }
  [[nodiscard]] MmEstablished* established() { return std::get_if<MmEstablished>(&state); }
};

}  // namespace culvert::ikev1
