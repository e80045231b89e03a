// IKE_AUTH with EAP: peers that have the keys of an IKE SA and do not keep to the order of it.
#include <functional>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_ppk_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;

namespace {

TrafficSelector ts(const char* text) { return TrafficSelector::parse(text).value(); }

/// A peer that may say what it likes, behind a gateway's first answer.
struct Rogue {
  World world;
  Host& b;
  InsiderV2 peer;
  std::optional<ikev2::Message> said;
  eap::Client eap{{eap::Method::Mschapv2, to_bytes("alice"), SecretBytes(as_bytes("alicepw")), Bytes(16, 5)}};

  /// `change`: of the host; `prepare`: what the peer says besides.
  explicit Rogue(const std::function<void(config::GatewayConfig&)>& change = {}, const std::function<void(InsiderV2&)>& prepare = {})
      : b(*make(world, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.keys["c"] = ike::AuthMethod::EcdsaP256;
    b.users = {{"alice", "alicepw"}};
    if (prepare) prepare(peer);
    b.start();
    said = peer.connect_as_user(ts("10.1.0.0/24"), ts("10.2.0.0/24"));
    INFO(b.transcript());
    REQUIRE(said);
    if (said->error()) return;
    CHECK(said->find<ikev2::Auth>());
    REQUIRE(said->find<ikev2::Eap>());
  }
  static Host* make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config::Connection& c = config.connections[0];
    c.local_auth.auth = Proof::Pubkey;
    c.remote_auth.auth = Proof::EapMschapv2;
    c.local_id = {config::Identity::Type::Fqdn, "b.example"};
    if (change) change(config);
    return &w.add("B", std::move(config));
  }
  void ask(const ikev2::Builder& payloads) { said = peer.ask(ike::kExchangeAuth, payloads); }
  void ask(const Bytes& packet) { ask(ikev2::Builder().add(ikev2::Eap{packet})); }
  /// As it should be, so many rounds of it.
  void rounds(int n) {
    for (int i = 0; i < n; ++i) {
      REQUIRE((said && said->find<ikev2::Eap>()));
      const auto next = eap.on_packet(said->find<ikev2::Eap>()->data);
      REQUIRE(std::holds_alternative<eap::Reply>(next));
      ask(std::get<eap::Reply>(next).packet);
    }
  }
  void refused(Reason reason) {
    INFO(b.transcript());
    REQUIRE(said);
    REQUIRE(said->error());
    CHECK(said->error()->type == ikev2::NotifyType::AuthenticationFailed);
    CHECK(said->payloads().size() <= 2);  // a Failure and that
    CHECK(b.counted(Exchange::IkeAuth, reason) == 1);
    CHECK_FALSE(b.up());
    CHECK(b.inbound.empty());
    ask(ikev2::Builder().add(peer.proof({})));  // and that was it
    CHECK_FALSE(said);
    world.run(100s);
    CHECK(b.engine->ike_sas().empty());
  }
};

}  // namespace

TEST_CASE("IKEv2 EAP insider: the order of it, as it should be", "[ikev2][eap][rfc7296-2.16]") {
  Rogue in;
  in.rounds(3);
  REQUIRE(in.said);
  REQUIRE(std::holds_alternative<eap::Proved>(in.eap.on_packet(in.said->find<ikev2::Eap>()->data)));
  SECTION("the proof by the key of EAP") {
    in.ask(ikev2::Builder().add(in.peer.proof(in.eap.msk())));
    REQUIRE((in.said && in.said->find<ikev2::Auth>() && in.said->find<ikev2::Sa>()));
    CHECK_FALSE(in.said->find<ikev2::IdR>());
    CHECK(in.b.up());
    return;
  }
  SECTION("another key: somebody in the middle of it (RFC 7296 §2.16)") {
    in.ask(ikev2::Builder().add(in.peer.proof(SecretBytes(Bytes(64, 1)))));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the proof of a method without a key") {
    in.ask(ikev2::Builder().add(in.peer.proof({})));
    in.refused(Reason::AuthFailed);
  }
  SECTION("more of EAP") {
    in.ask(eap::encode({eap::Code::Response, 9, eap::Type::Identity, to_bytes("mallory")}));
    in.refused(Reason::BadPayloads);
  }
}

TEST_CASE("IKEv2 EAP insider: out of order", "[ikev2][eap][attack-E5]") {
  Rogue in;
  const int rounds = GENERATE(0, 1, 2);
  in.rounds(rounds);
  SECTION("AUTH before the end") {
    in.ask(ikev2::Builder().add(in.peer.proof({})));
    in.refused(Reason::BadPayloads);
  }
  SECTION("AUTH and EAP") {
    in.ask(ikev2::Builder().add(in.peer.proof({})).add(ikev2::Eap{in.said->find<ikev2::Eap>()->data}));
    in.refused(Reason::BadPayloads);
  }
  SECTION("neither") {
    in.ask(ikev2::Builder());
    in.refused(Reason::BadPayloads);
  }
  SECTION("Success, as if it were ours to say") {
    in.ask(eap::encode({eap::Code::Success, 1, eap::Type::None, {}}));
    in.refused(Reason::BadPayloads);
  }
  SECTION("no packet at all") {
    in.ask(Bytes{});
    in.refused(Reason::BadPayloads);
  }
  SECTION("one that is too long") {
    in.ask(eap::encode({eap::Code::Response, 1, eap::Type::Identity, Bytes(5000, 'a')}));
    in.refused(Reason::BadPayloads);
  }
  SECTION("a payload that does not belong there") {
    in.ask(ikev2::Builder().add(ikev2::Eap{in.said->find<ikev2::Eap>()->data}).add(ikev2::TsI{{ts("0.0.0.0/0")}, 0}));
    in.refused(Reason::BadPayloads);
  }
  SECTION("CREATE_CHILD_SA and INFORMATIONAL before there is an SA") {
    CHECK_FALSE(in.peer.ask(ike::kExchangeCreateChildSa, ikev2::Builder().add(ikev2::Nonce{Bytes(32, 1)})));
    CHECK_FALSE(in.peer.ask(ike::kExchangeInformationalV2, ikev2::Builder()));
    CHECK_FALSE(in.b.up());
  }
}

TEST_CASE("IKEv2 EAP insider: the name of the proof counts, not the one that was said first", "[ikev2][eap]") {
  Rogue in;
  in.b.users["bob"] = "bobpw";
  const auto identity = eap::parse(in.said->find<ikev2::Eap>()->data);
  in.ask(eap::encode({eap::Code::Response, identity->id, eap::Type::Identity, to_bytes("bob")}));
  in.rounds(2);
  REQUIRE(std::holds_alternative<eap::Proved>(in.eap.on_packet(in.said->find<ikev2::Eap>()->data)));
  in.ask(ikev2::Builder().add(in.peer.proof(in.eap.msk())));
  REQUIRE(in.b.up());
  CHECK(in.b.engine->ike_sas().at(0).remote_id == "alice");
}

TEST_CASE("IKEv2 EAP insider: what it says of MOBIKE in its first request counts, and is answered in the last", "[ikev2][eap][mobike]") {
  const auto mobile = [](config::GatewayConfig& g) { g.connections[0].mobike = true; };
  const auto says = [](InsiderV2& p) { p.announces = {ikev2::NotifyType::MobikeSupported}; };
  SECTION("as it should be") {
    Rogue in(mobile, says);
    CHECK_FALSE(in.said->notify(ikev2::NotifyType::MobikeSupported));
    in.rounds(3);
    REQUIRE(std::holds_alternative<eap::Proved>(in.eap.on_packet(in.said->find<ikev2::Eap>()->data)));
    in.ask(ikev2::Builder().add(in.peer.proof(in.eap.msk())));
    REQUIRE(in.said);
    CHECK(in.said->notify(ikev2::NotifyType::MobikeSupported));
    REQUIRE(in.b.up());
    CHECK(in.b.engine->ike_sas().at(0).mobike);
  }
  SECTION("a NAT that it forbids (RFC 4555 §3.9)") {
    Rogue in(mobile, [&](InsiderV2& p) {
      says(p);
      p.in_auth.notify(ikev2::NotifyType::NoNatsAllowed, Bytes{10, 8, 0, 1, 10, 9, 0, 2, 1, 0xf4, 1, 0xf4});
    });
    REQUIRE(in.said->error());
    CHECK(in.said->error()->type == ikev2::NotifyType::UnexpectedNatDetected);
    CHECK(in.b.counted(Exchange::IkeAuth, Reason::PeerRefused) == 1);
    CHECK_FALSE(in.b.up());
  }
}

TEST_CASE("IKEv2 EAP insider: of a PPK that the connection has not, what it proves without counts", "[ikev2][eap][rfc8784]") {
  const auto another_has_one = [](config::GatewayConfig& g) {  // so that USE_PPK is answered
    auto other = g.connections[0];
    other.name = "d";
    other.local_auth.auth = other.remote_auth.auth = Proof::Psk;
    other.ppk = {.id = "ours", .secret = {config::SecretRef::Kind::File, "/ppk"}, .required = false};
    g.connections.push_back(other);
  };
  Rogue in(another_has_one, [](InsiderV2& p) { p.in_init.notify(ikev2::NotifyType::UsePpk); });
  in.rounds(3);
  REQUIRE(std::holds_alternative<eap::Proved>(in.eap.on_packet(in.said->find<ikev2::Eap>()->data)));
  const Bytes name{2, 'o', 'u', 'r', 's'};
  const ikev2::Auth with{ikev2::AuthMethodId::SharedKey, Bytes(32, 7)}, without = in.peer.proof(in.eap.msk());
  SECTION("it fits") {
    in.ask(ikev2::Builder().add(with).notify(ikev2::NotifyType::PpkIdentity, name).notify(ikev2::NotifyType::NoPpkAuth, without.data));
    REQUIRE((in.said && in.said->find<ikev2::Auth>()));
    CHECK_FALSE(in.said->notify(ikev2::NotifyType::PpkIdentity));
    CHECK(in.b.up());
  }
  SECTION("it does not") {
    in.ask(ikev2::Builder().add(without).notify(ikev2::NotifyType::PpkIdentity, name).notify(ikev2::NotifyType::NoPpkAuth, with.data));
    in.refused(Reason::AuthFailed);
  }
  SECTION("there is none") {
    in.ask(ikev2::Builder().add(with).notify(ikev2::NotifyType::PpkIdentity, name));
    in.refused(Reason::AuthFailed);
  }
}

namespace {
/// A rogue whose user the gateway has taken: the rest is the proof, beside which stands what is said of the PPK.
struct RogueWithPpk : Rogue {
  RogueWithPpk(Has has, bool says, const ikev2::Builder& first = {})
      : Rogue(
            [&](config::GatewayConfig& g) {
              g.connections[0].ppk = {"ours", {config::SecretRef::Kind::File, "/ppk/c"}, has == Has::Required};
            },
            [&](InsiderV2& p) {
              if (says) p.in_init.notify(ikev2::NotifyType::UsePpk);
              p.in_auth = first;
            }) {
    give(b, has);
    rounds(3);
    REQUIRE(std::holds_alternative<eap::Proved>(eap.on_packet(said->find<ikev2::Eap>()->data)));
  }
  ikev2::Auth proof(const std::optional<std::string>& ppk) {
    peer.ppk = ppk;
    return peer.proof(eap.msk());
  }
  bool up() {
    INFO(b.transcript());
    REQUIRE(said);
    CHECK(b.up() == (said->find<ikev2::Auth>() != nullptr));
    CHECK(says(b, kUsed) == (said->notify(ikev2::NotifyType::PpkIdentity) != nullptr));
    return b.up();
  }
};
}  // namespace

TEST_CASE("IKEv2 EAP insider: what a user says of PPKs out of place or out of shape is no way around one",
          "[ikev2][eap][rfc8784-3][rfc8784-5.1]") {
  using ikev2::NotifyType;
  const Has has = GENERATE(Has::Optional, Has::Required);
  CAPTURE(has == Has::Required);
  const bool may = has == Has::Optional;
  const Bytes ours = identity("ours");
  SECTION("as it should be") {
    RogueWithPpk in(has, true);
    in.ask(ikev2::Builder().add(in.proof(kKey)).notify(NotifyType::PpkIdentity, ours));
    CHECK(in.up());
    CHECK(in.said->notify(NotifyType::PpkIdentity));
  }
  SECTION("as it should be, and what it proves without is nonsense, which nobody looks at") {
    RogueWithPpk in(has, true);
    in.ask(ikev2::Builder().add(in.proof(kKey)).notify(NotifyType::PpkIdentity, ours).notify(NotifyType::NoPpkAuth, Bytes(32, 7)));
    CHECK(in.up());
  }
  SECTION("the name alone, and the keys without") {
    RogueWithPpk in(has, true);
    in.ask(ikev2::Builder().add(in.proof({})).notify(NotifyType::PpkIdentity, ours));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the name, another PPK, and a proof without that fits") {
    RogueWithPpk in(has, true);
    const auto without = in.proof({});
    in.ask(ikev2::Builder().add(in.proof("another key")).notify(NotifyType::PpkIdentity, ours).notify(NotifyType::NoPpkAuth, without.data));
    in.refused(Reason::AuthFailed);
  }
  SECTION("nothing") {
    RogueWithPpk in(has, true);
    in.ask(ikev2::Builder().add(in.proof({})));
    if (may)
      CHECK(in.up());
    else
      in.refused(Reason::AuthFailed);
  }
  SECTION("the keys of it, and not its name") {
    RogueWithPpk in(has, true);
    in.ask(ikev2::Builder().add(in.proof(kKey)));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the name in the first request, which has no proof") {
    RogueWithPpk in(has, true, ikev2::Builder().notify(NotifyType::PpkIdentity, ours));
    in.ask(ikev2::Builder().add(in.proof(kKey)));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the name without USE_PPK before") {
    RogueWithPpk in(has, false);
    in.ask(ikev2::Builder().add(in.proof(kKey)).notify(NotifyType::PpkIdentity, ours));
    in.refused(Reason::AuthFailed);
  }
  SECTION("the name without USE_PPK before, and AUTH what it is without") {
    RogueWithPpk in(has, false);
    in.ask(ikev2::Builder().add(in.proof({})).notify(NotifyType::PpkIdentity, ours));
    if (may)
      CHECK(in.up());
    else
      in.refused(Reason::AuthFailed);
  }
  SECTION("another name, and a proof without that fits") {
    RogueWithPpk in(has, true);
    const auto without = in.proof({});
    in.ask(ikev2::Builder().add(in.proof("x")).notify(NotifyType::PpkIdentity, identity("x")).notify(NotifyType::NoPpkAuth, without.data));
    if (may)
      CHECK(in.up());
    else
      in.refused(Reason::AuthFailed);
  }
  SECTION("names that are none of ours, with a proof without that is none") {
    for (const Bytes& id : {Bytes{}, Bytes{2}, identity("ours", 1), identity("our"), identity("oursx"), Bytes(2000, 0xff)})
      for (const Bytes& none : {Bytes{}, Bytes(32, 7), Bytes(4000, 0)}) {
        RogueWithPpk in(has, true);
        in.ask(ikev2::Builder().add(in.proof(kKey)).notify(NotifyType::PpkIdentity, id).notify(NotifyType::NoPpkAuth, none));
        in.refused(Reason::AuthFailed);
      }
  }
}

TEST_CASE("IKEv2 EAP insider: who does not come to an end is ended", "[ikev2][eap]") {
  Rogue in;
  SECTION("half-open ones are not kept") {
    in.rounds(1);
    in.world.run(100s);
    CHECK(in.b.engine->ike_sas().empty());
    CHECK(in.b.counted(Exchange::IkeAuth, Reason::Timeout) == 1);
  }
}
