// What the tests of Aggressive Mode share.
#pragma once

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

namespace culvert::test {

using Catch::Contains;
using ike::AuthMethod;
using ike::Exchange;
using ikev1::PayloadType;

inline void aggressive(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    g->connections[0].aggressive = true;
    g->connections[0].aggressive_psk_exposes_hash = g == &b;
    g->connections[0].local_id = {config::Identity::Type::Fqdn, g == &a ? "a.example" : "b.example"};
    g->connections[0].remote_id = {config::Identity::Type::Fqdn, g == &a ? "b.example" : "a.example"};
  }
}
inline void aggressive_once(config::GatewayConfig& a, config::GatewayConfig& b) {
  aggressive(a, b);
  a.connections[0].children[0].start_action = config::StartAction::None;
}

inline void attempt(World& world, Host& a, Host& b, Duration time = 3s) {
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(time);
}

/// A responder that gave up nothing, and both sides without a trace.
inline void require_over(World& world, Host& a, Host& b) {
  CHECK(a.established() + b.established() == 0);
  world.run(100s);
  for (const Host* h : {&a, &b}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->spis.empty());
  }
}

inline std::string failure_of(const Host& h) {
  const auto status = h.engine->connections().at(0);
  return status.failure ? std::string(ike::name(status.failure->reason)) + ": " + status.failure->message : "none";
}

inline bool from_b(const ike::Datagram& d) { return d.local.address.to_string() == "10.9.0.2"; }

inline std::vector<std::string> ladder(const World& world) {
  std::vector<std::string> out;
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (!seen || seen->header.exchange != ike::kExchangeAggressive) continue;
    std::string line = std::string(from_b(d) ? "R" : "I") + (seen->header.encrypted() ? "*" : "");
    if (seen->clear)
      for (const auto& p : seen->clear->payloads())
        if (p.type != PayloadType::Vendor) line += " " + ikev1::name(p.type);
    out.push_back(line);
  }
  return out;
}

/// Drops or changes only messages of Aggressive Mode.
inline Hook on_aggressive(std::function<bool(ike::Datagram&, const Seen&)> what) {
  return [what](ike::Datagram& d) {
    const auto seen = look(d);
    return !seen || seen->header.exchange != ike::kExchangeAggressive || what(d, *seen);
  };
}

}  // namespace culvert::test
