#include "control/ikev1/phase1_auth.hpp"

#include <algorithm>
#include <array>

namespace culvert::ikev1 {

namespace {
using ike::AuthMethod;
using ike::Role;

// RFC 2409 App. A; RFC 4754; draft-beaulieu-ike-xauth-02 §7.2; draft-ietf-ipsec-isakmp-hybrid-auth-05 §3.2.1.
constexpr std::array kTable{
    Phase1AuthInfo{1, {AuthMethod::Psk, false, {}}, "pre-shared key"},
    Phase1AuthInfo{3, {AuthMethod::RsaSignature, false, {}}, "RSA signatures"},
    Phase1AuthInfo{9, {AuthMethod::EcdsaP256, false, {}}, "ECDSA with P-256"},
    Phase1AuthInfo{10, {AuthMethod::EcdsaP384, false, {}}, "ECDSA with P-384"},
    Phase1AuthInfo{11, {AuthMethod::EcdsaP521, false, {}}, "ECDSA with P-521"},
    Phase1AuthInfo{64221, {AuthMethod::RsaSignature, true, Role::Initiator}, "hybrid RSA"},
    Phase1AuthInfo{64222, {AuthMethod::RsaSignature, true, Role::Responder}, "hybrid RSA, the responder being the user"},
    Phase1AuthInfo{65001, {AuthMethod::Psk, false, Role::Initiator}, "XAuth with pre-shared key"},
    Phase1AuthInfo{65002, {AuthMethod::Psk, false, Role::Responder}, "XAuth with pre-shared key, the responder being the user"},
    Phase1AuthInfo{65005, {AuthMethod::RsaSignature, false, Role::Initiator}, "XAuth with RSA signatures"},
    Phase1AuthInfo{65006, {AuthMethod::RsaSignature, false, Role::Responder}, "XAuth with RSA signatures, the responder being the user"},
};
}  // namespace

std::span<const Phase1AuthInfo> phase1_auth_table() { return kTable; }

const Phase1AuthInfo* find_phase1_auth(const Phase1Auth& auth) {
  const auto* row = std::ranges::find(kTable, auth, &Phase1AuthInfo::auth);
  return row == kTable.end() ? nullptr : row;
}

const Phase1AuthInfo* find_phase1_auth(std::uint16_t number) {
  const auto* row = std::ranges::find(kTable, number, &Phase1AuthInfo::number);
  return row == kTable.end() ? nullptr : row;
}

Prf proof_prf(AuthMethod method, Prf negotiated) {
  switch (method) {
    case AuthMethod::EcdsaP256:
      return Prf::HmacSha2_256;
    case AuthMethod::EcdsaP384:
      return Prf::HmacSha2_384;
    case AuthMethod::EcdsaP521:
      return Prf::HmacSha2_512;
    default:
      return negotiated;
  }
}

}  // namespace culvert::ikev1
