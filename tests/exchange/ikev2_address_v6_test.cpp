// Virtual addresses of both families with IKEv2 (RFC 7296 §3.15): a gateway with a pool of each, or of one of them, and its clients.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::ConfigAttributeType;

namespace {

const std::vector<IkeSuite> kSuites = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
const IpAddress kAnyV6{{}, Family::V6};

TrafficSelector ts(const std::string& text) { return TrafficSelector::parse(text).value(); }
IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
TrafficSelector host(const IpAddress& a) { return TrafficSelector::from(Prefix{a, static_cast<std::uint8_t>(8 * a.size())}); }

config::Child dynamic_child(const std::string& name, bool client, Family family) {
  const bool v6 = family == Family::V6;
  const std::string any = v6 ? "::/0" : "0.0.0.0/0", net = v6 ? "2001:db8:2::/48" : "10.2.0.0/24";
  config::Child out = child(name, client ? any : net, client ? net : any, "aes128gcm16", config::StartAction::None);
  (client ? out.local_dynamic : out.remote_dynamic) = true;
  return out;
}

/// A pool of each family that is named; children "net" and "net6".
void serve_both(config::GatewayConfig& server, const std::string& v4, const std::string& v6) {
  serve(server);
  config::Connection& c = server.connections[0];
  c.xauth_server = {};
  c.version = 2;
  c.proposals = kSuites;
  c.children = {dynamic_child("net", false, Family::V4), dynamic_child("net6", false, Family::V6)};
  config::Pool six = server.pools[0];
  six.name = "six";
  six.dns = {ip("2001:db8:2::53")};
  six.split_include = {Prefix::parse("2001:db8:2::/48").value()};
  if (!v4.empty()) server.pools[0].addrs = ts(v4);
  if (!v6.empty()) six.addrs = ts(v6);
  if (v4.empty()) server.pools.clear();
  if (!v6.empty()) server.pools.push_back(six);
  c.pools.clear();
  for (const config::Pool& pool : server.pools) c.pools.push_back(pool.name);
}

void visit_both(config::GatewayConfig& client, const std::string& name) {
  config::Connection& c = client.connections[0];
  c.version = 2;
  c.proposals = kSuites;
  c.local_id = {config::Identity::Type::Fqdn, name};
  c.vips = {IpAddress::v4(0), kAnyV6};
  c.children = {dynamic_child("net", true, Family::V4), dynamic_child("net6", true, Family::V6)};
}

struct Visits {
  Host& server;
  std::vector<Host*> clients;
};
using Change = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;
Visits visits(World& world, std::size_t clients, const std::string& v4, const std::string& v6, const Change& change = {}) {
  auto server = site("10.9.0.2", "", config::StartAction::None);
  serve_both(server, v4, v6);
  std::vector<Host*> all;
  for (std::size_t i = 1; i <= clients; ++i) {
    auto c = site("10.9.7." + std::to_string(i), "10.9.0.2", config::StartAction::None);
    visit_both(c, "client-" + std::to_string(i) + ".example");
    if (change) change(c, server);
    all.push_back(&world.add("C" + std::to_string(i), std::move(c)));
  }
  Host& b = world.add("B", std::move(server));
  b.start();
  for (Host* c : all) c->start();
  return {b, all};
}

void begin(World& world, Host& c) {
  c.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "").ok); });
}
bool has(const Host& c, const std::string& child) { return c.current_out(child) != nullptr; }
bool connect(World& world, Host& c) {
  begin(world, c);
  return world.run_until([&] { return has(c, "net") && has(c, "net6"); }, 20s);
}
void leave(World& world, Host& c) {
  c.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
}
ike::IkeSaInfo last_sa(const Host& h) {
  const auto all = h.engine->ike_sas();
  REQUIRE_FALSE(all.empty());
  return all.back();
}
bool told(const Host& h, const std::string& text) { return h.transcript().find(text) != std::string::npos; }
std::size_t online(const Host& server, std::size_t pool) { return server.engine->pools().at(pool).online; }

}  // namespace

TEST_CASE("IKEv2: an address of each family, and a child between those", "[ikev2][mode_config][rfc7296-3.15.1]") {
  World world;
  const Visits v = visits(world, 3, "10.3.0.1-10.3.0.254", "2001:db8:3::1-2001:db8:3::fffe");
  std::set<IpAddress> given;
  for (Host* c : v.clients) {
    const bool up = connect(world, *c);
    INFO(c->transcript() << v.server.transcript());
    REQUIRE(up);
    const auto sa = last_sa(*c);
    REQUIRE((sa.virtual_address && sa.virtual_address_v6));
    CHECK((sa.virtual_address->family == Family::V4 && sa.virtual_address_v6->family == Family::V6));
    CHECK(Prefix::parse("2001:db8:3::/112")->contains(*sa.virtual_address_v6));
    given.insert({*sa.virtual_address, *sa.virtual_address_v6});
    CHECK(c->current_out("net")->sa.local_ts == host(*sa.virtual_address));
    CHECK(c->current_out("net6")->sa.local_ts == host(*sa.virtual_address_v6));
    CHECK(c->current_out("net6")->sa.remote_ts == ts("2001:db8:2::/48"));
    CHECK(v.server.current_out("net", host(*sa.virtual_address).to_string()));
    CHECK(v.server.current_out("net6", host(*sa.virtual_address_v6).to_string()));
    CHECK(told(*c, sa.virtual_address->to_string() + " and " + sa.virtual_address_v6->to_string() + ", DNS 10.2.0.53, network 10.2.0.0/24" +
                       ", DNS 2001:db8:2::53, network 2001:db8:2::/48"));
  }
  CHECK(given.size() == 6);
  CHECK((online(v.server, 0) == 3 && online(v.server, 1) == 3));

  // Rekeyed, by whoever, and after all memory of the client is lost: they stay.
  Host& first = *v.clients[0];
  const auto before = last_sa(first);
  for (Host* h : {&first, &v.server}) {
    h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(10s);
  }
  first.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net6", false).ok); });
  world.run(200s);
  CHECK(last_sa(first).virtual_address == before.virtual_address);
  CHECK(last_sa(first).virtual_address_v6 == before.virtual_address_v6);
  CHECK((first.live_pairs("net") == 1 && first.live_pairs("net6") == 1));
  first.lose_plane();
  first.restart();
  REQUIRE(connect(world, first));
  CHECK(last_sa(first).virtual_address == before.virtual_address);
  CHECK(last_sa(first).virtual_address_v6 == before.virtual_address_v6);
  for (Host* c : v.clients) leave(world, *c);
  world.run(200s);
  CHECK(leased(v.server) == 0);
  for (const Host* h : {v.clients[0], v.clients[1], v.clients[2], &v.server}) {
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->spis.empty());
  }
}

TEST_CASE("IKEv2: who asks for both families gets what there is", "[ikev2][mode_config][rfc7296-3.15.4]") {
  World world;
  const std::string v4 = "10.3.0.1-10.3.0.9", v6 = "2001:db8:3::1-2001:db8:3::9";
  struct Row {
    std::string v4, v6, up, down;
    bool wrong_one_first;  ///< IKE_AUTH asks for the child that has no address
  };
  for (const Row& row : {Row{v4, "", "net", "net6", false}, Row{v4, "", "net", "net6", true}, Row{"", v6, "net6", "net", true},
                         Row{"", v6, "net6", "net", false}}) {
    World w;
    CAPTURE(row.up, row.wrong_one_first);
    const Visits v = visits(w, 1, row.v4, row.v6, [&](auto& a, auto&) {
      auto& children = a.connections[0].children;
      if ((children[0].name == row.down) != row.wrong_one_first) std::swap(children[0], children[1]);
    });
    Host& c = *v.clients[0];
    begin(w, c);
    const bool up = w.run_until([&] { return has(c, row.up); }, 20s);
    INFO(c.transcript() << v.server.transcript());
    REQUIRE(up);
    w.run(5s);
    CHECK_FALSE(has(c, row.down));
    CHECK(c.established() == 1);
    CHECK(leased(v.server) == 1);
    CHECK(c.current_out(row.up)->sa.local_ts == host(*last_sa(c).virtual_address));
    CHECK_FALSE(last_sa(c).virtual_address_v6);
    CHECK(told(v.server, "it asks for more, and no pool has " + std::string(row.v4.empty() ? "IPv4" : "IPv6") + " addresses"));
    const auto failures = c.engine->failures("c");
    const auto failed = std::ranges::find(failures, Reason::NoAddress, &ike::Failure::reason);
    REQUIRE(failed != failures.end());
    CHECK(failed->child == row.down);
  }
}

TEST_CASE("IKEv2: a client of one family, with a pool of the other one, or a full one", "[ikev2][mode_config][rfc7296-3.15.4]") {
  const auto v6_alone = [](config::GatewayConfig& a, config::GatewayConfig&) {
    a.connections[0].vips = {kAnyV6};
    a.connections[0].children = {dynamic_child("net6", true, Family::V6)};
  };
  SECTION("it is IPv6's alone: IPv4's pool is left alone") {
    World world;
    const Visits v = visits(world, 1, "10.3.0.1-10.3.0.9", "2001:db8:3::1-2001:db8:3::9", v6_alone);
    begin(world, *v.clients[0]);
    REQUIRE(world.run_until([&] { return has(*v.clients[0], "net6"); }, 10s));
    CHECK((online(v.server, 0) == 0 && online(v.server, 1) == 1));
    CHECK_FALSE(told(*v.clients[0], "10.2.0.53"));
  }
  SECTION("no pool of its family") {
    World world;
    const Visits v = visits(world, 1, "10.3.0.1-10.3.0.9", "", v6_alone);
    begin(world, *v.clients[0]);
    world.run(5s);
    CHECK(told(v.server, "gets none: no pool has IPv6 addresses (clients)"));
    CHECK(told(*v.clients[0], "INTERNAL_ADDRESS_FAILURE"));
    CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
    CHECK(v.clients[0]->established() == 0);
    CHECK(leased(v.server) == 0);
  }
  SECTION("its pool is full; who leaves makes room") {
    World world;
    const Visits v = visits(world, 2, "10.3.0.1-10.3.0.9", "2001:db8:3::7", v6_alone);
    begin(world, *v.clients[0]);
    REQUIRE(world.run_until([&] { return has(*v.clients[0], "net6"); }, 10s));
    begin(world, *v.clients[1]);
    world.run(5s);
    CHECK(told(v.server, "gets none: all IPv6 addresses are given away (clients,six)"));
    CHECK(has(*v.clients[0], "net6"));
    leave(world, *v.clients[0]);
    world.run(1s);
    begin(world, *v.clients[1]);
    CHECK(world.run_until([&] { return has(*v.clients[1], "net6"); }, 120s));
    CHECK(online(v.server, 1) == 1);
  }
}

TEST_CASE("IKEv2: a gateway that is restarted keeps a client's addresses of both families for it", "[ikev2][mode_config][attack-F7]") {
  World world;
  const Visits v = visits(world, 2, "10.3.0.7", "2001:db8:3::7");
  Host &first = *v.clients[0], &second = *v.clients[1];
  REQUIRE(connect(world, first));
  world.run(1s);
  v.server.restart();
  CHECK((online(v.server, 0) == 1 && online(v.server, 1) == 1));
  begin(world, second);
  world.run(5s);
  CHECK(v.server.counted(Exchange::IkeAuth, Reason::NoAddress) >= 1);
  leave(world, second);
  first.lose_plane();
  first.restart();
  REQUIRE(connect(world, first));
  world.run(10s);
  for (const auto& pool : v.server.engine->pools()) {
    REQUIRE(pool.leases.size() == 1);
    CHECK(pool.leases[0].identity == "c/client-1.example");
    CHECK(pool.online == 1);
  }
  leave(world, first);
  world.run(10s);
  CHECK(leased(v.server) == 0);
  CHECK(connect(world, second));
}

namespace {
/// "net" for both families instead of a child for each.
void in_one(config::GatewayConfig& client, config::GatewayConfig& server) {
  for (auto* g : {&client, &server}) {
    auto& children = g->connections[0].children;
    if (children.size() != 2) continue;
    children[0].more_local = {{children[1].local_ts, children[1].local_dynamic}};
    children[0].more_remote = {{children[1].remote_ts, children[1].remote_dynamic}};
    children.pop_back();
  }
}
}  // namespace

TEST_CASE("IKEv2: one child for the addresses of both families, or of the one that there is", "[ikev2][mode_config][selectors]") {
  const std::string v4 = "10.3.0.1-10.3.0.9", v6 = "2001:db8:3::1-2001:db8:3::9";
  for (const auto& [four, six] : {std::pair(v4, v6), std::pair(v4, std::string()), std::pair(std::string(), v6)}) {
    CAPTURE(four, six);
    World world;
    const Visits v = visits(world, 2, four, six, in_one);
    for (Host* c : v.clients) {
      begin(world, *c);
      const bool up = world.run_until([&] { return has(*c, "net"); }, 20s);
      INFO(c->transcript() << v.server.transcript());
      REQUIRE(up);
      const auto info = last_sa(*c);
      const ike::InstallSa& sa = c->current_out("net")->sa;
      CHECK(c->outbound.size() == 1);
      CHECK(sa.local_ts == host(*info.virtual_address));
      REQUIRE(sa.more.any() == !(four.empty() || six.empty()));
      if (!sa.more.any()) continue;
      CHECK(sa.more.local()[0] == host(*info.virtual_address_v6));
      CHECK(sa.more.remote()[0] == ts("2001:db8:2::/48"));
    }
    CHECK(v.server.outbound.size() == 2);
    // A gateway that is restarted keeps what they have for them.
    v.server.restart();
    world.run(1s);
    CHECK(leased(v.server) == (four.empty() || six.empty() ? 2 : 4));
    for (Host* c : v.clients) leave(world, *c);
  }
}

TEST_CASE("IKEv2: what a peer says of addresses is read as the RFC has it", "[ikev2][mode_config][rfc7296-3.15.1]") {
  World world;
  auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  serve_both(config, "10.3.0.1-10.3.0.9", "2001:db8:3::1-2001:db8:3::9");
  Host& b = world.add("B", std::move(config));
  InsiderV2 peer(world, b, ip("10.9.0.1"));
  b.start();
  const IpAddress five = ip("2001:db8:3::5");
  const Bytes wanted(five.view().begin(), five.view().end());
  Bytes whole = wanted;
  whole.push_back(64);
  const auto ask = [&](Bytes value) {
    return peer.connect(
        ts("::/0"), ts("2001:db8:2::/48"),
        ikev2::Cp{ikev2::ConfigType::Request,
                  {{ConfigAttributeType::InternalIp6Address, std::move(value)}, {ConfigAttributeType::InternalIp6Subnet, {}}}});
  };
  const auto value_of = [](const ikev2::Cp& cp, ConfigAttributeType type) {
    const auto it = std::ranges::find(cp.attributes, type, &ikev2::ConfigAttribute::type);
    return it == cp.attributes.end() ? Bytes{} : it->value;
  };
  SECTION("an address and its prefix length: the address is given, as a host's") {
    const auto m = ask(whole);
    REQUIRE(m);
    const ikev2::Cp* cp = m->find<ikev2::Cp>();
    REQUIRE(cp);
    whole.back() = 128;
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp6Address) == whole);
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp6Dns).size() == 16);
    const Bytes net = value_of(*cp, ConfigAttributeType::InternalIp6Subnet);
    REQUIRE(net.size() == 17);
    CHECK((net[0] == 0x20 && net[5] == 0x02 && net[6] == 0 && net[16] == 48));
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp4Address).empty());
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp4Dns).empty());
    REQUIRE(m->find<ikev2::TsI>());
    CHECK(m->find<ikev2::TsI>()->selectors == std::vector{ts("2001:db8:3::5")});
  }
  SECTION("what is no address of IPv6: it gets another one") {
    Bytes value;
    SECTION("nothing") {}
    SECTION("without a length") { value = wanted; }
    SECTION("with an impossible one") { value = whole, value.back() = 129; }
    SECTION("an IPv4 address") { value = {10, 3, 0, 5}; }
    SECTION("too long") { value = whole, value.push_back(0); }
    const auto m = ask(value);
    REQUIRE(m);
    const ikev2::Cp* cp = m->find<ikev2::Cp>();
    REQUIRE(cp);
    const Bytes got = value_of(*cp, ConfigAttributeType::InternalIp6Address);
    REQUIRE(got.size() == 17);
    CHECK(b.engine->pools().at(1).online == 1);
  }
  SECTION("it asks later what it has, and is told so") {
    REQUIRE(ask(whole));
    const auto m = peer.ask(ike::kExchangeInformationalV2,
                            ikev2::Builder().add(ikev2::Cp{ikev2::ConfigType::Request, {{ConfigAttributeType::InternalIp6Address, {}}}}));
    REQUIRE(m);
    const ikev2::Cp* cp = m->find<ikev2::Cp>();
    REQUIRE(cp);
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp6Address).size() == 17);
    CHECK(value_of(*cp, ConfigAttributeType::InternalIp4Address).empty());
  }
}

TEST_CASE("IKEv2: addresses of both families over a bad line, by seed", "[ikev2][mode_config]") {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    World world(seed);
    CAPTURE(seed);
    world.link = {0.25, 0.1, 1ms, 60ms};
    const Visits v = visits(world, 2, "10.3.0.1-10.3.0.2", "2001:db8:3::1-2001:db8:3::2", [&](auto& a, auto&) {
      for (auto& child : a.connections[0].children) child.start_action = config::StartAction::Start;
      a.connections[0].rekey_time = config::Seconds{50};
      a.connections[0].rand_time = config::Seconds{20};
      a.connections[0].over_time = config::Seconds{200};
    });
    const auto all_up = [&] { return std::ranges::all_of(v.clients, [](const Host* c) { return has(*c, "net") && has(*c, "net6"); }); };
    REQUIRE(world.run_until(all_up, 300s));
    world.run(200s);
    world.link = {};
    REQUIRE(world.run_until(all_up, 200s));
    world.run(5s);
    CHECK((online(v.server, 0) == 2 && online(v.server, 1) == 2));
    CHECK(last_sa(*v.clients[0]).virtual_address_v6 != last_sa(*v.clients[1]).virtual_address_v6);
    for (Host* c : v.clients) leave(world, *c);
    world.run(300s);
    CHECK(leased(v.server) == 0);
    CHECK(v.server.spis.empty());
  }
}
