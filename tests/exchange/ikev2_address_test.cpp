// Virtual addresses of IKEv2 between two engines (RFC 7296 §2.19): a gateway with pools, and clients of it.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

const std::vector<IkeSuite> kSuites = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();

void serve_v2(config::GatewayConfig& server, const std::string& pool = "10.3.0.1-10.3.0.254") {
  serve(server);
  server.pools[0].addrs = TrafficSelector::parse(pool).value();
  config::Connection& c = server.connections[0];
  c.xauth_server = {};
  c.version = 2;
  c.proposals = kSuites;
  c.children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
  c.children[0].remote_dynamic = true;
}

void visit_v2(config::GatewayConfig& client, const std::string& name) {
  config::Connection& c = client.connections[0];
  c.version = 2;
  c.proposals = kSuites;
  c.local_id = {config::Identity::Type::Fqdn, name};
  c.vips = {IpAddress::v4(0)};
  c.children = {child("net", "0.0.0.0/0", "10.2.0.0/24", "aes128gcm16", config::StartAction::None)};
  c.children[0].local_dynamic = true;
}

struct Visits {
  Host& server;
  std::vector<Host*> clients;
};
Visits visits(World& world, std::size_t clients, const std::string& pool,
              const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  auto server = site("10.9.0.2", "", config::StartAction::None);
  serve_v2(server, pool);
  std::vector<Host*> all;
  for (std::size_t i = 1; i <= clients; ++i) {
    auto c = site("10.9.7." + std::to_string(i), "10.9.0.2", config::StartAction::None);
    visit_v2(c, "client-" + std::to_string(i) + ".example");
    if (change) change(c, server);
    all.push_back(&world.add("C" + std::to_string(i), std::move(c)));
  }
  Host& b = world.add("B", std::move(server));
  b.start();
  for (Host* c : all) c->start();
  return {b, all};
}

bool connect(World& world, Host& c, Duration limit = 10s) {
  c.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "").ok); });
  return world.run_until([&] { return c.up() && c.current_out("net") != nullptr; }, limit);
}
void leave(World& world, Host& c) {
  c.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
}
void forget_everything(Host& c) {
  c.lose_plane();
  c.restart();
}
std::optional<IpAddress> address_of(const Host& c) {
  const auto sas = c.engine->ike_sas();
  return sas.empty() ? std::nullopt : sas.back().virtual_address;
}
TrafficSelector host(const IpAddress& a) { return TrafficSelector::from(Prefix{a, 32}); }

}  // namespace

TEST_CASE("IKEv2: clients get an address each, and children between those", "[ikev2][mode_config][rfc7296-2.19]") {
  World world;
  const Visits v = visits(world, 3, "10.3.0.1-10.3.0.254");
  std::set<IpAddress> given;
  for (Host* c : v.clients) {
    const bool up = connect(world, *c);
    INFO(c->transcript() << v.server.transcript());
    REQUIRE(up);
    const auto address = address_of(*c);
    REQUIRE(address);
    given.insert(*address);
    CHECK(c->current_out("net")->sa.local_ts == host(*address));
    CHECK(c->current_out("net")->sa.remote_ts == TrafficSelector::parse("10.2.0.0/24").value());
    CHECK(v.server.current_out("net", host(*address).to_string()));
    CHECK(c->transcript().find(address->to_string() + ", DNS 10.2.0.53, network 10.2.0.0/24") != std::string::npos);
    const ike::GivenConfig beside = c->engine->ike_sas().at(0).given;
    CHECK(beside.dns == std::vector{IpAddress::parse("10.2.0.53").value()});
    CHECK(beside.networks == std::vector{Prefix::parse("10.2.0.0/24").value()});
  }
  CHECK(given.size() == 3);
  CHECK(leased(v.server) == 3);
  for (const auto& sa : v.server.engine->ike_sas()) CHECK(given.contains(sa.virtual_address.value()));
  CHECK(v.server.engine->pools().at(0).leases.front().identity.starts_with("c/client-"));

  // Rekeyed, by whoever: it stays, and so it does when all memory of one is lost.
  const auto before = address_of(*v.clients[0]);
  v.clients[0]->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(10s);
  v.server.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  world.run(10s);
  v.clients[0]->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  world.run(200s);
  CHECK(address_of(*v.clients[0]) == before);
  CHECK(v.clients[0]->live_pairs() == 1);
  CHECK(leased(v.server) == 3);
  forget_everything(*v.clients[0]);
  REQUIRE(connect(world, *v.clients[0]));
  CHECK(address_of(*v.clients[0]) == before);
  CHECK(leased(v.server) == 3);
  for (Host* c : v.clients) leave(world, *c);
  world.run(10s);  // what was forgotten may carry packets for a while
  CHECK(leased(v.server) == 0);
  REQUIRE(connect(world, *v.clients[0]));
  CHECK(address_of(*v.clients[0]) == before);  // while nobody else needs it
  leave(world, *v.clients[0]);
  world.run(100s);
  CHECK(leased(v.server) == 0);
  for (const Host* h : {v.clients[0], v.clients[1], v.clients[2], &v.server}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->spis.empty());
  }
}

TEST_CASE("IKEv2: clients that come in the same moment: each one's traffic has its SA at once", "[ikev2][mode_config]") {
  World world;
  const Visits v = visits(world, 8, "10.3.0.1-10.3.0.254",
                          [](auto& a, auto&) { a.connections[0].children[0].start_action = config::StartAction::Start; });
  v.server.install_min = v.server.install_max = 20ms;
  REQUIRE(world.run_until([&] { return std::ranges::all_of(v.clients, [](const Host* c) { return c->up(); }); }, 10s));
  world.run(1s);
  CHECK(v.server.outbound.size() == 8);
  CHECK(leased(v.server) == 8);
}

TEST_CASE("IKEv2: a full pool is said on both sides, harms nobody, and has room when somebody leaves", "[ikev2][mode_config][attack-F7]") {
  World world;
  const Visits v = visits(world, 2, "10.3.0.7");
  Host &first = *v.clients[0], &second = *v.clients[1];
  REQUIRE(connect(world, first));
  CHECK_FALSE(connect(world, second, 15s));
  INFO(second.transcript() << v.server.transcript());
  for (const Host* h : {&second, &v.server}) {
    const auto refused = h->counted(Exchange::IkeAuth, Reason::NoAddress);
    CHECK((refused >= 1 && refused <= 4));  // it does not come again at once
    const auto failures = h->engine->failures("c");
    const auto told = std::ranges::find(failures, Reason::NoAddress, &ike::Failure::reason);
    REQUIRE(told != failures.end());
    CHECK(std::holds_alternative<ike::PoolEvidence>(told->cause.evidence));
  }
  CHECK(v.server.transcript().find("gets none: all IPv4 addresses are given away (clients)") != std::string::npos);
  CHECK(second.transcript().find("INTERNAL_ADDRESS_FAILURE") != std::string::npos);
  CHECK(first.up());
  CHECK(leased(v.server) == 1);
  CHECK(second.inbound.empty());
  leave(world, first);
  world.run(1s);
  CHECK(leased(v.server) == 0);
  CHECK(connect(world, second, 120s));
  CHECK(leased(v.server) == 1);
}

TEST_CASE("IKEv2: no pools, or no question: why there is no child is said", "[ikev2][mode_config]") {
  World world;
  SECTION("no pools are configured") {
    const Visits v = visits(world, 1, "10.3.0.7", [](auto&, auto& b) { b.connections[0].pools.clear(); });
    CHECK_FALSE(connect(world, *v.clients[0], 5s));
    CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
    CHECK(v.clients[0]->counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
    CHECK(v.clients[0]->engine->failures("c").front().cause.number == 3);  // our IKE_AUTH, as the refusal is about
    CHECK(v.clients[0]->established() == 0);
  }
  SECTION("the client does not ask") {
    const Visits v = visits(world, 1, "10.3.0.7", [](auto& a, auto&) {
      a.connections[0].vips.clear();
      a.connections[0].children[0] = child("net", "10.1.0.0/24", "10.2.0.0/24", "aes128gcm16", config::StartAction::None);
    });
    CHECK_FALSE(connect(world, *v.clients[0], 5s));
    CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
    CHECK(v.server.transcript().find("asks for no virtual address") != std::string::npos);
    CHECK(v.clients[0]->transcript().find("FAILED_CP_REQUIRED") != std::string::npos);
    CHECK(leased(v.server) == 0);
  }
  SECTION("the gateway knows nothing of configuration payloads") {
    const Visits v = visits(world, 1, "10.3.0.7", [](auto& a, auto& b) {
      b.connections[0].pools.clear();
      b.connections[0].children[0] = child("net", "10.2.0.0/24", "10.3.0.0/24", "aes128gcm16", config::StartAction::None);
      a.connections[0].children[0].local_dynamic = false;
      a.connections[0].children[0].local_ts = TrafficSelector::parse("10.3.0.0/24").value();
    });
    CHECK_FALSE(connect(world, *v.clients[0], 5s));
    CHECK(v.clients[0]->counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  }
}

TEST_CASE("IKEv2: clients that come, leave and are killed a thousand times leak no address", "[ikev2][mode_config][attack-F7]") {
  World world;
  const Visits v = visits(world, 1, "10.3.0.1-10.3.0.254", [](auto&, auto& b) { b.connections[0].dpd_delay = config::Seconds{5}; });
  Host& a = *v.clients[0];
  for (int i = 0; i < 1000; ++i) {
    a.config.connections[0].local_id.text = "u" + std::to_string(i % 400);  // more than there are addresses
    REQUIRE(connect(world, a, 30s));
    REQUIRE(leased(v.server) <= 254);
    i % 2 == 0 ? leave(world, a) : forget_everything(a);
    world.run(i % 5 == 0 ? 60s : 200ms);
    for (Host* h : {&a, &v.server}) {
      h->log.clear();
      h->times.clear();
    }
  }
  leave(world, a);
  world.run(300s);
  CHECK(leased(v.server) == 0);
  CHECK(v.server.engine->ike_sas().empty());
  CHECK(v.server.inbound.empty());
  CHECK(v.server.engine->pools().at(0).leases.size() <= 254);
}

TEST_CASE("IKEv2: an address comes with an IKE_AUTH that makes no CHILD SA, too", "[ikev2][mode_config][childless][rfc6023-4]") {
  World world;
  const Visits v = visits(world, 2, "10.3.0.7", [](auto& c, auto&) { c.connections[0].renewal.childless = config::Childless::Prefer; });
  Host &first = *v.clients[0], &second = *v.clients[1];
  const bool up = connect(world, first);
  INFO(first.transcript() << v.server.transcript());
  REQUIRE(up);
  CHECK(address_of(first) == IpAddress::parse("10.3.0.7").value());
  CHECK(first.counted(Exchange::CreateChildSa, Reason::Ok) == 1);
  CHECK(first.current_out("net")->sa.local_ts == host(IpAddress::parse("10.3.0.7").value()));
  CHECK_FALSE(connect(world, second, 20s));
  CHECK(second.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  CHECK(second.counted(Exchange::IkeAuth, Reason::NoAddress) <= 4);
  CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  CHECK(leased(v.server) == 1);
  leave(world, first);
  world.run(2s);
  CHECK(connect(world, second, 120s));
}

TEST_CASE("IKEv2: a gateway that is restarted gives the address of a client's SAs to nobody but that client",
          "[ikev2][mode_config][attack-F7]") {
  World world;
  const Visits v = visits(world, 2, "10.3.0.7");
  Host &first = *v.clients[0], &second = *v.clients[1];
  REQUIRE(connect(world, first));
  world.run(1s);
  v.server.restart();
  CHECK(leased(v.server) == 1);
  CHECK_FALSE(connect(world, second, 5s));
  CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  leave(world, second);
  forget_everything(first);
  REQUIRE(connect(world, first, 20s));
  world.run(1s);
  const auto pool = v.server.engine->pools().at(0);
  REQUIRE(pool.leases.size() == 1);
  CHECK(pool.leases[0].identity == "c/client-1.example");
  CHECK(pool.online == 1);
  leave(world, first);
  world.run(10s);
  CHECK(leased(v.server) == 0);
  CHECK(connect(world, second, 120s));
}

TEST_CASE("IKEv2: addresses over a bad line, by seed", "[ikev2][mode_config]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    World world(seed);
    CAPTURE(seed);
    world.link = {0.25, 0.1, 1ms, 60ms};
    const Visits v = visits(world, 2, "10.3.0.1-10.3.0.2", [&](auto& a, auto&) {
      a.connections[0].children[0].start_action = config::StartAction::Start;
      a.connections[0].rekey_time = config::Seconds{50};
      a.connections[0].rand_time = config::Seconds{20};
      a.connections[0].over_time = config::Seconds{200};
      a.ike.fragment_size = 260;
    });
    const auto all_up = [&] { return std::ranges::all_of(v.clients, [](const Host* c) { return c->up(); }); };
    REQUIRE(world.run_until(all_up, 200s));
    world.run(300s);
    world.link = {};
    REQUIRE(world.run_until(all_up, 200s));
    world.run(5s);
    CHECK(leased(v.server) == 2);
    CHECK(address_of(*v.clients[0]) != address_of(*v.clients[1]));
    for (Host* c : v.clients) leave(world, *c);
    world.run(300s);
    CHECK(leased(v.server) == 0);
    CHECK(v.server.spis.empty());
  }
}

TEST_CASE("IKEv2 insider: a gateway whose selectors are too many for our address and our networks", "[ikev2][mode_config][attack-I2]") {
  using namespace ikev2;
  const std::size_t ports = GENERATE(7u, 15u);  // each stands for two of ours
  World world;
  auto config = site("10.9.0.1", "10.9.0.2", config::StartAction::None);
  visit_v2(config, "client.example");
  config::Child& net = config.connections[0].children[0];
  net.start_action = config::StartAction::Start;
  net.more_local = {{TrafficSelector::parse("10.1.0.0/24").value(), false}};
  Host& client = world.add("A", std::move(config));
  InsiderGateway gateway(world, IpAddress::parse("10.9.0.2").value());
  client.start();
  const auto asked = gateway.meet();
  REQUIRE((asked && asked->find<Sa>()));
  const IdR id{IdType::Ipv4Addr, {10, 9, 0, 2}};
  std::vector<TrafficSelector> mine;
  for (std::size_t n = 1; n <= ports; ++n) mine.push_back(TrafficSelector::parse("0.0.0.0/0[tcp/" + std::to_string(n) + "]").value());
  Builder answer;
  answer.add(id).add(gateway.proof(id, as_bytes("secret")));
  answer.add(Cp{ConfigType::Reply, {{ConfigAttributeType::InternalIp4Address, {10, 3, 0, 7}}}});
  answer.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), Spi{0xabcdef01}, false)).add(TsI{mine, 0});
  gateway.answer(answer.add(TsR{{TrafficSelector::parse("10.2.0.0/24").value()}, 0}));
  world.run(1s);
  INFO(client.transcript());
  CHECK(client.established() == 1);
  CHECK(client.up() == (ports == 7));
  CHECK(client.inbound.size() == (ports == 7 ? 1 : 0));
  if (ports == 7) return;
  const auto failures = client.engine->failures("c");
  REQUIRE_FALSE(failures.empty());
  CHECK(failures[0].reason == Reason::SelectorMismatch);
  CHECK_THAT(failures[0].message, Catch::Contains("The peer has made 31 traffic selectors of ours, and a CHILD SA has room for 16."));
  const auto told = gateway.next();
  REQUIRE((told && told->find<Delete>()));
}
