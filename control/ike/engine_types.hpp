// What goes into an IKE engine and what comes out: the seam between the pure protocol core and the shell around it.
// Owns types only. No socket, clock, thread, logger or YAML on this side of it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/ipsec/packet_rules.hpp"
#include "common/ipsec/selector.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"
#include "control/ike/auth_types.hpp"
#include "control/ike/failure.hpp"
#include "control/ike/radius_types.hpp"
#include "control/ike/reasons.hpp"

namespace culvert::crypto {
class KeyExchange;  // control/crypto/key_exchange.hpp
}

namespace culvert::ike {

using crypto::KeyExchange;

/// One UDP datagram. `data` is the UDP payload exactly as on the wire: on local port 4500 with the non-ESP marker.
struct Datagram {
  Endpoint local, remote;
  Bytes data;
  bool heard = false;  ///< in: a first message whose sender has shown the data plane that he hears what is sent to him (RFC 7296 §2.6)
};

/// An identity of a peer as something to look up, and to find again after a restart: the beginning of a hash; zeros: nobody.
using PeerKey = std::array<std::uint8_t, 16>;

using JobId = std::uint64_t;  ///< of an action that completes later; never reused

// ---------------------------------------------------------------------------------------------------------------- actions out

struct SendDatagram {
  Datagram datagram;
};
/// A key exchange on the crypto pool: makes our half as initiator; with `peer_public` and a half of ours, finishes; with `peer_public`
/// alone, answers it as responder. Answered by Engine::on_dh.
struct ComputeDh {
  JobId job{};
  DhGroup group{};
  std::shared_ptr<KeyExchange> key;  ///< our half, made earlier
  std::optional<Bytes> peer_public;  ///< wire form of the KE payload, not yet validated
};
/// One direction of a CHILD SA, for the data plane. Answered by Engine::on_installed.
struct InstallSa {
  JobId job{};
  std::uint64_t pair = 0;
  Direction direction{};
  std::string connection, child;
  PeerKey peer{};           ///< of a connection that can have many
  bool own_policy = false;  ///< its selectors are this peer's, not those of the configured child: the SPD needs an entry for them
  Spi spi;
  Endpoint local, remote;  ///< ports 0: native ESP; 500: in UDP behind a non-IKE marker (draft-ietf-ipsec-udp-encaps-00)
  bool follow = false;     ///< the peer is behind a NAT: authentic packets may come from elsewhere, and take the pair there
  std::optional<IpAddress> original_local, original_remote;  ///< transport mode in UDP: whose checksums the packets carry (RFC 3948 §3.1.2)
  TrafficSelector local_ts, remote_ts;
  MoreSelectors more{};  ///< of IKEv2: what it carries beside these
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  SecretBytes encr_key, integ_key;  ///< each with the salt behind it
  std::uint16_t replay_window = 64;
  PacketRules rules;
  std::uint64_t soft_seconds = 0, hard_seconds = 0, soft_bytes = 0, hard_bytes = 0, soft_packets = 0, hard_packets = 0;
  std::optional<std::uint16_t> worker{};  ///< of IKEv2: it is for the packets of this worker alone (RFC 9611)
};
struct RemoveSa {
  std::uint64_t pair = 0;
  Direction direction{};
  Spi spi;
};
/// An SA is elsewhere from now on. Without `local` the peer's NAT gave it another address, as an IKE message shows: the outbound SA, in
/// UDP, sends there. With it both outer addresses are new (RFC 4555 §3.5), ports as in InstallSa.
struct MoveSa {
  std::uint64_t pair = 0;
  Spi spi;
  Endpoint remote;
  std::optional<Endpoint> local{};
  Direction direction = Direction::Outbound;
  bool follow = false;  ///< as in InstallSa
};
/// Sequence numbers of an SA are left out (RFC 6311): of an outbound one by us, of an inbound one by the peer.
struct SkipNumbers {
  std::uint64_t pair = 0;
  Spi spi;
  Direction direction{};
  std::uint64_t count = 0;
};
/// Whether this is a user of the connection, and its password. Answered by Engine::on_user_checked.
struct CheckUser {
  JobId job{};
  std::string connection;
  Bytes user;
  SecretBytes password;
};
/// What is known of a user of the connection, for a proof by EAP. Answered by Engine::on_user_found.
struct FindUser {
  JobId job{};
  std::string connection;
  Bytes user;
  bool plain = false;  ///< the method needs the password itself, not only what Microsoft makes of it
};
/// The addresses of a host's name. Answered by Engine::on_name.
struct FindName {
  JobId job{};
  std::string name;
};
enum class Severity : std::uint8_t { Debug, Info, Warn, Error };
/// Something that an operator may want to know. One line in the log; `count` says whether it ends an exchange in the metrics.
struct Report {
  Severity severity{};
  std::string connection, child;  ///< empty where unknown; configured names only
  std::optional<Endpoint> peer;
  std::optional<Exchange> exchange;
  std::optional<Role> role;
  Reason reason{};
  bool count = false;   ///< the end of an exchange (good or bad): culvert_ike_exchanges_total{exchange,role,result,reason}
  std::string message;  ///< a full sentence without peer bytes that were not made printable
};
using Action = std::variant<SendDatagram, ComputeDh, Sign, VerifyPeer, CheckUser, FindUser, FindName, AskRadius, TlsStep, InstallSa,
                            RemoveSa, MoveSa, SkipNumbers, Report>;

// ---------------------------------------------------------------------------------------------------------------- completions in

struct DhResult {
  JobId job{};
  bool ok = false;  ///< false: the peer's value is invalid (or the library failed)
  std::shared_ptr<KeyExchange> key;
  Bytes public_value;  ///< wire form, ours
  SecretBytes shared;  ///< with peer_public only
};
/// The answer to VerifyPeer.
struct VerifyResult {
  JobId job{};
  bool ok = false;
  Reason reason{};      ///< of a refusal: CertUntrusted, CertInvalid, CertRevoked, AuthFailed for a wrong signature, WrongIdentity
  std::string message;  ///< for an operator: which certificate, and the check that failed
  std::string subject;  ///< printable, of the end entity's certificate, where one was read
  Bytes key{};          ///< of `ok`: what tells its key from another one
};
/// The answer to CheckUser.
struct UserChecked {
  JobId job{};
  bool ok = false;
  std::string error;  ///< why nobody can be checked, for an operator; empty where name or password is wrong
};
/// The answer to FindUser.
struct UserFound {
  JobId job{};
  bool found = false;
  SecretBytes password{};  ///< empty: it is kept as `nt_hash` alone
  SecretBytes nt_hash{};
  std::string error{};  ///< why nobody can be looked up, or this one not be compared, for an operator
};
/// The answer to TlsStep.
struct TlsStepped {
  JobId job{};
  std::shared_ptr<TlsSession> session{};
  Bytes output{};         ///< for the peer; of a failure our alert, if there is one
  bool done = false;      ///< both sides have proved themselves, and the peer knows it or will by `output`
  SecretBytes msk{};      ///< of `done`: what both sides know now
  bool failed = false;    ///< what is below says why
  Reason reason{};        ///< as in VerifyResult, EapTls, NoSecret where ours cannot be used, or Limit
  std::string message{};  ///< for an operator, a part of a sentence
  std::string subject{};  ///< as in VerifyResult
  Bytes key{};            ///< as in VerifyResult; of `done`
  std::string alert{};    ///< by which the peer has ended it; empty: we did
};
/// The answer to FindName.
struct NameFound {
  JobId job{};
  std::vector<IpAddress> addresses;
  std::string error{};  ///< why there are none, for an operator
};
/// What a packet is that wants an SA.
struct Flow {
  IpAddress source, destination;  ///< source: of our side
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 0;
};
/// The data plane's soft or hard limit of an SA was reached.
struct SaExpired {
  Direction direction{};
  Spi spi;
  bool hard = false;
  std::uint64_t pair = 0;  ///< tells outbound SAs of two peers apart that chose the same SPI
};
/// Authentic ESP of a pair, newer than all before, came from another address: the data plane sends there by now.
struct PairMoved {
  Spi inbound;
  Endpoint remote;
};
/// An SA that the data plane still has from a culvertd before this one.
struct OrphanSa {
  std::uint64_t pair = 0;
  Direction direction{};
  std::string connection, child;
  Spi spi;
  Endpoint local, remote;
  SaProtocol protocol = SaProtocol::Esp;
  SaMode mode = SaMode::Tunnel;
  TrafficSelector local_ts{}, remote_ts{};
  PeerKey peer{};
  MoreSelectors more{};
};

// ---------------------------------------------------------------------------------------------------------------- to look at

enum class IkeState : std::uint8_t { Connecting, Established, Rekeyed, Deleting };
enum class ChildState : std::uint8_t { Negotiating, Installing, Installed, Rekeyed, Deleting };
std::string_view name(IkeState s);
std::string_view name(ChildState s);

/// What a peer that gives us a virtual address says beside it, in its order, at most kMost of each; shown, not acted on.
struct GivenConfig {
  static constexpr std::size_t kMost = 64;
  std::vector<IpAddress> dns{};
  std::vector<Prefix> networks{};  ///< that are to be reached through it

  void cut() {
    dns.resize(std::min(dns.size(), kMost));
    networks.resize(std::min(networks.size(), kMost));
  }
};
struct ChildSaInfo {
  std::uint64_t pair = 0;
  std::string child;
  ChildState state{};
  Role role{};
  bool adopted = false;  ///< of a former culvertd: role unknown, suite and times in the data plane's records only
  Spi spi_in, spi_out;
  EspSuite suite;  ///< default value: not agreed yet, or unknown
  SaMode mode = SaMode::Tunnel;
  bool udp_encap = false;
  TrafficSelector local_ts, remote_ts;
  std::vector<TrafficSelector> more_local_ts{}, more_remote_ts{};  ///< of IKEv2
  std::optional<std::uint16_t> worker{};                           ///< of IKEv2: for whose packets alone it is (RFC 9611)
  TimePoint established{}, rekey_at{}, expires_at{};               ///< default value: not set
};
struct IkeSaInfo {
  std::uint8_t version = 1;
  std::uint64_t id = 0;  ///< ours, shown to operators, never reused
  std::string connection;
  IkeState state{};
  Role role{};
  IkeSpi spi_i, spi_r;
  Endpoint local, remote;
  std::string local_id, remote_id;  ///< printable
  IkeSuite suite;                   ///< default value: not agreed yet
  bool nat_local = false, nat_remote = false, nat_forced = false;
  bool mobike = false;                                        ///< both sides can take it to other addresses (RFC 4555)
  bool message_id_sync = false, replay_counter_sync = false;  ///< both sides can (RFC 6311)
  std::uint32_t window = 1;                                   ///< of IKEv2: requests of the peer that we take in at once
  std::vector<IpAddress> peer_addresses;                      ///< where the peer says that it is, too
  std::vector<std::string> vendor_ids;
  TimePoint created{}, established{}, rekey_at{}, expires_at{};
  TimePoint reauth_at{};  ///< of IKEv2: when we prove ourselves anew; default value: never
  std::vector<ChildSaInfo> children;
  std::string xauth_user;                         ///< of XAuth or EAP, printable; empty: none, or not done yet
  std::optional<IpAddress> virtual_address{};     ///< of the peer (from a pool of ours), or ours
  std::optional<IpAddress> virtual_address_v6{};  ///< beside one of IPv4
  GivenConfig given{};
};
/// An address of a pool that is, or was last, somebody's.
struct LeaseInfo {
  IpAddress address;
  std::string identity;  ///< printable
  bool online = false;
};
struct PoolInfo {
  std::string name;
  std::uint64_t size = 0, online = 0;
  std::vector<LeaseInfo> leases;  ///< in order of addresses
};
/// Pairs of a connection that has no ISAKMP SA at present. They carry traffic all the same, until their own lifetime ends.
struct LonePairs {
  std::string connection;
  std::vector<ChildSaInfo> children;
};
struct ChildStatus {
  std::string child;
  bool up = false;                 ///< an outbound SA is in use
  std::optional<Failure> failure;  ///< the latest that nothing has mended
  bool wanted = false;             ///< it is tried for, now or at `retry_at`
  bool stopped = false;            ///< start_action: start, but an operator ended it
  TimePoint retry_at{};            ///< after a failure, no earlier; default value: at once
};
/// An attempt of ours to make an IKE SA, under way.
struct Attempt {
  TimePoint since{};
  unsigned unanswered = 0;  ///< of the messages of phase 1, or of IKE_SA_INIT (1) and IKE_AUTH (3); 0: none, we are computing
};
struct ConnectionStatus {
  std::string connection;
  bool up = false;                 ///< an established ISAKMP SA exists, of any peer
  std::optional<Failure> failure;  ///< of phase 1, or of no child: the latest that nothing has mended
  std::vector<ChildStatus> children;
  std::optional<Attempt> connecting{};  ///< while it is not up
  std::size_t peers = 0;                ///< that have an established ISAKMP SA
};

/// Tickets of session resumption are sealed with it (RFC 5723 §6.1).
struct TicketKey {
  std::uint32_t id = 0;
  SecretBytes key;  ///< 32 bytes
};

/// What the engine needs and may not have of its own. Deterministic in tests.
class Services {
 public:
  virtual ~Services() = default;
  virtual void random(MutableByteView out) = 0;
  /// A new inbound SPI for a child of this pair, unique until `release_spi`; nullopt when there is no room.
  virtual std::optional<Spi> allocate_spi() = 0;
  /// The SPI will not be used any more (its SA was removed, or never installed).
  virtual void release_spi(Spi spi) = 0;
  /// The connection's pre-shared key, read at each use; error: where it should be and why it cannot be read, for an operator.
  virtual std::expected<SecretBytes, std::string> secret(const std::string& connection) = 0;
  /// Its post-quantum pre-shared key (RFC 8784), read at each use; error as for `secret`.
  virtual std::expected<SecretBytes, std::string> ppk(const std::string& connection) = 0;
  /// The password of the connection's local.xauth, or of its EAP, read at each use; error as for `secret`.
  virtual std::expected<SecretBytes, std::string> xauth_password(const std::string& connection) = 0;
  /// What tokens of quick crash detection are made with (RFC 6290 §5.1): the same after a restart; empty: nothing of ours is.
  virtual ByteView crash_secret() { return {}; }
  /// The one in use first, then those that tickets out there may still be sealed with; none: no tickets are given.
  virtual std::vector<TicketKey> ticket_keys() { return {}; }
  /// Tickets that were sealed until now are not to outlive us: only we know which of them are good no more.
  virtual void retire_ticket_keys() {}
  /// Seconds since 1970: tickets outlive a monotonic clock.
  virtual std::int64_t wall_seconds() { return 0; }
  /// With what kind of key the connection signs; error: there is none, or why it cannot be read, for an operator.
  virtual std::expected<AuthMethod, std::string> signing_method(const std::string& connection) = 0;
  /// What goes into CERT payloads: the end entity first, then the intermediate authorities, DER.
  virtual std::vector<Bytes> certificates(const std::string& connection) = 0;
  /// What goes into CERTREQ payloads: the DER names of the authorities that the connection trusts.
  virtual std::vector<Bytes> authorities(const std::string& connection) = 0;
  /// The same for IKEv2 (RFC 7296 §3.7): the SHA-1 hashes of their SubjectPublicKeyInfo.
  virtual std::vector<Bytes> authority_keys(const std::string& connection) = 0;
};

}  // namespace culvert::ike
