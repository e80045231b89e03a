// IKE_AUTH with EAP-TLS: users and gateways with certificates, real TLS between them; who is refused, lost messages, peers that do worse.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_tls_sides.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;
using pki::Kind;

namespace {

struct Sides {
  World world;
  TlsSide user{{user_certificate()}}, server{{server_certificate()}};
  Pair p;

  explicit Sides(std::uint64_t seed = 1, const std::function<void(config::Connection&, config::Connection&)>& change = {})
      : world(seed), p(two_v2(world, [&](auto& a, auto& b) {
          config::Connection &u = a.connections[0], &g = b.connections[0];
          u.local_auth.auth = g.remote_auth.auth = Proof::EapTls;
          u.local_auth.eap_id = "alice@example.org";
          u.remote_auth.auth = g.local_auth.auth = Proof::Pubkey;
          u.remote_id = g.local_id = {config::Identity::Type::Fqdn, "b.example"};
          g.remote_id = {config::Identity::Type::Any, "%any"};
          if (change) change(u, g);
        })) {
    p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
    p.a.secrets.clear();
    p.b.secrets.clear();
    p.a.tls = [this](const ike::TlsStep& s) { return user.take(s); };
    p.b.tls = [this](const ike::TlsStep& s) { return server.take(s); };
  }
  void start() {
    p.a.start();
    p.b.start();
  }
  [[nodiscard]] std::string transcript() const { return p.a.transcript() + p.b.transcript(); }
  [[nodiscard]] bool up(Duration limit = 10s) {
    return world.run_until([&] { return both_up(p); }, limit);
  }
  void nothing_left() {
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    world.run(200s);
    for (const Host* h : {&p.a, &p.b}) {
      CHECK(h->engine->ike_sas().empty());
      CHECK(h->inbound.empty());
      CHECK(h->outbound.empty());
      CHECK(h->spis.empty());
    }
  }
};

ike::Failure failure(const Host& h) {
  const auto all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

}  // namespace

TEST_CASE("IKEv2 EAP-TLS: a user comes in by his certificate, whose name he has from then on", "[ikev2][eap][tls][rfc5216]") {
  Sides s;
  SECTION("ECDSA") {}
  SECTION("RSA") {
    s.user.own = {user_certificate("alice@example.org", Kind::Rsa4096)};
    s.server.own = {server_certificate(Kind::Rsa4096)};
  }
  SECTION("a chain that takes many fragments") {
    const pki::Issued sub = pki::authority("CN=Sub", pki::key(Kind::Rsa4096, 6), &root());
    s.server.own = {pki::gateway("CN=b", pki::key(Kind::Rsa4096, 1), sub, "DNS:b.example"), sub};
    const pki::Issued subs = pki::authority("CN=Sub " + std::string(50, 'u'), pki::key(Kind::Rsa4096, 7), &root());
    s.user.own = {pki::gateway("CN=alice", pki::key(Kind::Rsa4096, 2), subs, "email:alice@example.org"), subs};
  }
  s.start();
  const bool up = s.up();
  INFO(s.transcript());
  REQUIRE(up);
  CHECK(s.p.b.engine->ike_sas().at(0).xauth_user == "alice@example.org");
  CHECK(s.p.b.engine->ike_sas().at(0).remote_id == "alice@example.org");
  CHECK(s.p.b.checks == 0);
  CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);
  s.nothing_left();
}

TEST_CASE("IKEv2 EAP-TLS: those who are refused, and servers that are, each with its reason on both sides",
          "[ikev2][eap][tls][attack-E5]") {
  struct Row {
    const char* what;
    std::function<void(Sides&)> wrong;
    Reason gateway, user;
    const char *says, *user_says;
  };
  const std::vector<Row> rows{
      {"a certificate of somebody else's authority",
       [](Sides& s) { s.user.own = {pki::gateway("CN=alice", pki::key(Kind::P256, 2), other_root(), "email:alice@example.org")}; },
       Reason::CertUntrusted, Reason::EapTls, "is refused: the certificate CN=alice", "alert \"unknown CA\""},
      {"one that is expired",
       [](Sides& s) {
         s.user.own = {pki::issue({.subject = "CN=alice",
                                   .key = pki::key(Kind::P256, 2),
                                   .extensions = {{"subjectAltName", "email:alice@example.org"}},
                                   .from = pki::kNow - 48h,
                                   .to = pki::kNow - 1h},
                                  &root())};
       },
       Reason::CertInvalid, Reason::EapTls, "is expired since", "alert \"certificate expired\""},
      {"one with another name", [](Sides& s) { s.user.own = {user_certificate("bob@example.org")}; }, Reason::WrongIdentity, Reason::EapTls,
       "calls itself alice@example.org, but its certificate says C=CH, CN=alice, email bob@example.org", "alert \"certificate unknown\""},
      {"one that is revoked", [](Sides& s) { s.server.revoked = true; }, Reason::CertRevoked, Reason::EapRefused, "it is revoked",
       "it takes no certificate of ours"},
      {"a name that the connection is not for", [](Sides& s) { s.p.b.config.connections[0].remote_auth.eap_id = "*@example.com"; },
       Reason::EapUnknownUser, Reason::EapRefused, "is of no connection", "it takes no certificate of ours"},
      {"a server of somebody else's authority",
       [](Sides& s) { s.server.own = {pki::gateway("CN=b", pki::key(Kind::P256, 1), other_root(), "DNS:b.example")}; }, Reason::EapTls,
       Reason::CertUntrusted, "refuses us: it ends TLS with the alert \"unknown CA\"", "the certificate CN=b"},
      {"a server with another name",
       [](Sides& s) { s.p.a.config.connections[0].local_auth.aaa_id = {config::Identity::Type::Fqdn, "aaa.example"}; }, Reason::EapTls,
       Reason::WrongIdentity, "alert \"certificate unknown\"",
       "calls itself aaa.example, but its certificate says C=CH, CN=b, DNS b.example"},
      {"a server that is revoked", [](Sides& s) { s.user.revoked = true; }, Reason::AuthFailed, Reason::CertRevoked, "The peer ends it",
       "it is revoked"},
      {"another method", [](Sides& s) { s.p.b.config.connections[0].remote_auth.auth = Proof::EapMschapv2; }, Reason::EapMethod,
       Reason::EapMethod, "it does not do EAP-MSCHAPv2, which we ask for, and wants EAP-TLS",
       "it asks for EAP-MSCHAPv2, and we do EAP-TLS"},
      {"no key of the gateway for it", [](Sides& s) { s.p.b.tls = {}; }, Reason::NoSecret, Reason::EapRefused, "there is no private key",
       "it takes no certificate of ours"},
      {"no key of the user", [](Sides& s) { s.p.a.tls = {}; }, Reason::AuthFailed, Reason::NoSecret, "The peer ends it",
       "there is no private key"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Sides s;
    row.wrong(s);
    s.start();
    s.world.run(4s);
    INFO(s.transcript());
    CHECK(s.p.b.counted(Exchange::IkeAuth, row.gateway) == 1);
    CHECK(s.p.a.counted(Exchange::IkeAuth, row.user) == 1);
    CHECK(failure(s.p.b).message.find(row.says) != std::string::npos);
    CHECK(failure(s.p.a).message.find(row.user_says) != std::string::npos);
    CHECK_FALSE(s.p.a.up());
    CHECK_FALSE(s.p.b.up());
    CHECK(s.p.b.inbound.empty());
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 EAP-TLS: any one message lost, or all of them twice", "[ikev2][eap][tls][rfc7296-2.1]") {
  const bool wrong = GENERATE(false, true);
  for (std::size_t lost = 0; lost < 22; ++lost) {
    INFO("message " << lost << (wrong ? ", a certificate that is not trusted" : ""));
    Sides s(lost + 1);
    if (lost == 21) s.world.link.duplicate = 1;
    if (wrong) s.user.own = {pki::gateway("CN=alice", pki::key(Kind::P256, 2), other_root(), "email:alice@example.org")};
    std::size_t count = 0;
    s.world.hook = [&](ike::Datagram&) { return count++ != lost; };
    s.start();
    if (wrong)
      s.world.run_until([&] { return s.p.a.counted(Exchange::IkeAuth, Reason::EapTls) == 1; }, 20s);
    else
      (void)s.up(20s);
    INFO(s.transcript());
    CHECK(both_up(s.p) == !wrong);
    CHECK(s.p.b.counted(Exchange::IkeAuth, Reason::CertUntrusted) == (wrong ? 1 : 0));
    CHECK(s.p.a.counted(Exchange::IkeAuth, Reason::EapTls) == (wrong ? 1 : 0));
    s.nothing_left();
  }
}

TEST_CASE("IKEv2 EAP-TLS: over a line that loses three of ten, delays and reorders", "[ikev2][eap][tls]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Sides s(seed);
    s.world.link = {.loss = 0.3, .duplicate = 0.1, .delay_min = 5ms, .delay_max = 300ms};
    s.start();
    const bool up = s.up(200s);
    INFO(s.transcript());
    CHECK(up);
  }
}

TEST_CASE("IKEv2 EAP-TLS: steps that take their time are made once, and end with the SA", "[ikev2][eap][tls]") {
  SECTION("slow on both sides") {
    Sides s;
    s.p.a.dh_time = s.p.b.dh_time = 1500ms;
    s.start();
    CHECK(s.up(60s));
    CHECK(s.server.steps == 2);
    CHECK(s.user.steps <= 4);
  }
  SECTION("ended at any moment, by either side") {
    for (int ms = 0; ms < 140; ms += 5) {
      INFO(ms << " ms");
      Sides s;
      s.start();
      s.world.run(std::chrono::milliseconds(ms));
      Host& ends = ms % 2 == 0 ? s.p.a : s.p.b;
      ends.step([&](ike::Engine& e) { e.terminate(s.world.now, "c", ""); });
      s.nothing_left();
    }
  }
  SECTION("the gateway falls silent when it is told that it is refused") {
    Sides s;
    s.server.own = {pki::gateway("CN=b", pki::key(Kind::P256, 1), other_root(), "DNS:b.example")};
    s.start();
    s.world.run_until([&] { return s.user.steps == 2; }, 5s);
    s.world.hook = [](ike::Datagram& d) { return d.local.address != IpAddress::parse("10.9.0.2").value(); };
    s.world.run(200s);
    INFO(s.transcript());
    CHECK(s.p.a.counted(Exchange::IkeAuth, Reason::CertUntrusted) >= 1);
    CHECK(failure(s.p.a).count >= 1);
  }
}

namespace {

/// A peer that has the keys of an IKE SA, and says what it likes to a gateway that asks for EAP-TLS.
struct Rogue {
  Sides s;
  InsiderV2 peer;
  std::optional<ikev2::Message> said;
  std::uint8_t id = 0;

  Rogue()
      : s(1, [](config::Connection& u, config::Connection&) { u.children[0].start_action = config::StartAction::None; }),
        peer(s.world, s.p.b, IpAddress::parse("10.9.0.7").value()) {
    s.p.b.config.connections[0].remote_addrs.clear();
    s.p.b.engine = std::make_unique<ike::Engine>(s.p.b.config, s.p.b);
    s.p.b.start();
    said = peer.connect_as_user(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value());
    note();
    answer(eap::Type::Identity, to_bytes("alice@example.org"));
    REQUIRE(eap_type() == eap::Type::Tls);
  }
  void note() {
    REQUIRE(said);
    REQUIRE(said->find<ikev2::Eap>());
    id = eap::parse(said->find<ikev2::Eap>()->data)->id;
  }
  [[nodiscard]] eap::Type eap_type() const { return eap::parse(said->find<ikev2::Eap>()->data)->type; }
  void answer(eap::Type type, Bytes data) {
    said = peer.ask(ike::kExchangeAuth, ikev2::Builder().add(ikev2::Eap{eap::encode({eap::Code::Response, id, type, std::move(data)})}));
    if (said && said->find<ikev2::Eap>()) note();
  }
  void tls(Bytes data) { answer(eap::Type::Tls, std::move(data)); }
  void refused(Reason reason) {
    INFO(s.p.b.transcript());
    REQUIRE(said);
    if (!said->error() && said->find<ikev2::Eap>()) tls({0});  // behind an alert
    REQUIRE(said);
    REQUIRE(said->error());
    CHECK(said->error()->type == ikev2::NotifyType::AuthenticationFailed);
    CHECK(s.p.b.counted(Exchange::IkeAuth, reason) == 1);
    CHECK_FALSE(s.p.b.up());
    CHECK(s.p.b.inbound.empty());
    const unsigned steps = s.server.steps;
    tls({0, 1, 2});  // and that was it
    CHECK_FALSE(said);
    CHECK(s.server.steps == steps);
    s.world.run(100s);
    CHECK(s.p.b.engine->ike_sas().empty());
  }
};

}  // namespace

TEST_CASE("IKEv2 EAP-TLS insider: what is none of TLS, or no fragment of it", "[ikev2][eap][tls][attack-E5]") {
  Rogue in;
  SECTION("junk") {
    in.tls(Bytes(40, 7));
    in.refused(Reason::EapTls);
  }
  SECTION("nothing") {
    in.tls({0});
    in.refused(Reason::BadPayloads);
  }
  SECTION("no flags") {
    in.tls({});
    in.refused(Reason::BadPayloads);
  }
  SECTION("a length that nobody takes in") {
    in.tls({0xc0, 0x7f, 0xff, 0xff, 0xff, 1});
    in.refused(Reason::BadPayloads);
  }
  SECTION("AUTH before the end") {
    in.said = in.peer.ask(ike::kExchangeAuth, ikev2::Builder().add(in.peer.proof({})));
    in.refused(Reason::BadPayloads);
  }
  SECTION("Success, as if it were ours to say") {
    in.said =
        in.peer.ask(ike::kExchangeAuth, ikev2::Builder().add(ikev2::Eap{eap::encode({eap::Code::Success, in.id, eap::Type::None, {}})}));
    in.refused(Reason::BadPayloads);
  }
  SECTION("fragments of one byte come to an end") {
    in.tls({0xc0, 0, 0, 0x40, 0, 0x16});
    for (unsigned i = 0; i < eap::kMaxTlsRounds + 10 && in.said && in.said->find<ikev2::Eap>() && !in.said->error(); ++i) in.tls({0x40, 1});
    in.refused(Reason::Limit);
    CHECK(in.s.server.steps == 0);
  }
  SECTION("a step that says nothing and asks for nothing") {
    in.s.server.instead = ike::TlsStepped{};
    in.tls({0, 1});
    in.refused(Reason::BadPayloads);
  }
  SECTION("too much is computed already") {
    in.s.server.instead = ike::TlsStepped{.failed = true, .reason = Reason::Limit, .message = "too many computations wait already"};
    in.tls({0, 1});
    in.refused(Reason::Limit);
  }
}

TEST_CASE("IKEv2 EAP-TLS insider: a proof behind EAP by another key", "[ikev2][eap][tls][rfc7296-2.16]") {
  Rogue in;
  in.s.server.instead = ike::TlsStepped{.output = Bytes(30, 1), .done = true, .msk = SecretBytes(Bytes(64, 5))};
  in.tls({0, 1});
  in.tls({0});
  REQUIRE(in.said->find<ikev2::Eap>());
  CHECK(eap::parse(in.said->find<ikev2::Eap>()->data)->code == eap::Code::Success);
  SECTION("another one") {
    in.said = in.peer.ask(ike::kExchangeAuth, ikev2::Builder().add(in.peer.proof(SecretBytes(Bytes(64, 6)))));
    in.refused(Reason::AuthFailed);
  }
  SECTION("none") {
    in.said = in.peer.ask(ike::kExchangeAuth, ikev2::Builder().add(in.peer.proof({})));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the right one") {
    in.said = in.peer.ask(ike::kExchangeAuth, ikev2::Builder().add(in.peer.proof(SecretBytes(Bytes(64, 5)))));
    REQUIRE((in.said && in.said->find<ikev2::Auth>()));
    CHECK(in.s.p.b.up());
  }
}

TEST_CASE("EAP-TLS by the key that has signed in the round before proves nothing more", "[ikev2][eap][tls][rounds][rfc4739]") {
  Sides s(1, [](auto& u, auto& g) {
    u.more_local = {{u.local_id, std::exchange(u.local_auth, {Proof::Pubkey})}};
    g.more_remote = {{g.remote_id, std::exchange(g.remote_auth, {Proof::Pubkey})}};
    for (auto* c : {&u, &g}) config::arrange_rounds(*c);
  });
  s.p.a.keys["c"] = ike::AuthMethod::EcdsaP256;
  s.server.signed_before = GENERATE(as<std::string>(), "A of c", "");
  s.start();
  CHECK(s.up(4s) == s.server.signed_before.empty());
  CHECK((s.p.b.counted(Exchange::IkeAuth, Reason::AuthRounds) == 0) == s.server.signed_before.empty());
}
