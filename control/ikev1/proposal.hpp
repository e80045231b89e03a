// What an SA payload offers and what becomes of it: offers built from suites, a peer's offer judged, a reply checked.
// Owns the attribute numbers of phase 1 (RFC 2409 App. A) and of the IPsec DOI (RFC 2407 §4.5). Replies are made of
// exactly one transform that was offered, never of a request's length. Keeps no state.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/ipsec/algorithms.hpp"
#include "common/types.hpp"
#include "control/ikev1/payloads.hpp"
#include "control/ikev1/phase1_auth.hpp"

namespace culvert::ikev1 {

/// Why nothing was chosen, for log, metrics and CLI: no peer bytes in it, only names and numbers.
struct Mismatch {
  NotifyType notify = NotifyType::NoProposalChosen;
  std::string offered;     ///< "aes128-sha1-modp1024, 3des-md5-modp1024"
  std::string wanted;      ///< "aes256-sha256-modp2048"
  std::string difference;  ///< "Diffie-Hellman group 2 (modp1024) is not acceptable here"
  /// Offered suites that this gateway has, in the words of the configuration. None of a bad reply.
  std::vector<std::string> usable{};
  /// "offered ...; wanted ...; first difference: ..."
  [[nodiscard]] std::string text() const;
};

/// Lifetimes that a peer states, each from 1.
struct Lifetime {
  std::optional<std::uint64_t> seconds, kbytes;
};

// ------------------------------------------------------------------------------------------------ phase 1

/// One proposal, a transform a suite in order, all with one method, lifetime in seconds. At most kMaxTransforms suites are used.
Sa build_ike_offer(std::span<const IkeSuite> suites, std::uint32_t life_seconds, const Phase1Auth& auth = {});
/// Aggressive Mode has one KE payload beside its offer, so that all suites have the group of the first one (RFC 2409 §5).
std::vector<IkeSuite> same_group(std::span<const IkeSuite> suites);

struct IkeChoice {
  IkeSuite suite;
  Lifetime life;  ///< as the peer states it
  Sa reply;       ///< for message 2: the chosen transform, unaltered (RFC 2409 §5)
};
/// Responder: the first of `ours` that the peer offers with this method.
std::expected<IkeChoice, Mismatch> select_ike(std::span<const IkeSuite> ours, const Sa& offered, const Phase1Auth& auth = {});
/// Initiator: the reply must be exactly one transform of our offer (RFC 2408 §4.2: unaltered).
std::expected<IkeChoice, Mismatch> accept_ike(const Sa& offer, const Sa& reply);

// ------------------------------------------------------------------------------------------------ phase 2

/// RFC 2407 §4.5 and RFC 3947 §5.1.
enum class Encapsulation : std::uint16_t { Tunnel = 1, Transport = 2, UdpTunnel = 3, UdpTransport = 4 };
/// The drafts before RFC 3947 had private numbers: 61443 for UdpTunnel, 61444 for UDP in transport mode.
inline constexpr std::uint16_t kDraftUdpModes = 61443 - 3;
constexpr bool in_udp(Encapsulation e) { return e == Encapsulation::UdpTunnel || e == Encapsulation::UdpTransport; }
constexpr SaMode mode_of(Encapsulation e) {
  return e == Encapsulation::Transport || e == Encapsulation::UdpTransport ? SaMode::Transport : SaMode::Tunnel;
}
constexpr Encapsulation encapsulation_of(SaMode mode, bool udp) {
  if (mode == SaMode::Transport) return udp ? Encapsulation::UdpTransport : Encapsulation::Transport;
  return udp ? Encapsulation::UdpTunnel : Encapsulation::Tunnel;
}

struct EspOffer {
  std::span<const EspSuite> suites;  ///< in order of preference
  Spi spi;                           ///< ours, inbound
  Encapsulation encapsulation{};
  std::uint32_t life_seconds = 0;  ///< 0: not stated
  std::uint64_t life_kbytes = 0;   ///< 0: not stated
  bool draft_modes = false;        ///< UDP encapsulation by the drafts' numbers
};
/// All transforms of a Quick Mode offer share one group (RFC 2409 §5.5), since there is one KE payload. The groups of `suites`, each once,
/// in order: one attempt each, until the peer takes one.
std::vector<DhGroup> pfs_groups(std::span<const EspSuite> suites);
std::vector<EspSuite> with_pfs(std::span<const EspSuite> suites, DhGroup group);
/// One proposal for ESP and one for AH, where there are suites of them, with our SPI, a transform a suite; only suites with the group of
/// the first one are offered.
Sa build_esp_offer(const EspOffer& offer);

struct EspWanted {
  std::span<const EspSuite> suites;
  Encapsulation encapsulation{};           ///< what NAT detection asks for; a draft's number for it will do as well
  bool ke_present = false;                 ///< message 1 carries a KE payload: only suites with PFS; absent: only those without
  std::optional<Encapsulation> or_else{};  ///< will do, too: tunnel mode where transport mode is preferred
};
struct EspChoice {
  EspSuite suite;
  Spi spi;                                    ///< the peer's: our outbound SA
  std::optional<std::uint64_t> life_seconds;  ///< as the peer states it, from 1
  std::optional<std::uint64_t> life_kbytes;
  Sa reply;  ///< for message 2, with our SPI
  SaMode mode = SaMode::Tunnel;
};
/// Responder: the first of the wanted suites that the peer offers.
std::expected<EspChoice, Mismatch> select_esp(const EspWanted& wanted, const Sa& offered, Spi our_spi);
/// Initiator: the reply must be exactly one transform of our offer; its SPI is the peer's.
std::expected<EspChoice, Mismatch> accept_esp(const Sa& offer, const Sa& reply);

/// The offers of an SA payload in words, cut after a few: "aes128-sha1-modp1024, ...".
std::string describe(const Sa& sa);

}  // namespace culvert::ikev1
