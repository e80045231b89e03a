// What list-sas and list-conns are told of a connection: pairs without an ISAKMP SA, pairs of a former culvertd, attempts under way.
#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;

namespace {

void begin(Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(a.world.run_until([&] { return a.current_out("net") && b.current_out("net"); }, 60s));
}

}  // namespace

TEST_CASE("pairs outlive their ISAKMP SA, and are shown without one", "[view]") {
  World world;
  auto a_config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  auto b_config = site("10.9.0.2", "", config::StartAction::None);
  for (auto* c : {&a_config, &b_config}) {
    config::Connection& connection = c->connections[0];
    connection.rekey_time = Seconds{60};
    connection.over_time = Seconds{10};
    connection.rand_time = connection.dpd_delay = Seconds{0};
  }
  Host& a = world.add("A", a_config);
  Host& b = world.add("B", b_config);
  begin(a, b);
  CHECK(b.engine->lone_pairs().empty());
  CHECK(b.engine->ike_sas().at(0).children.size() == 1);
  world.hook = [](ike::Datagram&) { return false; };
  world.run(240s);  // the replacement of the ISAKMP SA fails, then its lifetime ends
  CHECK(b.engine->ike_sas().empty());
  const auto lone = b.engine->lone_pairs();
  REQUIRE(lone.size() == 1);
  CHECK(lone[0].connection == "c");
  REQUIRE(lone[0].children.size() == 1);
  CHECK(lone[0].children[0].state == ike::ChildState::Installed);
  CHECK(lone[0].children[0].suite.to_string() == "aes128gcm16");
  CHECK(b.live_pairs() == 1);
  CHECK(b.up());
}

TEST_CASE("a pair of a former culvertd is marked until its successor has taken over", "[view][restart]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  world.hook = [](ike::Datagram&) { return false; };
  a.restart();
  REQUIRE(a.engine->ike_sas().size() == 1);
  CHECK(a.engine->ike_sas()[0].suite == IkeSuite{});  // not agreed yet
  REQUIRE(a.engine->ike_sas()[0].children.size() == 1);
  CHECK(a.engine->ike_sas()[0].children[0].adopted);
  CHECK(a.engine->ike_sas()[0].children[0].suite == EspSuite{});  // the data plane's record has it
  world.hook = nullptr;
  world.run(60s);
  REQUIRE(a.live_pairs() == 1);
  for (const auto& sa : a.engine->ike_sas())
    for (const auto& pair : sa.children) CHECK_FALSE(pair.adopted);
}

TEST_CASE("a connection that waits for its peer says for which message", "[view][main_mode]") {
  World world;
  auto [a, b] = two_sites(world);
  const int lost = GENERATE(2, 4, 6);
  world.hook = [lost](ike::Datagram& d) { return main_mode_number(d, d.local.address.to_string() == "10.9.0.1") != lost; };
  a.start();
  b.start();
  world.run(20s);
  const auto status = a.engine->connections().at(0);
  CHECK_FALSE(status.up);
  CHECK_FALSE(status.failure);
  REQUIRE(status.connecting);
  CHECK(status.connecting->unanswered == static_cast<unsigned>(lost - 1));
  CHECK(world.now - status.connecting->since == 20s);
  const auto alone = a.engine->connections(status.connection);
  REQUIRE(alone.size() == 1);
  CHECK((alone[0].connecting && alone[0].connecting->since == status.connecting->since));
  CHECK(a.engine->connections("another").empty());
  CHECK_FALSE(b.engine->connections().at(0).connecting);  // it only responds
  world.hook = nullptr;
  CHECK(world.run_until([&] { return a.up(); }, 60s));
  CHECK_FALSE(a.engine->connections().at(0).connecting);
}
