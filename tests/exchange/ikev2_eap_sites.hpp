// A user and a gateway that speak IKEv2 with EAP. Owns what the tests of EAP have in common.
#pragma once

#include <functional>

#include "tests/exchange/ikev2_sites.hpp"

namespace culvert::test {

inline void be_gateway(config::Connection& c, config::Proof method = config::Proof::EapMschapv2) {
  c.local_auth.auth = config::Proof::Pubkey;
  c.remote_auth.auth = method;
  c.local_id = {config::Identity::Type::Fqdn, "b.example"};
  c.remote_id = {config::Identity::Type::Any, "%any"};
}

/// A is the user alice and starts; B is the gateway, which has a certificate, and knows her password.
inline Pair user_and_gateway(World& world, config::Proof method = config::Proof::EapMschapv2,
                             const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  Pair out = two_v2(world, [&](auto& a, auto& b) {
    config::Connection& user = a.connections[0];
    user.local_auth.auth = method;
    user.local_auth.eap_id = "alice";
    user.remote_auth.auth = config::Proof::Pubkey;
    user.remote_id = {config::Identity::Type::Fqdn, "b.example"};
    be_gateway(b.connections[0], method);
    if (change) change(a, b);
  });
  for (const config::Connection& c : out.b.config.connections) out.b.keys[c.name] = ike::AuthMethod::EcdsaP256;
  out.a.secrets.clear();
  out.b.secrets.clear();
  out.a.password = "alicepw";
  out.b.users = {{"alice", "alicepw"}};
  return out;
}

}  // namespace culvert::test
