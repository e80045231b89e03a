// Several proofs of a side (RFC 4739): peers that have keys, and come by them to what is not theirs: another round's secret instead of a
// user's, a proof that is made to be judged otherwise, one certificate for two rounds, a redirect half-way; and who they are in the end.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "control/ikev2/redirect_data.hpp"
#include "control/ikev2/signatures.hpp"
#include "tests/exchange/ikev2_rounds_sites.hpp"
#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using config::Proof;
using ike::Exchange;

namespace {

const IpAddress kElsewhere = IpAddress::parse("10.9.0.3").value();

TrafficSelector traffic(const char* text) { return TrafficSelector::parse(text).value(); }

Bytes to_elsewhere() { return encode_redirect({.gateway = {kElsewhere, {}}}); }

void check_refused(const Host& h, Reason reason, const std::string& text) {
  INFO(h.transcript());
  CHECK(h.counted(Exchange::IkeAuth, reason) >= 1);
  CHECK(latest_failure(h).message.find(text) != std::string::npos);
  CHECK_FALSE(h.up());
  CHECK(h.inbound.empty());
  CHECK(h.outbound.empty());
}

}  // namespace

TEST_CASE("IKEv2 rounds: a responder that is to be a user does not come by another round's secret", "[ikev2][rounds][attack-E5]") {
  World world;
  const bool secret = GENERATE(true, false);
  const RoundProofs gateway = secret ? RoundProofs{kPsk, kPsk} : RoundProofs{kPsk, kCert};
  const Pair p = several(world, {kPsk}, gateway, [](auto& a, auto&) {
    a.connections[0].more_remote[0].auth.auth = Proof::EapMschapv2;
    a.connections[0].more_remote[0].id = {config::Identity::Type::Any, "%any"};
  });
  start_both(p);
  world.run(4s);
  check_refused(p.a, Reason::AuthFailed, "Round 2 of 2 (remote-2): The peer is to be a user (EAP), as which only the initiator can come.");
  check_all_gone(world, p);
}

namespace {

/// B asks for a pre-shared key, then for `second`; another connection of it has a PPK, so that it says USE_PPK. The peer has shown the
/// first key.
struct Second {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit Second(Proof second) : b(*make(world, second)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.secrets["c/2"] = "second";
    b.keys["c"] = ike::AuthMethod::EcdsaP256;
    b.users = {{"alice", "alicepw"}};
    peer.in_init.notify(NotifyType::UsePpk).notify(NotifyType::SignatureHashAlgorithms, {0, 2});
    peer.in_auth.notify(NotifyType::MultipleAuthSupported).notify(NotifyType::AnotherAuthFollows);
    b.start();
    const auto said = peer.connect(traffic("10.1.0.0/24"), traffic("10.2.0.0/24"));
    REQUIRE((said && said->find<Auth>()));
    REQUIRE(peer.init_answer->notify(NotifyType::UsePpk));
    peer.calls_itself = IdI{IdType::Fqdn, to_bytes("second.example")};
  }
  static Host* make(World& w, Proof second) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.local_auth.auth = Proof::Pubkey;
    c.local_id = named("b.example");
    config::Connection other = c;
    other.name = "d";
    other.remote_id = named("nobody.example");
    other.ppk.id = "other";
    config::RemoteSide more{named("second.example"), {}};
    more.auth.place.section = "remote-2";
    more.auth.auth = second;
    c.more_remote = {more};
    config::arrange_rounds(c);
    config::arrange_rounds(other);
    config.connections.push_back(std::move(other));
    return &w.add("B", std::move(config));
  }
  /// The proof, beside which stands what those prove who lack a PPK (RFC 8784 §3).
  std::optional<Message> ask(const Auth& proof, const Auth& without) {
    Bytes id = to_bytes("other");
    id.insert(id.begin(), 2);
    Builder out;
    out.add(peer.identity()).add(proof).notify(NotifyType::PpkIdentity, id).notify(NotifyType::NoPpkAuth, without.data);
    return peer.ask(ike::kExchangeAuth, out);
  }
};

}  // namespace

TEST_CASE("IKEv2 rounds insider: a proof of a later round is judged as it is, whatever is said of a PPK", "[ikev2][rounds][rfc8784-3]") {
  SECTION("the right key where nobody looks for it") {
    Second in(Proof::Psk);
    const auto said = in.ask(in.peer.proof(SecretBytes(as_bytes("other"))), in.peer.proof(SecretBytes(as_bytes("second"))));
    REQUIRE((said && said->error()));
    check_refused(in.b, Reason::AuthFailed, "Round 2 of 2 (remote-2): The peer's proof does not fit our pre-shared key.");
  }
  SECTION("a signature that is none, and beside it one that is") {
    Second in(Proof::Pubkey);
    const Auth good = signature_auth(ike::SignatureScheme::EcdsaSha256, Bytes(64, 1));
    const auto said = in.ask(Auth{AuthMethodId::Digital, {9, 1}}, good);
    REQUIRE((said && said->error()));
    check_refused(in.b, Reason::AuthFailed, "Round 2 of 2 (remote-2): The peer's signature is not taken: ");
    CHECK(in.b.verified.empty());
  }
  SECTION("the right key") {
    Second in(Proof::Psk);
    const auto said = in.ask(in.peer.proof(SecretBytes(as_bytes("second"))), in.peer.proof(SecretBytes(as_bytes("other"))));
    INFO(in.b.transcript());
    REQUIRE((said && said->find<Sa>()));
    CHECK(in.b.up());
  }
}

TEST_CASE("IKEv2 rounds: those who share a secret are told apart by the signature behind it", "[ikev2][rounds][rfc4739]") {
  const bool same = GENERATE(false, true);
  World world;
  auto gateway = site("10.9.0.2", "", config::StartAction::None);
  config::Connection& g = gateway.connections[0];
  g.version = 2;
  g.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  g.unique = config::Unique::Replace;
  g.children = {child("net", "10.2.0.0/24", "10.0.0.0/8", "aes128gcm16", config::StartAction::None)};
  std::vector<config::GatewayConfig> clients;
  for (const int n : {1, 3}) {
    auto config = site("10.9.0." + std::to_string(n), "10.9.0.2", config::StartAction::Start);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = g.proposals;
    prove(c, g, {kPsk, kCert}, 'a');
    prove(g, c, {kPsk}, 'b');
    c.local_id = named("fleet.example");
    c.more_local[0].id = named(same ? "one.example" : "client-" + std::to_string(n) + ".example");
    c.children = {child("net", "10.1." + std::to_string(n) + ".0/24", "10.2.0.0/24", "aes128gcm16", config::StartAction::Start)};
    config::arrange_rounds(c);
    clients.push_back(std::move(config));
  }
  g.remote_id = named("fleet.example");
  g.more_remote[0].id = {config::Identity::Type::Any, "%any"};
  config::arrange_rounds(g);
  Host& b = world.add("B", std::move(gateway));
  Host& one = world.add("A", std::move(clients[0]));
  Host& two = world.add("C", std::move(clients[1]));
  for (Host* h : {&b, &one, &two}) give_keys(*h);
  b.start();
  one.start();
  REQUIRE(world.run_until([&] { return one.up() && b.established() == 1; }, 5s));
  world.run(1s);
  two.start();
  REQUIRE(world.run_until([&] { return two.up(); }, 5s));
  world.run(1s);
  INFO(b.transcript());
  CHECK(b.established() == (same ? 1 : 2));
  CHECK(b.live_pairs() == (same ? 1 : 2));
  CHECK(b.reports(Reason::Replaced).empty() == !same);
}

TEST_CASE("IKEv2 rounds insider: a gateway that sends us elsewhere half-way", "[ikev2][rounds][redirect][rfc5685-6]") {
  World world;
  const IpAddress there = IpAddress::parse("10.9.0.2").value();
  const bool twice = GENERATE(false, true);  // the gateway has another proof to show
  auto config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  config::Connection& c = config.connections[0];
  c.version = 2;
  c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  config::Connection mirror = c;
  prove(c, mirror, {kPsk, kCert}, 'a');
  prove(mirror, c, twice ? RoundProofs{kPsk, kCert} : RoundProofs{kPsk}, 'b');
  config::arrange_rounds(c);
  Host& a = world.add("A", std::move(config));
  give_keys(a);
  InsiderGateway gateway(world, there);
  gateway.in_init.notify(NotifyType::MultipleAuthSupported);
  a.start();
  const auto first = gateway.meet();
  INFO(a.transcript());
  REQUIRE((first && first->find<Auth>()));
  REQUIRE(first->notify(NotifyType::AnotherAuthFollows));
  const IdR id{IdType::Fqdn, to_bytes("b1.example")};
  Builder answer;
  answer.add(id).add(gateway.proof(id, as_bytes("secret"))).notify(NotifyType::Redirect, to_elsewhere());
  gateway.answer(answer);
  const auto second = gateway.next();
  REQUIRE(second);
  CHECK(gateway.elsewhere == 0);
  if (twice) {
    REQUIRE(second->error());  // it stops, and something is missing
    CHECK(second->error()->type == NotifyType::AuthenticationFailed);
    check_refused(a, Reason::AuthRounds, "Round 1 of 2 (local, remote): The peer stops after its proof no. 1 (no ANOTHER_AUTH_FOLLOWS)");
    return;
  }
  CHECK(gateway.exchange == ike::kExchangeAuth);
  CHECK(second->find<Auth>());  // we go on as if nothing had been said
  CHECK_FALSE(a.up());
  gateway.answer(Builder().notify(NotifyType::Redirect, to_elsewhere()));
  world.run(1s);
  CHECK(gateway.elsewhere >= 1);  // behind the last one we go
}

TEST_CASE("IKEv2 rounds: one key for two rounds proves nothing more", "[ikev2][rounds][rfc4739][attack-E5]") {
  World world;
  const bool ours = GENERATE(false, true);
  const bool between = GENERATE(false, true);
  const RoundProofs again = between ? RoundProofs{kCert, kPsk, kCert} : RoundProofs{kCert, kCert};
  const Pair p = ours ? several(world, {kPsk}, again) : several(world, again, {kPsk});
  Host &judge = ours ? p.a : p.b, &other = ours ? p.b : p.a;
  SECTION("the same one") {
    judge.one_key = true;
    start_both(p);
    world.run(4s);
    check_refused(judge, Reason::AuthRounds,
                  std::string(between ? "Round 3 of 3 (remote-3)" : "Round 2 of 2 (remote-2)") +
                      ": The peer proves itself by what it has proved itself by before: the key is that of an earlier round");
    CHECK_FALSE(other.up());
    const auto* evidence = std::get_if<ike::CertificateEvidence>(&latest_failure(judge).cause.evidence);
    REQUIRE(evidence);
    CHECK(evidence->subject == other.name);
  }
  SECTION("another one") {
    start_both(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  }
  SECTION("of two sides it is no repetition") {
    other.one_key = true;
    start_both(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  }
  check_all_gone(world, p);
}
