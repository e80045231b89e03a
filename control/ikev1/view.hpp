// Snapshots for operators and metrics. Owns the translation of states into what list-sas and list-conns show; changes nothing.
#pragma once

#include <string>
#include <vector>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// Each pair is listed under the newest ISAKMP SA of its run, whichever made it (pairs outlive their maker); where
/// there is none, they stand alone.
std::vector<ike::IkeSaInfo> view_ike_sas(const Core& core);
std::vector<ike::LonePairs> view_lone_pairs(const Core& core);
/// In the order of the configuration; `only`: that one alone, if there is such a name.
std::vector<ike::ConnectionStatus> view_connections(const Core& core, const std::string& only = {});

}  // namespace culvert::ikev1
