// What two engines can do to each other by IKEv1.
#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/tamper/stage.hpp"

namespace culvert::test::tamper {

namespace {

using Gateways = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;
using config::Proof;

void take(Scene& s, const Pair& p) {
  s.a = &p.a;
  s.b = &p.b;
}

/// What all of them have: a second child, DPD that asks soon, and proofs of identities that have names.
void common_v1(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    config::Connection& c = g->connections[0];
    c.dpd_delay = config::Seconds{5};
    c.dpd_timeout = config::Seconds{60};
    const bool first = g == &a;
    c.children.push_back(child("more", first ? "10.1.7.0/24[tcp/443]" : "10.2.0.0/24", first ? "10.2.0.0/24" : "10.1.7.0/24[tcp/443]",
                               "aes128gcm16", config::StartAction::None));
  }
}
Gateways with_v1(const Gateways& change) {
  return [change](auto& a, auto& b) {
    common_v1(a, b);
    if (change) change(a, b);
  };
}
void psk(Scene& s, const Gateways& change) { take(s, two_sites(s.world, with_v1(change))); }
void signatures(Scene& s, ike::AuthMethod method, const Gateways& change) { take(s, two_signing_sites(s.world, method, with_v1(change))); }
void users(Scene& s, const Gateways& change) { take(s, client_and_server(s.world, with_v1(change))); }

void aggressive(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    g->connections[0].aggressive = g->connections[0].aggressive_psk_exposes_hash = true;
    g->connections[0].local_id = {config::Identity::Type::Fqdn, g == &a ? "a.example" : "b.example"};
    g->connections[0].remote_id = {config::Identity::Type::Fqdn, g == &a ? "b.example" : "a.example"};
  }
}
void push(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) g->connections[0].mode_config = config::ModeConfig::Push;
}
void by_certificate(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) g->connections[0].local_auth.auth = g->connections[0].remote_auth.auth = Proof::Pubkey;
  a.connections[0].local_id = b.connections[0].remote_id = {config::Identity::Type::Fqdn, "a.example"};
  b.connections[0].local_id = a.connections[0].remote_id = {config::Identity::Type::Fqdn, "b.example"};
}
void hybrid(config::GatewayConfig& a, config::GatewayConfig& b) {
  b.connections[0].local_auth.auth = a.connections[0].remote_auth.auth = Proof::Pubkey;
  a.connections[0].local_auth.auth = b.connections[0].remote_auth.auth = Proof::Xauth;
  b.connections[0].local_id = a.connections[0].remote_id = {config::Identity::Type::Fqdn, "b.example"};
}
void pieces(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    g->ike.fragment_size = 230;
    g->connections[0].fragmentation = config::Fragmentation::Force;
  }
}

bool has_address(const Scene& s) {
  const auto sas = s.a->engine->ike_sas();
  return std::ranges::any_of(sas, [](const auto& sa) { return sa.virtual_address.has_value(); }) && leased(*s.b) == 1;
}
bool has_user(const Scene& s) {
  const auto sas = s.b->engine->ike_sas();
  return has_address(s) && std::ranges::any_of(sas, [](const auto& sa) { return sa.xauth_user == "alice"; });
}
bool behind_nat(const Scene& s) {
  const auto sas = s.b->engine->ike_sas();
  return !sas.empty() && sas.front().nat_remote;
}

void build_nat(Scene& s) {
  take(s, two_sites(s.world, [](auto& a, auto& b) {
         a = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
         common_v1(a, b);
         b.connections[0].remote_addrs.clear();
       }));
  s.world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::v4(0x0a090001));
}

constexpr std::string_view kAll = "cCmTMtdDiIeEzlL";

constexpr Scenario kV1[] = {
    {"main_psk", 1, [](Scene& s) { psk(s, {}); }, kAll},
    {"main_rsa", 1, [](Scene& s) { signatures(s, ike::AuthMethod::RsaSignature, {}); }, kAll},
    {"main_ecdsa", 1, [](Scene& s) { signatures(s, ike::AuthMethod::EcdsaP256, {}); }, "cCiI"},
    {"aggressive_psk", 1, [](Scene& s) { psk(s, aggressive); }, kAll},
    {"aggressive_rsa", 1, [](Scene& s) { signatures(s, ike::AuthMethod::RsaSignature, aggressive); }, "cCmTdiIz"},
    {"xauth_pull", 1, [](Scene& s) { users(s, {}); }, "cCdiIz", has_user},
    {"xauth_push", 1, [](Scene& s) { users(s, push); }, "cCdiIz", has_user},
    {"xauth_aggressive", 1, [](Scene& s) { users(s, aggressive); }, "cCdiz", has_user},
    {"xauth_rsa", 1,
     [](Scene& s) {
       users(s, by_certificate);
       for (Host* h : {s.a, s.b}) h->keys["c"] = ike::AuthMethod::RsaSignature;
     },
     "cCdiz", has_user},
    {"xauth_hybrid", 1,
     [](Scene& s) {
       users(s, hybrid);
       s.b->keys["c"] = ike::AuthMethod::RsaSignature;
     },
     "cCdiz", has_user},
    {"mode_config_alone", 1,
     [](Scene& s) { users(s, [](auto& a, auto& b) { a.connections[0].xauth_client = {}, b.connections[0].xauth_server = {}; }); }, "cCdiIz",
     has_address},
    {"main_pfs", 1,
     [](Scene& s) {
       psk(s, [](auto& a, auto& b) {
         for (auto* g : {&a, &b}) g->connections[0].children[0].esp_proposals = parse_esp_proposal("aes128-sha256-ecp256").value();
       });
     },
     "cCiI"},
    {"main_pieces", 1, [](Scene& s) { signatures(s, ike::AuthMethod::EcdsaP256, pieces); }, "cCiI"},
    {"main_nat", 1, build_nat, "cCdiz", behind_nat},
    {"main_transport", 1, [](Scene& s) { psk(s, in_transport_mode); }, "cCiI"},
};

}  // namespace

std::span<const Scenario> scenarios_v1() { return kV1; }

}  // namespace culvert::test::tamper
