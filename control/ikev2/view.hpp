// What operators see of the engine. Owns nothing.
#pragma once

#include <vector>

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void add_ike_sas(const Core& core, std::vector<ike::IkeSaInfo>& out);
/// Fills in the entries of this version's connections.
void add_connections(Core& core, std::vector<ike::ConnectionStatus>& out);

}  // namespace culvert::ikev2
