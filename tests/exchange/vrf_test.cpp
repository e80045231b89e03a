// VRFs: messages of one are nobody's in another, and traffic of one is no other's.
#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {
IpAddress ip(const char* text) { return *IpAddress::parse(text); }
config::Identity name(const std::string& text) { return {config::Identity::Type::Fqdn, text}; }

Host& add_peer(World& world, const std::string& address, const std::string& id) {
  auto config = site(address, "10.9.0.1", config::StartAction::Start);
  config.connections[0].local_id = name(id);
  return world.add(id, std::move(config));
}
}  // namespace

TEST_CASE("a message that comes by another VRF is of no SA here, whatever cookies it names", "[peers][vrf]") {
  World world;
  VrfId by = 1;  // what A's data plane says of what arrives
  std::size_t elsewhere = 0;
  auto [a, b] = two_sites(world, [](config::GatewayConfig& ours, config::GatewayConfig&) {
    ours.vrfs = {"red", "blue"};
    ours.connections[0].vrf = {"red", 1};
  });
  world.hook = [&](ike::Datagram& d) {
    const bool from_a = d.local.address == ip("10.9.0.1");
    if (from_a && d.local.vrf != 1) ++elsewhere;
    d.local.vrf = d.remote.vrf = from_a ? kDefaultVrf : by;
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  for (const auto& [spi, sa] : a.inbound) CHECK((sa.sa.local.vrf == 1 && sa.sa.remote.vrf == 1));
  const auto before = a.reports(Reason::UnknownSa).size();
  by = 2;
  REQUIRE(b.engine->terminate(world.now, "c", "").ok);
  b.perform();
  world.run(20s);
  CHECK(a.live_pairs() == 1);
  CHECK(a.established() == 1);
  CHECK(a.reports(Reason::UnknownSa).size() > before);
  CHECK(elsewhere == 0);
}

TEST_CASE("messages of a watched address are those of its VRF", "[peers][watch][vrf]") {
  World world;
  const auto traced = [](const Host& host) {
    return std::ranges::count_if(host.log,
                                 [](const ike::Report& r) { return r.message.starts_with("in: ") || r.message.starts_with("out: "); });
  };
  auto [a, b] = two_sites(world, [](config::GatewayConfig& ours, config::GatewayConfig&) {
    ours.vrfs = {"red", "blue"};
    ours.connections[0].vrf = {"red", 1};
  });
  world.hook = [&](ike::Datagram& d) {
    d.local.vrf = d.remote.vrf = d.local.address == ip("10.9.0.1") ? kDefaultVrf : VrfId{1};
    return true;
  };
  a.engine->watch(world.now, {"", ip("10.9.0.2"), world.now + 60s, 2});
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up(); }, 30s));
  CHECK(traced(a) == 0);
  a.engine->watch(world.now, {"", ip("10.9.0.2"), world.now + 60s, 1});
  REQUIRE(a.engine->rekey(world.now, "c", "", false).ok);
  a.perform();
  world.run(5s);
  CHECK(traced(a) > 0);
}

TEST_CASE("peers of two connections have the same traffic, in two VRFs", "[peers][policy][vrf]") {
  World world;
  const bool apart = GENERATE(true, false);
  auto config = site("10.9.0.1", "", config::StartAction::None);
  config.connections[0].remote_id = name("*.red");
  config.connections[0].children[0].remote_ts = *TrafficSelector::parse("0.0.0.0/0");
  config.connections.push_back(config.connections[0]);
  config.connections[1].name = std::string("d");
  config.connections[1].remote_id = name("*.blue");
  config.vrfs = {"red", "blue"};
  config.connections[0].children[0].vrf = {"red", 1};
  config.connections[1].children[0].vrf = apart ? config::VrfRef{"blue", 2} : config::VrfRef{"red", 1};
  Host& gateway = world.add("gateway", std::move(config));
  gateway.secrets["d"] = gateway.secrets["c"];
  Host& first = add_peer(world, "10.9.0.2", "p.red");
  Host& second = add_peer(world, "10.9.0.3", "p.blue");
  gateway.start();
  first.start();
  REQUIRE(world.run_until([&] { return first.live_pairs() == 1; }, 60s));
  second.start();
  world.run(60s);
  CHECK(first.live_pairs() == 1);
  CHECK(second.live_pairs() == (apart ? 1U : 0U));
  CHECK((gateway.counted(ike::Exchange::QuickMode, Reason::SelectorMismatch) > 0) == !apart);
}
