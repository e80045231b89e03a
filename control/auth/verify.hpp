// The jobs of phase 1 and of IKE_AUTH that need keys and certificates: our signature, and whether the peer is who it says.
// Owns the order of the checks. Pure but for the library: any thread may do it, and nothing is asked of the network.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <vector>

#include "control/auth/credentials.hpp"
#include "control/crypto/revocation.hpp"
#include "control/ike/auth_types.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::control::auth {

/// Whether the certificate carries this identity (RFC 4945 §3.1): a distinguished name is its subject; an FQDN, a user FQDN and an
/// address stand in its subjectAltName. Nothing stands for anything but itself: a "*" of the certificate is no wildcard.
bool carries(const crypto::Certificate& certificate, std::uint8_t id_type, ByteView id_data);
/// What tells its key from another one, whatever certificates that has.
Bytes key_name(const crypto::Certificate& certificate);
/// "DNS gw.example", "email ops@gw.example", "IP 10.9.0.1": what stands in its subjectAltName, as far as IKE knows it.
std::vector<std::string> alt_names_of(const crypto::Certificate& certificate);
/// "C=CH, CN=gw, DNS gw.example, IP 10.9.0.1": all that it carries.
std::string identities_of(const crypto::Certificate& certificate);

ike::SignResult sign(const Own& own, const ike::Sign& job) noexcept;

/// The checks of ike::VerifyPeer, in this order: the certificates can be read and are few; one leads to an anchor, or is a pinned one
/// within its dates; its key is of the agreed method; it is meant for IKE; it carries the identity; the signature is its key's.
/// Revocation is not looked at: `path` is for that.
struct Verified {
  ike::VerifyResult result;
  std::vector<crypto::Certificate> path{};  ///< of a good one: from the peer's certificate to the anchor; a pinned one alone
  /// Revocation lists that a good one sent along (RFC 2408 §3.9); what they say is still to be proved.
  std::vector<crypto::RevocationList> lists{};
};
inline constexpr std::size_t kMaxSentLists = 4;  ///< of a peer's messages that are looked at
Verified verify(const Trust& trust, const ike::VerifyPeer& job, crypto::WallTime now) noexcept;

/// The same checks but for the signature, of a peer whose first certificate has the key that it proves to have by TLS. The path is as
/// above.
std::expected<std::vector<crypto::Certificate>, crypto::Refusal> judge_chain(const Trust& trust, std::span<const crypto::Certificate> chain,
                                                                             std::uint8_t id_type, ByteView id, crypto::WallTime now);

}  // namespace culvert::control::auth
