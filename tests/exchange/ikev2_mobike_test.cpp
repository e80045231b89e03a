// MOBIKE between two engines (RFC 4555): an address goes away under traffic, and nothing is made anew.
//
//   A 10.9.0.1, 10.9.1.1                                   B 10.9.0.2, 10.9.1.2
//   N(UPDATE_SA_ADDRESSES) N(NAT_DETECTION_*) N(COOKIE2)  -->  <--  N(NAT_DETECTION_*) N(COOKIE2)
//                                        N(COOKIE2)  <--  -->  N(COOKIE2)
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
const IpAddress kA1 = ip("10.9.0.1"), kA2 = ip("10.9.1.1"), kB1 = ip("10.9.0.2"), kB2 = ip("10.9.1.2");

/// Both with two addresses, of which A is told only B's first.
Pair roaming(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return two_v2(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].mobike = true;
      g->connections[0].dpd_delay = config::Seconds{5};
    }
    a.connections[0].local_addrs = {kA1, kA2};
    b.connections[0].local_addrs = {kB1, kB2};
    b.connections[0].remote_addrs = {kA1, kA2};
    if (change) change(a, b);
  });
}

/// All of `one` is between these addresses: the IKE SAs that are in use, and every SA of the data plane.
bool between(const Host& one, const IpAddress& local, const IpAddress& remote) {
  const auto at = [&](const Endpoint& l, const Endpoint& r) { return l.address == local && r.address == remote; };
  for (const auto& sa : one.engine->ike_sas())
    if (sa.state == ike::IkeState::Established && !at(sa.local, sa.remote)) return false;
  for (const auto& [spi, sa] : one.inbound)
    if (!at(sa.sa.local, sa.sa.remote)) return false;
  return std::ranges::all_of(one.outbound, [&](const PlaneSa& sa) { return at(sa.sa.local, sa.sa.remote); });
}
bool all_between(const Pair& p, const IpAddress& a, const IpAddress& b) { return between(p.a, a, b) && between(p.b, b, a); }

/// By which living path all of both is; nullopt: not by one.
std::optional<std::pair<IpAddress, IpAddress>> common_path(const World& world, const Pair& p) {
  for (const IpAddress& a : {kA1, kA2})
    for (const IpAddress& b : {kB1, kB2})
      if (!world.dead.contains(a) && !world.dead.contains(b) && all_between(p, a, b)) return std::pair(a, b);
  return std::nullopt;
}

std::size_t connected(const Host& one) { return one.counted(ike::Exchange::IkeAuth, Reason::Ok) / 2; }  // with its CHILD SA

void up(World& world, const Pair& p) {
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.run(1s);
  for (const Host* h : {&p.a, &p.b}) REQUIRE(h->engine->ike_sas().front().mobike);
}

}  // namespace

TEST_CASE("MOBIKE: with a peer that has it IKE goes by port 4500, and each knows where the other one is, too",
          "[ikev2][mobike][rfc4555-3.3][rfc4555-3.4]") {
  World world;
  bool second_has = true;
  SECTION("both have it") {}
  SECTION("one has not") { second_has = false; }
  const Pair p = roaming(world, [&](auto&, auto& b) { b.connections[0].mobike = second_has; });
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  const auto sa = p.a.engine->ike_sas().front(), other = p.b.engine->ike_sas().front();
  CHECK(sa.local.port == 4500);  // before it can know
  CHECK(other.remote.port == 4500);
  CHECK(sa.mobike == second_has);
  CHECK(other.mobike == second_has);
  CHECK(sa.peer_addresses == (second_has ? std::vector{kB2} : std::vector<IpAddress>{}));
  CHECK(other.peer_addresses == (second_has ? std::vector{kA2} : std::vector<IpAddress>{}));
  CHECK(p.a.current_out("net")->sa.local.port == 0);  // there is no NAT
}

TEST_CASE("MOBIKE: a user of EAP takes the tunnel along, too", "[ikev2][mobike][eap][rfc4555-3.5]") {
  World world;
  const Pair p = roaming(world, [](auto& a, auto& b) {
    config::Connection &user = a.connections[0], &gateway = b.connections[0];
    user.local_auth.auth = gateway.remote_auth.auth = config::Proof::EapMschapv2;
    user.remote_auth.auth = gateway.local_auth.auth = config::Proof::Pubkey;
    user.local_auth.eap_id = "alice";
    user.remote_id = gateway.local_id = {config::Identity::Type::Fqdn, "b.example"};
    gateway.remote_id = {config::Identity::Type::Any, "%any"};
  });
  p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
  p.b.users = {{"alice", "alicepw"}};
  p.a.password = "alicepw";
  up(world, p);
  CHECK(p.b.engine->ike_sas().front().peer_addresses == std::vector{kA2});
  CHECK(p.a.engine->ike_sas().front().peer_addresses == std::vector{kB2});
  world.begin_traffic();
  world.dead = {kA1};
  const bool moved = world.run_until([&] { return all_between(p, kA2, kB1); }, 120s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(moved);
  CHECK(connected(p.a) == 1);
  CHECK(p.b.engine->ike_sas().front().xauth_user == "alice");
  world.end_traffic();
}

TEST_CASE("MOBIKE: an address goes away under traffic, and so does loss whatever it takes: nothing is made anew",
          "[ikev2][mobike][rfc4555-3.5][rfc4555-3.7]") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World world(seed);
    const Pair p = roaming(world);
    up(world, p);
    world.begin_traffic();
    world.link = {.loss = seed % 4 == 0 ? 0 : 0.2, .duplicate = 0.1, .delay_min = 2ms, .delay_max = 60ms};
    const bool ours = seed % 2 == 0;
    world.dead = {ours ? kA1 : kB1};
    const bool moved = world.run_until([&] { return common_path(world, p).has_value(); }, 120s);
    INFO("seed " << seed << "\n" << p.a.transcript() << p.b.transcript());
    REQUIRE(moved);
    world.run(30s);
    CHECK(world.gaps.empty());
    CHECK(connected(p.a) == 1);
    CHECK(connected(p.b) == 1);
    CHECK(p.a.live_pairs() == 1);
    const auto path = common_path(world, p);
    REQUIRE(path);
    // And on, by other addresses on both sides.
    world.dead = {path->first, path->second};
    const bool back = world.run_until([&] { return common_path(world, p).has_value(); }, 180s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(back);
    CHECK(connected(p.a) == 1);
    world.end_traffic();
  }
}

TEST_CASE("MOBIKE: addresses change while everything is rekeyed: each new SA ends up where the old one is",
          "[ikev2][mobike][rfc4555-3.5]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    World world(seed);
    const Pair p = roaming(world);
    up(world, p);
    world.begin_traffic();
    world.link = {.loss = seed % 3 == 0 ? 0.15 : 0, .duplicate = 0, .delay_min = 5ms, .delay_max = 40ms};
    Host& first = seed % 2 == 0 ? p.a : p.b;
    Host& second = seed % 2 == 0 ? p.b : p.a;
    first.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(Duration(seed * 3 * 1ms));
    world.dead = {seed % 4 < 2 ? kA1 : kB1};
    second.step([&](ike::Engine& e) { (void)e.rekey(world.now, "c", "net", false); });
    if (seed % 5 == 0) second.step([&](ike::Engine& e) { (void)e.rekey(world.now, "c", "", true); });
    world.run(60s);
    const bool settled = world.run_until([&] { return common_path(world, p) && p.a.live_pairs() == 1 && p.b.live_pairs() == 1; }, 300s);
    INFO("seed " << seed << "\n" << p.a.transcript() << p.b.transcript());
    REQUIRE(settled);
    CHECK(connected(p.a) == 1);
    CHECK(connected(p.b) == 1);
    CHECK(world.gaps.empty());
    world.end_traffic();
  }
}

TEST_CASE("MOBIKE: a NAT on the new path is seen, and its end, too: UDP encapsulation comes and goes",
          "[ikev2][mobike][rfc4555-3.5][rfc4555-3.8]") {
  World world;
  const Pair p = roaming(world, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  const IpAddress outside = ip("10.9.7.7");
  world.add_nat(kA2, outside);
  up(world, p);
  world.begin_traffic();
  CHECK(p.b.current_out("net")->sa.remote.port == 0);
  world.dead = {kA1, kB2};
  REQUIRE(world.run_until([&] { return between(p.a, kA2, kB1) && between(p.b, kB1, outside); }, 60s));
  const auto ports = [](const Host& h) { return std::pair(h.current_out("net")->sa.local.port, h.current_out("net")->sa.remote.port); };
  CHECK(ports(p.a) == std::pair<std::uint16_t, std::uint16_t>{4500, 4500});
  CHECK(ports(p.b).first == 4500);
  CHECK(ports(p.b).second >= 20000);
  CHECK(p.b.inbound.begin()->second.sa.follow);
  CHECK(p.a.engine->ike_sas().front().nat_local);

  // Its mappings are forgotten: our next check of liveness shows it, and we say so.
  const auto old_port = p.b.engine->ike_sas().front().remote.port;
  world.run(10s);
  world.forget_nat();
  world.end_traffic();
  REQUIRE(world.run_until([&] { return p.b.engine->ike_sas().front().remote.port != old_port; }, 120s));
  CHECK(world.run_until([&] { return p.b.current_out("net")->sa.remote.port == p.b.engine->ike_sas().front().remote.port; }, 10s));

  world.dead = {outside, kA2, kB2};
  REQUIRE(world.run_until([&] { return all_between(p, kA1, kB1); }, 120s));
  CHECK(p.a.current_out("net")->sa.remote.port == 0);
  CHECK(p.b.current_out("net")->sa.remote.port == 0);
  CHECK_FALSE(p.b.inbound.begin()->second.sa.follow);
  CHECK(connected(p.b) == 1);
}

TEST_CASE("MOBIKE: the peer takes no address of ours but those configured: we stay, and try the others", "[ikev2][mobike][rfc4555-4.1.1]") {
  World world;
  const Pair p = roaming(world, [](auto&, auto& b) { b.connections[0].remote_addrs = {kA1}; });
  up(world, p);
  world.dead = {kA1};
  world.run(20s);
  world.dead.clear();
  world.run(60s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.transcript().find("refused") != std::string::npos);
  CHECK(all_between(p, kA1, kB1));
  CHECK(connected(p.a) == 1);
}

TEST_CASE("MOBIKE: when no path is left the peer is dead, as ever", "[ikev2][mobike][rfc4555-3.10]") {
  World world;
  const Pair p = roaming(world);
  up(world, p);
  world.dead = {kB1, kB2};
  REQUIRE(world.run_until([&] { return p.a.counted(ike::Exchange::Dpd, Reason::DpdTimeout) == 1; }, 300s));
  CHECK_FALSE(p.a.up());
  world.dead.clear();
  CHECK(world.run_until([&] { return both_up(p); }, 120s));
}
