// One identity from several places, with IKEv2: what `unique` makes of it, and what INITIAL_CONTACT does then (RFC 7296 §2.4).
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Unique;
using ike::Exchange;

namespace {

config::Identity name(const std::string& id) { return {config::Identity::Type::Fqdn, id}; }

void speak_v2(config::GatewayConfig& c) {
  c.connections[0].version = 2;
  c.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
}

/// Whoever comes is served; each has the network behind it that its address says, so that places are told apart by their traffic.
Host& add_gateway(World& world, Unique unique) {
  auto config = site("10.9.0.1", "", config::StartAction::None);
  speak_v2(config);
  config::Connection& c = config.connections[0];
  c.unique = unique;
  c.remote_id = {config::Identity::Type::Any, ""};
  c.children = {child("net", "10.1.0.0/24", "10.0.0.0/8", "aes128gcm16", config::StartAction::None)};
  return world.add("G", std::move(config));
}

Host& add_peer(World& world, int n, const std::string& id, Unique unique = Unique::Replace, int net = 0) {
  auto config = site("10.9.0." + std::to_string(n), "10.9.0.1", config::StartAction::None);
  speak_v2(config);
  config::Connection& c = config.connections[0];
  c.unique = unique;
  c.local_id = name(id);
  c.children = {
      child("net", "10.2." + std::to_string(net == 0 ? n : net) + ".0/24", "10.1.0.0/24", "aes128gcm16", config::StartAction::None)};
  return world.add(id + "@" + std::to_string(n), std::move(config));
}

void begin(World& world, Host& h) {
  h.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "").ok); });
}
bool connect(World& world, Host& h, Duration limit = 10s) {
  begin(world, h);
  return world.run_until([&] { return h.up(); }, limit);
}
bool serves(const Host& gateway, int n) { return gateway.current_out("net", "10.2." + std::to_string(n) + ".0/24") != nullptr; }
/// All memory of it is lost, and the other side does not know.
void crash(Host& h) {
  h.lose_plane();
  h.restart();
}
std::size_t established(const Host& h) {
  const auto all = h.engine->ike_sas();
  return static_cast<std::size_t>(std::ranges::count(all, ike::IkeState::Established, &ike::IkeSaInfo::state));
}
bool told(const Host& h, const std::string& text) { return h.transcript().find(text) != std::string::npos; }

}  // namespace

TEST_CASE("IKEv2: unique: replace: what the identity had elsewhere ends, and that end is told", "[ikev2][unique]") {
  World world;
  Host& gateway = add_gateway(world, Unique::Replace);
  Host &office = add_peer(world, 2, "p.example"), &home = add_peer(world, 3, "P.Example");  // the same name (RFC 4343 §3)
  Host& other = add_peer(world, 4, "q.example");
  for (Host* h : {&gateway, &office, &home, &other}) h->start();
  REQUIRE((connect(world, office) && connect(world, other)));
  REQUIRE(connect(world, home));
  world.run(10s);
  INFO(gateway.transcript());
  CHECK(told(gateway, "connected from elsewhere: what it had there ends (unique: replace)"));
  CHECK(established(office) == 0);
  CHECK((home.up() && other.up()));
  CHECK(established(gateway) == 2);
  CHECK((serves(gateway, 3) && serves(gateway, 4) && !serves(gateway, 2)));
}

TEST_CASE("IKEv2: unique: keep: the second place of an identity is refused until the first one is gone", "[ikev2][unique]") {
  World world;
  Host& gateway = add_gateway(world, Unique::Keep);
  Host &office = add_peer(world, 2, "p.example"), &home = add_peer(world, 3, "P.Example"), &other = add_peer(world, 4, "q.example");
  for (Host* h : {&gateway, &office, &home, &other}) h->start();
  REQUIRE(connect(world, office));
  CHECK_FALSE(connect(world, home, 5s));
  INFO(gateway.transcript() << home.transcript());
  CHECK(gateway.counted(Exchange::IkeAuth, Reason::AlreadyConnected) >= 1);
  CHECK(told(home, "AUTHENTICATION_FAILED"));
  CHECK(established(home) == 0);
  CHECK(connect(world, other));  // somebody else
  // Not newcomers: its rekeyings, and itself after all its memory is lost.
  for (Host* h : {&gateway, &office}) {
    h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true, h == &gateway ? "p.example" : "").ok); });
    world.run(10s);
  }
  CHECK((office.up() && serves(gateway, 2)));
  crash(office);
  REQUIRE(connect(world, office));
  world.run(10s);
  CHECK(established(gateway) == 2);
  // The first one leaves, or dies: then the other place may come.
  const bool dies = GENERATE(false, true);
  if (dies) {
    world.hook = [](ike::Datagram& d) {
      const auto gone = IpAddress::parse("10.9.0.2").value();
      return d.local.address != gone && d.remote.address != gone;
    };
    world.run(400s);
  } else {
    office.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
    world.run(1s);
  }
  CHECK(connect(world, home, 60s));
  CHECK(serves(gateway, 3));
}

TEST_CASE("IKEv2: unique: never: each place is a peer, and INITIAL_CONTACT is neither heeded nor sent", "[ikev2][unique][rfc7296-2.4]") {
  World world;
  Host& gateway = add_gateway(world, Unique::Never);
  // One of them says so all the same.
  Host &first = add_peer(world, 2, "group.example", Unique::Never), &second = add_peer(world, 3, "group.example", Unique::Replace);
  for (Host* h : {&gateway, &first, &second}) h->start();
  REQUIRE((connect(world, first) && connect(world, second)));
  world.run(10s);
  CHECK(established(gateway) == 2);
  CHECK((first.up() && second.up() && serves(gateway, 2) && serves(gateway, 3)));
  crash(second);
  REQUIRE(connect(world, second));
  CHECK(established(gateway) == 3);
  CHECK_FALSE(told(gateway, "INITIAL_CONTACT"));
  world.run(1s);  // what carries packets is what it has now, all the same
  const auto* sends = gateway.current_out("net", "10.2.3.0/24");
  REQUIRE(sends);
  CHECK(second.inbound.contains(sends->sa.spi.value));
  world.run(400s);  // what the other side does not have any more does not answer
  CHECK(established(gateway) == 2);
  CHECK((serves(gateway, 2) && serves(gateway, 3)));
  CHECK(second.live_pairs() == 1);

  World other;
  Host& heeds = add_gateway(other, Unique::Replace);
  Host& silent = add_peer(other, 2, "p.example", Unique::Never);
  for (Host* h : {&heeds, &silent}) h->start();
  REQUIRE(connect(other, silent));
  crash(silent);
  REQUIRE(connect(other, silent));
  CHECK_FALSE(told(heeds, "INITIAL_CONTACT"));
  CHECK(established(heeds) == 2);
}

TEST_CASE("IKEv2: unique: no: duplicates are allowed, until one of them says that it has begun anew",
          "[ikev2][unique][rfc7296-2.4][attack-G5]") {
  World world;
  Host& gateway = add_gateway(world, Unique::No);
  Host &first = add_peer(world, 2, "p.example", Unique::Never), &second = add_peer(world, 3, "p.example", Unique::Never);
  Host& stranger = add_peer(world, 5, "q.example", Unique::Never);
  // Where the first one was, in another place.
  Host& anew = add_peer(world, 4, "p.example", Unique::Replace, 2);
  for (Host* h : {&gateway, &first, &second, &stranger, &anew}) h->start();
  REQUIRE((connect(world, first) && connect(world, second) && connect(world, stranger)));
  world.run(10s);
  CHECK(established(gateway) == 3);
  CHECK((first.up() && second.up()));
  REQUIRE(connect(world, anew));  // it says INITIAL_CONTACT
  INFO(gateway.transcript());
  CHECK(told(gateway, "begun anew (INITIAL_CONTACT)"));
  world.run(10s);
  CHECK(established(gateway) == 2);
  CHECK((established(first) == 0 && established(second) == 0 && anew.up() && stranger.up()));
  CHECK((serves(gateway, 2) && serves(gateway, 5) && !serves(gateway, 3)));
}

TEST_CASE("IKEv2: unique: no: who dies and comes again from elsewhere has its network's packets at once, and wherever it goes then",
          "[ikev2][unique][rfc7296-2.4]") {
  const bool restarts = GENERATE(false, true);
  World world;
  Host& gateway = add_gateway(world, Unique::No);
  Host *here = &add_peer(world, 2, "p.example"), *there = &add_peer(world, 3, "p.example", Unique::Replace, 2);
  for (Host* h : {&gateway, here, there}) h->start();
  REQUIRE(connect(world, *here));
  for (int left = 1; left < 4; ++left) {
    world.run(1s);
    crash(*here);
    const IpAddress silent = here->config.connections[0].local_addrs[0], loud = there->config.connections[0].local_addrs[0];
    world.hook = [silent](ike::Datagram& d) { return d.local.address != silent && d.remote.address != silent; };
    REQUIRE(connect(world, *there));
    INFO(gateway.transcript());
    CHECK(gateway.inbound.size() > 1);  // nobody has answered a Delete
    const PlaneSa* sends = gateway.current_out("net", "10.2.2.0/24");
    REQUIRE(sends);
    CHECK(sends->sa.remote.address == loud);
    // A rekeying is under the same entry, whoever begins it.
    Host& begins = left % 2 == 0 ? gateway : *there;
    begins.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
    world.run(5s);
    sends = gateway.current_out("net", "10.2.2.0/24");
    REQUIRE(sends);
    CHECK(sends->sa.remote.address == loud);
    if (left == 2 && restarts) gateway.restart();  // what it finds that is the next place's takes packets in alone
    std::swap(here, there);
  }
  if (restarts) return;  // SAs of a former culvertd stay as long as they may
  world.run(200s);       // the Deletes were in vain
  CHECK(established(gateway) == 1);
  CHECK(gateway.inbound.size() == 1);
  REQUIRE(gateway.current_out("net", "10.2.2.0/24"));
  CHECK(here->inbound.contains(gateway.current_out("net", "10.2.2.0/24")->sa.spi.value));
}

TEST_CASE("IKEv2: unique, over a bad line, by seed: who may stay stays", "[ikev2][unique]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const Unique unique = std::array{Unique::Replace, Unique::Keep, Unique::Never, Unique::No}[seed % 4];
    CAPTURE(seed);
    World world(seed);
    world.link = {0.2, 0.1, 1ms, 60ms};
    Host& gateway = add_gateway(world, unique);
    Host &first = add_peer(world, 2, "p.example", Unique::Never), &second = add_peer(world, 3, "p.example", Unique::Never);
    for (Host* h : {&gateway, &first, &second}) h->start();
    REQUIRE(connect(world, first, 120s));
    world.run(5s);
    begin(world, second);
    world.run(180s);
    world.link = {};
    world.run(60s);
    const bool alone = unique == Unique::Replace || unique == Unique::Keep;
    CHECK(established(gateway) == (alone ? 1 : 2));
    CHECK(serves(gateway, unique == Unique::Replace ? 3 : 2));
    CHECK(second.up() == (unique != Unique::Keep));
  }
}
