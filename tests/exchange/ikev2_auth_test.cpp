// IKE_AUTH with certificates: who proves itself by what, who is refused and why, and what goes over the wire for it.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/message.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::AuthMethod;
using ike::Exchange;
using ike::SignatureScheme;

namespace {

void start(const Pair& p) {
  p.a.start();
  p.b.start();
}

/// The payloads of an IKE_SA_INIT.
std::optional<ikev2::Message> init_payloads(const ike::Datagram& datagram) {
  const auto framed = ike::parse_header(datagram.data);
  if (!framed || framed->header.exchange != ike::kExchangeSaInit) return std::nullopt;
  auto m = ikev2::Message::parse(ikev2::PayloadType{framed->header.next_payload}, framed->body);
  if (!m) return std::nullopt;
  return std::move(*m);
}

/// Takes the announcement of hashes out of every IKE_SA_INIT.
bool without_hashes(ike::Datagram& datagram) {
  const auto m = init_payloads(datagram);
  if (!m) return true;
  ikev2::Builder b;
  for (const ikev2::Payload& p : m->payloads()) {
    const auto* n = std::get_if<ikev2::Notify>(&p.content);
    if (!n || n->type != ikev2::NotifyType::SignatureHashAlgorithms) b.add_raw(p.type, p.body);
  }
  auto header = ike::parse_header(datagram.data)->header;
  header.next_payload = static_cast<std::uint8_t>(b.first());
  datagram.data = ike::encode_message(header, b.chain());
  return true;
}

const ike::Failure& failure(const Host& h) {
  static std::vector<ike::Failure> all;
  all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

struct Row {
  AuthMethod key;
  SignatureScheme digital;
  std::optional<SignatureScheme> plain;  ///< for a peer that does not know RFC 7427; none: there is no way
};
const std::vector<Row> kRows{{AuthMethod::RsaSignature, SignatureScheme::RsaSha256, SignatureScheme::RsaSha1},
                             {AuthMethod::EcdsaP256, SignatureScheme::EcdsaSha256, SignatureScheme::EcdsaP256},
                             {AuthMethod::EcdsaP384, SignatureScheme::EcdsaSha384, SignatureScheme::EcdsaP384},
                             {AuthMethod::EcdsaP521, SignatureScheme::EcdsaSha512, SignatureScheme::EcdsaP521},
                             {AuthMethod::Ed25519, SignatureScheme::Ed25519, {}},
                             {AuthMethod::Ed448, SignatureScheme::Ed448, {}}};

}  // namespace

TEST_CASE("IKEv2: certificates of every kind of key prove both sides", "[ikev2][rfc7427]") {
  for (const Row& row : kRows) {
    INFO(ike::name(row.key));
    World world;
    world.record = true;
    const Pair p = two_signing_v2(world, row.key);
    p.b.chain_size = 900;
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(world.wire.size() == 4);
    for (const Host* h : {&p.a, &p.b}) {
      REQUIRE(h->verified.size() == 1);
      const ike::VerifyPeer& job = h->verified[0];
      const bool of_b = h == &p.a;
      CHECK(job.scheme == row.digital);
      CHECK(job.id_type == 2);
      CHECK(job.id_data == to_bytes(of_b ? "b.example" : "a.example"));
      REQUIRE(job.certificates.size() == (of_b ? 2 : 1));
      CHECK(job.certificates[0] == ike::CertificatePayload{4, to_bytes(of_b ? "B" : "A")});
      CHECK(h->counted(Exchange::IkeAuth, Reason::Ok) == 2);
    }
    CHECK(p.a.verified[0].octets != p.b.verified[0].octets);
  }
}

TEST_CASE("IKEv2: IKE_SA_INIT says which hashes and which authorities are wanted", "[ikev2][rfc7427-4][rfc7296-3.7]") {
  World world;
  world.record = true;
  Pair p = two_signing_v2(world);
  const Bytes hashes{0, 2, 0, 3, 0, 4, 0, 5};
  SECTION("of a peer that signs") {
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    for (const std::size_t i : {0U, 1U}) {
      const auto m = init_payloads(world.wire.at(i));
      REQUIRE(m);
      REQUIRE(m->notify(ikev2::NotifyType::SignatureHashAlgorithms));
      CHECK(m->notify(ikev2::NotifyType::SignatureHashAlgorithms)->data == hashes);
      CHECK(m->count(ikev2::PayloadType::CertReq) == i);
      if (i == 1) CHECK(*m->find<ikev2::CertReq>() == ikev2::CertReq{4, Bytes(20, 'k')});
    }
  }
  SECTION("not of one that has a pre-shared key") {
    for (Host* h : {&p.a, &p.b}) {
      h->config.connections[0].local_auth.auth = h->config.connections[0].remote_auth.auth = config::Proof::Psk;
      h->secrets["c"] = "secret";
    }
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    for (const std::size_t i : {0U, 1U}) {
      CHECK_FALSE(init_payloads(world.wire.at(i))->notify(ikev2::NotifyType::SignatureHashAlgorithms));
      CHECK(init_payloads(world.wire.at(i))->count(ikev2::PayloadType::CertReq) == 0);
    }
  }
}

TEST_CASE("IKEv2: one side signs and the other one has a pre-shared key", "[ikev2][rfc7296-2.15]") {
  const bool a_signs = GENERATE(true, false);
  World world;
  Pair p = two_signing_v2(world, AuthMethod::RsaSignature, [&](auto& a, auto& b) {
    (a_signs ? b : a).connections[0].local_auth.auth = config::Proof::Psk;
    (a_signs ? a : b).connections[0].remote_auth.auth = config::Proof::Psk;
  });
  Host &signer = a_signs ? p.a : p.b, &other = a_signs ? p.b : p.a;
  other.keys.clear();
  signer.secrets["c"] = other.secrets["c"] = "secret";
  SECTION("as it should be") {
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    CHECK(signer.verified.empty());
    CHECK(other.verified.size() == 1);
    return;
  }
  SECTION("the pre-shared keys differ") {
    other.secrets["c"] = "other";
    start(p);
    world.run(20s);
    CHECK(signer.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
    CHECK(std::holds_alternative<ike::SecretEvidence>(failure(signer).cause.evidence));
  }
  SECTION("the certificate is not trusted") {
    other.distrusted = {signer.name};
    start(p);
    world.run(20s);
    CHECK(other.counted(Exchange::IkeAuth, Reason::CertUntrusted) >= 1);
  }
  SECTION("the side with the pre-shared key was to sign") {
    signer.config.connections[0].remote_auth.auth = config::Proof::Pubkey;
    start(p);
    world.run(20s);
    CHECK(signer.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
    CHECK(failure(signer).message.find("proves itself by a pre-shared key, and the connection asks for a certificate") !=
          std::string::npos);
  }
  SECTION("the side that signs was to have a pre-shared key") {
    other.config.connections[0].remote_auth.auth = config::Proof::Psk;
    start(p);
    world.run(20s);
    CHECK(other.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
    CHECK(failure(other).message.find("proves itself by a signature, and the connection asks for a pre-shared key") != std::string::npos);
  }
  check_nothing_left(p);
}

TEST_CASE("IKEv2: who is not to be trusted is refused by either role, and told",
          "[ikev2][rfc7296-2.21.2][attack-E1][attack-E3][attack-E5]") {
  const bool by_responder = GENERATE(true, false);
  World world;
  Pair p = two_signing_v2(world);
  Host &judge = by_responder ? p.b : p.a, &judged = by_responder ? p.a : p.b;
  Reason expected = Reason::CertUntrusted;
  SECTION("certificate") { judge.distrusted = {judged.name}; }
  SECTION("stolen certificate") {
    judged.certificate = "C";
    expected = Reason::AuthFailed;
  }
  SECTION("forged signature") {
    judged.signature = Bytes(64, 7);
    expected = Reason::AuthFailed;
  }
  SECTION("no signature at all") {
    judged.signature = Bytes{};
    expected = Reason::AuthFailed;
  }
  SECTION("identity") {
    judge.config.connections[0].remote_id = {config::Identity::Type::Fqdn, "*.other.example"};  // a pattern: it asks for nobody
    expected = Reason::WrongIdentity;
  }
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(judge.counted(Exchange::IkeAuth, expected) >= 1);
  CHECK(judged.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  const ike::Failure seen = failure(judge);
  CHECK(seen.by == ike::RefusedBy::Us);
  if (expected == Reason::WrongIdentity)
    CHECK(std::holds_alternative<ike::IdentityEvidence>(seen.cause.evidence));
  else
    CHECK(std::get<ike::CertificateEvidence>(seen.cause.evidence).check == "refused by the test");
  CHECK(failure(judged).by == ike::RefusedBy::Peer);
  check_nothing_left(p);
}

TEST_CASE("IKEv2: a refusal that is lost is told again", "[ikev2][rfc7296-2.1]") {
  World world;
  Pair p = two_signing_v2(world);
  p.b.distrusted = {"A"};
  bool lost = false;
  world.hook = [&](ike::Datagram& d) {
    const auto h = ike::parse_header(d.data);
    const bool answer = h && h->header.exchange == ike::kExchangeAuth && (h->header.flags & ike::kFlagResponse) != 0;
    return !answer || std::exchange(lost, true);
  };
  start(p);
  world.run(8s);
  CHECK(lost);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  CHECK(p.b.verified.size() == p.b.counted(Exchange::IkeAuth, Reason::CertUntrusted));
}

TEST_CASE("IKEv2: without announced hashes signatures are those of RFC 7296, and taking the announcement away is no way to get them",
          "[ikev2][rfc7296-3.8][rfc4754][rfc7427]") {
  for (const Row& row : kRows) {
    INFO(ike::name(row.key));
    World world;
    Pair p = two_signing_v2(world, row.key);
    world.hook = without_hashes;
    start(p);
    world.run(1s);
    if (!row.plain) {  // EdDSA is of RFC 7427 alone
      CHECK(p.b.verified.empty());
      CHECK(failure(p.a).message.find("The peer takes none of the hashes that our key signs with") != std::string::npos);
      check_nothing_left(p);
      continue;
    }
    REQUIRE_FALSE(p.b.verified.empty());
    CHECK(p.b.verified[0].scheme == *row.plain);                     // each believes of the other that it does not know better ...
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);  // ... but what was said is signed
    check_nothing_left(p);
  }
}

TEST_CASE("IKEv2: an IKE_AUTH that comes again while its signature is checked is not looked at again", "[ikev2][rfc7296-2.1]") {
  World world;
  Pair p = two_signing_v2(world, AuthMethod::EcdsaP256, [](auto& a, auto&) { a.ike.retransmit_timeout = 500ms; });
  p.b.dh_time = 3s;
  start(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 40s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.b.verified.size() == 1);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);
  world.run(10s);
  CHECK(p.a.live_pairs() == 1);
  CHECK(p.b.live_pairs() == 1);
}

TEST_CASE("IKEv2: a verdict or a signature that comes too late changes nothing", "[ikev2]") {
  World world;
  Pair p = two_signing_v2(world);
  p.b.dh_time = 40s;  // each step of it: longer than ike.half_open_timeout
  start(p);
  world.run(200s);
  CHECK(p.b.established() == 0);
  CHECK_FALSE(p.a.up());
  p.a.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
  world.run(200s);
  for (const Host* h : {&p.a, &p.b}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->spis.empty());
  }
}

TEST_CASE("IKEv2: ended while a key is at work, nothing is left", "[ikev2]") {
  for (int ms = 0; ms < 60; ms += 2) {
    INFO(ms << " ms");
    World world;
    Pair p = two_signing_v2(world);
    for (Host* h : {&p.a, &p.b}) h->dh_time = 7ms;
    start(p);
    world.run(std::chrono::milliseconds(ms));
    Host& who = ms % 4 == 0 ? p.a : p.b;
    who.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    if (&who == &p.b) p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    world.run(300s);
    for (const Host* h : {&p.a, &p.b}) {
      INFO(h->transcript());
      CHECK(h->engine->ike_sas().empty());
      CHECK(h->inbound.empty());
      CHECK(h->outbound.empty());
      CHECK(h->spis.empty());
    }
  }
}

TEST_CASE("IKEv2: a key that does not sign", "[ikev2]") {
  World world;
  Pair p = two_signing_v2(world);
  Host* who = nullptr;
  SECTION("the initiator's") { (who = &p.a)->cannot_sign = true; }
  SECTION("the responder's") { (who = &p.b)->cannot_sign = true; }
  SECTION("the initiator has none") { (who = &p.a)->keys.clear(); }
  SECTION("the responder has none") { (who = &p.b)->keys.clear(); }
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(who->counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  if (who == &p.b) CHECK(p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  check_nothing_left(p);
}

TEST_CASE("IKEv2: of several connections for one identity the certificate's authority tells which is meant", "[ikev2]") {
  World world;
  std::set<std::string> distrusted;
  std::string expected;
  SECTION("the first") { expected = "c"; }
  SECTION("the second") {
    distrusted = {"c: A"};
    expected = "d";
  }
  SECTION("none") { distrusted = {"A"}; }
  Pair p = two_signing_v2(world, AuthMethod::EcdsaP256, [](auto&, auto& b) {
    auto psk = b.connections[0];
    psk.name = "p";
    psk.local_auth.auth = psk.remote_auth.auth = config::Proof::Psk;
    auto d = b.connections[0];
    d.name = "d";
    b.connections.push_back(d);
    b.connections.insert(b.connections.begin(), psk);
  });
  p.b.secrets["p"] = "secret";
  p.b.distrusted = distrusted;
  start(p);
  world.run(3s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.up() == !expected.empty());
  for (const char* name : {"c", "d", "p"}) CHECK(p.b.up(name) == (name == expected));
  if (expected.empty()) {
    CHECK(p.b.verified.size() == 2 * p.b.counted(Exchange::IkeAuth, Reason::CertUntrusted));
    CHECK(failure(p.b).reason == Reason::CertUntrusted);
  }
}

TEST_CASE("IKEv2 with certificates over a bad line, by seed", "[ikev2]") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    World world(seed);
    world.link = {0.3, 0.1, 1ms, 60ms};
    const Pair p = two_signing_v2(world, AuthMethod::RsaSignature);
    start(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 300s));
    world.link = {};
    world.run(200s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(p.a.established() == 1);
    CHECK(p.b.established() == 1);
    CHECK(p.a.live_pairs() == 1);
    CHECK(p.b.live_pairs() == 1);
  }
}
