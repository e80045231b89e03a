// The part of the schema that is about ports, VLANs, tunnel interfaces, routes, and the VRFs that all of them are in.
// Owns these sections, and the numbers of VRFs; what is checked of VRFs across keys is validate_vrfs().
#pragma once

#include "common/config/schema.hpp"
#include "common/config/section.hpp"

namespace culvert::config {

Section<Port> port_section();
Section<Vlan> vlan_section();
Section<Route> route_section();
Section<Tunnel> tunnel_section();
/// VLANs that say nothing of it have the MTU of their port; and all VRFs that are named get their numbers.
void finish_network(const At&, GatewayConfig& config);

}  // namespace culvert::config
