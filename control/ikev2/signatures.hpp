// Signatures in AUTH payloads: which form is made and taken, and how it stands there (RFC 7427, RFC 8420, RFC 7296 §3.8, RFC 4754).
// Owns the numbers and the AlgorithmIdentifiers of RFC 7427 App. A. Computes nothing: keys are asked for by actions.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "common/config/config.hpp"
#include "control/ike/auth_types.hpp"
#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

/// What a side takes as the hash of a digital signature, as it says in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
struct SignatureHashes {
  bool sha256 = false, sha384 = false, sha512 = false;
  bool identity = false;  ///< none before the signature: EdDSA (RFC 8420 §2)
  friend bool operator==(const SignatureHashes&, const SignatureHashes&) = default;
};
/// The content of the notification that says so for us: all of them.
Bytes announced_hashes();
/// Of a peer's; numbers that we do not know are passed over, SHA-1 among them.
SignatureHashes read_hashes(ByteView data);

/// How a key signs for a peer that has announced these hashes, or none (nullopt). `pss`: the peer has signed by RSASSA-PSS itself, which
/// is better than PKCS #1 v1.5 (RFC 8247 §3.2). No result: there is no way that the peer takes and we wish for.
std::optional<ike::SignatureScheme> scheme_for(ike::AuthMethod key, const std::optional<SignatureHashes>& peer,
                                               const config::SignatureWish& wish = {}, bool pss = false);
/// Whether a key can make what is wished for.
[[nodiscard]] bool fits(const config::SignatureWish& wish, ike::AuthMethod key);
/// Whether a signature is what is wished for.
[[nodiscard]] bool fits(const config::SignatureWish& wish, ike::SignatureScheme scheme);
[[nodiscard]] bool by_pss(ike::SignatureScheme scheme);
/// The AUTH payload with a signature.
Auth signature_auth(ike::SignatureScheme scheme, Bytes signature);

/// A signature as the peer sent it.
struct PeerSignature {
  ike::SignatureScheme scheme{};
  Bytes signature;
};
/// `announced`: whether the peer said which hashes it takes. The error is for an operator.
std::expected<PeerSignature, std::string> read_signature(const Auth& auth, bool announced);
/// Whether it is a proof by signature at all.
[[nodiscard]] bool by_signature(AuthMethodId method);

}  // namespace culvert::ikev2
