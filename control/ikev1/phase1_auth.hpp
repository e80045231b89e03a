// How the two sides prove who they are in phase 1, as the authentication attribute of an offer says it (RFC 2409 App. A).
// Owns the table of methods. What a connection wants of it is phase1.hpp's; keys and certificates are asked for by actions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/ipsec/algorithms.hpp"
#include "control/ike/auth_types.hpp"
#include "control/ike/reasons.hpp"

namespace culvert::ikev1 {

/// One method for both sides, or for one of them: with hybrid authentication `user` proves nothing before XAuth.
struct Phase1Auth {
  ike::AuthMethod method{};
  bool hybrid = false;            ///< draft-ietf-ipsec-isakmp-hybrid-auth-05
  std::optional<ike::Role> user;  ///< who is asked for user name and password behind phase 1 (draft-beaulieu-ike-xauth-02 §7.2)

  /// SKEYID comes of the pre-shared key; of the nonces and g^xy otherwise (RFC 2409 §5.1).
  [[nodiscard]] bool psk() const { return method == ike::AuthMethod::Psk; }
  /// Whether this side's last word in phase 1 is a SIG payload; a HASH payload otherwise.
  [[nodiscard]] bool signs(ike::Role side) const { return !psk() && !(hybrid && user == side); }
  friend bool operator==(const Phase1Auth&, const Phase1Auth&) = default;
};
struct Phase1AuthInfo {
  std::uint16_t number = 0;  ///< value of attribute 3
  Phase1Auth auth;
  std::string_view name;  ///< "RSA signatures"
};
/// All that can be negotiated. Encryption with RSA (4, 5) is not among them, and never will be: it is an oracle for whoever
/// shares the key between methods. DSS (2) has no keys that are long enough.
std::span<const Phase1AuthInfo> phase1_auth_table();
/// nullptr: no number is registered for it.
const Phase1AuthInfo* find_phase1_auth(const Phase1Auth& auth);
const Phase1AuthInfo* find_phase1_auth(std::uint16_t number);
/// What HASH_I and HASH_R are made with where they are signed: ECDSA brings its own hash (RFC 4754), RSA takes the negotiated one.
Prf proof_prf(ike::AuthMethod method, Prf negotiated);

}  // namespace culvert::ikev1
