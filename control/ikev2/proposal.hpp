// What an SA payload offers and what becomes of it: offers built from suites, a peer's offer judged, a reply checked (RFC 7296 §2.7, §3.3).
// Owns the mapping between suites and transforms. Keeps no state.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "common/ipsec/algorithms.hpp"
#include "common/types.hpp"
#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

/// Why nothing was chosen, for log, metrics and CLI: no peer bytes in it, only names and numbers.
struct Mismatch {
  std::string offered;                ///< "aes128-sha1-modp1024, 3des-md5-modp1024"
  std::string wanted;                 ///< "aes256-sha256-modp2048"
  std::string difference;             ///< "Diffie-Hellman group 2 (modp1024) is not acceptable here"
  std::vector<std::string> usable{};  ///< offered suites that this gateway has, in the words of the configuration. None of a bad reply.
};

// ------------------------------------------------------------------------------------------------ IKE SA

/// Suites that differ in one kind of transform share a proposal; AEADs and others have proposals of their own (RFC 7296 §3.3). `spi`: ours,
/// of a rekeying; none in IKE_SA_INIT.
Sa build_ike_offer(std::span<const IkeSuite> suites, std::optional<IkeSpi> spi = {});

struct IkeChoice {
  IkeSuite suite;
  std::optional<IkeSpi> spi;  ///< the peer's, of a rekeying
  Sa reply;                   ///< the proposal's number and exactly one transform of each kind; without an SPI
};
/// Responder: the first of `ours` that the peer offers; among those of equal rank by cipher, PRF and integrity one with the group of the
/// peer's KE payload is preferred, so that it need not be asked again.
std::expected<IkeChoice, Mismatch> select_ike(std::span<const IkeSuite> ours, const Sa& offered, DhGroup ke);
/// Initiator: the reply must be one proposal, and one suite of those offered (RFC 7296 §2.7).
std::expected<IkeChoice, Mismatch> accept_ike(std::span<const IkeSuite> offered, const Sa& reply);

// ------------------------------------------------------------------------------------------------ CHILD SA

/// `spi`: ours, inbound. `pfs` false: in IKE_AUTH no group is offered whatever the suites say (RFC 7296 §1.2).
Sa build_child_offer(std::span<const EspSuite> suites, Spi spi, bool pfs);

struct ChildChoice {
  EspSuite suite;  ///< its group is None in IKE_AUTH
  Spi spi;         ///< the peer's
  Sa reply;        ///< with our SPI
};
struct ChildWanted {
  std::span<const EspSuite> suites;
  Spi our_spi;
  bool pfs = true;             ///< false: in IKE_AUTH groups are not looked at
  DhGroup ke = DhGroup::None;  ///< of the peer's KE payload; preferred among suites of equal rank otherwise
};
std::expected<ChildChoice, Mismatch> select_child(const ChildWanted& wanted, const Sa& offered);
std::expected<ChildChoice, Mismatch> accept_child(std::span<const EspSuite> offered, bool pfs, const Sa& reply);

/// The offers of an SA payload in words, cut after a few: "aes128-sha1-modp1024, ...".
std::string describe(const Sa& sa);

}  // namespace culvert::ikev2
