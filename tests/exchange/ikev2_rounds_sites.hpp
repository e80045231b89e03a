// Two sites of which each proves itself several times (RFC 4739). Owns their configurations, for the tests of that.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "common/config/rounds.hpp"
#include "tests/exchange/ikev2_sites.hpp"

namespace culvert::test {

using RoundProofs = std::vector<config::Proof>;

inline config::Identity named(const std::string& name) { return {config::Identity::Type::Fqdn, name}; }

inline std::string name_of(char side, std::size_t round) { return std::string(1, side) + std::to_string(round + 1) + ".example"; }

/// What `ours` proves to `peer`: round by round another identity.
inline void prove(config::Connection& ours, config::Connection& peer, const RoundProofs& proofs, char side) {
  ours.more_local.clear();
  peer.more_remote.clear();
  for (std::size_t k = 0; k < proofs.size(); ++k) {
    config::LocalSide local{named(name_of(side, k)), {}};
    config::RemoteSide remote{named(name_of(side, k)), {}};
    local.auth.auth = remote.auth.auth = proofs[k];
    if (k > 0) {
      local.auth.place.section = "local-" + std::to_string(k + 1);
      remote.auth.place.section = "remote-" + std::to_string(k + 1);
    }
    if (config::is_eap(proofs[k])) {
      local.auth.eap_id = "alice";
      remote.id = {config::Identity::Type::Any, "%any"};
    }
    if (k == 0) {
      ours.local_id = local.id, ours.local_auth = local.auth;
      peer.remote_id = remote.id, peer.remote_auth = remote.auth;
    } else {
      ours.more_local.push_back(local);
      peer.more_remote.push_back(remote);
    }
  }
}

inline void give_keys(Host& h) {
  h.secrets.clear();
  for (const config::Connection& c : h.config.connections)
    for (std::size_t k = 0; k < config::rounds_of(c); ++k) {
      const config::Connection& r = config::proofs(c, k);
      h.secrets[r.name] = "secret";
      if (config::proves_local(c, k) && r.local_auth.auth == config::Proof::Pubkey) h.keys[r.name] = ike::AuthMethod::EcdsaP256;
    }
}

/// A begins, and proves itself by `client`; B by `gateway`.
inline Pair several(World& world, const RoundProofs& client, const RoundProofs& gateway,
                    const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  Pair out = two_v2(world, [&](auto& a, auto& b) {
    prove(a.connections[0], b.connections[0], client, 'a');
    prove(b.connections[0], a.connections[0], gateway, 'b');
    if (change) change(a, b);
    for (auto* g : {&a, &b})
      for (config::Connection& c : g->connections) config::arrange_rounds(c);
  });
  give_keys(out.a);
  give_keys(out.b);
  out.a.password = "alicepw";
  out.b.users = {{"alice", "alicepw"}};
  return out;
}

inline void start_both(const Pair& p) {
  p.b.start();
  p.a.start();
}

inline const ike::Failure& latest_failure(const Host& h) {
  static std::vector<ike::Failure> all;
  all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

inline void check_all_gone(World& world, const Pair& p) {
  p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
  world.hook = {};
  world.run(200s);
  for (const Host* h : {&p.a, &p.b}) {
    INFO(h->transcript());
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->outbound.empty());
    CHECK(h->spis.empty());
  }
}

inline constexpr auto kCert = config::Proof::Pubkey, kPsk = config::Proof::Psk, kEap = config::Proof::EapMschapv2;

}  // namespace culvert::test
