// Two sites that speak IKEv2. Owns what the tests of IKEv2 have in common.
#pragma once

#include "control/ikev2/message.hpp"
#include "control/ikev2/proposal.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

/// two_sites(), with version: 2.
inline Pair two_v2(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {},
                   const std::string& proposal = "aes128gcm16-prfsha256-ecp256") {
  return two_sites(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].version = 2;
      g->connections[0].proposals = parse_ike_proposal_v2(proposal).value();
    }
    if (change) change(a, b);
  });
}

/// Both have an outbound SA of "net".
inline bool both_up(const Pair& p) { return p.a.up() && p.b.up() && p.a.current_out("net") && p.b.current_out("net"); }

}  // namespace culvert::test
