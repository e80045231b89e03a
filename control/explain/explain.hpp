// What the record of a failure means to a person: the likely causes in order, both sides beside each other, and what would mend it.
// Owns these words (scripts may rely on the names of causes: they are added, never renamed). Pure: no I/O, no clock.
// Must never suggest what makes the gateway weaker than its configuration: a weak algorithm, no PFS, any identity, a check less.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/failure.hpp"

namespace culvert::control::explain {

struct Likely {
  std::string_view cause;  ///< "phase1_proposal", "secret", "peer_identity", ...: see kCauses in causes.cpp
  std::string text;        ///< a sentence
};
/// The likeliest first; at least one.
std::vector<Likely> causes(const ike::Failure& failure);
/// Every name that causes() can give.
std::vector<std::string_view> all_causes();

/// Both sides of the mismatch; empty where there are no two sides.
struct Comparison {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};
Comparison comparison(const ike::Failure& failure);

/// What to write into the configuration to accept the peer.
struct Remedy {
  std::vector<std::string> yaml;  ///< lines of the connection; empty: there are none, or none that is safe
  std::string note;               ///< with lines: what has to be true; without: why there are none, and what to do instead
};
/// `connection`: the one that failed; nullptr: the peer matches none. `all`: to see whose networks a selector would take.
Remedy remedy(const ike::Failure& failure, const config::Connection* connection, const config::GatewayConfig& all);

}  // namespace culvert::control::explain
