// What two engines can do to each other by IKEv2.
#include "common/config/rounds.hpp"
#include "control/auth/tls.hpp"
#include "control/ikev2/proposal.hpp"
#include "tests/exchange/radius_world.hpp"
#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/tamper/stage.hpp"
#include "tests/support/pki.hpp"

namespace culvert::test::tamper {

namespace {

using GatewaysV2 = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;
using config::Proof;
using pki::Kind;

const config::Identity kNameA{config::Identity::Type::Fqdn, "a.example"}, kNameB{config::Identity::Type::Fqdn, "b.example"};

void common_v2(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    config::Connection& c = g->connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.dpd_delay = config::Seconds{5};
    const bool first = g == &a;
    c.children.push_back(child("more", first ? "10.1.7.0/24[tcp/443]" : "10.2.0.0/24", first ? "10.2.0.0/24" : "10.1.7.0/24[tcp/443]",
                               "aes128gcm16", config::StartAction::None));
  }
}
void two(Scene& s, const GatewaysV2& change = {}) {
  const Pair p = two_sites(s.world, [&](auto& a, auto& b) {
    common_v2(a, b);
    if (change) change(a, b);
    for (auto* g : {&a, &b})
      for (config::Connection& c : g->connections) config::arrange_rounds(c);
  });
  s.a = &p.a;
  s.b = &p.b;
  for (Host* h : {s.a, s.b})
    for (std::size_t k = 0; k < config::rounds_of(h->config.connections[0]); ++k)
      h->secrets[config::proofs(h->config.connections[0], k).name] = "secret";
  s.a->password = "alicepw";
  s.b->users = {{"alice", "alicepw"}};
}
void proposals(config::GatewayConfig& a, config::GatewayConfig& b, const std::string& ike, const std::string& esp) {
  for (auto* g : {&a, &b}) {
    g->connections[0].proposals = parse_ike_proposal_v2(ike).value();
    g->connections[0].children[0].esp_proposals = parse_esp_proposal_v2(esp).value();
  }
}

// ---------------------------------------------------------------------------------------------------------------- who they are

void sign(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) g->connections[0].local_auth.auth = g->connections[0].remote_auth.auth = Proof::Pubkey;
  a.connections[0].local_id = b.connections[0].remote_id = kNameA;
  b.connections[0].local_id = a.connections[0].remote_id = kNameB;
}
void give_keys(const Scene& s, ike::AuthMethod method) {
  for (Host* h : {s.a, s.b})
    for (std::size_t k = 0; k < config::rounds_of(h->config.connections[0]); ++k)
      h->keys[config::proofs(h->config.connections[0], k).name] = method;
}
void build_signing(Scene& s) {
  two(s, sign);
  give_keys(s, ike::AuthMethod::EcdsaP256);
}
void user(config::GatewayConfig& a, config::GatewayConfig& b, Proof method) {
  config::Connection &u = a.connections[0], &g = b.connections[0];
  u.local_auth.auth = g.remote_auth.auth = method;
  u.local_auth.eap_id = "alice";
  u.remote_auth.auth = g.local_auth.auth = Proof::Pubkey;
  u.remote_id = g.local_id = kNameB;
  g.remote_id = {config::Identity::Type::Any, "%any"};
}
template <Proof kMethod>
void build_eap(Scene& s) {
  two(s, [](auto& a, auto& b) { user(a, b, kMethod); });
  s.b->keys["c"] = ike::AuthMethod::EcdsaP256;
}
void build_radius(Scene& s) {
  two(s, [](auto& a, auto& b) {
    user(a, b, Proof::EapMschapv2);
    b.connections[0].remote_auth.auth = Proof::EapRadius;
    b.radius.retransmit_tries = 2;
    b.radius.timeout = config::Seconds{8};
  });
  s.b->keys["c"] = ike::AuthMethod::EcdsaP256;
  s.b->users.clear();
  const auto server = std::make_shared<RadiusWorld>(s.world, *s.b);
  server->grants = {{radius::Type::UserName, to_bytes("alice")}};
  s.kept.push_back(server);
}
bool is_alice(const Scene& s) {
  const auto sas = s.b->engine->ike_sas();
  return !sas.empty() && sas.front().xauth_user.starts_with("alice");
}

/// The keys and certificates of a host that speaks TLS.
struct TlsHost {
  std::shared_ptr<const control::auth::Own> own;
  std::shared_ptr<const control::auth::Trust> trust;
  [[nodiscard]] ike::TlsStepped take(const ike::TlsStep& step) const {
    auto talk = std::static_pointer_cast<control::auth::TlsTalk>(step.session);
    if (!talk) talk = std::make_shared<control::auth::TlsTalk>(own, trust);
    ike::TlsStepped out = talk->advance(step, pki::kNow);
    talk->conclude(out);
    out.session = talk;
    return out;
  }
};
TlsHost tls_host(const std::string& subject, int number, const std::string& names) {
  static const pki::Issued root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 10));
  const pki::Issued issued = pki::gateway(subject, pki::key(Kind::P256, number), root, names);
  const auto certificate = [](const pki::Issued& i) { return crypto::Certificate::parse(i.der).value(); };
  control::auth::Own own{{certificate(issued)}, crypto::PrivateKey::read(pki::private_der(*issued.key)).value()};
  control::auth::Trust trust;
  trust.anchors = {certificate(root)};
  return {std::make_shared<const control::auth::Own>(std::move(own)), std::make_shared<const control::auth::Trust>(std::move(trust))};
}
void build_eap_tls(Scene& s) {
  static const TlsHost client = tls_host("C=CH, CN=alice", 2, "email:alice@example.org"),
                       server = tls_host("C=CH, CN=b", 1, "DNS:b.example");
  two(s, [](auto& a, auto& b) {
    user(a, b, Proof::EapTls);
    a.connections[0].local_auth.eap_id = "alice@example.org";
  });
  s.b->keys["c"] = ike::AuthMethod::EcdsaP256;
  s.a->tls = [](const ike::TlsStep& step) { return client.take(step); };
  s.b->tls = [](const ike::TlsStep& step) { return server.take(step); };
}

/// A user behind a certificate, and a secret behind a certificate of the gateway's (RFC 4739).
void build_rounds(Scene& s) {
  two(s, [](auto& a, auto& b) {
    sign(a, b);
    config::Connection &u = a.connections[0], &g = b.connections[0];
    config::LocalSide as_user{{config::Identity::Type::Fqdn, "a2.example"}, {}},
        with_secret{{config::Identity::Type::Fqdn, "b2.example"}, {}};
    config::RemoteSide its_user{{config::Identity::Type::Any, "%any"}, {}}, its_secret{{config::Identity::Type::Fqdn, "b2.example"}, {}};
    as_user.auth.auth = its_user.auth.auth = Proof::EapMschapv2;
    as_user.auth.eap_id = "alice";
    with_secret.auth.auth = its_secret.auth.auth = Proof::Psk;
    as_user.auth.place.section = with_secret.auth.place.section = "local-2";
    its_user.auth.place.section = its_secret.auth.place.section = "remote-2";
    u.more_local = {as_user}, u.more_remote = {its_secret};
    g.more_local = {with_secret}, g.more_remote = {its_user};
  });
  give_keys(s, ike::AuthMethod::EcdsaP256);
}

// ---------------------------------------------------------------------------------------------------------------- what they have

void addresses(config::GatewayConfig& a, config::GatewayConfig& b) {
  serve(b);
  config::Pool six;
  six.name = "six";
  six.addrs = TrafficSelector::parse("fd00:3::1-fd00:3::ff").value();
  b.pools.push_back(six);
  config::Connection &client = a.connections[0], &server = b.connections[0];
  server.xauth_server = {};
  server.pools = {"clients", "six"};
  client.vips = {IpAddress::v4(0), IpAddress::parse("::").value()};
  server.children[0].remote_ts = client.children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
  server.children[0].remote_dynamic = client.children[0].local_dynamic = true;
}
bool has_addresses(const Scene& s) {
  const auto sas = s.a->engine->ike_sas();
  return !sas.empty() && sas.front().virtual_address && sas.front().virtual_address_v6 && leased(*s.b) == 2;
}

void build_mobike(Scene& s) {
  two(s, [](auto& a, auto& b) {
    const auto ip = [](const char* text) { return IpAddress::parse(text).value(); };
    for (auto* g : {&a, &b}) g->connections[0].mobike = true;
    a.connections[0].local_addrs = {ip("10.9.0.1"), ip("10.9.1.1")};
    b.connections[0].local_addrs = {ip("10.9.0.2"), ip("10.9.1.2")};
    b.connections[0].remote_addrs = {ip("10.9.0.1"), ip("10.9.1.1")};
  });
}
bool has_moved(const Scene& s) {
  const auto sas = s.b->engine->ike_sas();
  return !sas.empty() && sas.front().mobike && sas.front().remote.address == IpAddress::v4(0x0a090101);
}

void build_nat_v2(Scene& s) {
  two(s, [](auto& a, auto& b) {
    a.connections[0].local_addrs = {IpAddress::parse("192.168.7.1").value()};
    b.connections[0].remote_addrs.clear();
    a.connections[0].local_id = b.connections[0].remote_id = kNameA;
  });
  s.world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::v4(0x0a090001));
}
bool has_nat(const Scene& s) {
  const auto sas = s.b->engine->ike_sas();
  return !sas.empty() && sas.front().nat_remote;
}

void build_resuming(Scene& s) {
  two(s, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) g->connections[0].resumption.enabled = true;
  });
  s.b->tickets = {{7, SecretBytes(Bytes(32, 7))}};
  s.b->lasting = "the secret of B";
}
bool has_resumed(const Scene& s) {
  return s.a->up() &&
         std::ranges::any_of(s.b->log, [](const ike::Report& r) { return r.message.find("by a ticket") != std::string::npos; });
}

bool has_synced(const Scene& s) {
  const auto sas = s.a->engine->ike_sas();
  return !sas.empty() && sas.front().message_id_sync && !s.b->inbound.empty() && s.b->inbound.begin()->second.skipped != 0;
}

void build_redirecting(Scene& s) {
  config::GatewayConfig third;
  two(s, [&](auto&, auto& b) { third = b; });
  third.connections[0].local_addrs = {IpAddress::v4(0x0a090003)};
  third.connections[0].local_id.text = "10.9.0.3";
  s.world.add("C", std::move(third)).start();
}
bool has_gone(const Scene& s) { return s.a->up() && s.world.hosts[2]->up(); }

bool has_more_keys(const Scene& s) {
  const auto sas = s.a->engine->ike_sas();
  return !sas.empty() && !sas.front().suite.more.empty();
}
bool has_ppk(const Scene& s) {
  return std::ranges::any_of(s.a->log, [](const ike::Report& r) { return r.message.find("with the PPK") != std::string::npos; });
}
bool has_pairs(const Scene& s) { return s.a->inbound.size() >= 3 && s.b->inbound.size() >= 3; }

constexpr std::string_view kAllV2 = "cCmTMtdDiIeEzlL";

constexpr Scenario kV2[] = {
    {"v2_psk", 2, [](Scene& s) { two(s); }, kAllV2},
    {"v2_ecdsa", 2, build_signing, "cCiIdz"},
    {"v2_eap_md5", 2, build_eap<Proof::EapMd5>, "cIz", is_alice},
    {"v2_eap_mschapv2", 2, build_eap<Proof::EapMschapv2>, "Cidz", is_alice},
    {"v2_eap_tls", 2, build_eap_tls, "ci", is_alice},
    {"v2_eap_radius", 2, build_radius, "cIz", is_alice},
    {"v2_rounds", 2, build_rounds, "cI", is_alice},
    {"v2_addresses", 2, [](Scene& s) { two(s, addresses); }, "cCiIz", has_addresses},
    {"v2_mobike", 2, build_mobike, "cadD", has_moved},
    {"v2_resume", 2, build_resuming, "iX", has_resumed},
    {"v2_sync", 2, [](Scene& s) { two(s); }, "cssS", has_synced},
    {"v2_redirect", 2, build_redirecting, "cR", has_gone},
    {"v2_more_keys", 2,
     [](Scene& s) {
       two(s, [](auto& a, auto& b) { proposals(a, b, "aes128gcm16-prfsha256-ecp256-ke1_x25519", "aes128gcm16-ecp256-ke1_x25519"); });
     },
     "cCiI", has_more_keys},
    {"v2_ppk", 2,
     [](Scene& s) {
       two(s, [](auto& a, auto& b) {
         for (auto* g : {&a, &b}) g->connections[0].ppk = {"ours", {config::SecretRef::Kind::File, "/ppk/c"}, true};
       });
       for (Host* h : {s.a, s.b}) h->ppks["c"] = "a quantum computer does not guess this";
     },
     "cI", has_ppk},
    {"v2_pieces", 2,
     [](Scene& s) {
       two(s, [](auto& a, auto& b) {
         for (auto* g : {&a, &b}) g->ike.fragment_size = 240;
       });
     },
     "cCiI"},
    {"v2_nat", 2, build_nat_v2, "cCIdz", has_nat},
    {"v2_workers", 2,
     [](Scene& s) {
       two(s, [](auto& a, auto& b) {
         for (auto* g : {&a, &b}) {
           g->dataplane.workers = {0, 0};
           g->connections[0].children[0].per_cpu.sas = true;
         }
       });
     },
     "cIE", has_pairs},
    {"v2_transport", 2, [](Scene& s) { two(s, in_transport_mode); }, "cCiI"},
};

}  // namespace

std::span<const Scenario> scenarios_v2() { return kV2; }

}  // namespace culvert::test::tamper
