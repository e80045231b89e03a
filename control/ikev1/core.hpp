// What all exchanges of the IKEv1 engine share: the SAs, what each connection wants, jobs in flight, and the actions to hand out.
// Owns the objects and their bookkeeping; no exchange's rules (exchange_*.cpp) and no policy of when to start one (lifecycle.cpp).
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "control/ike/engine_types.hpp"
#include "control/ike/failure.hpp"
#include "control/ike/header.hpp"
#include "control/ike/lifetimes.hpp"
#include "control/ike/newcomers.hpp"
#include "control/ike/repeats.hpp"
#include "control/ike/shared.hpp"
#include "control/ike/timers.hpp"
#include "control/ikev1/fragments.hpp"
#include "control/ikev1/message.hpp"
#include "control/ikev1/message_rules.hpp"
#include "control/ikev1/states.hpp"

namespace culvert::ikev1 {

using ike::Exchange;
using ike::Severity;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Bounds and times that are ours, not the operator's.
inline constexpr std::size_t kNonceBytes = 32;  ///< of ours; RFC 2409 §5 allows 8 to 256
inline constexpr std::size_t kMinNonce = 8, kMaxNonce = 256;
inline constexpr std::size_t kMaxQuickModes = 64;    ///< of one ISAKMP SA, finished ones included: four times a busy peer's children
inline constexpr std::size_t kMaxOwnQuickModes = 8;  ///< begun by us and not finished; the other children wait their turn
inline constexpr std::size_t kMaxPairs = 8;          ///< for the same traffic: one in use, collisions, and those on their way out
inline constexpr std::size_t kMaxParts = 128;        ///< pairs of one child, from which on the peer gets none for other parts of it:
                                                     ///< some peers make one for each line of an access list
inline constexpr unsigned kMaxBadAuth = 10;          ///< wrong message 5s before a half-open SA is given up (each costs a decryption)
inline constexpr unsigned kMaxDeleteRepeats = 5;     ///< of a Delete that a peer seems to have missed
inline constexpr unsigned kMaxDpdAnswers = 20;       ///< a second and ISAKMP SA; a peer sends one every few seconds
inline constexpr auto kHintedWait = seconds{10};     ///< for the good answer after an unauthenticated refusal
inline constexpr auto kGrace = seconds{5};           ///< an old SA takes in late packets for so long
inline constexpr auto kDoubt = seconds{30};          ///< for traffic to show that the peer still has a pair without an ISAKMP SA
inline constexpr auto kAsksLate = seconds{1};  ///< longer than a round trip: who asks for a message so late has not got it the first time
inline constexpr auto kSettle = seconds{10};   ///< two SAs of the two sides' making are left alone so long before one is made of them
inline constexpr auto kSimultaneous = seconds{120};    ///< pairs of both sides' making within this time may be a collision: longer than a
                                                       ///< Quick Mode may take, so that further apart the later maker knew the earlier pair
inline constexpr auto kOverdue = seconds{10};          ///< the peer's Delete of what it has replaced is lost when it has not come by then
inline constexpr auto kResponderPause = seconds{2};    ///< the initiator of the ISAKMP SA goes first with Quick Modes
inline constexpr auto kForgotten = seconds{60};        ///< after which an SA with a successor is removed without the peer's asking
inline constexpr auto kQuickModeMemory = seconds{60};  ///< how long the last message of a Quick Mode can be asked for again
inline constexpr auto kQuickModeLimit = seconds{90};   ///< of a whole Quick Mode, the data plane's acknowledgement included
inline constexpr auto kRenewal = seconds{30};  ///< an ISAKMP SA waits so long for pairs under the one that stays; shorter than kForgotten
inline constexpr auto kClosingMemory = seconds{20};  ///< a deleted ISAKMP SA answers a peer that does not know
inline constexpr auto kMaxRetryDelay = seconds{60};
inline constexpr auto kAccessLimit = seconds{120};       ///< of XAuth and Mode Config together: a person may have to type a password
inline constexpr auto kNotAskedAgain = seconds{10};      ///< after which a server that knows the user asks no more
inline constexpr auto kTransactionMemory = seconds{60};  ///< how long our answer to a request can be asked for again
inline constexpr std::size_t kMaxTransactions = 16;      ///< of one ISAKMP SA, finished ones included; XAuth and Mode Config need three
/// Runs of peers, beside those of the configured connections: as many as there may be ISAKMP SAs, without which none begins.
inline constexpr std::size_t kMaxRuns = ike::kMaxIkeSas;
using ike::kMinLife;
inline constexpr std::uint64_t kMinLifeKbytes = 1024;  ///< the same: less is a rekeying every few packets
inline constexpr std::uint64_t kMinIkeKbytes = 64;     ///< of an ISAKMP SA: with less a peer with many pairs is never done with rekeying
inline constexpr std::size_t kMaxContacted = 65536;    ///< peers beyond are not told that they are the first
inline constexpr auto kConnectedWait = seconds{5};     ///< for CONNECTED: as long as a lost packet or two take
inline constexpr std::uint64_t kMaxSequence = 0xffffffff;  ///< packets of an SA without ESN (RFC 4303 §3.3.3)

/// What is wanted of a child, and what there is.
struct ChildRun {
  bool persistent = false;  ///< start_action: start, and no operator ended it
  bool requested = false;   ///< once: by an operator, a packet, or for the sake of an SA that was lost
  bool trapped = false;     ///< dead-peer detection took its pairs: a packet may ask for new ones, whatever start_action says
  TimePoint retry_at{};
  unsigned failures = 0;
  unsigned doubts = 0;         ///< pairs in a row that were replaced without a sign that the peer had them
  std::vector<ChildSa> pairs;  ///< in order of establishment
};
/// Who a run is with: an identity, and with `unique: never` the place that it calls from.
struct Peer {
  PeerKey key{};
  Id id;
  std::string text;  ///< printable
};
/// A pair whose Delete goes once more.
struct Told {
  SaName sa;
  TimePoint again;
  std::size_t times = 0;  ///< that it went
};
/// One peer of a configured connection. Runs 0..n-1 are the connections themselves: all of one that has but one peer, and what the
/// gateway is to begin. Where a connection can have many peers each one that has proved its identity gets a run of its own, which
/// ends when nothing of it is left. Numbers are never used again.
struct ConnectionRun {
  std::size_t connection = 0;                          ///< index into the configuration
  std::optional<Peer> peer;                            ///< absent: nobody in particular
  std::optional<IpAddress> inner_local, inner_remote;  ///< virtual addresses of Mode Config: ours as a client, the peer's as a gateway
  std::vector<ChildRun> children;
  std::vector<Told> told;  ///< bounded: farewells.cpp
  TimePoint retry_at{};
  unsigned failures = 0;
  std::optional<TimePoint> wake_at;  ///< what is wanted cannot begin before
};

/// ISAKMP SAs that peers have deleted lately: their Deletes come again, since nobody acknowledges one, and are no stranger's.
class Farewells {
 public:
  void add(IkeSpi i, IkeSpi r) { last_[next_++ % last_.size()] = {i, r}; }
  [[nodiscard]] bool contains(IkeSpi i, IkeSpi r) const { return std::ranges::find(last_, std::pair{i, r}) != last_.end(); }

 private:
  std::array<std::pair<IkeSpi, IkeSpi>, 64> last_{};
  std::size_t next_ = 0;
};

/// Who an inbound SPI belongs to: a pair, or the Quick Mode that negotiates it.
struct SpiOwner {
  std::size_t connection = 0;  ///< the run
  std::uint64_t pair = 0;
  SaId sa = 0;
  MessageId quick_mode;
};

/// Who waits for a job.
struct JobOwner {
  SaId sa = 0;
  std::optional<MessageId> quick_mode;  ///< absent: Main Mode
  std::optional<Direction> install;     ///< absent: Diffie-Hellman
  std::uint64_t pair = 0;
  std::size_t connection = 0;          ///< the run
  std::optional<DhGroup> reply_key{};  ///< nobody's SA: a key pair for answers of Aggressive Mode
};

/// The key pair of a group for answers of Aggressive Mode, as long as somebody who was answered with it may go on: then it is wiped.
struct ReplyKeySlot {
  std::weak_ptr<const ike::ReplyKey> key;
  JobId job{};                           ///< that makes the next one
  std::vector<ike::Datagram> waiting{};  ///< first messages that came before there was one (without the non-ESP marker)
};

/// A datagram that parsed as a message, on its way to its exchange.
struct Incoming {
  TimePoint now;
  const ike::Datagram& datagram;
  const ike::Framed& framed;
  /// Set while the peer is watched: is told what an encrypted message holds.
  const std::function<void(const std::string&)>* opened = nullptr;
  [[nodiscard]] const ike::Header& header() const { return framed.header; }
};

class Core {
 public:
  explicit Core(ike::Shared& all);

  ike::Shared& shared;
  const config::GatewayConfig& config;
  ike::Services& services;
  bool& shutting_down;
  std::vector<ike::Action>& actions;
  std::vector<ike::Datagram> deferred;  ///< came before their time, which is now
  ike::SaTable table;
  FirstFragments first_fragments, newcomer_fragments;  ///< the latter of message 3: nobody fills it in another's name
  std::set<std::pair<VrfId, IpAddress>>
      contacted;  ///< peers that we have, or had, SAs with: they get no INITIAL-CONTACT. At most kMaxContacted
  ike::Newcomers newcomers;
  Farewells farewells;
  ike::Repeats repeats;  ///< first messages whose answer is expensive
  std::map<DhGroup, ReplyKeySlot> reply_keys;
  SecretBytes nobodys_secret;  ///< what answers of Aggressive Mode to identities that nobody expects are made with; empty until then
  ike::FailureBook& failures;
  ike::Leases& leases;
  ike::Attempts& attempts;
  /// Run -> holder of a lease -> pairs that were made for it: the lease ends with the last ISAKMP SA and pair of its holder.
  std::map<std::size_t, std::map<std::string, std::set<std::uint64_t>>> lease_holders;
  std::map<SaId, Endpoint> waiting_for_user;  ///< SAs that XAuth has yet to prove, by source (host_of); some may have ended
  ike::WatchList& watches;
  TimePoint traced_at{};  ///< of the datagram at hand, while somebody is watched

  // -------------------------------------------------------------------------------- objects
  /// nullptr: gone. Asking marks the SA for a new look at its deadlines.
  IsakmpSa* find(SaId id);
  [[nodiscard]] const std::map<SaId, std::unique_ptr<IsakmpSa>>& sas() const { return sas_; }
  /// All living SAs of a run; may be called while SAs die.
  std::vector<IsakmpSa*> sas_of(std::size_t run);
  IsakmpSa& add(std::unique_ptr<IsakmpSa> sa);
  /// The peer's identity says which run it belongs to, which its address did not.
  void reassign(IsakmpSa& sa, std::size_t run);
  /// Takes the SA out of the table, its Quick Modes with it. No message is sent. Memory stays valid until the engine returns.
  void drop(IsakmpSa& sa);

  // -------------------------------------------------------------------------------- runs
  /// The configured connection of a run; a candidate's is asked for thousands of times where thousands share an address.
  [[nodiscard]] const config::Connection& connection(std::size_t run) const {
    return config.connections.at(own_run(run) ? run : runs_.at(run).connection);
  }
  [[nodiscard]] const config::Connection& connection(const IsakmpSa& sa) const { return connection(sa.connection); }
  [[nodiscard]] const std::map<std::size_t, ConnectionRun>& runs() const { return runs_; }
  [[nodiscard]] bool has_run(std::size_t run) const { return runs_.contains(run); }
  /// Asking marks the run for a new look at what it wants.
  ConnectionRun& run(std::size_t index);
  /// The same without the mark.
  ConnectionRun& quiet_run(std::size_t index) { return runs_.at(index); }
  /// Whether it is a configured connection's own: the one that is always there.
  [[nodiscard]] bool own_run(std::size_t run) const { return run < config.connections.size(); }
  /// All runs of a configured connection, its own first.
  [[nodiscard]] std::vector<std::size_t> runs_of(std::size_t connection) const;
  [[nodiscard]] std::optional<std::size_t> run_of_peer(std::size_t connection, const PeerKey& key) const;
  /// A new run of a configured connection; nullopt: there are too many.
  std::optional<std::size_t> add_run(std::size_t connection, Peer peer);
  void set_peer(std::size_t run, Peer peer);
  /// nullptr: the pair is gone, or the run.
  ChildSa* find_pair(std::size_t run, std::uint64_t pair);

  // -------------------------------------------------------------------------------- numbers
  Bytes random(std::size_t size) { return shared.random(size); }
  IkeSpi new_cookie() { return shared.new_spi(); }
  MessageId new_message_id(const IsakmpSa& sa);
  std::uint64_t new_pair() { return shared.new_pair(); }
  SaId new_sa_id() { return shared.new_sa_id(); }

  /// An inbound SPI for a Quick Mode; nullopt: there is no room.
  std::optional<Spi> allocate_spi(const SpiOwner& owner);
  void release_spi(Spi spi);
  [[nodiscard]] const SpiOwner* owner_of(Spi spi) const;
  void adopt_spi(Spi spi, const SpiOwner& owner) { spis_[spi] = owner; }

  // -------------------------------------------------------------------------------- jobs
  JobId add_job(JobOwner owner);
  /// The owner, once; nullopt: nobody waits for it any more.
  std::optional<JobOwner> take_job(JobId id);
  /// The data plane that would acknowledge them is gone.
  void forget_installs();

  // -------------------------------------------------------------------------------- out
  /// In fragments where the message is too long for ike.fragment_size, and the peer takes them in.
  void send(TimePoint now, IsakmpSa& sa, ByteView message);
  /// The bytes that send() would put into datagrams, with the headers of IP and UDP that fragments have more than one message would.
  [[nodiscard]] std::size_t size_on_wire(const IsakmpSa& sa, ByteView message) const;
  /// A clear-text message that belongs to no SA.
  void send_stateless(const ike::Datagram& to, Bytes message);
  void say(const IsakmpSa& sa, Severity severity, std::optional<Exchange> exchange, Reason reason, std::string message,
           const std::string& child = {});
  /// The end of an exchange, good or bad. A bad one is remembered with its cause, and mended by a good one. As responder of phase 1,
  /// which strangers can make fail as often as they like, only a handful a second are worth a line of the log.
  void ended(TimePoint now, const IsakmpSa& sa, Exchange exchange, Role role, Reason reason, std::string message,
             const std::optional<std::size_t>& child = {}, ike::Cause cause = {});
  /// A pair came to its end without an exchange that says so (a lifetime, a data plane, a peer's Delete): remembered.
  void lost(TimePoint now, std::size_t connection, std::size_t child, std::optional<Exchange> exchange, Reason reason,
            const std::string& message, const std::optional<Endpoint>& peer = {});
  /// A stranger's datagram that led to nothing. Beyond a handful a second these are counted, but not worth a line of the log.
  void junk(TimePoint now, const Endpoint& peer, Exchange exchange, Reason reason, std::string message, ike::Cause cause = {});
  /// A stranger whom one connection might have meant was refused before there was an SA. Its lines are limited in the same way.
  void refused(TimePoint now, std::size_t connection, const Endpoint& peer, Exchange exchange, Reason reason, std::string message,
               ike::Cause cause = {});
  bool watch(TimePoint now, ike::Watch watch);
  bool unwatch(TimePoint now, const ike::Watch& target);
  /// A line about a message of somebody watched; beyond a bound these are only counted.
  void trace(TimePoint now, const std::string& connection, const Endpoint& peer, std::string text) {
    shared.trace(now, connection, peer, std::move(text));
  }
  /// Whether this message was refused a short while ago: it is answered again, but not reported again.
  bool refused_before(std::size_t fingerprint) { return shared.refused_before(fingerprint); }

  // -------------------------------------------------------------------------------- timers
  void touch(const IsakmpSa& sa) { dirty_sas_.insert(sa.id); }
  void touch(std::size_t run) { dirty_runs_.insert(run); }
  struct Hooks {
    std::function<void(std::size_t)> drive;  ///< begins what a run wants, now
    std::function<std::optional<TimePoint>(const IsakmpSa&)> sa_deadline;
    std::function<std::optional<TimePoint>(std::size_t)> run_deadline;
  };
  /// At the end of each event: drives the runs that were touched, frees what died or is empty, sets the timers anew.
  void settle(const Hooks& hooks);
  [[nodiscard]] std::optional<TimePoint> deadline() const { return timers_.deadline(); }
  struct Expired {
    std::vector<SaId> sas;
    std::vector<std::size_t> runs;
  };
  Expired take_expired(TimePoint now);

 private:
  using TimerKey = std::pair<bool, std::uint64_t>;  ///< true: a run
  [[nodiscard]] bool empty(std::size_t run) const;
  void forget_peer(std::size_t run);
  void end_run(std::size_t run);

  std::map<SaId, std::unique_ptr<IsakmpSa>> sas_;
  std::map<std::size_t, ConnectionRun> runs_;
  std::map<std::pair<std::size_t, PeerKey>, std::size_t> by_peer_;  ///< connection and peer -> run
  std::size_t next_run_ = 0;
  std::map<std::size_t, std::set<SaId>> by_run_;
  std::unordered_map<JobId, JobOwner> jobs_;
  std::unordered_map<Spi, SpiOwner> spis_;
  std::set<SaId> dirty_sas_;
  std::set<std::size_t> dirty_runs_;
  std::vector<SaId> dead_;
  ike::Timers<TimerKey> timers_;
  JobId last_job_ = 0;
};

}  // namespace culvert::ikev1
