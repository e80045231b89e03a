// From what an exchange knows when it refuses to what the record of the failure keeps (control/ike/failure.hpp).
#pragma once

#include <string>

#include "common/config/config.hpp"
#include "control/ike/failure.hpp"
#include "control/ikev1/proposal.hpp"

namespace culvert::ikev1 {

inline ike::Evidence unreadable(const std::string& why) { return ike::SecretEvidence{ike::SecretEvidence::Problem::Unreadable, why}; }
inline ike::ProposalEvidence evidence(const Mismatch& m) { return {m.offered, m.wanted, m.difference, m.usable}; }
/// The selectors that were asked for (empty texts: none were sent) beside those of the connection's children.
ike::SelectorEvidence selector_evidence(const config::Connection& c, std::string local, std::string remote);

}  // namespace culvert::ikev1
