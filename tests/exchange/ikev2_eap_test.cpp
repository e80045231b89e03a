// IKE_AUTH with EAP: users who come in and those who do not, and gateways that are none.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_eap_sites.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;

namespace {

/// Users with addresses of their own, from anywhere.
void with_pool(config::GatewayConfig& user, config::GatewayConfig& gateway) {
  serve(gateway);
  config::Connection& c = gateway.connections[0];
  c.xauth_server = {};
  c.remote_addrs.clear();
  c.children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
  c.children[0].remote_dynamic = true;
  user.connections[0].vips = {IpAddress::v4(0)};
  user.connections[0].children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
  user.connections[0].children[0].local_dynamic = true;
}

void start(const Pair& p) {
  p.a.start();
  p.b.start();
}

const ike::Failure& failure(const Host& h) {
  static std::vector<ike::Failure> all;
  all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

void check_nothing_left(World& world, const Pair& p) {
  if (p.a.config.connections[0].children[0].start_action == config::StartAction::Start)
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
  world.run(200s);
  for (const Host* h : {&p.a, &p.b}) {
    INFO(h->transcript());
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->outbound.empty());
    CHECK(h->spis.empty());
  }
}

}  // namespace

TEST_CASE("IKEv2 EAP: a user comes in behind the gateway's signature, and its name owns the address",
          "[ikev2][eap][rfc7296-2.16][rfc2759]") {
  World world;
  world.record = true;
  const Pair p = user_and_gateway(world, Proof::EapMschapv2, with_pool);
  start(p);
  const bool up = world.run_until([&] { return both_up(p); }, 5s);
  INFO(p.a.transcript() << p.b.transcript());
  REQUIRE(up);
  // IKE_SA_INIT; IDi, IDr AUTH Identity; identity, challenge; proof, proof; taken, Success; AUTH, AUTH.
  CHECK(world.wire.size() == 12);
  REQUIRE(p.a.verified.size() == 1);
  CHECK(p.b.verified.empty());
  CHECK(p.b.checks == 1);
  const auto sas = p.b.engine->ike_sas();
  REQUIRE(sas.size() == 1);
  CHECK(sas[0].xauth_user == "alice");
  CHECK(sas[0].remote_id == "alice");
  CHECK(p.b.engine->pools().at(0).leases.at(0).identity == "c/alice");
  CHECK(p.a.engine->ike_sas().at(0).virtual_address == sas[0].virtual_address);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);

  // Rekeyed, by whoever, it is hers still; and she gets it again.
  for (const Host* h : {&p.a, &p.b}) const_cast<Host*>(h)->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(30s);
  CHECK(p.b.engine->ike_sas().at(0).xauth_user == "alice");
  CHECK(p.b.engine->ike_sas().at(0).virtual_address == sas[0].virtual_address);
  CHECK(p.b.checks == 1);
  p.a.lose_plane();
  p.a.restart();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  CHECK(p.a.engine->ike_sas().at(0).virtual_address == sas[0].virtual_address);
  CHECK(leased(p.b) == 1);
  check_nothing_left(world, p);
  CHECK(leased(p.b) == 0);
}

TEST_CASE("IKEv2 EAP: a method without a key", "[ikev2][eap][rfc7296-2.16][rfc3748-5.4]") {
  World world;
  world.record = true;
  const Pair p = user_and_gateway(world, Proof::EapMd5);
  start(p);
  const bool up = world.run_until([&] { return both_up(p); }, 5s);
  INFO(p.a.transcript() << p.b.transcript());
  REQUIRE(up);
  CHECK(world.wire.size() == 10);
  CHECK(p.b.engine->ike_sas().at(0).xauth_user == "alice");
  check_nothing_left(world, p);
}

TEST_CASE("IKEv2 EAP: users who are refused, each with its reason on both sides", "[ikev2][eap][attack-E5]") {
  struct Row {
    const char* what;
    std::function<void(Pair&)> wrong;
    Reason gateway, user;
    const char *says, *user_says;
  };
  const std::vector<Row> rows{
      {"another password", [](Pair& p) { p.a.password = "other"; }, Reason::EapWrongPassword, Reason::EapRefused,
       "User \"alice\" at 10.9.0.1:500 is refused: its password is another.",
       "The gateway refuses user \"alice\": name or password are wrong."},
      {"no such user", [](Pair& p) { p.b.users.clear(); }, Reason::EapUnknownUser, Reason::EapRefused,
       "User \"alice\" at 10.9.0.1:500 is refused: there is no such user.", "name or password are wrong"},
      {"a name that the connection is not for", [](Pair& p) { p.b.config.connections[0].remote_auth.eap_id = "*@example.org"; },
       Reason::EapUnknownUser, Reason::EapRefused, "is of no connection (remote.eap_id)", "name or password are wrong"},
      {"another method", [](Pair& p) { p.b.config.connections[0].remote_auth.auth = Proof::EapMd5; }, Reason::EapMethod, Reason::EapMethod,
       "it does not do EAP-MD5, which we ask for, and wants EAP-MSCHAPv2", "it asks for EAP-MD5, and we do EAP-MSCHAPv2"},
      {"users that cannot be read", [](Pair& p) { p.b.no_users = "the users file is not there"; }, Reason::NoSecret, Reason::EapRefused,
       "cannot be checked: the users file is not there", "name or password are wrong"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    World world;
    Pair p = user_and_gateway(world);
    row.wrong(p);
    start(p);
    world.run(4s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(p.b.counted(Exchange::IkeAuth, row.gateway) == 1);
    CHECK(p.a.counted(Exchange::IkeAuth, row.user) == 1);
    const ike::Failure here = failure(p.b);
    CHECK(here.message.find(row.says) != std::string::npos);
    CHECK(here.by == ike::RefusedBy::Us);
    CHECK(std::holds_alternative<ike::UserEvidence>(here.cause.evidence));
    const ike::Failure there = failure(p.a);
    CHECK(there.message.find(row.user_says) != std::string::npos);
    CHECK(there.by == ike::RefusedBy::Peer);
    check_nothing_left(world, p);
  }
}

TEST_CASE("IKEv2 EAP: a password of ours that cannot be read", "[ikev2][eap]") {
  World world;
  const Pair p = user_and_gateway(world);
  p.a.password.clear();
  start(p);
  world.run(3s);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  CHECK(failure(p.a).message.find("/xauth/c is empty") != std::string::npos);
  CHECK(p.b.checks == 0);
  check_nothing_left(world, p);
}

TEST_CASE("IKEv2 EAP: no password, nor a proof of it, goes to a gateway that has not proved itself",
          "[ikev2][eap][rfc7296-2.16][attack-E11]") {
  World world;
  Pair p = user_and_gateway(world);
  Reason reason = Reason::CertUntrusted;
  SECTION("whose certificate is not trusted") { p.a.distrusted = {"B"}; }
  SECTION("whose signature is forged") {
    p.b.signature = Bytes(64, 7);
    reason = Reason::AuthFailed;
  }
  SECTION("which is another one") {
    p.a.config.connections[0].remote_id = {config::Identity::Type::Fqdn, "*.other.example"};
    reason = Reason::WrongIdentity;
  }
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.counted(Exchange::IkeAuth, reason) >= 1);
  CHECK(p.b.checks == 0);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);  // which is told why
  CHECK(failure(p.b).by == ike::RefusedBy::Peer);
  check_nothing_left(world, p);
}

TEST_CASE("IKEv2 EAP: a gateway that cannot sign, and one that nobody goes on with", "[ikev2][eap]") {
  World world;
  Pair p = user_and_gateway(world);
  SECTION("no signature") {
    p.b.cannot_sign = true;
    start(p);
    world.run(3s);
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
    CHECK(p.a.counted(Exchange::IkeAuth, Reason::EapRefused) >= 1);
  }
  SECTION("no key") {
    p.b.keys.clear();
    start(p);
    world.run(3s);
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  }
  SECTION("the user falls silent") {
    start(p);
    world.run_until([&] { return p.a.verified.size() == 1; }, 3s);
    world.hook = [](ike::Datagram& d) { return d.local.address != IpAddress::parse("10.9.0.1").value(); };
    world.run(100s);
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::Timeout) >= 1);
    CHECK(failure(p.b).message.find("may not trust our certificate") != std::string::npos);
    CHECK(p.b.engine->ike_sas().empty());
    world.hook = {};
  }
  check_nothing_left(world, p);
}

TEST_CASE("IKEv2 EAP: a user where none is wanted, and none where one is", "[ikev2][eap]") {
  World world;
  Pair p = user_and_gateway(world);
  SECTION("the gateway asks for a certificate") {
    p.b.config.connections[0].remote_auth.auth = Proof::Pubkey;
    start(p);
    world.run(3s);
    CHECK(failure(p.b).message == "The peer wants to prove itself as a user (EAP), and the connection asks for a certificate.");
    CHECK(p.a.counted(Exchange::IkeAuth, Reason::EapRefused) >= 1);
  }
  SECTION("the peer has a certificate") {
    p.a.config.connections[0].local_auth.auth = Proof::Pubkey;
    p.a.keys["c"] = ike::AuthMethod::EcdsaP256;
    start(p);
    world.run(3s);
    CHECK(failure(p.b).message == "The peer proves itself by a signature, and the connection asks for a user (EAP).");
  }
  SECTION("the gateway has a pre-shared key of its own") {
    p.b.config.connections[0].local_auth.auth = Proof::Psk;
    p.b.keys.clear();
    start(p);
    world.run(3s);
    CHECK(p.a.established() == 0);
  }
  CHECK_FALSE(p.b.up());
  CHECK(p.b.checks == 0);
  check_nothing_left(world, p);
}

TEST_CASE("IKEv2 EAP: users of several connections, told apart by their names", "[ikev2][eap]") {
  World world;
  Pair p = user_and_gateway(world, Proof::EapMschapv2, [](auto& a, auto& b) {
    b.connections[0].remote_auth.eap_id = "*@example.org";
    b.connections.push_back(b.connections[0]);
    b.connections[1].name = "d";
    b.connections[1].remote_auth.eap_id = "al*";
    b.connections[1].remote_auth.auth = GENERATE(Proof::EapMschapv2, Proof::EapMd5);
    a.connections[0].local_auth.auth = b.connections[1].remote_auth.auth;
  });
  start(p);
  const bool up = world.run_until([&] { return p.a.up() && p.b.up("d"); }, 5s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(up);
  CHECK_FALSE(p.b.up("c"));
}

TEST_CASE("IKEv2 EAP: any one message lost, or all of them twice", "[ikev2][eap][rfc7296-2.1]") {
  const bool wrong = GENERATE(false, true);
  for (std::size_t lost = 0; lost < 15; ++lost) {
    INFO("message " << lost << (wrong ? ", wrong password" : ""));
    World world(lost + 1);
    if (lost == 14) world.link.duplicate = 1;
    Pair p = user_and_gateway(world);
    if (wrong) p.a.password = "other";
    std::size_t count = 0;
    world.hook = [&](ike::Datagram&) { return count++ != lost; };
    start(p);
    if (wrong)
      world.run_until([&] { return p.a.counted(Exchange::IkeAuth, Reason::EapRefused) == 1; }, 20s);
    else
      world.run_until([&] { return both_up(p); }, 20s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(both_up(p) == !wrong);
    CHECK(p.b.checks == 1);
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::EapWrongPassword) == (wrong ? 1 : 0));
    CHECK(p.a.counted(Exchange::IkeAuth, Reason::EapRefused) == (wrong ? 1 : 0));
    check_nothing_left(world, p);
  }
}

TEST_CASE("IKEv2 EAP: over a line that loses three of ten, delays and reorders", "[ikev2][eap]") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    World world(seed);
    world.link = {.loss = 0.3, .duplicate = 0.1, .delay_min = 5ms, .delay_max = 300ms};
    const Pair p = user_and_gateway(world, Proof::EapMschapv2, with_pool);
    start(p);
    const bool up = world.run_until([&] { return both_up(p); }, 200s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(up);
  }
}

TEST_CASE("IKEv2 EAP: a lookup that takes its time is made once, and ends with the SA", "[ikev2][eap]") {
  World world;
  const Pair p = user_and_gateway(world);
  SECTION("slow") {
    p.b.dh_time = 1500ms;
    start(p);
    CHECK(world.run_until([&] { return both_up(p); }, 60s));
    CHECK(p.b.checks == 1);
  }
  SECTION("ended at any moment") {
    for (int ms = 0; ms < 120; ms += 3) {
      INFO(ms << " ms");
      World inner;
      const Pair q = user_and_gateway(inner, Proof::EapMschapv2, with_pool);
      start(q);
      inner.run(std::chrono::milliseconds(ms));
      q.b.step([&](ike::Engine& e) { e.terminate(inner.now, "c", ""); });
      check_nothing_left(inner, q);
    }
  }
}

TEST_CASE("IKEv2 EAP: guesses are answered late, and later, and at last not looked at; another address is served meanwhile",
          "[ikev2][eap][attack-E5][attack-F8]") {
  World world;
  Pair p = user_and_gateway(world, Proof::EapMschapv2, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.a.password = "guess";
  auto config = p.a.config;
  config.connections[0].local_addrs = {IpAddress::parse("10.9.0.3").value()};
  config.connections[0].local_auth.eap_id = "bob";
  config.connections[0].children[0].start_action = config::StartAction::None;
  Host& bob = world.add("C", config);
  bob.password = "bobpw";
  p.b.users["bob"] = "bobpw";
  start(p);
  bob.start();
  std::vector<Duration> waits;
  std::size_t known = 0;
  for (int i = 0; i < 60; ++i) {
    const TimePoint before = world.now;
    p.a.step([&](ike::Engine& e) { e.initiate(world.now, "c", ""); });
    world.run_until([&] { return p.a.counted(Exchange::IkeAuth, Reason::EapRefused) > known; }, 60s);
    known = p.a.counted(Exchange::IkeAuth, Reason::EapRefused);
    waits.push_back(world.now - before);
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
  }
  CHECK(waits.front() >= 1s);
  CHECK(std::ranges::max(waits) >= 16s);
  CHECK(p.b.checks < 50);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::EapWrongPassword) == p.b.checks);
  bob.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "").ok); });
  CHECK(world.run_until([&] { return bob.up(); }, 5s));
}

TEST_CASE("IKEv2: behind additional key exchanges a user is proved as ever", "[ikev2][eap][rfc9242-3.3.2]") {
  World world;
  const Pair p = user_and_gateway(world, Proof::EapMschapv2, [](auto& a, auto& b) {
    for (auto* g : {&a, &b})
      g->connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_ecp384").value();
  });
  start(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  CHECK(p.b.engine->ike_sas().front().xauth_user == "alice");
}
