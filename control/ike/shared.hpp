// What the engines of both IKE versions share: the numbers that they give away, the actions that they hand out, and how they tell of ends.
// Owns records of failures, watches, and the bounds of the lines that strangers may cause. Knows no exchange's rules and no SA.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/attempts.hpp"
#include "control/ike/connection_select.hpp"
#include "control/ike/engine_types.hpp"
#include "control/ike/failure.hpp"
#include "control/ike/leases.hpp"
#include "control/ike/sa_table.hpp"
#include "control/ike/watch.hpp"

namespace culvert::ike {

/// Lines of the log that strangers may cause.
class LineBudget {
 public:
  bool take(TimePoint now, double burst = 20, double per_second = 5);

 private:
  TimePoint at_{};
  double left_ = 0;  ///< filled at the first look: the clock has run for long
};

/// What something that ended was about.
struct Subject {
  std::string connection, child;  ///< configured names; empty: of none
  std::optional<Endpoint> peer;
  std::optional<Exchange> exchange;
  std::optional<Role> role;
};

class Shared {
 public:
  Shared(const config::GatewayConfig& configuration, Services& svc);
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  const config::GatewayConfig& config;
  const ConnectionsByPeer by_peer;  ///< those of `config`
  Services& services;
  bool shutting_down = false;
  std::vector<Action> actions;
  FailureBook failures;
  WatchList watches;
  Leases leases;
  std::uint64_t selectors_left_out = 0;  ///< that peers asked for and might have had (RFC 7296 §2.9), but for the room in a CHILD SA
  Attempts attempts;                     ///< of users to prove themselves, by either version

  // -------------------------------------------------------------------------------- numbers
  Bytes random(std::size_t size);
  IkeSpi new_spi();  ///< of an IKE SA: the cookie of IKEv1
  std::uint64_t new_pair() { return ++last_pair_; }
  SaId new_sa_id() { return ++last_sa_; }

  // -------------------------------------------------------------------------------- reports
  void say(Severity severity, const Subject& about, Reason reason, std::string message);
  /// The good end of an exchange: what failed before is mended. `any_peer`: the peer's alone, where the connection can have several.
  void went_well(TimePoint now, const Subject& about, std::string message, bool any_peer);
  /// The bad end of an exchange, remembered with its cause. As responder of a first exchange, which strangers can make fail as often as
  /// they like, only a handful a second are worth a line of the log.
  void failed(TimePoint now, const Subject& about, Reason reason, std::string message, Cause cause);
  /// An SA came to its end without an exchange that says so (a lifetime, a data plane, a peer's Delete): remembered, and said by others.
  void lost(TimePoint now, const Subject& about, Reason reason, const std::string& message);
  /// A stranger's datagram that led to nothing. Beyond a handful a second these are counted, but not worth a line of the log.
  void junk(TimePoint now, const Endpoint& peer, Exchange exchange, Reason reason, std::string message, Cause cause = {});
  /// A stranger whom one connection might have meant was refused before there was an SA. Its lines are limited in the same way.
  void refused(TimePoint now, const std::string& connection, const Endpoint& peer, Exchange exchange, Reason reason, std::string message,
               Cause cause = {});
  /// A client goes, or is sent, to another gateway: counted, and no failure. `stranger`: now; lines about those are limited.
  void redirected(const Subject& about, std::string message, std::optional<TimePoint> stranger = {});
  /// A message that nothing here takes: of whom one connection names, or a stranger's.
  void not_spoken(TimePoint now, const Datagram& datagram, Reason reason, std::string message);
  /// A line about a message of somebody watched; beyond a bound these are only counted.
  void trace(TimePoint now, const std::string& connection, const Endpoint& peer, std::string text);
  /// Whether this message was refused a short while ago: it is answered again, but not reported again.
  bool refused_before(std::size_t fingerprint);

 private:
  LineBudget junk_lines_, refusal_lines_, trace_lines_;
  std::uint64_t untraced_ = 0;
  std::vector<std::size_t> refused_;  ///< fingerprints, a ring
  std::size_t next_refused_ = 0;
  SaId last_sa_ = 0;
  std::uint64_t last_pair_ = 0;
};

}  // namespace culvert::ike
