// Post-quantum pre-shared keys (RFC 8784): what stands in IKE_AUTH of them, and whether the keys of an IKE SA are made with one.
// Owns that decision, of both roles. Compares no proofs: those are exchange_auth's.
//
//   IKE_SA_INIT   N(USE_PPK)                              -->  <--  N(USE_PPK)          of a responder that has one for somebody
//   IKE_AUTH      AUTH N(PPK_IDENTITY) [N(NO_PPK_AUTH)]   -->  <--  AUTH N(PPK_IDENTITY)     by the keys with the PPK
//                                                              <--  AUTH                     by those without; only if N(NO_PPK_AUTH) fits
// With EAP (exchange_eap.hpp) that is the last request and its answer, in which both sides have an AUTH: the responder's first one comes
// before it can know which PPK it is, and is made without. So a connection with a PPK may find out late that there will be no SA.
#pragma once

#include <expected>
#include <optional>
#include <span>
#include <string>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Why an IKE SA cannot be with this connection, for an operator.
struct PpkFault {
  Reason reason = Reason::AuthFailed;
  std::string text;
  Cause cause{};
};

/// Whether one of the connections has a PPK.
[[nodiscard]] bool any_ppk(const Core& core, std::span<const std::size_t> connections);
/// Whether both have the same one, or none: what a peer has shown of one holds for the other.
[[nodiscard]] bool same_ppk(const config::Connection& a, const config::Connection& b);

// ------------------------------------------------------------------------------------------------------------ initiator
/// The keys are there: makes those with the PPK, if it is to be used.
std::optional<PpkFault> begin_ppk(Core& core, IkeSa& sa);
/// Whether a proof without the PPK goes with the request: the peer may lack it.
[[nodiscard]] bool may_lack_ppk(const Core& core, const IkeSa& sa);
/// SK_pi that our proof is made with: of the PPK, if it is to be used.
[[nodiscard]] const SecretBytes& proving_key(const IkeSa& sa);
/// PPK_IDENTITY and, with a proof without the PPK, NO_PPK_AUTH.
void add_ppk(const Core& core, const IkeSa& sa, const std::optional<Auth>& without, Builder& out);
/// The answer says whether the PPK is used: the keys are what they are to be from now on.
std::optional<PpkFault> settle_ppk(Core& core, IkeSa& sa, const Message& reply);

// ------------------------------------------------------------------------------------------------------------ responder
/// How the peer's proof is to be looked at for a connection.
struct PpkProof {
  std::optional<PpkKeys> keys;  ///< with the PPK; none: without
  Auth auth;                    ///< AUTH, or what NO_PPK_AUTH has in its place
};
std::expected<PpkProof, PpkFault> ppk_proof(Core& core, const IkeSa& sa, const config::Connection& c, const Message& request);
/// The peer is who it says: the PPK, if it is used, goes into the keys.
void take_ppk(Core& core, IkeSa& sa);
/// PPK_IDENTITY without content (RFC 8784 §3): it is used.
void confirm_ppk(const IkeSa& sa, Builder& out);

/// What else a proof that does not fit may mean: ", or the two sides do not have the same PPK \"x\"", or nothing.
std::string or_ppk(const Core& core, const IkeSa& sa);
/// The same as a sentence of its own, for Cause::ppk.
std::string ppk_doubt(const Core& core, const IkeSa& sa);

}  // namespace culvert::ikev2
