// One connection, many peers: a gateway for whoever knows the secret, each identity with a run of its own.
#include <catch2/catch.hpp>

#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;

namespace {

config::Identity name(const std::string& text) { return {config::Identity::Type::Fqdn, text}; }

/// A gateway at 10.9.0.1 that knows nobody's address.
Host& add_gateway(World& world, config::Unique unique = config::Unique::Replace, const char* remote_id = nullptr) {
  auto config = site("10.9.0.1", "", config::StartAction::None);
  config.connections[0].unique = unique;
  if (remote_id != nullptr) config.connections[0].remote_id = name(remote_id);
  return world.add("gateway", std::move(config));
}

/// A peer that calls itself `id`.
Host& add_peer(World& world, const std::string& address, const std::string& id) {
  auto config = site(address, "10.9.0.1", config::StartAction::Start);
  config.connections[0].local_id = name(id);
  return world.add(id + "@" + address, std::move(config));
}

std::size_t isakmp_with(const Host& host, const std::string& id) {
  const auto sas = host.engine->ike_sas();
  return static_cast<std::size_t>(
      std::ranges::count_if(sas, [&](const ike::IkeSaInfo& sa) { return sa.remote_id == id && sa.state == ike::IkeState::Established; }));
}

bool connected(const Host& host) { return host.established() == 1; }
ike::ConnectionStatus status(const Host& host) { return host.engine->connections().at(0); }

}  // namespace

TEST_CASE("many peers on one connection: each has its own ISAKMP SA and its own end", "[peers]") {
  World world;
  Host& gateway = add_gateway(world);
  std::vector<Host*> peers;
  for (int i = 2; i < 7; ++i) peers.push_back(&add_peer(world, "10.9.0." + std::to_string(i), "p" + std::to_string(i) + ".example"));
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return std::ranges::all_of(peers, [](const Host* p) { return connected(*p); }); }, 60s));
  CHECK(gateway.established() == 5);
  CHECK(status(gateway).peers == 5);
  CHECK(status(gateway).up);
  CHECK(gateway.counted(ike::Exchange::MainMode, Reason::Ok) == 5);

  const auto ended = gateway.engine->terminate(world.now, "c", "", "p3.example");
  gateway.perform();
  CHECK(ended.ok);
  CHECK(ended.message.starts_with("Ended 1 ISAKMP SA and"));
  CHECK(isakmp_with(gateway, "p3.example") == 0);
  CHECK(status(gateway).peers == 4);
  CHECK_FALSE(gateway.engine->terminate(world.now, "c", "", "nobody.example").ok);
  CHECK(gateway.engine->rekey(world.now, "c", "", true, "10.9.0.4").message == "Replacing the ISAKMP SA of \"c\".");
  gateway.perform();
  world.run(60s);  // p3 comes again, since it wants to
  CHECK(status(gateway).peers == 5);
  CHECK(gateway.established() == 5);

  CHECK(gateway.engine->terminate(world.now, "c", "").message.starts_with("Ended 5 ISAKMP SAs"));
  gateway.perform();
  CHECK(status(gateway).peers == 0);
}

TEST_CASE("an identity that connects from elsewhere takes the place of its old SAs", "[peers][unique]") {
  World world;
  Host& gateway = add_gateway(world, config::Unique::Replace, GENERATE(static_cast<const char*>(nullptr), "p.example"));
  Host& office = add_peer(world, "10.9.0.2", "p.example");
  Host& home = add_peer(world, "10.9.0.3", "p.example");
  gateway.start();
  office.start();
  REQUIRE(world.run_until([&] { return gateway.current_out("net") != nullptr; }, 60s));
  CHECK(gateway.current_out("net")->sa.remote.address == office.config.connections[0].local_addrs[0]);
  CHECK(office.engine->terminate(world.now, "c", "net").ok);  // it wants nothing more; its messages are lost
  const auto old = office.config.connections[0].local_addrs[0];
  world.hook = [old](ike::Datagram& d) { return d.local.address != old && d.remote.address != old; };
  office.perform();
  home.start();
  REQUIRE(world.run_until([&] { return connected(home) && home.live_pairs() == 1; }, 60s));
  world.run(1s);
  CHECK(gateway.current_out("net")->sa.remote.address == home.config.connections[0].local_addrs[0]);
  world.run(120s);
  CHECK(gateway.established() == 1);
  CHECK(gateway.live_pairs() == 1);
  CHECK(status(gateway).peers == 1);
}

TEST_CASE("unique: keep refuses the second place of an identity until the first one is gone", "[peers][unique]") {
  World world;
  Host& gateway = add_gateway(world, config::Unique::Keep);
  Host& office = add_peer(world, "10.9.0.2", "p.example");
  Host& home = add_peer(world, "10.9.0.3", "P.Example");  // the same name (RFC 4343)
  gateway.start();
  office.start();
  REQUIRE(world.run_until([&] { return connected(office); }, 60s));
  home.start();
  world.run(30s);
  CHECK_FALSE(connected(home));
  CHECK(gateway.established() == 1);
  CHECK(gateway.counted(ike::Exchange::MainMode, Reason::AlreadyConnected) > 0);
  CHECK(home.counted(ike::Exchange::MainMode, Reason::PeerRefused) > 0);
  CHECK(gateway.engine->rekey(world.now, "c", "", true).ok);  // not a newcomer
  gateway.perform();
  world.run(30s);
  CHECK(gateway.established() == 1);
  CHECK(connected(office));

  office.engine->shutdown(world.now);
  office.perform();
  CHECK(world.run_until([&] { return connected(home) && home.live_pairs() == 1; }, 120s));
}

TEST_CASE("unique: never: one identity from three places is three peers, and INITIAL-CONTACT of one is its own affair",
          "[peers][unique][attack-G5]") {
  World world;
  Host& gateway = add_gateway(world, config::Unique::Never, "group.example");
  std::vector<Host*> peers;
  for (const char* address : {"10.9.0.2", "10.9.0.3", "10.9.0.4"}) peers.push_back(&add_peer(world, address, "group.example"));
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return gateway.established() == 3; }, 60s));
  world.run(60s);
  CHECK(isakmp_with(gateway, "group.example") == 3);
  CHECK(status(gateway).peers == 3);
  // One of them restarts.
  peers[1]->restart();
  world.run(60s);
  CHECK(isakmp_with(gateway, "group.example") == 3);
  CHECK(status(gateway).peers == 3);
  for (const Host* peer : peers) CHECK(connected(*peer));
}

TEST_CASE("three peers behind one NAT address are told apart", "[peers][nat][attack-L4]") {
  World world;
  const bool shared = GENERATE(false, true);
  Host& gateway = add_gateway(world, shared ? config::Unique::Never : config::Unique::Replace);
  std::vector<Host*> peers;
  for (int i = 2; i < 5; ++i) {
    const std::string address = "10.9.0." + std::to_string(i);
    world.add_nat(IpAddress::parse(address).value(), IpAddress::parse("10.9.9.9").value());
    peers.push_back(&add_peer(world, address, shared ? "group.example" : "p" + std::to_string(i) + ".example"));
  }
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return gateway.established() == 3; }, 60s));
  CHECK(status(gateway).peers == 3);
  for (const auto& sa : gateway.engine->ike_sas()) CHECK(sa.remote.address.to_string() == "10.9.9.9");
  // Their mappings change, all at once: what comes from the new ones, authenticated, moves them.
  world.run(60s);
  world.forget_nat();
  world.run(120s);
  CHECK(status(gateway).peers == 3);
  for (const Host* peer : peers) CHECK(connected(*peer));
  CHECK(gateway.counted(ike::Exchange::Dpd, Reason::DpdTimeout) == 0);
}

TEST_CASE("what a peer leaves behind is its failure alone", "[peers]") {
  World world;
  Host& gateway = add_gateway(world);
  Host& peer = add_peer(world, "10.9.0.2", "p.example");
  peer.config.connections[0].children[0] = child("net", "10.77.0.0/24", "10.1.0.0/24", "aes128gcm16", config::StartAction::Start);
  gateway.start();
  peer.start();
  REQUIRE(world.run_until([&] { return gateway.counted(ike::Exchange::QuickMode, Reason::SelectorMismatch) > 0; }, 60s));
  peer.engine->shutdown(world.now);
  peer.perform();
  world.run(60s);
  CHECK(gateway.engine->ike_sas().empty());
  REQUIRE(status(gateway).failure);
  CHECK(status(gateway).failure->reason == Reason::SelectorMismatch);
}

// ---------------------------------------------------------------------------------------------------------------- selectors of peers

namespace {

/// What a peer asks for: `remote_ts` of the gateway's child.
config::Child part(const std::string& own) { return child("net", own, "10.1.0.0/24", "aes128gcm16", config::StartAction::Start); }

config::Child dynamic_child(const config::Child& like, bool local, bool remote) {
  config::Child out = like;
  const auto all = TrafficSelector::parse("0.0.0.0/0").value();
  out.local_dynamic = local;
  out.remote_dynamic = remote;
  if (local) out.local_ts = all;
  if (remote) out.remote_ts = all;
  return out;
}

Host& add_wide_gateway(World& world) {
  auto config = site("10.9.0.1", "", config::StartAction::None);
  config.connections[0].children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
  return world.add("gateway", std::move(config));
}

Host& add_part(World& world, int n, const std::string& own) {
  auto config = site("10.9.0." + std::to_string(n), "10.9.0.1", config::StartAction::Start);
  config.connections[0].local_id = name("p" + std::to_string(n) + ".example");
  config.connections[0].children = {part(own)};
  return world.add("p" + std::to_string(n), std::move(config));
}

}  // namespace

TEST_CASE("each peer has the part of a wide child that it asks for, under a policy of its own", "[peers][policy][attack-I2]") {
  World world(GENERATE(1, 2, 3));
  world.link = {0.1, 0.1, 5ms, 40ms};
  Host& gateway = add_wide_gateway(world);
  std::vector<Host*> peers;
  for (int i = 2; i < 6; ++i) peers.push_back(&add_part(world, i, "10.2." + std::to_string(i) + ".0/24"));
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return std::ranges::all_of(peers, [](const Host* p) { return p->live_pairs() == 1; }); }, 240s));
  world.run(30s);
  world.link = {};
  CHECK(gateway.live_pairs() == 4);
  for (int i = 2; i < 6; ++i) {
    const PlaneSa* out = gateway.current_out("net", "10.2." + std::to_string(i) + ".0/24");
    REQUIRE(out);
    CHECK(out->sa.own_policy);
    CHECK(out->sa.remote.address.to_string() == "10.9.0." + std::to_string(i));
    CHECK(out->sa.local_ts.to_string() == "10.1.0.0/24");
  }
  // A rekey from our side keeps each peer's selectors, and leaves no gap.
  world.begin_traffic();
  CHECK(gateway.engine->rekey(world.now, "c", "net", false).message == "Rekeying 4 pairs of IPsec SAs.");
  gateway.perform();
  world.run(60s);
  world.end_traffic();
  CHECK(world.gaps.empty());
  CHECK(gateway.live_pairs() == 4);
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::PeerSelectorMismatch) == 0);
  CHECK(gateway.current_out("net", "10.2.3.0/24")->sa.remote_ts.to_string() == "10.2.3.0/24");
}

TEST_CASE("several pairs of one peer in a wide child: each is replaced in time, by itself", "[peers][policy][rfc2408-4.2]") {
  World world(GENERATE(1, 2, 3, 4));
  Host& gateway = add_wide_gateway(world);
  gateway.config.connections[0].children[0].rekey_time = 60s;
  gateway.config.connections[0].children[0].rand_time = 10s;
  gateway.engine = std::make_unique<ike::Engine>(gateway.config, gateway);
  Host& peer = add_part(world, 2, "10.2.1.0/24");
  const std::vector<std::string> parts{"10.2.1.0/24", "10.2.2.0/24", "10.2.3.0/24"};
  for (std::size_t i = 1; i < parts.size(); ++i) {
    peer.config.connections[0].children.push_back(part(parts[i]));
    peer.config.connections[0].children.back().name = "n" + std::to_string(i);
  }
  peer.engine = std::make_unique<ike::Engine>(peer.config, peer);
  gateway.start();
  peer.start();
  const auto spis = [&] {
    std::vector<Spi> out;
    for (const std::string& p : parts)
      if (const PlaneSa* sa = gateway.current_out("net", p)) out.push_back(sa->sa.spi);
    return out;
  };
  REQUIRE(world.run_until([&] { return spis().size() == 3; }, 60s));
  world.begin_traffic();
  auto before = spis();
  for (int round = 0; round < 3; ++round) {
    world.run(75s);
    const auto after = spis();
    REQUIRE(after.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(after[i] != before[i]);
    before = after;
  }
  CHECK(gateway.engine->rekey(world.now, "c", "net", false).message == "Rekeying 3 pairs of IPsec SAs.");
  gateway.perform();
  world.run(30s);
  world.end_traffic();
  for (std::size_t i = 0; i < 3; ++i) CHECK(spis()[i] != before[i]);
  CHECK(world.gaps.empty());
  CHECK((gateway.live_pairs() == 3 && peer.inbound.size() == 3));
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::Expired) == 0);
}

TEST_CASE("of two peers that want the same traffic the first one keeps it while its pair is there", "[peers][policy][attack-I6]") {
  World world;
  Host& gateway = add_wide_gateway(world);
  Host& first = add_part(world, 2, "10.2.2.0/24");
  Host& second = add_part(world, 3, GENERATE("10.2.2.0/24", "10.2.2.128/25", "10.2.0.0/16"));
  gateway.start();
  first.start();
  REQUIRE(world.run_until([&] { return first.live_pairs() == 1; }, 60s));
  second.start();
  world.run(60s);
  CHECK(first.live_pairs() == 1);
  CHECK(second.live_pairs() == 0);
  CHECK(gateway.established() == 2);
  CHECK(gateway.live_pairs() == 1);
  CHECK(gateway.counted(ike::Exchange::QuickMode, Reason::SelectorMismatch) > 0);
  CHECK(second.counted(ike::Exchange::QuickMode, Reason::PeerSelectorMismatch) > 0);
  first.engine->shutdown(world.now);
  first.perform();
  CHECK(world.run_until([&] { return second.live_pairs() == 1; }, 180s));
}

TEST_CASE("dynamic selectors are the addresses of the two peers", "[peers][policy]") {
  World world;
  auto gateway_config = site("10.9.0.1", "", config::StartAction::None);
  gateway_config.connections[0].children[0] = dynamic_child(gateway_config.connections[0].children[0], false, true);
  Host& gateway = world.add("gateway", std::move(gateway_config));
  std::vector<Host*> peers;
  for (int i = 2; i < 4; ++i) {
    auto config = site("10.9.0." + std::to_string(i), "10.9.0.1", config::StartAction::Start);
    config.connections[0].local_id = name("p" + std::to_string(i) + ".example");
    config.connections[0].children[0] = dynamic_child(config.connections[0].children[0], true, false);
    peers.push_back(&world.add("p" + std::to_string(i), std::move(config)));
  }
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return std::ranges::all_of(peers, [](const Host* p) { return p->live_pairs() == 1; }); }, 60s));
  world.run(1s);
  for (int i = 2; i < 4; ++i) {
    const std::string address = "10.9.0." + std::to_string(i);
    REQUIRE(gateway.current_out("net", address + "/32"));
    CHECK(gateway.current_out("net", address + "/32")->sa.remote.address.to_string() == address);
  }
  CHECK(peers[0]->current_out("net")->sa.local_ts.to_string() == "10.9.0.2/32");
  CHECK(peers[0]->current_out("net")->sa.own_policy);
}

TEST_CASE("a restart finds the peers' pairs again, and each one's successor takes its place", "[peers][policy][restart]") {
  World world;
  Host& gateway = add_wide_gateway(world);
  std::vector<Host*> peers{&add_part(world, 2, "10.2.2.0/24"), &add_part(world, 3, "10.2.3.0/24")};
  gateway.start();
  for (Host* peer : peers) peer->start();
  REQUIRE(world.run_until([&] { return std::ranges::all_of(peers, [](const Host* p) { return p->live_pairs() == 1; }); }, 60s));
  world.run(1s);
  gateway.restart();
  CHECK(gateway.live_pairs() == 2);  // adopted
  // Another one may not have what an adopted pair carries.
  Host& thief = add_part(world, 4, "10.2.3.0/24");
  thief.start();
  world.run(20s);
  CHECK(thief.live_pairs() == 0);
  for (Host* peer : peers) peer->restart();
  world.run(120s);
  CHECK(gateway.live_pairs() == 2);
  for (int i = 2; i < 4; ++i) {
    REQUIRE(gateway.current_out("net", "10.2." + std::to_string(i) + ".0/24"));
    CHECK(gateway.current_out("net", "10.2." + std::to_string(i) + ".0/24")->sa.remote.address.to_string() ==
          "10.9.0." + std::to_string(i));
  }
  for (const auto& sa : gateway.engine->ike_sas())
    for (const auto& pair : sa.children) CHECK_FALSE(pair.adopted);
  CHECK(gateway.engine->lone_pairs().empty());
}

TEST_CASE("a peer that answers with more than it was asked for, at a rekey, changes nothing", "[peers][attack-I3]") {
  World world;
  auto [a, b] = two_sites(world);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.live_pairs() == 1 && b.live_pairs() == 1; }, 60s));
  // B has a wider child from now on; what it is asked for by A is what it gives, and the pair keeps its selectors.
  b.config.connections[0].children[0].remote_ts = TrafficSelector::parse("10.0.0.0/8").value();
  CHECK(b.engine->rekey(world.now, "c", "net", false).ok);
  b.perform();
  world.run(60s);
  CHECK(a.live_pairs() == 1);
  CHECK(b.current_out("net")->sa.remote_ts.to_string() == "10.1.0.0/24");
}

TEST_CASE(
    "connections with the same addresses and different secrets: the one whose secret is proved, and a wrong secret is not a wrong name",
    "[peers][main_mode][rfc2409-5.4]") {
  World world;
  auto config = site("10.9.0.1", "", config::StartAction::None);
  config.connections[0].remote_id = name("p.example");
  for (const char* other : {"q", "r"}) {
    config::Connection more = config.connections[0];
    more.name = other;
    more.remote_id = name(std::string(other) + ".example");
    config.connections.push_back(more);
  }
  Host& gateway = world.add("gateway", std::move(config));
  gateway.secrets["q"] = "the secret of q";
  gateway.secrets["r"] = "the secret of r";
  const std::string who = GENERATE("p", "q", "r");
  const std::string secret = GENERATE("secret", "the secret of q", "the secret of r", "nobody's");
  Host& peer = add_peer(world, "10.9.0.2", who + ".example");
  peer.secrets["c"] = secret;
  gateway.start();
  peer.start();
  world.run(20s);
  const bool right = secret == (who == "p" ? std::string("secret") : "the secret of " + who);
  INFO(gateway.transcript());
  CHECK(connected(peer) == right);
  if (right) CHECK(gateway.engine->ike_sas().at(0).connection == (who == "p" ? "c" : who));
  CHECK((gateway.counted(ike::Exchange::MainMode, Reason::AuthFailed) > 0) == (secret == "nobody's"));
  CHECK((gateway.counted(ike::Exchange::MainMode, Reason::WrongIdentity) > 0) == (!right && secret != "nobody's"));
}
