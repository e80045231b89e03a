// Lifetimes as attributes (RFC 2409 App. A, RFC 2407 §4.5): in transforms, and in RESPONDER-LIFETIME (RFC 2407 §4.6.3.1).
// Owns their layout in both directions. Which lifetime holds is the lifecycle's to decide.
#pragma once

#include <cstdint>
#include <vector>

#include "control/ikev1/proposal.hpp"

namespace culvert::ikev1 {

/// A life type and a duration, short where it fits, as other implementations write it; a duration beyond 32 bits becomes the largest that
/// they hold.
void add_lifetime(std::vector<Attribute>& out, std::uint16_t type_number, std::uint16_t duration_number, std::uint16_t kind,
                  std::uint64_t duration);
/// RESPONDER-LIFETIME data: attributes of the DOI. `isakmp`: of an ISAKMP SA, of which RFC 2407 does not say whether they are these or
/// those of phase 1 (RFC 2409 App. A). We write the latter, as Cisco's gateways do (vpnc ends at others), and read both.
Parsed<Lifetime> parse_responder_lifetime(ByteView data, bool isakmp = false);
/// What is not stated is left out.
Bytes encode_responder_lifetime(const Lifetime& life, bool isakmp = false);

}  // namespace culvert::ikev1
