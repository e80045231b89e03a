// What the YAML file says, typed and immutable. Both planes read the same file and take what is theirs.
// Owns no parsing (load.hpp) and no secrets: those are references, which only culvertd resolves.
// The names are swanctl's where swanctl has the thing. configs/reference.yaml shows every key with its default and unit.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/bytes.hpp"
#include "common/config/proofs.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/ipsec/packet_rules.hpp"
#include "common/ipsec/selector.hpp"
#include "common/net/ip.hpp"
#include "common/types.hpp"

namespace culvert::config {

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

enum class Idle : std::uint8_t { Poll, Adaptive };
struct Memory {
  bool hugepages = true;
  std::uint32_t size_mb = 1024;  ///< of EAL memory
  std::uint32_t mbufs = 16384;   ///< packet buffers in all
};
struct Dataplane {
  std::string socket = "/run/culvert/dataplane.sock";
  std::vector<std::uint32_t> workers{1};  ///< CPU of each worker; the same CPU may stand several times
  std::uint32_t main_cpu = 0;             ///< CPU of the manager
  Idle idle = Idle::Poll;
  std::uint32_t sa_capacity = 16384;  ///< SAs of each direction; a power of two to 1048576
  std::string control_user;           ///< the user, besides root, that may attach; empty: nobody
  Memory memory;
  std::vector<std::string> eal_args;  ///< further arguments for DPDK's EAL, as they are
};

/// What all is in that names no VRF; its name may be written, too.
inline constexpr std::string_view kDefaultVrfName = "default";
/// The VRF that something is in, as the file names it.
struct VrfRef {
  std::string name{kDefaultVrfName};
  VrfId id = kDefaultVrf;  ///< by GatewayConfig::vrfs, once all of the file is read
};

struct Port {
  std::string name;
  std::string device;             ///< PCI address, or a DPDK vdev: "net_af_packet0,iface=eth1"
  std::vector<Prefix> addresses;  ///< with host bits; none: only its VLANs have some
  std::uint16_t mtu = 1500;       ///< of IP, without Ethernet
  std::uint16_t queues = 0;       ///< RX and TX queues; 0: one per worker
  std::uint16_t rx_descriptors = 1024, tx_descriptors = 1024;
  VrfRef vrf{};
};
/// A VLAN of a port (IEEE 802.1Q): frames with its tag are those of an interface of their own.
struct Vlan {
  std::string name;
  std::string port;
  std::uint16_t id = 0;           ///< 1..4094
  std::vector<Prefix> addresses;  ///< with host bits
  std::uint16_t mtu = 0;          ///< of IP, at most that of the port
  VrfRef vrf{};
};
/// A next hop of a route, and how many flows it has in proportion to the others.
struct Hop {
  IpAddress address;
  std::uint8_t weight = 1;
  Hop(const IpAddress& a = {}, std::uint8_t w = 1) : address(a), weight(w) {}  // NOLINT(google-explicit-constructor): most have no weight
  friend bool operator==(const Hop&, const Hop&) = default;
};
struct Route {
  Prefix to;
  std::vector<Hop> via;  ///< next hops, among which flows are spread; none: on link
  std::string port;      ///< or VLAN; may be empty with `via`, then found by the next hops
  std::string tunnel{};  ///< instead of both: into this tunnel interface
  VrfRef vrf{};          ///< whose packets go this way; that of its port or tunnel
};
/// A tunnel interface: what is routed into it leaves under the SA of the child that is bound to it.
struct Tunnel {
  std::string name;
  std::vector<Prefix> addresses;  ///< own addresses inside, with the network that is there; none: unnumbered
  VrfRef vrf{};                   ///< of the packets inside
};

enum class PolicyAction : std::uint8_t { Bypass, Discard };
/// An SPD entry that is no tunnel.
inline constexpr std::uint32_t kLowestPriority = 1'000'000;  ///< that a file can name
struct Policy {
  std::string name;
  PolicyAction action{};
  TrafficSelector local_ts, remote_ts;
  std::uint32_t priority = 1000;  ///< smaller wins; children have `Child::priority`
  VrfRef vrf{};
};

/// Virtual addresses, and what a peer that gets one is told with it (Mode Config, draft-dukes-ike-mode-cfg-02,
/// Cisco Unity; configuration payloads, RFC 7296 §3.15).
struct Pool {
  std::string name;
  TrafficSelector addrs;  ///< a range of addresses, or a network without its first and last address
  std::vector<IpAddress> dns, nbns;
  std::vector<Prefix> split_include;  ///< the peer's traffic to these alone goes into the tunnel; none: all of it
  std::string banner, domain;
  std::vector<std::string> split_dns;  ///< names below these domains alone are asked of `dns`
  VrfRef vrf{};                        ///< inside
};
enum class ModeConfig : std::uint8_t { Pull, Push };

enum class StartAction : std::uint8_t { None, Start, Trap };
/// One side of a child's traffic.
struct SideSelector {
  TrafficSelector ts;    ///< of a dynamic one only protocol and ports count
  bool dynamic = false;  ///< the address of that side: a virtual one, else the outer one
};
/// What becomes of a child whose peer dead-peer detection has given up.
enum class DpdAction : std::uint8_t {
  None,     ///< it is only said
  Clear,    ///< its SAs go, and nothing else happens
  Trap,     ///< ... and the next packet that wants them negotiates
  Restart,  ///< ... and new ones are negotiated at once
};
/// Beside the pair of SAs for all workers one for each of them (RFC 9611).
struct PerCpu {
  bool sas = false;
  std::uint16_t limit = 64;  ///< so many are made, and granted to the peer
};
struct Child {
  std::string name;                                     ///< "net"; "net/1x2" of more than one pair of selectors (selectors.hpp)
  std::vector<SideSelector> local_sides, remote_sides;  ///< as the file has them
  std::size_t entry = 0;                                ///< which one in the file
  TrafficSelector local_ts, remote_ts;                  ///< this child's pair of them
  bool local_dynamic = false, remote_dynamic = false;
  std::vector<SideSelector> more_local{}, more_remote{};  ///< of version 2, where a CHILD SA has all of its child's selectors
  std::vector<EspSuite> esp_proposals, ah_proposals;      ///< in order of preference; at least one in all
  SaMode mode = SaMode::Tunnel;
  StartAction start_action{};
  DpdAction dpd_action = DpdAction::Clear;
  Seconds rekey_time{3600}, life_time{3960};
  Seconds rand_time{360};                                                              ///< a random part of it is taken off rekey_time
  std::uint64_t rekey_bytes = 0, life_bytes = 0, rekey_packets = 0, life_packets = 0;  ///< 0: none
  std::uint16_t replay_window = 64;
  PacketRules rules{};
  PerCpu per_cpu{};
  std::uint32_t priority = 500;
  std::string tunnel{};    ///< the tunnel interface whose routes choose this child's packets; empty: its selectors do
  VrfRef vrf{.name = {}};  ///< of the packets inside; no name: that of the connection, whose id it has

  [[nodiscard]] std::vector<SideSelector> locals() const { return listed({local_ts, local_dynamic}, more_local); }
  [[nodiscard]] std::vector<SideSelector> remotes() const { return listed({remote_ts, remote_dynamic}, more_remote); }
  /// Whether a selector of it is about an address that its file does not have.
  [[nodiscard]] bool dynamic() const {
    return local_dynamic || remote_dynamic || std::ranges::any_of(more_local, &SideSelector::dynamic) ||
           std::ranges::any_of(more_remote, &SideSelector::dynamic);
  }
  /// All suites in order of preference, ESP first.
  [[nodiscard]] std::vector<EspSuite> suites() const {
    std::vector<EspSuite> all = esp_proposals;
    all.insert(all.end(), ah_proposals.begin(), ah_proposals.end());
    return all;
  }

 private:
  static std::vector<SideSelector> listed(SideSelector first, const std::vector<SideSelector>& more) {
    std::vector<SideSelector> out{std::move(first)};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
};
/// Pre-shared keys of connections with the same addresses: each may be tried on a stranger's message (RFC 2409 §5.4).
inline constexpr std::size_t kMaxSecrets = 8;
/// What becomes of an identity's SAs when it connects from elsewhere. Names and meaning are swanctl's.
enum class Unique : std::uint8_t {
  Replace,  ///< the new ones take their place
  Keep,     ///< they stay, and the newcomer is refused
  Never,    ///< the identity is shared: each address and port that it calls from is a peer
  No,       ///< ... and what it had before ends when it says that it begins anew (INITIAL_CONTACT)
};
/// RFC 6311.
struct CounterSync {
  bool enabled = true;
};

/// Requests of the peer that we take in at once (RFC 7296 §2.3).
struct Window {
  std::uint32_t size = 1;
};

/// A gateway as a redirect names it (RFC 5685 §3): by its address, or by a name that whoever goes there looks up.
struct GatewayName {
  std::optional<IpAddress> address{};
  std::string name{};
  [[nodiscard]] bool none() const { return !address && name.empty(); }
  [[nodiscard]] std::string to_string() const { return address ? address->to_string() : name; }
  friend bool operator==(const GatewayName&, const GatewayName&) = default;
};
/// nullopt: it is neither an address that a gateway can have nor a host's name (RFC 1123 §2.1).
std::optional<GatewayName> parse_gateway(std::string_view text);
/// Sending clients to another gateway, and being sent there (RFC 5685).
struct Redirection {
  enum class Follow : std::uint8_t {
    No,
    Authenticated,  ///< only what comes under keys, of a gateway that has proved itself
    Yes,            ///< ... and in clear, in the answer to the first message
  };
  Follow follow = Follow::Yes;
  GatewayName to{};      ///< where our clients are sent
  bool at_once = false;  ///< ... with the answer to their first message, not behind their proof
};
/// Coming back by a ticket (RFC 5723).
struct Resumption {
  bool enabled = false;
  Seconds lifetime{14400};
};
/// Whether IKE_AUTH makes no CHILD SA, and CREATE_CHILD_SA each of them (RFC 6023). The names are swanctl's.
enum class Childless : std::uint8_t {
  Allow,   ///< taken, not begun
  Prefer,  ///< ... and begun with who takes it
  Force,   ///< nothing else
  Never,
};
/// How an IKE SA begins, and begins anew.
struct Renewal {
  Seconds reauth_time{0};  ///< 0: never
  Childless childless{};
};
/// Fragmentation of IKE messages: of IKEv1 as Cisco and Microsoft do it, of IKEv2 that of RFC 7383.
enum class Fragmentation : std::uint8_t {
  No,      ///< neither sent nor taken in
  Accept,  ///< taken in
  Yes,     ///< ... and sent to a peer that says that it takes them in
  Force,   ///< ... and sent to any peer (IKEv1)
};
struct Connection {
  std::string name;
  std::uint8_t version = 1;                      ///< of IKE: 1 or 2
  std::vector<IpAddress> local_addrs;            ///< first one: source when initiating
  std::vector<TrafficSelector> remotes{};        ///< remote_addrs as the file has them; none: %any
  std::vector<IpAddress> remote_addrs;           ///< the single ones; empty: it can only respond
  std::vector<TrafficSelector> remote_ranges{};  ///< networks and ranges, whose peers may begin; empty, as remote_addrs: %any
  std::vector<IkeSuite> proposals;               ///< in order of preference
  std::vector<std::string> allow_weak;           ///< algorithms for legacy peers that its proposals may name: "3des", "modp1024"
  Identity local_id, remote_id;                  ///< a local_id of type Any stands for our address, with a certificate for its subject
  SecretRef secret;
  Ppk ppk{};
  LocalAuth local_auth;
  RemoteAuth remote_auth;
  std::vector<LocalSide> more_local{};  ///< sections beside `local`, as the file has them
  std::vector<RemoteSide> more_remote{};
  std::size_t local_rounds = 1, remote_rounds = 1;  ///< so many times each side proves itself (rounds.hpp)
  std::vector<Connection> rounds{};                 ///< what proves both sides in the second one, the third one
  XauthClient xauth_client;
  XauthServer xauth_server;
  std::vector<std::string> pools;  ///< where the peer's virtual address comes from, in this order; none: it gets none
  ModeConfig mode_config{};        ///< pull: the one that wants an address asks; push: the one that gives it begins
  std::vector<IpAddress> vips;     ///< virtual addresses that we ask for, at most one of each family; unspecified: any
  Unique unique{};
  bool aggressive = false;                   ///< phase 1 is Aggressive Mode instead of Main Mode
  bool aggressive_psk_exposes_hash = false;  ///< ... and is answered, too, with a pre-shared key
  bool encap = false;                        ///< force UDP encapsulation
  bool mobike = false;                       ///< RFC 4555; of version 2
  CounterSync counter_sync{};                ///< of version 2
  Window window{};                           ///< of version 2
  Redirection redirection{};                 ///< of version 2
  Resumption resumption{};                   ///< of version 2
  Renewal renewal{};                         ///< of version 2
  Fragmentation fragmentation = Fragmentation::Yes;
  Seconds rekey_time{14400}, over_time{1440}, rand_time{1440};  ///< over_time: from the replacement to the end
  Seconds dpd_delay{30}, dpd_timeout{150};                      ///< delay 0: no DPD
  std::vector<Child> children;
  VrfRef vrf{};  ///< outside: where its addresses are

  /// Whether remote_addrs names this address, alone or in a network or range.
  [[nodiscard]] bool names(const IpAddress& peer) const {
    return std::ranges::find(remote_addrs, peer) != remote_addrs.end() ||
           std::ranges::any_of(remote_ranges, [&](const TrafficSelector& r) { return r.matches(peer, 0, 0); });
  }
};

/// Engine-wide IKE settings.
struct Ike {
  Milliseconds retransmit_timeout{500};  ///< before the first retransmission
  double retransmit_base = 1.8;          ///< each further wait is longer by this factor
  std::uint32_t retransmit_tries = 7;
  Seconds keepalive{20};  ///< NAT keepalive interval (RFC 3948 §4)
  std::uint32_t half_open_limit = 1000, half_open_per_source = 10;
  Seconds half_open_timeout{30};
  std::uint32_t crypto_threads = 2;
  std::uint16_t fragment_size = 1280;  ///< of an IP packet with a fragment of an IKE message in it
  Seconds retry_delay{5};              ///< until start_action: start tries again after a failure; doubles to 60 s
};

/// A server that knows users (RFC 2865). The names are those of strongSwan's eap-radius.
struct RadiusServer {
  std::string name;
  IpAddress address;
  std::uint16_t auth_port = 1812;
  SecretRef secret;
  std::string nas_identifier;    ///< empty: that of all servers
  std::uint32_t preference = 0;  ///< the larger, the sooner it is asked
  std::uint32_t sockets = 1;     ///< each has room for 256 questions that are under way
  std::optional<IpAddress> source;
};
struct Radius {
  std::string nas_identifier = "culvert";  ///< who we are to the servers
  Milliseconds retransmit_timeout{1000};   ///< before a question is sent again for the first time
  double retransmit_base = 1.4;            ///< each further wait is longer by this factor
  std::uint32_t retransmit_tries = 3;      ///< after them a server is taken for dead
  Seconds timeout{20};                     ///< of a question, all servers together
  Seconds dead_time{60};                   ///< for so long a server that was taken for dead is asked last
  bool station_id_with_port = true;
  std::vector<RadiusServer> servers;
};

enum class LogFormat : std::uint8_t { Text, Json };
enum class LogLevel : std::uint8_t { Debug, Info, Warn, Error };
struct Log {
  LogFormat format{};
  LogLevel level = LogLevel::Info;
  std::string file;  ///< empty: standard error
};
struct Control {
  std::string socket = "/run/culvert/culvertd.sock";
  std::string user;                               ///< culvertd becomes this user after start; empty: stays as it is
  std::string group;                              ///< its members may use the socket; empty: the owner alone
  std::string metrics_listen = "127.0.0.1:9464";  ///< empty: off
  std::string state_dir;                          ///< of what outlives culvertd; empty: nothing does
  Log log;
};

struct GatewayConfig {
  Dataplane dataplane;
  std::vector<std::string> vrfs;  ///< besides the default one; numbered from 1 in this order
  std::vector<Port> ports;
  std::vector<Vlan> vlans;
  std::vector<Tunnel> tunnels;
  std::vector<Route> routes;
  std::vector<Policy> policies;
  PolicyAction default_policy = PolicyAction::Discard;  ///< for forwarded packets that match no entry
  Control control;
  Ike ike;
  Radius radius;
  std::vector<Pool> pools;
  std::vector<Connection> connections;
};

/// A port or a VLAN, as what has addresses and leads to neighbours. Both planes number interfaces as interfaces() lists them.
struct Interface {
  std::string_view name;
  const std::vector<Prefix>& addresses;
  std::uint16_t mtu;
  std::uint16_t port;  ///< the index of its port
  std::uint16_t vlan;  ///< the id; 0: the port itself
  VrfId vrf;
};
/// The ports in their order, then the VLANs in theirs. The list refers to `config`.
std::vector<Interface> interfaces(const GatewayConfig& config);

/// The number of a VRF; nullopt: there is none of this name.
std::optional<VrfId> vrf_named(const GatewayConfig& config, std::string_view name);
/// As the file names it.
std::string vrf_name(const GatewayConfig& config, VrfId id);
/// The same of two configurations that number their VRFs alike; 0 where there is only the default one.
std::uint64_t vrf_fingerprint(const GatewayConfig& config);

}  // namespace culvert::config
