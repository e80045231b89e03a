// NAT traversal's payloads and numbers in IKEv1, of RFC 3947 and of the drafts before it: NAT-D, NAT-OA and the encapsulation modes.
// Owns the choice of numbers by dialect, and reading and writing these payloads. Decides nothing about ports or SAs.
#pragma once

#include <string>

#include "control/ikev1/core.hpp"
#include "control/ikev1/selectors.hpp"

namespace culvert::ikev1 {

/// The destination's hash, then ours: a made-up one where encapsulation is forced (RFC 3947 §3.2).
void add_nat_d(Core& core, const IsakmpSa& sa, Prf hash, Builder& out);
/// Empty: the message's NAT-D payloads are hashes. Otherwise what is wrong with them: a message with such is not acted on.
std::string bad_nat_d(const IsakmpSa& sa, Prf hash, const Message& message);
/// Notes what the message's NAT-D payloads say. A message without them: the peer does not do NAT traversal after all.
void look_for_nat(IsakmpSa& sa, Prf hash, const Message& message);

/// Original addresses of the two sides of a Quick Mode (RFC 3947 §5.2), ours and the peer's, as the peer sees them.
struct OriginalAddresses {
  std::optional<IpAddress> local, remote;
};
/// NAT-OAi and NAT-OAr, for transport mode in UDP: the addresses of the two sides as we see them.
void add_nat_oa(const IsakmpSa& sa, Role role, Builder& out);
/// What the peer says in the Quick Mode in which we have this role; of a payload that is no address of a known kind nothing.
OriginalAddresses read_nat_oa(const IsakmpSa& sa, Role role, const Message& message);
/// What the peer's proxy identities mean in transport mode. Through a NAT each side knows addresses that the other does not have: it names
/// the original one of NAT-OA, and means the host that the packets come from and go to (RFC 3947 §5.2, RFC 3948 §5.1).
Selectors through_nat(const IsakmpSa& sa, const OriginalAddresses& original, const Selectors& named);

}  // namespace culvert::ikev1
