// Signatures in Main Mode (RFC 2409 §5.1, RFC 4754): what proves a peer, and what each thing that does not comes to.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using Catch::Contains;
using ike::AuthMethod;
using ike::Exchange;

namespace {

void once(config::GatewayConfig& a, config::GatewayConfig&) { a.connections[0].children[0].start_action = config::StartAction::None; }

/// A begins once; as long as that may take.
void attempt(World& world, Host& a, Host& b) {
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(3s);
}

void require_over(World& world, Host& a, Host& b) {
  CHECK(a.established() + b.established() == 0);
  world.run(100s);
  for (const Host* h : {&a, &b}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->spis.empty());
    CHECK(h->counted(Exchange::MainMode, Reason::Timeout) == 0);  // it was said once, and what it was
  }
}

std::string failure_of(const Host& h) {
  const auto status = h.engine->connections().at(0);
  return status.failure ? std::string(ike::name(status.failure->reason)) + ": " + status.failure->message : "none";
}

}  // namespace

TEST_CASE("each kind of signature, message by message", "[main_mode][signatures][rfc2409-5.1][rfc4754]") {
  const auto method = GENERATE(AuthMethod::RsaSignature, AuthMethod::EcdsaP256, AuthMethod::EcdsaP384, AuthMethod::EcdsaP521);
  World world;
  world.record = true;
  auto [a, b] = two_signing_sites(world, method);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  INFO(a.transcript() << b.transcript());
  std::vector<std::string> ladder;
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    std::string line = d.local.address.to_string().substr(7);
    if (seen->header.encrypted()) line += "*";
    if (seen->clear)
      for (const auto& p : seen->clear->payloads())
        if (p.type != ikev1::PayloadType::Vendor) line += " " + ikev1::name(p.type);
    if (seen->header.exchange == ike::kExchangeMainMode) ladder.push_back(line);
  }
  CHECK(ladder == std::vector<std::string>{"1 SA", "2 SA", "1 KE NONCE NAT-D NAT-D", "2 KE NONCE NAT-D NAT-D CR", "1*", "2*"});
  for (const Host* h : {&a, &b}) {
    CHECK(h->counted(Exchange::MainMode, Reason::Ok) == 1);
    REQUIRE(h->verified.size() == 1);
    CHECK(h->verified[0].method == method);
    CHECK(h->verified[0].octets.size() ==  // the suite's hash is SHA2-256
          (method == AuthMethod::EcdsaP384   ? 48U
           : method == AuthMethod::EcdsaP521 ? 64U
                                             : 32U));
    CHECK(printable(h->verified[0].id_data) == (h == &a ? "b.example" : "a.example"));
    CHECK(h->verified[0].certificates.size() == 1);
  }
  CHECK_FALSE(a.verified[0].octets == b.verified[0].octets);
  CHECK(a.engine->ike_sas().at(0).remote_id == "b.example");
}

TEST_CASE("a wrong signature under a good certificate", "[main_mode][signatures][B5][E1][E3][E5]") {
  const bool initiator = GENERATE(true, false);
  const std::size_t size = GENERATE(1U, 32U, 64U, 2048U);
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, once);
  (initiator ? a : b).signature = Bytes(size, 0);
  attempt(world, a, b);
  INFO(a.transcript() << b.transcript());
  const Host& judge = initiator ? b : a;
  CHECK(judge.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  if (initiator) CHECK_THAT(failure_of(a), Contains("auth_failed") && Contains("AUTHENTICATION-FAILED"));
  require_over(world, a, b);
}

TEST_CASE("an empty or an oversized signature is no message 5", "[main_mode][signatures][E1][E3]") {
  const std::size_t size = GENERATE(0U, 2049U, 60000U);
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::EcdsaP256, once);
  a.signature = Bytes(size, 1);
  attempt(world, a, b);
  CHECK(b.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  CHECK(b.verified.empty());
  require_over(world, a, b);
}

TEST_CASE("somebody else's certificate, and one that nobody trusts", "[main_mode][signatures][E5]") {
  const bool initiator = GENERATE(true, false);
  const bool stolen = GENERATE(true, false);
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::EcdsaP384, once);
  Host &actor = initiator ? a : b, &judge = initiator ? b : a;
  if (stolen)
    actor.certificate = "Z";
  else
    judge.distrusted = {"A", "B"};
  attempt(world, a, b);
  INFO(a.transcript() << b.transcript());
  CHECK(judge.counted(Exchange::MainMode, stolen ? Reason::AuthFailed : Reason::CertUntrusted) == 1);
  CHECK_THAT(failure_of(judge), Contains("refused by the test"));
  // The one that was refused is told the same in both cases.
  const auto told = actor.reports(initiator ? Reason::AuthFailed : Reason::DeletedByPeer);
  CHECK(told.size() == 1);
  require_over(world, a, b);
}

TEST_CASE("no certificate is sent: fine where it is configured, refused where it is not", "[main_mode][signatures][B4][rfc2409-5.1]") {
  const bool known = GENERATE(true, false);
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, once);
  a.hides_certificate = true;
  if (known) b.pinned = "A";
  attempt(world, a, b);
  CHECK((a.up() && b.up()) == known);
  if (known) return;
  CHECK(b.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  require_over(world, a, b);
}

TEST_CASE("an identity that nobody expects is not told apart from a bad signature", "[main_mode][signatures][E13][rfc2407-4.6.2]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, [](auto& ca, auto& cb) {
    once(ca, cb);
    ca.connections[0].local_id.text = "x.example";
  });
  std::vector<std::size_t> refusals;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (seen && seen->header.exchange == ike::kExchangeInformational && d.local.address.to_string() == "10.9.0.2")
      refusals.push_back(d.data.size());
    return true;
  };
  attempt(world, a, b);
  CHECK(b.counted(Exchange::MainMode, Reason::WrongIdentity) == 1);
  CHECK(b.verified.empty());
  CHECK_THAT(failure_of(b), Contains("x.example") && Contains("a.example"));
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  require_over(world, a, b);
  World other;
  auto [c, d] = two_signing_sites(other, AuthMethod::RsaSignature, once);
  c.signature = Bytes(32, 0);
  other.hook = world.hook;
  attempt(other, c, d);
  REQUIRE(refusals.size() == 2);
  CHECK(refusals[0] == refusals[1]);
}

TEST_CASE("the responder's identity is looked at before its signature", "[main_mode][signatures][E11]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, [](auto& ca, auto& cb) {
    once(ca, cb);
    cb.connections[0].local_id.text = "y.example";
  });
  attempt(world, a, b);
  CHECK(a.counted(Exchange::MainMode, Reason::WrongIdentity) == 1);
  CHECK(a.verified.empty());
  CHECK_THAT(failure_of(a), Contains("y.example") && Contains("b.example"));
  require_over(world, a, b);
}

TEST_CASE("no private key, a key that does not sign, keys of two kinds", "[main_mode][signatures][E12]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, once);
  SECTION("the initiator has none") {
    a.keys.clear();
    attempt(world, a, b);
    CHECK(a.counted(Exchange::MainMode, Reason::NoSecret) == 1);
    CHECK(a.sent_datagrams == 0);
  }
  SECTION("the responder has none") {
    b.keys.clear();
    attempt(world, a, b);
    CHECK(b.counted(Exchange::MainMode, Reason::NoSecret) == 1);
    CHECK_THAT(failure_of(b), Contains("there is no private key"));
  }
  SECTION("the initiator's does not sign") {
    a.cannot_sign = true;
    attempt(world, a, b);
    CHECK(a.counted(Exchange::MainMode, Reason::NoSecret) == 1);
    world.run(40s);
    CHECK(b.counted(Exchange::MainMode, Reason::Timeout) == 1);
    return;
  }
  SECTION("the responder's does not sign") {
    b.cannot_sign = true;
    attempt(world, a, b);
    CHECK(b.counted(Exchange::MainMode, Reason::NoSecret) == 1);
  }
  SECTION("RSA there, ECDSA here") {
    b.keys["c"] = AuthMethod::EcdsaP256;
    attempt(world, a, b);
    CHECK(b.counted(Exchange::MainMode, Reason::NoProposalChosen) == 1);
    CHECK_THAT(failure_of(b), Contains("RSA signatures") && Contains("ECDSA with P-256"));
  }
  require_over(world, a, b);
}

TEST_CASE("the identity chooses the connection, and that one's authorities judge", "[main_mode][signatures]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::EcdsaP256, [](auto&, auto& cb) {
    auto other = cb.connections[0];
    cb.connections[0].remote_id.text = "else.example";
    other.name = "d";
    cb.connections.push_back(other);
  });
  SECTION("with the same method") {
    a.start();
    b.start();
    REQUIRE(world.run_until([&] { return a.up() && b.up("d"); }, 5s));
    CHECK(b.verified.at(0).connection == "d");
    CHECK_FALSE(b.up("c"));
  }
  SECTION("not with another one") {
    b.keys["d"] = AuthMethod::EcdsaP384;
    a.start();
    b.start();
    world.run(3s);
    CHECK(b.counted(Exchange::MainMode, Reason::WrongIdentity) >= 1);
    CHECK(b.established() == 0);
  }
}

TEST_CASE("our own messages, reflected, while signatures prove us", "[main_mode][signatures][B5]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature);
  world.hook = [&](ike::Datagram& d) {
    world.at(world.now + 1ms, [&world, d] { world.deliver({d.local, d.remote, d.data}); });
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 60s));
  world.run(2s);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("a stranger with keys of its own buys one verification a half-open SA", "[main_mode][signatures][D7][H6]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, once);
  a.signature = Bytes(256, 7);
  a.start();
  b.start();
  for (int i = 0; i < 40; ++i) {
    a.engine->initiate(world.now, "c", "");
    a.perform();
    world.run(100ms);
    a.engine->terminate(world.now, "c", "");
    a.perform();
  }
  CHECK(b.verified.size() == b.config.ike.half_open_per_source);
  CHECK(b.counted(Exchange::MainMode, Reason::AuthFailed) == b.config.ike.half_open_per_source);
  CHECK(b.counted(Exchange::MainMode, Reason::Limit) > 0);
  world.run(b.config.ike.half_open_timeout + 1s);
  CHECK(b.engine->ike_sas().empty());
}

TEST_CASE("a refusal that was lost is repeated for the message that was refused", "[main_mode][signatures]") {
  World world;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature, once);
  b.distrusted = {"A"};
  int lost = 0;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    return !(seen && seen->header.exchange == ike::kExchangeInformational && ++lost == 1);
  };
  attempt(world, a, b);
  CHECK(lost == 2);
  CHECK(b.verified.size() == 1);
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  require_over(world, a, b);
}

TEST_CASE("certificate requests do not make message 4 a lever", "[main_mode][signatures][H3]") {
  World world;
  world.record = true;
  auto [a, b] = two_signing_sites(world, AuthMethod::RsaSignature);
  b.authorities_size = 5000;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 5s));
  std::size_t in = 0, out = 0;
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    if (!seen->clear) break;
    (d.local.address.to_string() == "10.9.0.1" ? in : out) += d.data.size();
    if (const auto* request = seen->clear->find<ikev1::CertReq>()) CHECK(request->data.empty());
  }
  CHECK(2 * out <= 3 * in);
}
