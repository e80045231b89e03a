// IKE_AUTH without a CHILD SA between engines (RFC 6023), and what an insider makes of it.
//
//   A                                                       B
//   IKE_SA_INIT                                        -->  <--  ... N(CHILDLESS_IKEV2_SUPPORTED)      childless: allow, prefer, force
//   IDi AUTH [CP(REQUEST)]                             -->  <--  IDr AUTH [CP(REPLY)]                  prefer, force
//   CREATE_CHILD_SA for each                           -->  <--
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Childless;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;

namespace {

Pair childless_sites(World& world, Childless a_has, Childless b_has,
                     const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return two_v2(world, [&](auto& a, auto& b) {
    a.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.1.0/24", "aes128gcm16-ecp256", config::StartAction::Start));
    b.connections[0].children.push_back(child("more", "10.2.1.0/24", "10.1.1.0/24", "aes128gcm16-ecp256", config::StartAction::None));
    a.connections[0].renewal.childless = a_has;
    b.connections[0].renewal.childless = b_has;
    if (change) change(a, b);
  });
}

bool has_both(const Host& h) { return h.up() && h.live_pairs("net") == 1 && h.live_pairs("more") == 1; }

/// CHILD SAs that the host has made by CREATE_CHILD_SA.
std::size_t made_apart(const Host& h) { return h.counted(Exchange::CreateChildSa, Reason::Ok); }

std::string said_of(const Pair& p) { return p.a.transcript() + p.b.transcript(); }

}  // namespace

TEST_CASE("childless: prefer begins without a CHILD SA with who takes it, whatever is lost", "[ikev2][childless][rfc6023]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    const bool forced = seed % 2 == 0;
    const Pair p =
        childless_sites(world, forced ? Childless::Force : Childless::Prefer, seed % 3 == 0 ? Childless::Force : Childless::Allow);
    if (seed > 4) world.link = {.loss = 0.25, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    p.a.start();
    p.b.start();
    const bool up = world.run_until([&] { return has_both(p.a) && has_both(p.b); }, 120s);
    INFO("seed " << seed << "\n" << said_of(p));
    REQUIRE(up);
    CHECK(made_apart(p.a) >= 2);
    world.link = {};
    world.run(60s);
    CHECK((has_both(p.a) && has_both(p.b)));
    // Proved anew it is as it was.
    world.begin_traffic();
    p.a.step([&](ike::Engine& e) { CHECK(e.reauthenticate(world.now, "c").ok); });
    world.run(100s);
    CHECK((has_both(p.a) && has_both(p.b)));
    CHECK(made_apart(p.a) >= 4);
    for (const std::string& gap : world.gaps) UNSCOPED_INFO(gap);
    CHECK(world.gaps.empty());
    world.end_traffic();
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    world.run(200s);
    check_nothing_left(p);
  }
}

TEST_CASE("childless: who does not take it gets a CHILD SA in IKE_AUTH, or nothing", "[ikev2][childless][rfc6023-3]") {
  World world;
  SECTION("prefer") {
    const Pair p = childless_sites(world, Childless::Prefer, Childless::Never);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return has_both(p.a) && has_both(p.b); }, 30s));
    CHECK(made_apart(p.a) == 1);
  }
  SECTION("allow, which does not begin so") {
    const Pair p = childless_sites(world, Childless::Allow, Childless::Allow);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return has_both(p.a) && has_both(p.b); }, 30s));
    CHECK(made_apart(p.a) == 1);
  }
  SECTION("force") {
    const Pair p = childless_sites(world, Childless::Force, Childless::Never);
    p.a.start();
    p.b.start();
    world.run(60s);
    CHECK_FALSE(p.a.up());
    CHECK(p.b.established() == 0);
    CHECK(failure_of(p.a).find("CHILDLESS_IKEV2_SUPPORTED") != std::string::npos);
  }
}

TEST_CASE("childless: force as a responder makes a CHILD SA of IKE_AUTH's only afterwards", "[ikev2][childless][rfc6023]") {
  World world;
  const Pair p = childless_sites(world, Childless::Allow, Childless::Force);
  p.a.start();
  p.b.start();
  const bool up = world.run_until([&] { return has_both(p.a) && has_both(p.b); }, 60s);
  INFO(said_of(p));
  REQUIRE(up);
  CHECK(made_apart(p.a) == 2);
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::NoProposalChosen) == 1);
}

TEST_CASE("childless: what an insider says of it", "[ikev2][childless][rfc6023-3]") {
  const auto scene = [](Childless how, auto&& test) {
    World world;
    const Pair p = childless_sites(world, Childless::Allow, how, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
    p.b.start();
    InsiderV2 peer(world, p.b, IpAddress::parse("10.9.0.66").value());
    REQUIRE(peer.begin());
    test(world, p.b, peer);
  };
  const auto prove = [](InsiderV2& peer, Builder more) {
    Builder b;
    b.add(peer.identity()).add(peer.proof(SecretBytes(as_bytes("secret"))));
    for (const ikev2::Payload& one : ikev2::Message::parse(more.first(), more.chain()).value().payloads()) b.add_raw(one.type, one.body);
    return peer.ask(ike::kExchangeAuth, b);
  };
  const TrafficSelector net = TrafficSelector::parse("10.1.0.0/24").value();
  scene(Childless::Allow, [&](World& world, Host& b, InsiderV2& peer) {
    CHECK(peer.init_answer->notify(NotifyType::ChildlessIkev2Supported));
    const auto m = prove(peer, Builder().notify(NotifyType::InitialContact));
    REQUIRE(m);
    CHECK(m->find<ikev2::Auth>());
    CHECK_FALSE(m->find<ikev2::Sa>());
    CHECK_FALSE(m->error());
    CHECK(b.established() == 1);
    CHECK(b.inbound.empty());
    world.run(20s);
    CHECK(b.established() == 1);
  });
  // All three, or none (RFC 6023 §4).
  scene(Childless::Allow, [&](World&, Host& b, InsiderV2& peer) {
    const auto m = prove(peer, Builder().add(ikev2::TsI{{net}, 0}));
    REQUIRE(m);
    REQUIRE(m->error());
    CHECK(m->error()->type == NotifyType::InvalidSyntax);
    CHECK(b.established() == 0);
  });
  scene(Childless::Never, [&](World&, Host& b, InsiderV2& peer) {
    CHECK_FALSE(peer.init_answer->notify(NotifyType::ChildlessIkev2Supported));
    const auto m = prove(peer, Builder().notify(NotifyType::InitialContact));
    REQUIRE(m);
    REQUIRE(m->error());
    CHECK(m->error()->type == NotifyType::AuthenticationFailed);
    CHECK(b.established() == 0);
    CHECK(failure_of(b) == "The peer asks for no CHILD SA in IKE_AUTH, and the connection has childless: never.");
  });
}
