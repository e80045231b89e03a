// Two or more engines in a box: a virtual clock, a link that loses, duplicates, delays and reorders by seed, a data plane that
// acknowledges late, and a key exchange that takes its time. Owns all of these; no sleep, no socket, no real clock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/secret.hpp"
#include "control/ike/engine.hpp"
#include "control/ike/header.hpp"
#include "control/ikev1/message.hpp"

namespace culvert::test {

using ike::Reason;
using ike::TimePoint;
using namespace std::chrono_literals;
using Duration = std::chrono::nanoseconds;

struct LinkSettings {
  double loss = 0, duplicate = 0;
  Duration delay_min = 5ms, delay_max = 5ms;  ///< a spread reorders
};

class World;

/// An SA in the pretended data plane.
struct PlaneSa {
  ike::InstallSa sa;
  TimePoint last_used{};
  std::uint64_t skipped = 0;  ///< sequence numbers that were left out
  std::uint64_t entry = 0;    ///< of the SPD, that it is under: the larger, the younger
};
/// What the SPD would call its entry: the child, or a peer's own; in front of it the worker that it is for alone.
std::string policy_of(const ike::InstallSa& sa);

class Host final : public ike::Services {
 public:
  Host(World& world, std::string name, config::GatewayConfig config);

  void random(MutableByteView out) override;
  std::optional<Spi> allocate_spi() override;
  void release_spi(Spi spi) override;
  std::expected<SecretBytes, std::string> secret(const std::string& connection) override;
  std::expected<SecretBytes, std::string> ppk(const std::string& connection) override;
  std::expected<SecretBytes, std::string> xauth_password(const std::string& connection) override;
  std::expected<ike::AuthMethod, std::string> signing_method(const std::string& connection) override;
  std::vector<Bytes> certificates(const std::string& connection) override;
  std::vector<Bytes> authorities(const std::string& connection) override;
  std::vector<Bytes> authority_keys(const std::string& connection) override;
  std::vector<ike::TicketKey> ticket_keys() override { return tickets; }
  void retire_ticket_keys() override { ++retirements; }
  std::int64_t wall_seconds() override;
  ByteView crash_secret() override { return as_bytes(lasting); }

  /// Performs what the engine asks for.
  void perform();
  /// Tells the engine of one event, and performs what it then asks for.
  void step(const std::function<void(ike::Engine&)>& event);
  void start(std::vector<ike::OrphanSa> orphans = {});
  /// culvertd dies and comes back: the data plane keeps its SAs, which the new engine is told of.
  void restart();
  /// Its data plane dies, with all that it has and was asked for, and comes back empty; the engine has not been told yet.
  void lose_plane();

  [[nodiscard]] std::vector<ike::Report> reports(Reason reason) const;
  [[nodiscard]] std::size_t counted(ike::Exchange exchange, Reason reason) const;
  [[nodiscard]] bool up(const std::string& connection = "c", const std::string& child = "net") const;
  [[nodiscard]] std::size_t established() const;  ///< ISAKMP SAs that are not on their way out
  [[nodiscard]] std::size_t live_pairs(const std::string& child = "net") const;
  /// What the child's packets leave under, of one with many peers those to `remote_ts`: the SA of the first entry that is for them.
  [[nodiscard]] const PlaneSa* current_out(const std::string& child, const std::string& remote_ts = {}) const;
  [[nodiscard]] const PlaneSa* current_of(const std::string& policy) const;
  [[nodiscard]] std::string transcript() const;

  World& world;
  std::string name;
  config::GatewayConfig config;
  std::unique_ptr<ike::Engine> engine;
  /// Runs each step of the engine, if set; what it throws away with restart() is a culvertd that ended.
  std::function<void(const std::function<void()>&)> around;
  std::map<std::string, std::string> secrets;           ///< by connection; absent: unreadable
  std::map<std::string, std::string> ppks;              ///< by connection; absent: unreadable
  std::map<std::string, ike::AuthMethod> keys;          ///< by connection; absent: no private key. Its certificate is the host's name
  std::set<std::string> distrusted;                     ///< certificates that this host refuses; "c: B" for connection c alone
  std::map<std::string, std::string> users;             ///< who may come by XAuth or EAP, and their passwords
  std::string password;                                 ///< ours, for XAuth or EAP; empty: unreadable
  std::string no_users;                                 ///< why no user can be looked up; empty: they can
  std::function<void(const ike::AskRadius&)> radius;    ///< who is asked about users of auth: eap-radius; none: nobody answers
  std::map<std::string, std::vector<IpAddress>> names;  ///< of hosts, that it can look up
  std::string lasting;                                  ///< the secret that outlives it, for tokens; empty: none
  std::vector<ike::TicketKey> tickets;                  ///< keys, the one in use first
  unsigned retirements = 0;                             ///< of these
  unsigned checks = 0;                                  ///< of users, so far
  std::string certificate;                              ///< in its CERT payloads instead of its name: a stolen one
  std::size_t chain_size = 0;                           ///< bytes of an intermediate authority's certificate that it sends, too
  bool hides_certificate = false;                       ///< sends none
  std::string pinned;                                   ///< the peer's certificate, configured here for a peer that sends none
  std::optional<Bytes> signature;                       ///< what it sends as its signature, whatever it should sign
  bool cannot_sign = false;
  bool one_key = false;                                     ///< the peer's certificates of all rounds that it verifies have one key
  std::function<ike::TlsStepped(const ike::TlsStep&)> tls;  ///< takes the steps of EAP-TLS; none: there is no key for it
  std::size_t authorities_size = 20;                        ///< bytes of the name in its CERTREQ payload
  std::vector<ike::VerifyPeer> verified;                    ///< what it was asked to verify
  std::vector<ike::Report> log;
  std::vector<TimePoint> times;                  ///< of the reports in `log`
  std::map<std::uint32_t, PlaneSa> inbound;      ///< by SPI
  std::vector<PlaneSa> outbound;                 ///< in order of installation
  std::map<std::string, std::uint64_t> current;  ///< policy -> pair: the youngest that is there, else the last that was
  std::set<std::uint32_t> spis;                  ///< allocated and not released
  bool refuse_installs = false;
  unsigned asked_outbound = 0;  ///< SAs, that are there a little later
  bool spi_room = true;
  Duration install_min = 1ms, install_max = 1ms, dh_time = 2ms, name_time = 20ms;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
  unsigned sent_datagrams = 0, key_exchanges = 0;

 private:
  void install(const ike::InstallSa& sa);
  void remove(const ike::RemoveSa& sa);
  [[nodiscard]] std::uint64_t entry_for(const ike::InstallSa& sa);
  void remove_outbound(std::uint64_t pair);
  void move(const ike::MoveSa& to);
  void skip(const ike::SkipNumbers& what);
  void compute(const ike::ComputeDh& job);
  void sign(const ike::Sign& job);
  void verify(const ike::VerifyPeer& job);
  [[nodiscard]] bool distrusts(const std::string& connection, const std::string& signer) const;
  void check(const ike::CheckUser& job);
  void look_up(const ike::FindUser& job);
  void step_tls(const ike::TlsStep& job);
  unsigned plane_ = 0;         ///< how many of them have died
  std::uint64_t entries_ = 0;  ///< of the SPD, so far
  TimePoint plane_clock_{};    ///< the data plane does one thing after the other
};

/// A datagram on the link. A hook may change it, or drop it by returning false.
using Hook = std::function<bool(ike::Datagram& datagram)>;

class World {
 public:
  explicit World(std::uint64_t seed = 1);
  Host& add(const std::string& name, config::GatewayConfig config);

  /// Until the time has passed.
  void run(Duration time);
  /// Until the condition holds, at most so long. Whether it held.
  bool run_until(const std::function<bool()>& condition, Duration limit);
  void at(TimePoint when, std::function<void()> what);
  void transmit(const ike::Datagram& datagram);
  /// A datagram out of nowhere, straight to its destination.
  void deliver(const ike::Datagram& datagram);
  /// `inside` reaches the others through `outside`, as several may; ports are mapped from 20000 up. Only what it sent to may answer.
  void add_nat(const IpAddress& inside, const IpAddress& outside);
  /// The same for a server: ports 500 and 4500 of `outside` are those of `inside`, for everybody.
  void add_open_nat(const IpAddress& inside, const IpAddress& outside);
  /// The NAT forgets its mappings: the inside host gets new ports.
  void forget_nat();
  /// ... and is at another address itself.
  void renumber_nat(const IpAddress& from, const IpAddress& to);
  /// From now on packets flow through every current outbound SA, all the time: whenever a data plane changes, and each second, it is
  /// looked whether they find their inbound SA; what does not is noted in `gaps`. Engines hear of the traffic each second.
  void begin_traffic();
  void look_at_traffic();
  void end_traffic() { traffic_ = false; }

  std::uint64_t random(std::uint64_t below);
  Duration between(Duration low, Duration high);

  TimePoint now{std::chrono::seconds(1000)};
  LinkSettings link;
  Hook hook;
  std::set<IpAddress> dead;  ///< nothing comes from there, and nothing gets there
  std::mt19937_64 rng;
  std::vector<std::unique_ptr<Host>> hosts;
  std::vector<std::string> gaps;
  std::vector<ike::Datagram> wire;  ///< all that was sent, if `record`
  bool record = false;
  SecretBytes first_shared;  ///< g^xy of the first key exchange
  bool real_dh = false;

 private:
  struct Event {
    TimePoint when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& o) const { return std::pair(when, order) > std::pair(o.when, o.order); }
  };
  bool step(TimePoint limit);
  Host* at_address(const IpAddress& address);  ///< nullptr: nobody's
  void tick();
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::map<IpAddress, Host*> by_address_;  ///< those that were looked for
  bool traffic_ = false;
  struct Nat {
    IpAddress inside, outside;
    std::map<std::uint16_t, std::uint16_t> out;  ///< inside port -> outside port
    std::map<std::uint16_t, std::uint16_t> in;
  };
  std::vector<Nat> nats_;
  std::uint16_t next_port_ = 20000;
  unsigned stuck_ = 0;
};

/// A connection "c" between two addresses with a child "net": 10.1.0.0/24 on the side that ends in .1, 10.2.0.0/24 on the other.
config::GatewayConfig site(const std::string& local, const std::string& remote, config::StartAction start);
config::Child child(const std::string& name, const std::string& local_ts, const std::string& remote_ts, const std::string& proposals,
                    config::StartAction start);
/// Both ends of "c", A at 10.9.0.1 and B at 10.9.0.2, PSK "secret". A starts.
struct Pair {
  Host& a;
  Host& b;
};
Pair two_sites(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {});
/// The same with signatures of this kind; the certificates are "A" and "B".
Pair two_signing_sites(World& world, ike::AuthMethod method,
                       const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {});

/// What an IKE message says without keys: its header, and its payloads where it is in clear.
struct Seen {
  ike::Header header;
  Bytes message;
  std::optional<ikev1::Message> clear;
};
std::optional<Seen> look(const ike::Datagram& datagram);
/// Writes a clear message again, from changed payloads.
void rewrite(ike::Datagram& datagram, const ike::Header& header, const ikev1::Builder& payloads);
/// Main Mode message number (1-6) or 0; Quick Mode and Informational are told by their exchange.
int main_mode_number(const ike::Datagram& datagram, bool from_initiator);

}  // namespace culvert::test
