// The IKE engine: all ISAKMP SAs of the gateway and what drives them. Events in, actions and a deadline out.
// Owns protocol state and nothing else; must never block, do I/O, read a clock, or throw on a peer's bytes.
//
// Every call may leave actions; the caller takes and performs them in order, then waits for the next event or `deadline()`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/watch.hpp"

namespace culvert::ike {

/// What an operator's command led to. `message` is for a person.
struct CommandResult {
  bool ok = false;
  std::string message;
};

class Engine {
 public:
  /// `config` and `services` outlive the engine.
  Engine(const config::GatewayConfig& config, Services& services);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Begins what the configuration asks for (start_action: start). Orphans are SAs of a former culvertd: their connections
  /// are brought up again where we may initiate, and they are removed once a successor carries the traffic.
  void start(TimePoint now, std::vector<OrphanSa> orphans);
  void on_datagram(TimePoint now, const Datagram& datagram);
  void on_timer(TimePoint now);
  void on_dh(TimePoint now, DhResult result);
  void on_signed(TimePoint now, SignResult result);
  void on_verified(TimePoint now, VerifyResult result);
  void on_user_checked(TimePoint now, const UserChecked& result);
  void on_user_found(TimePoint now, UserFound result);
  void on_name(TimePoint now, const NameFound& result);
  void on_radius(TimePoint now, const RadiusAnswer& answer);
  void on_tls(TimePoint now, TlsStepped result);
  void on_installed(TimePoint now, JobId job, bool ok, const std::string& error);
  /// A packet wants the SA of a `trap` child, or of one that lost its SA.
  void on_acquire(TimePoint now, const std::string& connection, const std::string& child, const std::optional<Flow>& packet = {});
  void on_expired(TimePoint now, const SaExpired& expired);
  void on_moved(TimePoint now, const PairMoved& moved);
  /// Authenticated traffic was seen on an inbound SA: DPD need not ask (RFC 3706 §5.5). `last_used` on the same clock.
  void on_traffic(TimePoint now, Spi inbound, TimePoint last_used);
  /// All SAs of the data plane are gone (it restarted); negotiate again, with fresh keys.
  void on_dataplane_lost(TimePoint now);

  /// Operator's commands. An empty child means all children of the connection.
  CommandResult initiate(TimePoint now, const std::string& connection, const std::string& child);
  /// `peer`: an identity or an address; empty: all peers of the connection.
  CommandResult terminate(TimePoint now, const std::string& connection, const std::string& child, const std::string& peer = {});
  /// `ike` replaces the ISAKMP SA, otherwise the CHILD SAs are rekeyed.
  CommandResult rekey(TimePoint now, const std::string& connection, const std::string& child, bool ike, const std::string& peer = {});
  /// Both sides prove themselves anew, make before break: the IKE SAs and all that is under them are replaced.
  CommandResult reauthenticate(TimePoint now, const std::string& connection, const std::string& peer = {});
  /// Clients of the connection, of one peer or all, are sent to another gateway (RFC 5685), `newcomers` from now on as well; without a
  /// gateway nobody is any more.
  CommandResult redirect(TimePoint now, const std::string& connection, const std::optional<config::GatewayName>& to,
                         const std::string& peer, bool newcomers);
  /// Message IDs and sequence numbers are set right with the peers of the connection, or one (RFC 6311).
  CommandResult sync_counters(TimePoint now, const std::string& connection, const std::string& peer);
  /// Sends deletes for everything; no new exchange begins afterwards.
  void shutdown(TimePoint now);

  /// Reports of every message to and from those watched, at most a few hundred a second. False: too many are watched.
  bool watch(TimePoint now, Watch watch);
  /// False: it was not watched.
  bool unwatch(TimePoint now, const Watch& target);
  [[nodiscard]] std::vector<Watch> watches(TimePoint now) const;
  /// Whether a report about these is of somebody watched.
  [[nodiscard]] bool watched(TimePoint now, const std::string& connection, const std::optional<Endpoint>& peer) const;

  /// When `on_timer` wants to be called; nullopt: never.
  [[nodiscard]] std::optional<TimePoint> deadline() const;
  [[nodiscard]] std::vector<Action> take_actions();

  [[nodiscard]] std::vector<IkeSaInfo> ike_sas() const;
  /// Strangers who have been sent message 2 and have not answered it: no SAs yet.
  [[nodiscard]] std::size_t newcomers() const;
  /// Traffic selectors that peers of IKEv2 did not get, for a CHILD SA had no room for them.
  [[nodiscard]] std::uint64_t selectors_left_out() const;
  /// Those that no entry of `ike_sas` shows.
  [[nodiscard]] std::vector<LonePairs> lone_pairs() const;
  [[nodiscard]] std::vector<ConnectionStatus> connections(const std::string& only = {}) const;
  /// What failed lately, newest first: of a configured connection and its children; of peers and messages that match none.
  [[nodiscard]] std::vector<Failure> failures(const std::string& connection) const;
  [[nodiscard]] std::vector<Failure> strangers() const;
  /// All configured pools, and who has an address of them.
  [[nodiscard]] std::vector<PoolInfo> pools() const;
  [[nodiscard]] FailureBook::Counts failure_counts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ike
