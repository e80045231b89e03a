// Several proofs of a side (RFC 4739): peers that have the keys of an IKE SA, prove themselves once, and then do not keep to the order of
// it.
#include <functional>

#include <catch2/catch.hpp>

#include "common/config/rounds.hpp"
#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_rounds_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using config::Proof;
using ike::Exchange;

namespace {

TrafficSelector net(const char* text) { return TrafficSelector::parse(text).value(); }

/// B asks for a pre-shared key as its address, then, `user`, for alice by EAP, or for another key as second.example.
struct Half {
  World world;
  Host& b;
  InsiderV2 peer;
  std::optional<Message> said;

  explicit Half(bool user = false, const std::function<void(config::GatewayConfig&)>& change = {},
                const std::function<void(InsiderV2&)>& prepare = {})
      : b(*make(world, user, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.secrets["c/2"] = b.secrets["c/3"] = "second";
    b.keys["c"] = ike::AuthMethod::EcdsaP256;
    b.users = {{"alice", "alicepw"}};
    peer.in_auth.notify(NotifyType::MultipleAuthSupported).notify(NotifyType::AnotherAuthFollows);
    if (prepare) prepare(peer);
    b.start();
    said = peer.connect(net("10.1.0.0/24"), net("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE(said);
  }
  static Host* make(World& w, bool user, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config::Connection& c = config.connections[0];
    c.version = 2;
    c.proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    c.local_auth.auth = Proof::Pubkey;
    c.local_id = named("b.example");
    config::RemoteSide second{named("second.example"), {}};
    second.auth.place.section = "remote-2";
    if (user) {
      second.id = {config::Identity::Type::Any, "%any"};
      second.auth.auth = Proof::EapMschapv2;
    }
    c.more_remote = {second};
    if (change) change(config);
    config::arrange_rounds(c);
    return &w.add("B", std::move(config));
  }
  void ask(const Builder& payloads) { said = peer.ask(ike::kExchangeAuth, payloads); }
  Builder second(const std::string& key = "second", const std::string& name = "second.example") {
    peer.calls_itself = IdI{IdType::Fqdn, to_bytes(name)};
    Builder out;
    out.add(peer.identity()).add(peer.proof(SecretBytes(as_bytes(key))));
    return out;
  }
  void check_first() {
    INFO(b.transcript());
    CHECK(peer.init_answer->notify(NotifyType::MultipleAuthSupported));
    REQUIRE_FALSE(said->error());
    CHECK(said->find<Auth>());
    CHECK(said->find<IdR>());
    CHECK_FALSE(said->find<Sa>());
    CHECK_FALSE(said->notify(NotifyType::AnotherAuthFollows));
    CHECK_FALSE(b.up());
    CHECK(b.inbound.empty());
    CHECK(b.spis.empty());
    CHECK(b.counted(Exchange::IkeAuth, Reason::Ok) == 0);
  }
  void refused(Reason reason, const std::string& text, std::size_t times = 1) {
    INFO(b.transcript());
    REQUIRE(said);
    REQUIRE(said->error());
    CHECK(said->error()->type == NotifyType::AuthenticationFailed);
    CHECK(said->payloads().size() == 1);
    CHECK(b.counted(Exchange::IkeAuth, reason) == times);
    CHECK(failure_of(b).find(text) != std::string::npos);
    CHECK_FALSE(b.up());
    CHECK(b.inbound.empty());
    ask(second());  // and that was it
    CHECK_FALSE(said);
    world.run(100s);
    CHECK(b.engine->ike_sas().empty());
    CHECK(b.spis.empty());
  }
};

}  // namespace

TEST_CASE("IKEv2 rounds insider: the order of it, as it should be", "[ikev2][rounds][rfc4739-2]") {
  Half in;
  in.check_first();
  in.ask(in.second());
  INFO(in.b.transcript());
  REQUIRE((in.said && in.said->find<Sa>() && in.said->find<TsI>()));
  CHECK_FALSE(in.said->find<Auth>());
  CHECK_FALSE(in.said->find<IdR>());
  CHECK(in.b.up());
  CHECK(in.b.engine->ike_sas().at(0).remote_id == "10.9.0.1");
}

TEST_CASE("IKEv2 rounds insider: a second request that is none", "[ikev2][rounds][attack-E5]") {
  Half in;
  in.check_first();
  SECTION("nothing") {
    in.ask(Builder());
    in.refused(Reason::AuthRounds, "Round 2 of 2 (remote-2): The peer goes on without the proof that is its turn.");
  }
  SECTION("another key") {
    in.ask(in.second("other"));
    in.refused(Reason::AuthFailed, "Round 2 of 2 (remote-2): The peer's proof does not fit our pre-shared key.");
  }
  SECTION("the first proof again") {
    Builder again;
    again.add(in.peer.identity()).add(in.peer.proof(SecretBytes(as_bytes("secret"))));
    in.ask(again);
    in.refused(Reason::WrongIdentity, "calls itself 10.9.0.1, expected was second.example.");
  }
  SECTION("another's identity over the right key") {
    in.ask(in.second("second", "third.example"));
    in.refused(Reason::WrongIdentity, "calls itself third.example");
  }
  SECTION("a proof of another identity than the payload's") {
    Builder b = in.second();
    Builder mixed;
    mixed.add(IdI{IdType::Fqdn, to_bytes("second.example")});
    in.peer.calls_itself.reset();
    mixed.add(in.peer.proof(SecretBytes(as_bytes("second"))));
    in.ask(mixed);
    in.refused(Reason::AuthFailed, "does not fit our pre-shared key");
  }
  SECTION("a third one is to follow") {
    Builder b = in.second();
    b.notify(NotifyType::AnotherAuthFollows);
    in.ask(b);
    in.refused(Reason::AuthRounds, "The peer wants to prove itself once more");
  }
  SECTION("a user, who is not asked for") {
    Builder b;
    b.add(IdI{IdType::Fqdn, to_bytes("second.example")});
    in.ask(b);
    in.refused(Reason::AuthFailed, "wants to prove itself as a user (EAP), and the connection asks for a pre-shared key.");
  }
  SECTION("EAP out of nowhere") {
    Builder b;
    b.add(Eap{Bytes{2, 1, 0, 4}});
    in.ask(b);
    in.refused(Reason::BadPayloads, "may not carry a payload of type EAP");
  }
  SECTION("another CHILD SA than at first") {
    Builder b = in.second();
    b.add(TsI{{net("0.0.0.0/0")}, 0});
    in.ask(b);
    in.refused(Reason::BadPayloads, "may not carry a payload of type TSi");
  }
  SECTION("two proofs at once") {
    Builder b = in.second();
    b.add(in.peer.proof(SecretBytes(as_bytes("second"))));
    in.ask(b);
    in.refused(Reason::BadPayloads, "carries 2 payloads of type AUTH");
  }
  SECTION("a signature, where a key is asked for") {
    Builder b;
    b.add(IdI{IdType::Fqdn, to_bytes("second.example")}).add(Auth{AuthMethodId{1}, Bytes(256, 1)});
    in.ask(b);
    in.refused(Reason::AuthFailed, "The peer proves itself by a signature, and the connection asks for a pre-shared key.");
  }
  SECTION("a critical payload that nobody knows") {
    Builder b = in.second();
    const Bytes odd = b.chain();
    // The critical bit of a payload of type 200, in front of all others.
    Writer w;
    w.be(static_cast<std::uint8_t>(b.first()));
    w.be(std::uint8_t{0x80});
    w.be(std::uint16_t{4});
    w.bytes(odd);
    in.said = in.peer.ask(ike::kExchangeAuth, PayloadType{200}, w.view());
    in.refused(Reason::BadPayloads, "critical payload");
  }
}

TEST_CASE("IKEv2 rounds insider: what comes between two proofs", "[ikev2][rounds][attack-E5]") {
  Half in;
  in.check_first();
  SECTION("CREATE_CHILD_SA, and nothing comes of it") {
    CHECK_FALSE(in.peer.ask(ike::kExchangeCreateChildSa, Builder().add(Nonce{Bytes(32, 1)})));
    CHECK(in.b.inbound.empty());
    CHECK_FALSE(in.b.up());
  }
  SECTION("an INFORMATIONAL without an error is not answered") {
    CHECK_FALSE(in.peer.ask(ike::kExchangeInformationalV2, Builder()));
    in.ask(in.second());
    CHECK(in.b.up());
    return;
  }
  SECTION("an end, and why") {
    CHECK(in.peer.ask(ike::kExchangeInformationalV2, Builder().notify(NotifyType::AuthenticationFailed)));
    CHECK(failure_of(in.b).find("Round 2 of 2 (remote-2): The peer ends it (AUTHENTICATION_FAILED)") == 0);
    in.ask(in.second());
    CHECK_FALSE(in.said);
  }
  SECTION("silence ends after ike.half_open_timeout, and is told") {
    in.world.run(100s);
    CHECK(in.b.counted(Exchange::IkeAuth, Reason::Timeout) == 1);
    CHECK(failure_of(in.b) == "Round 2 of 2 (remote-2): The peer does not go on with its next proof.");
  }
  in.world.run(100s);
  CHECK(in.b.engine->ike_sas().empty());
  CHECK(in.b.spis.empty());
}

TEST_CASE("IKEv2 rounds insider: nothing that was asked for at first has an effect before the last proof", "[ikev2][rounds][rfc7296-2.4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    config::RemoteSide second{named("second.example"), {}};
    config::LocalSide ours{named("second.example"), {}};
    second.auth.place.section = "remote-2";
    ours.auth.place.section = "local-2";
    b.connections[0].more_remote = {second};
    a.connections[0].more_local = {ours};
    for (auto* g : {&a, &b}) config::arrange_rounds(g->connections[0]);
  });
  p.a.secrets["c/2"] = p.b.secrets["c/2"] = "second";
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  InsiderV2 thief(world, p.b, IpAddress::parse("10.9.0.1").value());
  thief.in_auth.notify(NotifyType::MultipleAuthSupported).notify(NotifyType::AnotherAuthFollows).notify(NotifyType::InitialContact);
  const auto said = thief.connect(net("10.1.0.0/24"), net("10.2.0.0/24"));
  REQUIRE(said);
  REQUIRE(said->find<Auth>());
  CHECK_FALSE(said->find<Sa>());
  world.run(5s);
  INFO(p.b.transcript());
  CHECK(p.b.established() == 1);
  CHECK(p.b.live_pairs() == 1);
  CHECK(p.b.reports(Reason::Replaced).empty());
}

TEST_CASE("IKEv2 rounds insider: a user in the second round, and those who take his place", "[ikev2][rounds][eap]") {
  Half in(true);
  in.check_first();
  eap::Client alice{{eap::Method::Mschapv2, to_bytes("alice"), SecretBytes(as_bytes("alicepw")), Bytes(16, 5)}};
  in.peer.calls_itself = IdI{IdType::Fqdn, to_bytes("second.example")};
  in.ask(Builder().add(in.peer.identity()));
  REQUIRE(in.said);
  CHECK_FALSE(in.said->find<Auth>());  // the gateway has proved itself before
  for (int i = 0; i < 3; ++i) {
    REQUIRE(in.said->find<Eap>());
    const auto next = alice.on_packet(in.said->find<Eap>()->data);
    REQUIRE(std::holds_alternative<eap::Reply>(next));
    in.ask(Builder().add(Eap{std::get<eap::Reply>(next).packet}));
    REQUIRE(in.said);
  }
  REQUIRE(std::holds_alternative<eap::Proved>(alice.on_packet(in.said->find<Eap>()->data)));
  SECTION("by the key of EAP, over the identity of this round") {
    in.ask(Builder().add(in.peer.proof(alice.msk())));
    INFO(in.b.transcript());
    REQUIRE((in.said && in.said->find<Auth>() && in.said->find<Sa>()));
    CHECK(in.b.engine->ike_sas().at(0).xauth_user == "alice");
    return;
  }
  SECTION("over that of the first one") {
    in.peer.calls_itself.reset();
    in.ask(Builder().add(in.peer.proof(alice.msk())));
    in.refused(Reason::AuthFailed, "Round 2 of 2 (remote-2): The proof behind EAP is wrong");
  }
  SECTION("by the key of the first round") {
    in.ask(Builder().add(in.peer.proof(SecretBytes(as_bytes("secret")))));
    in.refused(Reason::AuthFailed, "Round 2 of 2 (remote-2): The proof behind EAP is wrong");
  }
  SECTION("and a third one is to follow") {
    in.ask(Builder().add(in.peer.proof(alice.msk())).notify(NotifyType::AnotherAuthFollows));
    in.refused(Reason::AuthRounds, "The peer wants to prove itself once more");
  }
}

TEST_CASE("IKEv2 rounds insider: a gateway with two proofs, and a peer that goes on by itself", "[ikev2][rounds]") {
  const auto of_gateway = [](config::GatewayConfig& g) {
    config::Connection& c = g.connections[0];
    config::LocalSide second{named("b2.example"), {}};
    second.auth.place.section = "local-2";
    c.more_local = {second};
    c.more_remote.clear();
  };
  SECTION("the peer has nothing left, and says nothing") {
    Half in(false, of_gateway, [](InsiderV2& p) {
      p.in_auth = Builder();
      p.in_auth.notify(NotifyType::MultipleAuthSupported);
    });
    CHECK(in.said->notify(NotifyType::AnotherAuthFollows));
    in.ask(Builder());
    INFO(in.b.transcript());
    REQUIRE((in.said && in.said->find<Auth>() && in.said->find<IdR>() && in.said->find<Sa>()));
    CHECK(in.said->find<IdR>()->data == to_bytes("b2.example"));
    CHECK_FALSE(in.said->notify(NotifyType::AnotherAuthFollows));
    CHECK(in.b.up());
  }
  SECTION("the peer proves itself once more") {
    Half in(false, of_gateway, [](InsiderV2& p) {
      p.in_auth = Builder();
      p.in_auth.notify(NotifyType::MultipleAuthSupported);
    });
    in.ask(in.second());
    in.refused(Reason::AuthRounds, "The peer proves itself once more, and the connection has no further remote section.");
  }
  SECTION("the peer does not take a second one") {
    Half in(false, of_gateway, [](InsiderV2& p) { p.in_auth = Builder(); });
    in.refused(Reason::AuthRounds, "Round 1 of 2 (local, remote): The peer takes no further proofs of ours");
  }
}

TEST_CASE("IKEv2 rounds insider: another proof is announced where nobody has asked for several", "[ikev2][rounds][rfc4739-3.1]") {
  const bool user = GENERATE(false, true);
  Half in(false, [&](config::GatewayConfig& g) {
    g.connections[0].more_remote.clear();
    if (user) g.connections[0].remote_auth.auth = Proof::EapMschapv2;
  });
  CHECK_FALSE(in.peer.init_answer->notify(NotifyType::MultipleAuthSupported));
  if (user)
    in.refused(Reason::AuthFailed, "and the connection asks for a user (EAP).");
  else
    in.refused(Reason::AuthRounds, "The peer wants to prove itself once more (ANOTHER_AUTH_FOLLOWS), and the connection has no section");
}

TEST_CASE("IKEv2 rounds insider: who has proved himself once is half-open still", "[ikev2][rounds][attack-H1]") {
  World world;
  Host& b = *Half::make(world, false, [](config::GatewayConfig& g) {
    g.ike.half_open_limit = 1;
    g.connections[0].remote_addrs.clear();
  });
  b.secrets["c/2"] = "second";
  b.keys["c"] = ike::AuthMethod::EcdsaP256;
  b.start();
  InsiderV2 one(world, b, IpAddress::parse("10.9.0.1").value());
  one.in_auth.notify(NotifyType::MultipleAuthSupported).notify(NotifyType::AnotherAuthFollows);
  const auto said = one.connect(net("10.1.0.0/24"), net("10.2.0.0/24"));
  REQUIRE((said && said->find<Auth>()));
  InsiderV2 other(world, b, IpAddress::parse("10.9.0.3").value());
  CHECK_FALSE(other.begin());  // there is no room
  world.run(100s);
  CHECK(other.begin());
}
