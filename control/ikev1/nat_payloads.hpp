// NAT traversal's payloads and numbers in IKEv1, of RFC 3947 and of the drafts before it: NAT-D, NAT-OA and the encapsulation modes.
// Owns the choice of numbers by dialect, and reading and writing these payloads. Decides nothing about ports or SAs.
#pragma once

#include <string>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// The destination's hash, then ours: a made-up one where encapsulation is forced (RFC 3947 §3.2).
void add_nat_d(Core& core, const IsakmpSa& sa, Prf hash, Builder& out);
/// Empty: the message's NAT-D payloads are hashes. Otherwise what is wrong with them: a message with such is not acted on.
std::string bad_nat_d(const IsakmpSa& sa, Prf hash, const Message& message);
/// Notes what the message's NAT-D payloads say. A message without them: the peer does not do NAT traversal after all.
void look_for_nat(IsakmpSa& sa, Prf hash, const Message& message);

/// Original addresses of the two sides of a Quick Mode (RFC 3947 §5.2), as one side sees them.
struct OriginalAddresses {
  std::optional<IpAddress> initiator, responder;
};
/// NAT-OAi and NAT-OAr, for transport mode in UDP: the addresses of the two sides as we see them.
void add_nat_oa(const IsakmpSa& sa, Role role, Builder& out);
/// What the peer says; of a payload that is no address of a known kind nothing.
OriginalAddresses read_nat_oa(const IsakmpSa& sa, const Message& message);

}  // namespace culvert::ikev1
