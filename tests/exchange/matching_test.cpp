// What is meant: which connection a peer's address, which pair a packet, which ISAKMP SA a pair of cookies. And tunnels of many peers
// with the same selectors.
#include <random>

#include <catch2/catch.hpp>

#include "common/config/selectors.hpp"
#include "control/ike/connection_select.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {
IpAddress ip(const char* text) { return *IpAddress::parse(text); }
config::Identity name(const std::string& text) { return {config::Identity::Type::Fqdn, text}; }

/// Both ends' child "net" with two selectors on B's side.
void two_networks(config::GatewayConfig& a, config::GatewayConfig& b) {
  for (config::GatewayConfig* config : {&a, &b}) {
    config::Child& net = config->connections[0].children[0];
    net.start_action = config == &a ? config::StartAction::Trap : config::StartAction::None;
    const TrafficSelector first = *TrafficSelector::parse("10.2.0.0/24"), second = *TrafficSelector::parse("10.3.0.0/24");
    const std::vector<config::SideSelector> one{{*TrafficSelector::parse("10.1.0.0/24"), false}}, two{{first, false}, {second, false}};
    net.local_sides = config == &a ? one : two;
    net.remote_sides = config == &a ? two : one;
    config->connections[0].children = config::expand(config->connections[0].children);
  }
}
}  // namespace

TEST_CASE("an address before a network or range, that before anywhere", "[peers]") {
  config::GatewayConfig config;
  const auto add = [&](const char* text, const char* address, const char* range) {
    config::Connection c;
    c.name = text;
    c.local_addrs = {ip("10.9.0.1")};
    if (address != nullptr) c.remote_addrs = {ip(address)};
    if (range != nullptr) c.remote_ranges = {*TrafficSelector::parse(range)};
    config.connections.push_back(c);
  };
  add("any", nullptr, nullptr);
  add("network", nullptr, "10.9.4.0/24");
  add("range", "10.9.7.1", "10.9.4.250-10.9.5.9");
  add("one", "10.9.4.255", nullptr);
  using Found = std::vector<std::size_t>;
  const auto from = [&](const char* remote) { return ike::ConnectionsByPeer(config).candidates({ip("10.9.0.1"), 500}, ip(remote), 1); };
  CHECK(from("10.9.4.255") == Found{3, 1, 2, 0});
  CHECK(from("10.9.4.249") == Found{1, 0});
  CHECK(from("10.9.5.9") == Found{2, 0});
  CHECK(from("10.9.5.10") == Found{0});
  CHECK(from("10.9.7.1") == Found{2, 0});
  CHECK(ike::ConnectionsByPeer(config).candidates({ip("10.9.0.2"), 500}, ip("10.9.4.1"), 1).empty());
  CHECK(ike::ConnectionsByPeer(config).candidates({ip("10.9.0.1"), 500, VrfId{1}}, ip("10.9.4.1"), 1).empty());
  config.connections[2].vrf.id = config.connections[3].vrf.id = 1;
  CHECK(from("10.9.4.255") == Found{1, 0});
  CHECK(ike::ConnectionsByPeer(config).candidates({ip("10.9.0.1"), 500, VrfId{1}}, ip("10.9.4.255"), 1) == Found{3, 2});
}

TEST_CASE("whoever asks finds the connections that going through all of them would find", "[peers]") {
  std::mt19937 random(5);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const auto address = [&] { return IpAddress::v4(0x0a090000 + below(40)); };
  for (int round = 0; round < 50; ++round) {
    config::GatewayConfig config;
    for (unsigned i = below(60); i > 0; --i) {
      config::Connection& c = config.connections.emplace_back();
      c.version = below(2) ? 1 : 2;
      c.vrf.id = static_cast<VrfId>(below(2));
      for (unsigned n = below(3); n > 0; --n) c.local_addrs.push_back(address());
      for (unsigned n = below(4); n > 0; --n) c.remote_addrs.push_back(address());
      for (unsigned n = below(2); n > 0; --n)
        c.remote_ranges.push_back(TrafficSelector::from({address(), static_cast<std::uint8_t>(27 + below(6))}));
    }
    const ike::ConnectionsByPeer by_peer(config);
    for (int asked = 0; asked < 200; ++asked) {
      const Endpoint local{address(), 500, static_cast<VrfId>(below(2))};
      const IpAddress remote = address();
      const auto version = static_cast<std::uint8_t>(below(3));
      std::array<std::vector<std::size_t>, 3> found;  // by name, by range, anywhere
      for (std::size_t i = 0; i < config.connections.size(); ++i) {
        const config::Connection& c = config.connections[i];
        const bool here = c.local_addrs.empty() || std::ranges::count(c.local_addrs, local.address) != 0;
        if (c.vrf.id != local.vrf || (version != 0 && c.version != version) || !here) continue;
        if (std::ranges::count(c.remote_addrs, remote) != 0)
          found[0].push_back(i);
        else if (std::ranges::any_of(c.remote_ranges, [&](const TrafficSelector& r) { return r.matches(remote, 0, 0); }))
          found[1].push_back(i);
        else if (c.remote_addrs.empty() && c.remote_ranges.empty())
          found[2].push_back(i);
      }
      std::vector<std::size_t> wanted;
      for (const auto& part : found) wanted.insert(wanted.end(), part.begin(), part.end());
      REQUIRE(by_peer.candidates(local, remote, version) == wanted);
      REQUIRE(by_peer.any(local, remote, version) == !wanted.empty());
    }
  }
}

TEST_CASE("a packet brings up the pair for the selectors that it hits, and no other", "[peers][trap][rfc4301-4.4.1.2]") {
  World world;
  auto [a, b] = two_sites(world, two_networks);
  a.start();
  b.start();
  world.run(30s);
  CHECK(a.engine->ike_sas().empty());
  for (int packet = 0; packet < 5; ++packet) {  // the data plane tells each second
    a.engine->on_acquire(world.now, "c", "net/1x2");
    a.perform();
    world.run(1s);
  }
  CHECK(a.live_pairs("net/1x2") == 1);
  CHECK(b.live_pairs("net/2x1") == 1);
  CHECK(a.live_pairs("net/1x1") == 0);
  CHECK(a.counted(ike::Exchange::QuickMode, Reason::Ok) == 1);
  a.engine->on_acquire(world.now, "c", "net/1x1");
  a.perform();
  world.run(2s);
  CHECK(a.live_pairs("net/1x1") == 1);
  CHECK(a.established() == 1);
  CHECK(a.current_out("net/1x1")->sa.remote_ts.to_string() == "10.2.0.0/24");
  CHECK(a.current_out("net/1x2")->sa.remote_ts.to_string() == "10.3.0.0/24");
}

TEST_CASE("packets for a pair on demand that cannot be had try again, ever more seldom", "[peers][trap]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ours, auto& theirs) {
    two_networks(ours, theirs);
    theirs.connections[0].children.pop_back();  // no second network there
  });
  a.start();
  b.start();
  for (int second = 0; second < 120; ++second) {
    a.engine->on_acquire(world.now, "c", "net/1x2");
    a.perform();
    world.run(1s);
  }
  const std::size_t tries = a.counted(ike::Exchange::QuickMode, Reason::PeerSelectorMismatch);
  CHECK(tries >= 2);
  CHECK(tries <= 8);
  a.engine->on_acquire(world.now, "c", "net/1x1");
  a.perform();
  world.run(5s);
  CHECK(a.live_pairs("net/1x1") == 1);
}

TEST_CASE("two tunnels with the same selectors to two peers, at the same time", "[peers][tunnels]") {
  World world;
  const auto everything = [](config::GatewayConfig& config, const std::string& tunnel) {
    config::Child& net = config.connections[0].children[0];
    net.local_ts = net.remote_ts = *TrafficSelector::parse("0.0.0.0/0");
    net.tunnel = tunnel;
  };
  auto config = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  everything(config, "st0");
  config.connections[0].remote_id = name("b.example");
  config.connections.push_back(config.connections[0]);
  config.connections[1].name = "d";
  config.connections[1].remote_addrs = {ip("10.9.0.3")};
  config.connections[1].remote_id = name("d.example");
  config.connections[1].children[0].tunnel = "st1";
  Host& gateway = world.add("gateway", std::move(config));
  gateway.secrets["d"] = "secret";
  std::vector<Host*> peers;
  for (const auto& [address, id] : {std::pair("10.9.0.2", "b.example"), std::pair("10.9.0.3", "d.example")}) {
    auto theirs = site(address, "10.9.0.1", config::StartAction::None);
    everything(theirs, "st0");
    theirs.connections[0].local_id = name(id);
    peers.push_back(&world.add(id, std::move(theirs)));
  }
  for (Host* peer : peers) peer->start();
  gateway.start();
  REQUIRE(world.run_until([&] { return gateway.up("c") && gateway.up("d"); }, 60s));
  for (const PlaneSa& sa : gateway.outbound) CHECK_FALSE(sa.sa.own_policy);  // each is under its tunnel's policy
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::Ok) == 2);
  CHECK(gateway.engine->rekey(world.now, "d", "net", false).ok);
  gateway.perform();
  world.run(5s);
  CHECK(gateway.up("c"));
  CHECK(gateway.up("d"));
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::SelectorMismatch) == 0);
}

namespace {

/// One connection of ours with two children; the peer has a connection for each of them, "c" and "d".
struct TwoConnections {
  World world;
  Host& gateway;
  Host& peer;
  TwoConnections() : gateway(add_gateway(world)), peer(add_peer(world)) {
    peer.secrets["d"] = "secret";
    gateway.start();
    peer.start();
    REQUIRE(world.run_until([&] { return gateway.live_pairs("net") == 1 && gateway.live_pairs("more") == 1; }, 60s));
    CHECK(gateway.established() == 2);
  }
  static Host& add_gateway(World& w) {
    auto ours = site("10.9.0.1", "10.9.0.2", config::StartAction::None);
    ours.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.0.0/24", "aes128gcm16", config::StartAction::None));
    return w.add("gateway", std::move(ours));
  }
  static Host& add_peer(World& w) {
    auto theirs = site("10.9.0.2", "10.9.0.1", config::StartAction::Start);
    theirs.connections.push_back(theirs.connections[0]);
    theirs.connections[1].name = "d";
    theirs.connections[1].children = {child("more", "10.2.0.0/24", "10.1.1.0/24", "aes128gcm16", config::StartAction::Start)};
    return w.add("peer", std::move(theirs));
  }
};

}  // namespace

TEST_CASE("several ISAKMP SAs to one peer are told apart by their cookies", "[peers][rfc2408-2.5.3]") {
  TwoConnections t;
  auto& [world, gateway, peer] = t;
  const auto sas = gateway.engine->ike_sas();
  REQUIRE(sas.size() == 2);
  CHECK(sas[0].spi_i != sas[1].spi_i);
  CHECK(sas[0].spi_r != sas[1].spi_r);
  world.run(60s);  // neither is taken for the other's successor, whose Delete was lost
  CHECK(gateway.established() == 2);
  CHECK(peer.up("c"));
  CHECK(peer.up("d", "more"));
  REQUIRE(gateway.engine->rekey(world.now, "c", "net", false).ok);  // under the one that the peer knows it by
  gateway.perform();
  world.run(10s);
  CHECK(gateway.live_pairs("net") == 1);
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::PeerSelectorMismatch) == 0);
  REQUIRE(peer.engine->terminate(world.now, "c", "").ok);
  peer.perform();
  world.run(2s);
  CHECK(gateway.established() == 1);
  CHECK(gateway.live_pairs("net") == 0);
  CHECK(gateway.live_pairs("more") == 1);
  REQUIRE(peer.engine->rekey(world.now, "d", "more", false).ok);
  peer.perform();
  world.run(2s);
  CHECK(gateway.live_pairs("more") >= 1);
  CHECK(gateway.established() == 1);
}

TEST_CASE("one child of a peer with a connection for each ends: the peer learns of it under the right one",
          "[peers][delete][rfc2408-2.5.3]") {
  TwoConnections t;
  auto& [world, gateway, peer] = t;
  const std::string ended = GENERATE("net", "more");
  world.run(10s);
  REQUIRE(gateway.engine->terminate(world.now, "c", ended).ok);
  gateway.perform();
  world.run(100ms);
  CHECK(peer.reports(Reason::DeletedByPeer).size() == 1);
  CHECK(peer.up("c", "net") == (ended != "net"));
  CHECK(peer.up("d", "more") == (ended != "more"));
}

TEST_CASE("a peer with two connections replaces the ISAKMP SA of one: the other one's stays", "[peers][rekey][rfc2408-2.5.3]") {
  TwoConnections t;
  auto& [world, gateway, peer] = t;
  const std::string replaced = GENERATE("c", "d");
  world.run(30s);
  for (int round = 0; round < 2; ++round) {
    REQUIRE(peer.engine->rekey(world.now, replaced, "", true).ok);
    peer.perform();
    world.run(90s);
    CHECK(gateway.established() == 2);
    CHECK(peer.established() == 2);
  }
  CHECK(peer.reports(Reason::DeletedByPeer).empty());
  for (const char* name : {"net", "more"}) {
    REQUIRE(gateway.engine->rekey(world.now, "c", name, false).ok);
    gateway.perform();
    world.run(30s);
    CHECK(gateway.live_pairs(name) == 1);
  }
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::PeerSelectorMismatch) == 0);
  CHECK(gateway.established() == 2);
}

TEST_CASE("successors that serve one child each are not taken for two connections of the peer", "[peers][rekey][rfc2408-2.5.3]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ours, auto& theirs) {
    ours.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.0.0/24", "aes128gcm16", config::StartAction::Start));
    theirs.connections[0].children.push_back(child("more", "10.2.0.0/24", "10.1.1.0/24", "aes128gcm16", config::StartAction::None));
    ours.connections[0].dpd_delay = theirs.connections[0].dpd_delay = config::Seconds{0};
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.live_pairs("net") == 1 && a.live_pairs("more") == 1; }, 60s));
  const auto rekey = [&](const std::string& name, bool isakmp) {
    REQUIRE(b.engine->rekey(world.now, "c", name, isakmp).ok);
    b.perform();
    world.run(4s);
  };
  rekey("", true);
  rekey("net", false);
  rekey("", true);
  world.hook = [&](ike::Datagram& d) { return d.local.address != b.config.connections[0].local_addrs[0] || b.established() > 1; };
  rekey("more", false);
  world.run(16s);  // the Delete of its second ISAKMP SA is lost
  world.hook = nullptr;
  world.run(60s);
  CHECK(b.established() == 1);
  CHECK(a.established() == 1);
  CHECK(a.live_pairs("net") == 1);
  CHECK(a.live_pairs("more") == 1);
}

TEST_CASE("a certificate means the connection that trusts its authority", "[peers][signatures][main_mode]") {
  World world;
  const auto several = [](config::GatewayConfig&, config::GatewayConfig& b) {
    for (const char* other : {"d", "e"}) {
      config::Connection more = b.connections[0];
      more.name = other;
      more.children[0].local_ts = *TrafficSelector::parse("10.2.0.0/24");
      b.connections.push_back(more);
    }
  };
  auto [a, b] = two_signing_sites(world, ike::AuthMethod::EcdsaP256, several);
  b.keys["d"] = b.keys["e"] = ike::AuthMethod::EcdsaP256;
  const std::string trusted = GENERATE("c", "d", "e", "nobody");
  for (const std::string one : {"c", "d", "e"})
    if (one != trusted) b.distrusted.insert(one + ": A");
  a.start();
  b.start();
  world.run(4s);
  INFO(b.transcript());
  const bool taken = trusted != "nobody";
  CHECK(a.established() == (taken ? 1U : 0U));
  for (const std::string one : {"c", "d", "e"}) CHECK(b.up(one) == (one == trusted));
  if (taken) return;
  CHECK(b.counted(ike::Exchange::MainMode, Reason::CertUntrusted) >= 1);
  CHECK(b.engine->failures("c").size() == 1);  // the first one says it
  CHECK(b.engine->failures("d").empty());
  REQUIRE(b.verified.size() % 3 == 0);  // each was asked once an attempt
}

TEST_CASE("a certificate that its authority's connection refuses is not tried elsewhere", "[peers][signatures][main_mode]") {
  World world;
  auto [a, b] = two_signing_sites(world, ike::AuthMethod::EcdsaP256, [](config::GatewayConfig&, config::GatewayConfig& theirs) {
    theirs.connections.push_back(theirs.connections[0]);
    theirs.connections[1].name = "d";
  });
  b.keys["d"] = ike::AuthMethod::EcdsaP256;
  a.signature = Bytes(64, 7);
  a.start();
  b.start();
  world.run(300ms);
  CHECK(b.verified.size() == 1);
  CHECK(a.established() == 0);
}

TEST_CASE("unique: replace: what an identity had begun from elsewhere ends at once, on both sides", "[peers][unique]") {
  World world;
  auto ours = site("10.9.0.1", "", config::StartAction::None);
  ours.connections[0].children[0].remote_dynamic = true;  // two places are no rivals for traffic
  Host& gateway = world.add("gateway", std::move(ours));
  std::vector<Host*> places;
  for (const char* address : {"10.9.0.2", "10.9.0.3"}) {
    auto theirs = site(address, "10.9.0.1", config::StartAction::None);
    theirs.connections[0].local_id = name("p.example");
    theirs.connections[0].children[0].local_dynamic = true;
    places.push_back(&world.add(address, std::move(theirs)));
  }
  gateway.start();
  for (Host* place : places) place->start();
  const auto begin = [&](Host& place) {
    REQUIRE(place.engine->initiate(world.now, "c", "net").ok);
    place.perform();
    world.run(2s);
  };
  begin(*places[0]);
  CHECK(gateway.live_pairs() == 1);
  begin(*places[1]);
  CHECK(gateway.established() == 1);
  CHECK(gateway.live_pairs() == 1);
  CHECK(gateway.current_out("net")->sa.remote.address == ip("10.9.0.3"));
  CHECK(places[0]->established() == 0);
  CHECK(places[0]->live_pairs() == 0);
  CHECK(places[1]->live_pairs() == 1);
  begin(*places[0]);  // and back
  CHECK(gateway.established() == 1);
  CHECK(gateway.current_out("net")->sa.remote.address == ip("10.9.0.2"));
  CHECK(places[1]->established() == 0);
}
