// Aggressive Mode (RFC 2409 §5.1, §5.4): its ladders, what is refused, and messages that are lost.
#include "control/ikev1/proposal.hpp"
#include "tests/exchange/aggressive_helpers.hpp"

using namespace culvert;
using namespace culvert::test;

TEST_CASE("Aggressive Mode with a pre-shared key, message by message", "[aggressive_mode][rfc2409-5.4]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world, aggressive);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  world.run(20s);
  INFO(a.transcript() << b.transcript());
  CHECK(ladder(world) == std::vector<std::string>{"I SA KE NONCE ID", "R SA KE NONCE ID HASH NAT-D NAT-D", "I*"});
  for (const Host* h : {&a, &b}) {
    CHECK(h->counted(Exchange::AggressiveMode, Reason::Ok) == 1);
    CHECK(h->counted(Exchange::MainMode, Reason::Ok) == 0);
    CHECK(h->established() == 1);
  }
  CHECK(a.engine->ike_sas().at(0).remote_id == "b.example");
  CHECK(b.engine->ike_sas().at(0).remote_id == "a.example");
}

TEST_CASE("Aggressive Mode with each kind of signature, message by message", "[aggressive_mode][signatures][rfc2409-5.1][rfc4754]") {
  const auto method = GENERATE(AuthMethod::RsaSignature, AuthMethod::EcdsaP256, AuthMethod::EcdsaP384, AuthMethod::EcdsaP521);
  World world;
  world.record = true;
  auto [a, b] =
      two_signing_sites(world, method, [](auto& ca, auto& cb) { ca.connections[0].aggressive = cb.connections[0].aggressive = true; });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  INFO(a.transcript() << b.transcript());
  CHECK(ladder(world) == std::vector<std::string>{"I SA KE NONCE ID CR", "R SA KE NONCE ID CERT SIG NAT-D NAT-D CR", "I*"});
  for (const Host* h : {&a, &b}) {
    REQUIRE(h->verified.size() == 1);
    CHECK(h->verified[0].method == method);
    CHECK(printable(h->verified[0].id_data) == (h == &a ? "b.example" : "a.example"));
    CHECK(h->counted(Exchange::AggressiveMode, Reason::Ok) == 1);
  }
}

TEST_CASE("behind a NAT, message 3 is the first on port 4500", "[aggressive_mode][nat][rfc3947-4]") {
  World world;
  world.record = true;
  auto a_config = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
  auto b_config = site("10.9.0.2", "", config::StartAction::None);
  aggressive(a_config, b_config);
  Host& a = world.add("A", a_config);
  Host& b = world.add("B", b_config);
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 10s));
  std::vector<std::uint16_t> ports;
  for (const ike::Datagram& d : world.wire)
    if (!from_b(d)) ports.push_back(d.local.port);
  REQUIRE(ports.size() >= 3);
  CHECK(ports[0] == 500);
  CHECK(std::all_of(ports.begin() + 1, ports.end(), [](std::uint16_t p) { return p == 4500; }));
  CHECK(a.engine->ike_sas().at(0).nat_local);
  CHECK_FALSE(a.engine->ike_sas().at(0).nat_remote);
  CHECK(b.engine->ike_sas().at(0).nat_remote);
  CHECK_FALSE(b.engine->ike_sas().at(0).nat_local);
}

TEST_CASE("an unknown identity does not come in, even with the right key or a good signature", "[aggressive_mode][E5]") {
  const bool signatures = GENERATE(true, false);
  World world;
  const auto change = [](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    ca.connections[0].local_id.text = "x.example";
  };
  auto [a, b] = signatures ? two_signing_sites(world, AuthMethod::RsaSignature, change) : two_sites(world, change);
  attempt(world, a, b, 15s);
  INFO(a.transcript() << b.transcript());
  CHECK(b.counted(Exchange::AggressiveMode, Reason::WrongIdentity) == 1);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::Ok) == 0);
  CHECK(b.verified.empty());
  CHECK(a.counted(Exchange::AggressiveMode, Reason::AuthFailed) == 1);
  require_over(world, a, b);
}

TEST_CASE("wrong pre-shared keys: the initiator knows at message 2", "[aggressive_mode]") {
  World world;
  auto [a, b] = two_sites(world, aggressive_once);
  a.secrets["c"] = "another secret";
  attempt(world, a, b, 15s);
  CHECK(a.counted(Exchange::AggressiveMode, Reason::AuthFailed) == 1);
  CHECK_THAT(failure_of(a), Contains("auth_failed") && Contains("pre-shared keys probably differ"));
  world.run(30s);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::Timeout) == 1);
  CHECK_THAT(failure_of(b), Contains("pre-shared key"));
  require_over(world, a, b);
}

TEST_CASE("the responder's identity is another one", "[aggressive_mode][E11]") {
  const bool signatures = GENERATE(true, false);
  World world;
  const auto change = [](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    cb.connections[0].local_id.text = "y.example";
  };
  auto [a, b] = signatures ? two_signing_sites(world, AuthMethod::EcdsaP256, change) : two_sites(world, change);
  attempt(world, a, b, 15s);
  CHECK(a.counted(Exchange::AggressiveMode, Reason::WrongIdentity) == 1);
  CHECK_THAT(failure_of(a), Contains("y.example") && Contains("b.example"));
  CHECK(a.verified.empty());
  require_over(world, a, b);
}

TEST_CASE("signatures and certificates that are refused, by either side", "[aggressive_mode][signatures][E5]") {
  const bool initiator = GENERATE(true, false);
  const bool untrusted = GENERATE(true, false);
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, aggressive_once);
  Host &actor = initiator ? a : b, &judge = initiator ? b : a;
  if (untrusted)
    judge.distrusted = {"A", "B"};
  else
    actor.signature = Bytes(32, 9);
  attempt(world, a, b, 15s);
  INFO(a.transcript() << b.transcript());
  CHECK(judge.counted(Exchange::AggressiveMode, untrusted ? Reason::CertUntrusted : Reason::AuthFailed) == 1);
  if (initiator) {  // it had taken the SA for established
    CHECK(a.counted(Exchange::AggressiveMode, Reason::AuthFailed) == 1);
    CHECK_THAT(failure_of(a), Contains("AUTHENTICATION-FAILED"));
  }
  require_over(world, a, b);
}

TEST_CASE("each message lost some times", "[aggressive_mode]") {
  const int number = GENERATE(1, 2, 3);
  const bool signatures = GENERATE(true, false);
  World world;
  auto [a, b] = signatures ? two_signing_sites(world, AuthMethod::EcdsaP384, aggressive) : two_sites(world, aggressive);
  int lost = 0;
  world.hook = on_aggressive([&](ike::Datagram& d, const Seen& seen) {
    const int n = seen.header.encrypted() ? 3 : from_b(d) ? 2 : 1;
    return n != number || ++lost > 3;
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  CHECK(lost >= 4);
  CHECK(a.counted(Exchange::AggressiveMode, Reason::Ok) == 1);
  CHECK(b.counted(Exchange::AggressiveMode, Reason::Ok) == 1);
  world.run(100s);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("several connections in Aggressive Mode: identity, then key", "[aggressive_mode]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    aggressive(ca, cb);
    auto other = cb.connections[0];
    cb.connections[0].remote_id.text = "else.example";
    other.name = "d";
    cb.connections.push_back(other);
  });
  b.secrets["c"] = "of somebody else";
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up("d"); }, 5s));
  CHECK_FALSE(b.up("c"));
}

TEST_CASE("of several groups that are offered the one of the key exchange value is chosen", "[aggressive_mode][rfc2409-5]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    aggressive_once(ca, cb);
    cb.connections[0].proposals = parse_ike_proposal("aes128-sha256-modp2048-ecp256").value();  // in this order
  });
  world.hook = on_aggressive([&, &responder = b](ike::Datagram& d, const Seen& seen) {
    if (from_b(d) || seen.header.spi_r || !seen.clear) return true;
    ikev1::Builder changed;
    changed.add(ikev1::build_ike_offer(responder.config.connections[0].proposals, 3600));
    for (const auto& p : seen.clear->payloads())
      if (p.type != PayloadType::Sa) changed.add_raw(p.type, p.body);
    rewrite(d, seen.header, changed);
    return true;
  });
  attempt(world, a, b);
  const auto second = std::ranges::find_if(world.wire, [](const ike::Datagram& d) {
    const auto seen = look(d);
    return from_b(d) && seen && seen->clear && seen->clear->count(PayloadType::Sa) == 1;
  });
  REQUIRE(second != world.wire.end());
  CHECK_THAT(ikev1::describe(*look(*second)->clear->find<ikev1::Sa>()), Contains("ecp256"));
  CHECK(b.counted(Exchange::AggressiveMode, Reason::BadKe) == 0);
}
