// The gateway of one configuration: the IKE engine, and everything that its actions and events pass through.
// Owns the engine, the SA store, the SPD as installed, the link to the data plane and the sums for metrics. Has no socket, no
// timer and no clock of its own: the event loop (control/io) brings events with the time, and is told when to come back.
//
//     loop --events, now--> Gateway --> Engine --actions--> Link (install, remove, inject) | CryptoPool | Journal and metrics
#pragma once

#include <array>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/auth/inventory.hpp"
#include "control/dataplane_link/link.hpp"
#include "control/ike/engine.hpp"
#include "control/log/journal.hpp"
#include "control/metrics/traffic.hpp"
#include "control/radius/client.hpp"
#include "control/sa/policy.hpp"
#include "control/sa/store.hpp"

namespace culvert::control {

/// Ended exchanges by kind, our role and reason.
using ExchangeCounts = std::array<std::array<std::array<std::uint64_t, static_cast<std::size_t>(ike::Reason::Count_)>, 2>,
                                  static_cast<std::size_t>(ike::Exchange::Count_)>;

class Gateway final : private ike::Services {
 public:
  struct Hooks {
    std::function<void(ike::ComputeDh)> compute;                              ///< answered by on_dh, later
    std::function<void(ike::Sign)> sign;                                      ///< answered by on_signed, later
    std::function<void(ike::VerifyPeer)> verify;                              ///< answered by on_verified, later
    std::function<void(ike::CheckUser, config::SecretRef users)> check_user;  ///< answered by on_user_checked, later
    std::function<void(ike::FindUser, config::SecretRef users)> find_user;    ///< answered by on_user_found, later
    std::function<void(ike::FindName)> find_name;                             ///< answered by on_name, later
    std::function<ByteView()> crash_secret;                                   ///< of ike::Services
    std::function<std::vector<ike::TicketKey>()> ticket_keys;                 ///< of ike::Services
    std::function<void()> retire_ticket_keys;                                 ///< of ike::Services
    std::function<std::int64_t()> wall_seconds;                               ///< of ike::Services
    std::function<void(radius::Send)> send_radius;                            ///< what comes back goes to on_radius, later
    std::function<void(ike::TlsStep)> tls;                                    ///< answered by on_tls, later
    // of ike::Services; without them no connection has a key
    std::function<std::expected<ike::AuthMethod, std::string>(const std::string&)> signing_method;
    std::function<std::vector<Bytes>(const std::string&)> certificates, authorities, authority_keys;
    std::function<auth::Inventory()> inventory;  ///< of certificates_in_use
    std::function<std::expected<SecretBytes, std::string>(const config::SecretRef&)> read_secret;
    std::function<void(std::optional<ike::TimePoint>)> wake_at;  ///< call on_timer then
  };
  /// All arguments outlive the gateway.
  Gateway(const config::GatewayConfig& config, Journal& journal, Hooks hooks);
  ~Gateway() override;
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // -- events of the loop
  /// A data plane let us attach. Installs the SPD, and starts the engine the first time; another boot id than before means
  /// that all SAs are gone.
  void attached(ike::TimePoint now, Attachment attachment);
  /// The data plane's socket ended. What it has installed is judged when it can be attached to again.
  void detached(ike::TimePoint now, const std::string& why);
  /// The data plane has news. True: call again soon, there is more. Error: detach and attach again.
  std::expected<bool, std::string> drain(ike::TimePoint now);
  void on_timer(ike::TimePoint now);
  void on_dh(ike::TimePoint now, ike::DhResult result);
  void on_signed(ike::TimePoint now, ike::SignResult result);
  void on_verified(ike::TimePoint now, ike::VerifyResult result);
  void on_user_checked(ike::TimePoint now, const ike::UserChecked& result);
  void on_user_found(ike::TimePoint now, ike::UserFound result);
  void on_name(ike::TimePoint now, const ike::NameFound& result);
  /// Something came from a RADIUS server to one of the sockets that it is asked by; or nothing listens there, says somebody on the way.
  void on_radius(ike::TimePoint now, std::size_t server, std::uint32_t socket, ByteView datagram);
  void on_radius_unreachable(std::size_t server, std::uint32_t socket) { radius_.on_unreachable(server, socket); }
  void on_tls(ike::TimePoint now, ike::TlsStepped result);
  /// About once a second: late answers, traffic for DPD, sums.
  void on_second(ike::TimePoint now);
  /// Deletes everything and tells the peers. `quiet()` says when the data plane has confirmed all of it.
  void shutdown(ike::TimePoint now);
  [[nodiscard]] bool quiet() const;

  // -- commands of the operator
  ike::CommandResult initiate(ike::TimePoint now, const std::string& connection, const std::string& child);
  ike::CommandResult terminate(ike::TimePoint now, const std::string& connection, const std::string& child, const std::string& peer);
  ike::CommandResult rekey(ike::TimePoint now, const std::string& connection, const std::string& child, bool ike, const std::string& peer);
  ike::CommandResult reauthenticate(ike::TimePoint now, const std::string& connection, const std::string& peer);

  ike::CommandResult redirect(ike::TimePoint now, const std::string& connection, const std::optional<config::GatewayName>& to,
                              const std::string& peer, bool newcomers);
  ike::CommandResult sync_counters(ike::TimePoint now, const std::string& connection, const std::string& peer);

  /// Watching: engine.hpp. Needs no data plane.
  bool watch(ike::TimePoint now, ike::Watch watch) { return engine_.watch(now, std::move(watch)); }
  bool unwatch(ike::TimePoint now, const ike::Watch& target) { return engine_.unwatch(now, target); }
  [[nodiscard]] std::vector<ike::Watch> watches(ike::TimePoint now) const { return engine_.watches(now); }

  /// Asks the data plane what it would do with a packet; `id` is chosen here. The answer comes later: an `outcome`, and with one that is
  /// ok a `path`. nullptr: there is no data plane.
  struct Forecast {
    std::optional<shm::Path> path;
    std::optional<Outcome> outcome;
  };
  std::shared_ptr<const Forecast> trace_packet(ike::TimePoint now, shm::TracePacket question);

  /// Copies of a tunnel's packets (shm::Capture; its id is chosen here). One at a time: until the last one who holds the result lets go
  /// of it, or it has ended by itself. Error: why not.
  struct RunningCapture {
    Gateway* gateway = nullptr;
    std::uint32_t id = 0;
    std::uint64_t missed_before = 0;
    std::string name;
    std::optional<std::string> ended{};  ///< why: the data plane refused it, or is gone

    RunningCapture() = default;
    RunningCapture(const RunningCapture&) = delete;
    RunningCapture& operator=(const RunningCapture&) = delete;
    ~RunningCapture();
  };
  std::expected<std::shared_ptr<RunningCapture>, std::string> capture(ike::TimePoint now, shm::Capture wanted);
  /// The next copy of `running`; nullopt: none waits.
  std::optional<shm::Captured> next_captured(const RunningCapture& running);

  // -- to look at
  [[nodiscard]] const config::GatewayConfig& config() const { return config_; }
  [[nodiscard]] Journal& journal() const { return journal_; }
  [[nodiscard]] const Link* link() const { return link_.get(); }
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] std::vector<ike::IkeSaInfo> ike_sas() const { return engine_.ike_sas(); }
  [[nodiscard]] std::size_t newcomers() const { return engine_.newcomers(); }
  [[nodiscard]] std::uint64_t selectors_left_out() const { return engine_.selectors_left_out(); }
  [[nodiscard]] std::vector<ike::LonePairs> lone_pairs() const { return engine_.lone_pairs(); }
  /// As the engine has it, but nothing is up while there is no data plane to carry it. Every configured child is there,
  /// in the order of the configuration; `only`: that connection alone, if there is such a name.
  [[nodiscard]] std::vector<ike::ConnectionStatus> connections(const std::string& only = {}) const;
  [[nodiscard]] std::vector<ike::Failure> failures(const std::string& connection) const { return engine_.failures(connection); }
  [[nodiscard]] std::vector<ike::Failure> strangers() const { return engine_.strangers(); }
  [[nodiscard]] std::vector<ike::PoolInfo> pools() const { return engine_.pools(); }
  [[nodiscard]] ike::FailureBook::Counts failure_counts() const { return engine_.failure_counts(); }
  [[nodiscard]] const SaStore& store() const { return store_; }
  [[nodiscard]] std::vector<radius::ServerInfo> radius_servers(ike::TimePoint now) const { return radius_.servers(now); }
  /// The certificates of all connections, as their files stand now.
  [[nodiscard]] auth::Inventory certificates_in_use() const { return hooks_.inventory ? hooks_.inventory() : auth::Inventory{}; }
  /// Brings the sums up to this moment and returns them.
  const Traffic& traffic();
  [[nodiscard]] const ExchangeCounts& exchanges() const { return exchanges_; }
  /// The record of an installed SA in the segment; nullptr: not installed, or no data plane.
  [[nodiscard]] const shm::SaRecord* record(Direction direction, Spi spi, std::uint64_t pair) const;
  /// Its newest inbound SA that is installed; nullptr: there is none.
  [[nodiscard]] const SaEntry* newest_inbound(const std::string& connection, const std::string& child) const;
  [[nodiscard]] std::string policy_name(PolicyId policy) const { return policies_.name_of(policy); }
  [[nodiscard]] VrfId policy_vrf(PolicyId policy) const { return policies_.vrf_of(policy); }
  [[nodiscard]] PolicyTable::Vrfs vrfs_of(const ChildRef& child) const { return policies_.vrfs_of(child); }
  [[nodiscard]] VrfId vrf_outside(const std::string& connection) const { return policies_.vrf_outside(connection); }
  /// Where else than in `vrf` somebody has this address: a peer of the configuration, one that is there, or one whose failure is known.
  [[nodiscard]] std::vector<VrfId> other_vrfs_of(const IpAddress& peer, VrfId vrf) const;
  [[nodiscard]] std::uint64_t installs_refused() const { return installs_refused_; }
  [[nodiscard]] std::uint64_t reattaches() const { return attaches_ > 0 ? attaches_ - 1 : 0; }

 private:
  // ike::Services
  void random(MutableByteView out) override;
  std::optional<Spi> allocate_spi() override { return store_.allocate_spi(); }
  void release_spi(Spi spi) override { store_.release_spi(spi); }
  std::expected<SecretBytes, std::string> secret(const std::string& connection) override;
  std::expected<SecretBytes, std::string> ppk(const std::string& connection) override;
  std::expected<SecretBytes, std::string> xauth_password(const std::string& connection) override;
  std::expected<ike::AuthMethod, std::string> signing_method(const std::string& connection) override;
  std::vector<Bytes> certificates(const std::string& connection) override;
  std::vector<Bytes> authorities(const std::string& connection) override;
  std::vector<ike::TicketKey> ticket_keys() override { return hooks_.ticket_keys ? hooks_.ticket_keys() : std::vector<ike::TicketKey>{}; }
  void retire_ticket_keys() override {
    if (hooks_.retire_ticket_keys) hooks_.retire_ticket_keys();
  }
  std::int64_t wall_seconds() override { return hooks_.wall_seconds ? hooks_.wall_seconds() : 0; }
  ByteView crash_secret() override { return hooks_.crash_secret ? hooks_.crash_secret() : ByteView{}; }
  std::vector<Bytes> authority_keys(const std::string& connection) override {
    return hooks_.authority_keys ? hooks_.authority_keys(connection) : std::vector<Bytes>{};
  }

  /// Performs what the engine wants done, in order, until it wants nothing more.
  void perform(ike::TimePoint now);
  void act(ike::TimePoint now, ike::SendDatagram& action);
  void act(ike::TimePoint now, ike::ComputeDh& action);
  void act(ike::TimePoint now, ike::Sign& action);
  void act(ike::TimePoint now, ike::VerifyPeer& action);
  void act(ike::TimePoint now, ike::CheckUser& action);
  void act(ike::TimePoint now, ike::FindUser& action);
  void act(ike::TimePoint now, ike::FindName& action);
  void act(ike::TimePoint now, ike::AskRadius& action);
  /// What the servers are sent goes out, and what they have said to the engine. Whether the engine may want something now.
  bool settle_radius(ike::TimePoint now);
  void act(ike::TimePoint now, ike::TlsStep& action);
  void act(ike::TimePoint now, ike::InstallSa& action);
  void act(ike::TimePoint now, ike::RemoveSa& action);
  void act(ike::TimePoint now, ike::MoveSa& action);
  void act(ike::TimePoint now, ike::SkipNumbers& action);
  void act(ike::TimePoint now, ike::Report& action);
  void install_outcome(ike::TimePoint now, Direction direction, std::uint32_t slot, Spi spi, ike::JobId job, const Outcome& outcome);
  void send_remove(Direction direction, std::uint32_t slot, Spi spi, ike::TimePoint now);
  /// The entry of the SPD that an SA is to be under; a new one is sent before. nullopt: there is none.
  std::optional<PolicyId> policy_for(const ike::InstallSa& action, ike::TimePoint now);
  void send_policy(const shm::InstallPolicy& policy, ike::TimePoint now);
  void release_policy(PolicyId policy, ike::TimePoint now);
  /// The data plane does not have the SA (any more), and may not need its policy.
  void sa_gone(Direction direction, std::uint32_t slot, ike::TimePoint now);
  void take_back(Direction direction, std::uint32_t slot, Spi spi, ike::TimePoint now);
  void refuse_install(const ike::InstallSa& action, ike::TimePoint now, const std::string& why);

  void install_policies(ike::TimePoint now);
  std::vector<ike::OrphanSa> adopt_inventory(ike::TimePoint now);
  void reconcile(ike::TimePoint now);
  void each_record(const std::function<void(const shm::SaSnapshot&)>& visit) const;

  void on_acquire(ike::TimePoint now, const shm::Acquire& acquire);
  void on_expire(ike::TimePoint now, const shm::Expire& expire);
  void on_moved(ike::TimePoint now, const shm::Moved& moved);
  void note_traffic(ike::TimePoint now);

  const config::GatewayConfig& config_;
  Journal& journal_;
  Hooks hooks_;
  PolicyTable policies_;
  SaStore store_;
  Traffic traffic_;
  ExchangeCounts exchanges_{};
  ike::Engine engine_;
  radius::Client radius_;
  std::unique_ptr<Link> link_;
  ike::TimePoint now_{};  ///< of the event being handled: acks arrive inside of drain()
  std::uint64_t last_boot_id_ = 0;
  std::uint64_t attaches_ = 0;
  std::uint64_t installs_refused_ = 0;
  bool started_ = false;
  std::map<std::uint32_t, std::shared_ptr<Forecast>> forecasts_;  ///< by id, not answered yet
  std::uint32_t last_forecast_ = 0;
  std::weak_ptr<RunningCapture> capture_;
  std::uint32_t last_capture_ = 0;
  std::vector<std::uint64_t> last_used_;  ///< inbound, by slot: what note_traffic last reported
};

}  // namespace culvert::control
