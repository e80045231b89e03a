// What all exchanges of the IKEv2 engine share: the SAs, what each connection wants, jobs in flight, timers.
// Owns the objects and their bookkeeping; no exchange's rules (exchange_*.cpp) and no policy of when to start one (lifecycle.cpp).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/rounds.hpp"
#include "control/ike/header.hpp"
#include "control/ike/shared.hpp"
#include "control/ike/timers.hpp"
#include "control/ikev2/cookies.hpp"
#include "control/ikev2/crash.hpp"
#include "control/ikev2/message.hpp"
#include "control/ikev2/message_rules.hpp"
#include "control/ikev2/states.hpp"
#include "control/ikev2/taken_selectors.hpp"

namespace culvert::ikev2 {

using ike::Cause;
using ike::Exchange;
using ike::Severity;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Jobs of this engine have the numbers from here on; those of the other one stay below.
inline constexpr JobId kFirstJob = JobId{1} << 62;

inline constexpr std::size_t kNonceBytes = 32;  ///< RFC 7296 §2.10: at least half of the longest PRF's key
inline constexpr unsigned kMaxInitTries = 3;    ///< cookies and other groups that a responder may ask for, one after the other
inline constexpr auto kGrace = seconds{5};      ///< a deleted SA still takes in what is on its way
/// The peer deletes what it has replaced; after that we do, and send by the new one. It may not have our answer yet, and asks for it again
/// for longer than two minutes (strongSwan).
inline constexpr auto kOverdue = seconds{180};
inline constexpr auto kLastClaim = seconds{8};           ///< a Delete of the peer's may still come, four times, of an SA that it may have
inline constexpr auto kHintPatience = seconds{4};        ///< an unauthenticated refusal is believed when nothing better comes so long
inline constexpr auto kContactWait = milliseconds{250};  ///< a peer that has begun anew may still send and take in by what it had before
inline constexpr auto kClosingMemory = seconds{75};      ///< of a Delete that is not answered: a little longer than it is repeated
inline constexpr auto kMaxRetryDelay = seconds{60};
inline constexpr auto kHeardLately = seconds{60};  ///< a peer from which something came since then is not dead ...
inline constexpr unsigned kMaxRounds = 2;          ///< ... and is asked so many more times as often as one that keeps silent
inline constexpr auto kSimultaneous = seconds{10};
inline constexpr auto kResponderPause = seconds{3};  ///< who has begun the IKE SA begins what is to be under it, as a rule
/// Two lines of pairs, each side's own: one is found to have outlived itself (kSimultaneous), however the rekeyings of both fall.
inline constexpr auto kDoubleRekeyed = seconds{25};
static_assert(kDoubleRekeyed > 2 * kSimultaneous);
inline constexpr auto kRivalWait = seconds{10};      ///< the peer has our answer by then, unless it asks for it again
inline constexpr auto kSettle = seconds{1};          ///< between looks at two IKE SAs of which one is to go
inline constexpr auto kPeersTurn = seconds{30};      ///< after that the side does it whose turn it is not
inline constexpr std::size_t kMaxChildren = 1024;    ///< of an IKE SA
inline constexpr std::size_t kMaxSinglePairs = 32;   ///< of a child whose peer wants a CHILD SA for each two addresses
inline constexpr std::size_t kMaxTasks = 4096;       ///< of an IKE SA; each child has two at most
inline constexpr std::size_t kMaxContacted = 65536;  ///< peers beyond are not told that they are the first

/// What is wanted of a child.
struct ChildRun {
  bool persistent = false;  ///< start_action: start, and no operator ended it
  bool requested = false;   ///< once: by an operator, a packet, or for the sake of an SA that was lost
  bool trapped = false;     ///< a dead peer's: a packet may ask for a new one, whatever start_action says
  TimePoint retry_at{};
  unsigned failures = 0;
  std::optional<ike::Selectors> packet{};  ///< the latest that has asked for it, since there was a pair
  bool single = false;                     ///< its peer wants a pair for each two addresses (SINGLE_PAIR_REQUIRED)
  std::vector<ike::OrphanSa> orphans;      ///< of a former culvertd
  std::vector<ike::OrphanSa> ending;       ///< inbound ones that have a successor: what is on its way still comes in until `end_at`
  TimePoint end_at{};
};
/// A configured connection's part.
struct Run {
  std::vector<ChildRun> children;
  TimePoint retry_at{};
  unsigned failures = 0;
  std::optional<TimePoint> wake_at;
  VirtualAddresses inner_local;                     ///< the virtual addresses that we had last
  std::optional<Pass> pass;                         ///< the latest ticket of a gateway
  std::vector<TimePoint> redirects;                 ///< that were followed lately, kMaxRedirects at most
  std::optional<config::GatewayName> newcomers_to;  ///< where an operator sends newcomers
};

/// On the way to a gateway that another one has sent us to (redirect.hpp): its name is being looked up.
struct Journey {
  std::size_t connection = 0;
  std::optional<std::size_t> child;  ///< that IKE_AUTH is to make there
  IpAddress local, from;
  std::vector<SaId> replaces;
  std::string name{};
};

struct JobOwner {
  SaId sa = 0;
  std::optional<Direction> install{};
  std::uint64_t pair = 0;
};

/// A datagram that parsed as a message, on its way to its exchange.
struct Incoming {
  TimePoint now;
  const ike::Datagram& datagram;
  const ike::Framed& framed;
  [[nodiscard]] const ike::Header& header() const { return framed.header; }
  [[nodiscard]] bool response() const { return (framed.header.flags & ike::kFlagResponse) != 0; }
};

class Core {
 public:
  explicit Core(ike::Shared& all);

  ike::Shared& shared;
  const config::GatewayConfig& config;
  ike::Services& services;
  ike::SaTable table;
  Cookies cookies;
  CrashAnswers crash_answers;
  CrashAnswers version_answers;                                ///< to messages of a newer major version
  TimePoint traced_at{};                                       ///< while somebody is watched: when the message came that is at work
  std::map<std::size_t, std::set<std::string>> lease_holders;  ///< by connection: those who have an address of a pool
  std::set<std::size_t> leases_in_doubt;                       ///< connections where what held an address may have gone
  std::map<JobId, Journey> journeys;
  std::map<Bytes, std::int64_t> used_tickets;       ///< by serial, and those that are revoked: when they would have expired
  std::int64_t no_tickets_until = 0;                ///< whose client has proved itself before that, in seconds since 1970
  std::set<std::pair<VrfId, IpAddress>> contacted;  ///< peers that get no INITIAL_CONTACT any more
  TakenSelectors taken;                             ///< of all CHILD SAs, in the VRF of their child

  // -------------------------------------------------------------------------------- objects
  /// nullptr: gone. Asking marks the SA for a new look at its deadlines.
  IkeSa* find(SaId id);
  [[nodiscard]] const std::map<SaId, std::unique_ptr<IkeSa>>& sas() const { return sas_; }
  IkeSa& add(std::unique_ptr<IkeSa> sa);
  /// Its identity says which connection the peer means, which its address did not.
  void reassign(IkeSa& sa, std::size_t connection);
  /// Takes the SA out of the table. Its CHILD SAs are gone already, or another's. Memory stays valid until the engine returns.
  void drop(IkeSa& sa);
  /// The peer calls itself so.
  void identify(IkeSa& sa, std::string identity);
  /// The living SAs of the connection that may be with this peer, this one included. Of a connection that can only respond, which may have
  /// thousands of peers, those of its identity alone.
  std::vector<IkeSa*> sas_with(const IkeSa& sa, const std::string& identity);
  /// The living SAs of a connection.
  std::vector<IkeSa*> sas_of(std::size_t connection);
  [[nodiscard]] const config::Connection& connection(const IkeSa& sa) const { return config.connections.at(sa.connection); }
  /// What proves both sides in the round of IKE_AUTH that is at work.
  [[nodiscard]] const config::Connection& proofs(const IkeSa& sa) const { return config::proofs(connection(sa), sa.rounds.now); }
  [[nodiscard]] const config::Child& child(const IkeSa& sa, std::size_t index) const { return connection(sa).children.at(index); }
  /// Asking marks the connection for a new look at what it wants.
  Run& run(std::size_t connection);
  Run& quiet_run(std::size_t connection) { return runs_.at(connection); }
  [[nodiscard]] const std::map<std::size_t, Run>& runs() const { return runs_; }

  /// An inbound SPI for a pair of this SA; nullopt: there is no room.
  std::optional<Spi> allocate_spi(SaId sa, std::uint64_t pair);
  void release_spi(Spi spi);
  void move_spi(Spi spi, SaId sa) { spis_[spi].first = sa; }
  void set_pair(Spi spi, std::uint64_t pair) { spis_[spi].second = pair; }
  /// Who has an inbound SPI: the SA and the pair.
  [[nodiscard]] std::optional<std::pair<SaId, std::uint64_t>> owner_of(Spi spi) const;

  JobId add_job(JobOwner owner);
  std::optional<JobOwner> take_job(JobId id);
  /// The data plane that would acknowledge them is gone.
  void forget_installs();

  // -------------------------------------------------------------------------------- out
  void send(TimePoint now, IkeSa& sa, const Datagrams& message) { send_by(now, sa, message, {sa.local, sa.remote}); }
  /// By another path than the SA's own.
  void send_by(TimePoint now, IkeSa& sa, const Datagrams& message, const Path& path);
  void send_stateless(const ike::Datagram& to, ByteView message);
  void say(const IkeSa& sa, Severity severity, std::optional<Exchange> exchange, Reason reason, std::string message,
           std::optional<std::size_t> child = {});
  /// The end of an exchange, good or bad. A bad one is remembered with its cause, and mended by a good one.
  void ended(TimePoint now, const IkeSa& sa, Exchange exchange, Role role, Reason reason, std::string message,
             std::optional<std::size_t> child = {}, Cause cause = {});

  // -------------------------------------------------------------------------------- timers
  void touch(const IkeSa& sa) { dirty_sas_.insert(sa.id); }
  void touch(std::size_t connection) { dirty_runs_.insert(connection); }
  struct Hooks {
    std::function<void(std::size_t)> drive;  ///< begins what a connection wants, now
    std::function<void(IkeSa&)> advance;     ///< begins the next request of an SA
    std::function<std::optional<TimePoint>(const IkeSa&)> sa_deadline;
    std::function<std::optional<TimePoint>(std::size_t)> run_deadline;
  };
  void settle(const Hooks& hooks);
  [[nodiscard]] std::optional<TimePoint> deadline() const { return timers_.deadline(); }
  struct Expired {
    std::vector<SaId> sas;
    std::vector<std::size_t> runs;
  };
  Expired take_expired(TimePoint now);

 private:
  std::vector<IkeSa*> living(const std::set<SaId>& ids);

  using TimerKey = std::pair<bool, std::uint64_t>;  ///< true: a connection

  std::map<SaId, std::unique_ptr<IkeSa>> sas_;
  std::map<std::size_t, std::set<SaId>> by_connection_;
  std::map<std::pair<std::size_t, std::string>, std::set<SaId>> by_identity_;  ///< in lower case
  std::map<std::size_t, Run> runs_;                                            ///< of the connections that speak IKEv2
  std::unordered_map<JobId, JobOwner> jobs_;
  std::unordered_map<Spi, std::pair<SaId, std::uint64_t>> spis_;
  std::set<SaId> dirty_sas_;
  std::set<std::size_t> dirty_runs_;
  std::vector<SaId> dead_;
  ike::Timers<TimerKey> timers_;
  JobId last_job_ = kFirstJob;
};

}  // namespace culvert::ikev2
