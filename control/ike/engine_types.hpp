// What goes into an IKE engine and what comes out: the seam between the pure protocol core and the shell around it.
// Owns types only. No socket, clock, thread, logger or YAML on this side of it.
#pragma once

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
#include "common/ipsec/selector.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"
#include "control/ike/auth_types.hpp"

namespace culvert::crypto {
class DhKey;  // control/crypto/dh.hpp
}

namespace culvert::ike {

using crypto::DhKey;

/// Monotonic time; tests make it up.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// One UDP datagram. `data` is the UDP payload exactly as on the wire: on local port 4500 with the non-ESP marker.
struct Datagram {
  Endpoint local, remote;
  Bytes data;
};

using JobId = std::uint64_t;  ///< of an action that completes later; never reused

/// How an exchange, an SA or an attempt ended: one row a reason, for log, metrics and CLI alike. Never a peer's bytes.
// clang-format off
#define CULVERT_IKE_REASONS(X) \
  X(Ok,                  "ok",                    "the exchange succeeded") \
  X(Timeout,             "timeout",               "the peer did not answer within all retransmissions") \
  X(NoProposalChosen,    "no_proposal_chosen",    "no proposal of the peer is acceptable here") \
  X(PeerNoProposal,      "peer_no_proposal",      "the peer found none of our proposals acceptable") \
  X(AuthFailed,          "auth_failed",           "authentication failed: wrong pre-shared key or a manipulated exchange") \
  X(WrongIdentity,       "wrong_identity",        "the peer's identity is not the configured one") \
  X(CertUntrusted,       "cert_untrusted",        "the peer's certificate leads to no trusted authority") \
  X(CertInvalid,         "cert_invalid",          "the peer's certificate is expired, not valid yet, malformed or not made for this use") \
  X(CertRevoked,         "cert_revoked",          "the peer's certificate is revoked, or its status could not be learnt") \
  X(XauthFailed,         "xauth_failed",          "the user name or the password of XAuth is wrong") \
  X(NoAddress,           "no_address",            "no virtual address is free in the pools of the connection") \
  X(NoConnection,        "no_connection",         "no connection is configured for these addresses or this identity") \
  X(SelectorMismatch,    "selector_mismatch",     "no child is configured with the proxy identities that the peer asks for") \
  X(PeerSelectorMismatch,"peer_selector_mismatch","the peer refused our proxy identities") \
  X(PeerRefused,         "peer_refused",          "the peer refused with another notification") \
  X(Malformed,           "malformed",             "a message could not be parsed") \
  X(BadPayloads,         "bad_payloads",          "a message lacks a payload, or carries one that it may not") \
  X(BadHash,             "bad_hash",              "a HASH payload is wrong") \
  X(BadKe,               "bad_ke",                "a key exchange value is invalid for its group") \
  X(BadNonce,            "bad_nonce",             "a nonce has a length that is not allowed") \
  X(UnknownSa,           "unknown_sa",            "a message for cookies that nobody here has") \
  X(Unexpected,          "unexpected",            "a message that does not fit the state of its exchange") \
  X(Limit,               "limit",                 "refused because a bound is reached (half-open SAs, SAs, SPIs)") \
  X(DpdTimeout,          "dpd_timeout",           "the peer stopped answering dead-peer detection") \
  X(DeletedByPeer,       "deleted_by_peer",       "the peer deleted it") \
  X(DeletedByOperator,   "deleted_by_operator",   "an operator ended it") \
  X(Replaced,            "replaced",              "a newer one took its place") \
  X(Expired,             "expired",               "its lifetime ended") \
  X(DataplaneLost,       "dataplane_lost",        "the data plane went away, and its SAs with it") \
  X(InstallFailed,       "install_failed",        "the data plane refused the SA") \
  X(NoSecret,            "no_secret",             "the connection's secret could not be read") \
  X(Shutdown,            "shutdown",              "this gateway is shutting down") \
  X(Internal,            "internal",              "an error of our own")
// clang-format on
enum class Reason : std::uint8_t {
#define X(id, name, help) id,
  CULVERT_IKE_REASONS(X)
#undef X
      Count_
};
std::string_view name(Reason r);
std::string_view help(Reason r);

enum class Exchange : std::uint8_t { MainMode, AggressiveMode, Xauth, ModeConfig, QuickMode, Informational, Dpd, Count_ };
std::string_view name(Exchange e);  ///< "main_mode", "aggressive_mode", "xauth", ...

enum class Role : std::uint8_t { Initiator, Responder };

// ---------------------------------------------------------------------------------------------------------------- actions out

struct SendDatagram {
  Datagram datagram;
};
/// Make a key pair for `group` on the crypto pool; with `peer_public`, also g^xy. Answered by Engine::on_dh.
struct ComputeDh {
  JobId job{};
  DhGroup group{};
  std::shared_ptr<DhKey> key;        ///< an earlier pair to use; null: make one
  std::optional<Bytes> peer_public;  ///< wire form of the KE payload, not yet validated
};
/// One direction of a CHILD SA, for the data plane. Answered by Engine::on_installed.
struct InstallSa {
  JobId job{};
  std::uint64_t pair = 0;
  Direction direction{};
  std::string connection, child;
  Spi spi;
  Endpoint local, remote;  ///< ports 0: native ESP
  TrafficSelector local_ts, remote_ts;
  EspSuite suite;
  SecretBytes encr_key, integ_key;  ///< encr_key with the salt behind it
  std::uint16_t replay_window = 64;
  std::uint64_t soft_seconds = 0, hard_seconds = 0, soft_bytes = 0, hard_bytes = 0, soft_packets = 0, hard_packets = 0;
};
struct RemoveSa {
  std::uint64_t pair = 0;
  Direction direction{};
  Spi spi;
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
using Action = std::variant<SendDatagram, ComputeDh, Sign, VerifyPeer, InstallSa, RemoveSa, Report>;

// ---------------------------------------------------------------------------------------------------------------- completions in

struct DhResult {
  JobId job{};
  bool ok = false;  ///< false: the peer's value is invalid (or the library failed)
  std::shared_ptr<DhKey> key;
  Bytes public_value;  ///< wire form, ours
  SecretBytes shared;  ///< with peer_public only
};
/// The answer to VerifyPeer.
struct VerifyResult {
  JobId job{};
  bool ok = false;
  Reason reason{};      ///< of a refusal: BadCertificate..., AuthFailed for a wrong signature, WrongIdentity
  std::string message;  ///< for an operator: which certificate, and the check that failed
  std::string subject;  ///< printable, of the end entity's certificate, where one was read
};
/// The data plane's soft or hard limit of an SA was reached.
struct SaExpired {
  Direction direction{};
  Spi spi;
  bool hard = false;
  std::uint64_t pair = 0;  ///< tells outbound SAs of two peers apart that chose the same SPI
};
/// An SA that the data plane still has from a culvertd before this one.
struct OrphanSa {
  std::uint64_t pair = 0;
  Direction direction{};
  std::string connection, child;
  Spi spi;
  Endpoint local, remote;
};

// ---------------------------------------------------------------------------------------------------------------- to look at

enum class IkeState : std::uint8_t { Connecting, Established, Rekeyed, Deleting };
enum class ChildState : std::uint8_t { Negotiating, Installing, Installed, Rekeyed, Deleting };
std::string_view name(IkeState s);
std::string_view name(ChildState s);

struct ChildSaInfo {
  std::uint64_t pair = 0;
  std::string child;
  ChildState state{};
  Role role{};
  bool adopted = false;  ///< of a former culvertd: role unknown, suite and times in the data plane's records only
  Spi spi_in, spi_out;
  EspSuite suite;  ///< default value: not agreed yet, or unknown
  bool udp_encap = false;
  TrafficSelector local_ts, remote_ts;
  TimePoint established{}, rekey_at{}, expires_at{};  ///< default value: not set
};
struct IkeSaInfo {
  std::uint64_t id = 0;  ///< ours, shown to operators, never reused
  std::string connection;
  IkeState state{};
  Role role{};
  IkeSpi spi_i, spi_r;
  Endpoint local, remote;
  std::string local_id, remote_id;  ///< printable
  IkeSuite suite;                   ///< default value: not agreed yet
  bool nat_local = false, nat_remote = false, nat_forced = false;
  std::vector<std::string> vendor_ids;
  TimePoint created{}, established{}, rekey_at{}, expires_at{};
  std::vector<ChildSaInfo> children;
};
/// Pairs of a connection that has no ISAKMP SA at present. They carry traffic all the same, until their own lifetime ends.
struct LonePairs {
  std::string connection;
  std::vector<ChildSaInfo> children;
};
struct LastFailure {
  TimePoint when{};
  std::optional<Exchange> exchange;
  Reason reason{};
  std::string message;
};
struct ChildStatus {
  std::string child;
  bool up = false;                     ///< an outbound SA is in use
  std::optional<LastFailure> failure;  ///< cleared by success
};
/// An attempt of ours to make an ISAKMP SA, under way.
struct Attempt {
  TimePoint since{};
  unsigned unanswered = 0;  ///< the message of Main Mode that waits for its answer; 0: none, we are computing
};
struct ConnectionStatus {
  std::string connection;
  bool up = false;  ///< an established ISAKMP SA exists
  std::optional<LastFailure> failure;
  std::vector<ChildStatus> children;
  std::optional<Attempt> connecting{};  ///< while it is not up
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
  /// With what kind of key the connection signs; error: there is none, or why it cannot be read, for an operator.
  virtual std::expected<AuthMethod, std::string> signing_method(const std::string& connection) = 0;
  /// What goes into CERT payloads: the end entity first, then the intermediate authorities, DER.
  virtual std::vector<Bytes> certificates(const std::string& connection) = 0;
  /// What goes into CERTREQ payloads: the DER names of the authorities that the connection trusts.
  virtual std::vector<Bytes> authorities(const std::string& connection) = 0;
};

}  // namespace culvert::ike
