// What a child does to headers, sizes and load of its packets (common/ipsec/packet_rules.hpp): its keys in the file.
// Owns no check that spans several keys (validate.hpp).
#pragma once

#include "common/config/section.hpp"
#include "common/ipsec/packet_rules.hpp"

namespace culvert::config {

Section<PacketRules> packet_rules_section();

}  // namespace culvert::config
