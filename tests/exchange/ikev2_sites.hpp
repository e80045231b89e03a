// Two sites that speak IKEv2. Owns what the tests of IKEv2 have in common.
#pragma once

#include <catch2/catch.hpp>

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

/// two_signing_sites(), with version: 2.
inline Pair two_signing_v2(World& world, ike::AuthMethod method = ike::AuthMethod::EcdsaP256,
                           const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return two_signing_sites(world, method, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].version = 2;
      g->connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    }
    if (change) change(a, b);
  });
}

/// What the host says of the latest failure of "c".
inline std::string failure_of(const Host& h) {
  const auto all = h.engine->failures("c");
  return all.empty() ? std::string("none") : all.front().message;
}

inline void check_nothing_left(const Pair& p) {
  for (const Host* h : {&p.a, &p.b}) {
    CHECK_FALSE(h->up());
    CHECK(h->inbound.empty());
    CHECK(h->outbound.empty());
  }
}

/// Both have an outbound SA of "net".
inline bool both_up(const Pair& p) { return p.a.up() && p.b.up() && p.a.current_out("net") && p.b.current_out("net"); }

}  // namespace culvert::test
