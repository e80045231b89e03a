// What a negotiation that failed leaves behind: when, at which message, who refused, and both sides of the mismatch.
// Owns the records and how long they are kept. Everything in them is bounded and printable: names, numbers, configured words; a
// peer's bytes only after printable(); never a secret. Decides nothing: exchanges say what they refuse, commands show it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/net/ip.hpp"
#include "control/ike/reasons.hpp"

namespace culvert::ike {

// ---------------------------------------------------------------------------------------------------------------- evidence

/// The two sides of a proposal that found no match. As responder `offered` is the peer's; as initiator it is ours, and `wanted` is
/// known only when the peer answered with something else (then `offered` is its answer).
struct ProposalEvidence {
  std::string offered, wanted;
  std::string difference;           ///< the first one, in words
  std::vector<std::string> usable;  ///< what was offered and could be configured here, in the words of `proposals` or `esp_proposals`
  friend bool operator==(const ProposalEvidence&, const ProposalEvidence&) = default;
};
/// `proven`: the peer has shown that it holds the secret or the key that goes with it, so that accepting it is a choice, not a risk.
struct IdentityEvidence {
  std::string expected, received;  ///< of the peer; with `ours`: `received` is how we call ourselves, `expected` is unknown (empty)
  bool ours = false;               ///< the peer refused our identity
  bool proven = false;
  bool user = false;  ///< with `ours`: the method makes one side a user (XAuth), which the peer may refuse as well
  friend bool operator==(const IdentityEvidence&, const IdentityEvidence&) = default;
};
struct CertificateEvidence {
  std::string subject;  ///< of the end entity; empty: none could be read
  std::string check;    ///< the one that failed, in words: "it expired on 2026-01-01", "its issuer C=CH, CN=X is not trusted"
  friend bool operator==(const CertificateEvidence&, const CertificateEvidence&) = default;
};
struct SelectorPair {
  std::string child;          ///< configured name; empty for what a peer asks
  std::string local, remote;  ///< seen from here: ours, theirs
  friend bool operator==(const SelectorPair&, const SelectorPair&) = default;
};
struct SelectorEvidence {
  SelectorPair asked;                    ///< by the initiator of the Quick Mode, or of IKE_AUTH or CREATE_CHILD_SA
  std::vector<SelectorPair> configured;  ///< here, at most kMaxConfigured
  bool taken = false;                    ///< they would fit, but another peer has SAs for them
  bool answered = false;                 ///< we asked, and the peer's answer is not a part of it that we could have
  static constexpr std::size_t kMaxConfigured = 16;
  friend bool operator==(const SelectorEvidence&, const SelectorEvidence&) = default;
};
/// No connection has these addresses (and this identity, where it is known).
struct AddressEvidence {
  std::string local, remote;
  std::string identity;
  friend bool operator==(const AddressEvidence&, const AddressEvidence&) = default;
};
struct SecretEvidence {
  enum class Problem : std::uint8_t {
    Differs,     ///< shown by keys or hashes that do not fit
    Unanswered,  ///< suspected: the peer keeps silent where it would if the secrets differed
    Unreadable,  ///< ours: `detail` says why
  } problem{};
  std::string detail;
  friend bool operator==(const SecretEvidence&, const SecretEvidence&) = default;
};
struct UserEvidence {
  std::string user;     ///< of XAuth, printable
  std::string problem;  ///< "no such user", "wrong password"
  friend bool operator==(const UserEvidence&, const UserEvidence&) = default;
};
struct PoolEvidence {
  std::string pools;  ///< configured names
  std::string problem;
  friend bool operator==(const PoolEvidence&, const PoolEvidence&) = default;
};
using Evidence = std::variant<std::monostate, ProposalEvidence, IdentityEvidence, CertificateEvidence, SelectorEvidence, AddressEvidence,
                              SecretEvidence, UserEvidence, PoolEvidence>;
std::string_view kind(const Evidence& e);  ///< "none", "proposal", "identity", "certificate", "selectors", "addresses", ...

// ---------------------------------------------------------------------------------------------------------------- records

enum class RefusedBy : std::uint8_t { Us, Peer, Nobody };  ///< Nobody: somebody kept silent, or something came to its end
std::string_view name(RefusedBy by);                       ///< "us", "peer", "nobody"
/// Who it is, as a rule, that ends an exchange for this reason.
RefusedBy usual_refuser(Reason reason);

/// What whoever refuses something knows about it: handed over with the reason and the sentence.
struct Cause {
  unsigned number = 0;  ///< of the message in its exchange, that was refused or never answered; 0: not about one
  Evidence evidence{};
  std::string said{};        ///< the notification of the peer, by name; empty: none
  bool on_4500 = false;      ///< what never came was to come on port 4500 (RFC 3947 §4, RFC 7296 §2.23)
  bool said_proven = false;  ///< it came under our keys; false: in clear, and only hinted at
  bool own_spi = false;   ///< ... of IKE_SA_INIT, with an SPI of the peer's: from who has come to our proposals it is zero (RFC 7296 §2.6)
  std::size_t round = 0;  ///< of several proofs, from 0 on
  bool more_proofs = false;       ///< it may stand for further proofs that the peer asks for (RFC 4739)
  std::string ppk{};              ///< how a PPK is, or may be, what it is about (RFC 8784), a sentence; empty: there is none in it
  bool unheard = false;           ///< a RADIUS server may be there, and has never answered by the secret that we have for it
  std::optional<RefusedBy> by{};  ///< nullopt: usual_refuser
};

struct Failure {
  TimePoint when{};                  ///< the latest time
  std::optional<Exchange> exchange;  ///< nullopt: not in one
  std::optional<Role> role;          ///< ours
  Reason reason{};
  RefusedBy by{};
  std::string message;  ///< a full sentence
  std::string child;    ///< empty: of the connection as such
  std::optional<Endpoint> peer;
  Cause cause;
  TimePoint first{};                       ///< the first time since it last went well
  std::uint64_t count = 1;                 ///< how often since then
  std::optional<TimePoint> mended;         ///< it went well later
  [[nodiscard]] bool strangers() const;    ///< whoever can send datagrams can cause it
  [[nodiscard]] bool about_child() const;  ///< about tunnels, of whichever child; false: about the IKE SA, or about neither
};

/// The latest failures of each connection, and of those who match none. A failure like an earlier one is counted with that one. What
/// strangers can cause has places of its own, so that it cannot push out what the peer or we did.
class FailureBook {
 public:
  static constexpr std::size_t kPerConnection = 8;  ///< of each kind: strangers' and others
  static constexpr std::size_t kStrangers = 64;

  void add(const std::string& connection, Failure failure);
  /// Of nobody's connection. `heard` false: only counted where a like one is there, lest a flood push out the rest.
  void add_stranger(Failure failure, bool heard);
  /// The IKE SA (empty child) or a child of a connection went well; `peer`: only that one's failures are mended.
  void mended(TimePoint now, const std::string& connection, const std::string& child, const std::optional<IpAddress>& peer, Role role);

  /// How many were recorded since the start, by reason: those counted with a like one included.
  using Counts = std::array<std::uint64_t, static_cast<std::size_t>(Reason::Count_)>;
  [[nodiscard]] const Counts& counts() const { return counts_; }

  /// Newest first.
  [[nodiscard]] std::vector<Failure> of(const std::string& connection) const;
  [[nodiscard]] std::vector<Failure> strangers() const;
  /// The newest that nothing has mended; nullopt: none.
  [[nodiscard]] std::optional<Failure> current(const std::string& connection, const std::string& child) const;

 private:
  std::map<std::string, std::vector<Failure>> by_connection_;  ///< oldest first
  std::vector<Failure> strangers_;
  Counts counts_{};
};

}  // namespace culvert::ike
