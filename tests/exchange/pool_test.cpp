// Pools of virtual addresses with those who come for one: a full pool, users of one group, and that nothing is leaked.
#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

TEST_CASE("clients that come, leave and are killed a thousand times leak no address", "[mode_config][attack-F7]") {
  World world;
  auto [a, b] = client_and_server(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    ca.connections[0].children[0].local_ts = cb.connections[0].children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
    ca.connections[0].children[0].local_dynamic = cb.connections[0].children[0].remote_dynamic = true;
    cb.connections[0].dpd_delay = config::Seconds{2};
    cb.connections[0].dpd_timeout = config::Seconds{10};
    cb.connections[0].rekey_time = config::Seconds{3600};
  });
  a.start();
  b.start();
  for (int i = 0; i < 1000; ++i) {
    const std::string user = "u" + std::to_string(i % 400);  // more than there are addresses
    a.config.connections[0].xauth_client.user = user;
    b.users[user] = a.password;
    a.engine->initiate(world.now, "c", "");
    a.perform();
    REQUIRE(world.run_until([&] { return a.up() && a.current_out("net") != nullptr; }, 30s));
    REQUIRE(leased(b) <= 254);
    if (i % 2 == 0) {
      a.engine->terminate(world.now, "c", "");
      a.perform();
    } else {  // its machine dies, and comes back without any memory
      a.lose_plane();
      a.restart();
    }
    world.run(i % 10 == 0 ? 15s : 200ms);
    for (Host* h : {&a, &b}) {
      h->log.clear();
      h->times.clear();
    }
  }
  world.run(200s);
  CHECK(leased(b) == 0);
  CHECK(b.engine->ike_sas().empty());
  CHECK(b.inbound.empty());
  const auto pool = b.engine->pools().at(0);
  CHECK(pool.size == 254);
  CHECK(pool.leases.size() <= 254);
}

TEST_CASE("a full pool is said, harms nobody, and has room when somebody leaves", "[mode_config]") {
  const auto how = GENERATE(config::ModeConfig::Pull, config::ModeConfig::Push);
  World world;
  auto server = site("10.9.0.2", "", config::StartAction::None);
  serve(server);
  server.pools[0].addrs = TrafficSelector::parse("10.3.0.7").value();
  server.connections[0].mode_config = how;
  server.connections[0].children = {child("first", "10.2.0.0/24", "10.1.0.1", "aes128gcm16", config::StartAction::None),
                                    child("second", "10.2.0.0/24", "10.1.0.2", "aes128gcm16", config::StartAction::None)};
  Host& b = world.add("B", std::move(server));
  std::vector<Host*> clients;
  for (const char* n : {"1", "2"}) {
    auto c = site("10.9.7." + std::string(n), "10.9.0.2", config::StartAction::None);
    visit(c, "user" + std::string(n));
    c.connections[0].mode_config = how;
    c.connections[0].children = {child("net", "10.1.0." + std::string(n), "10.2.0.0/24", "aes128gcm16", config::StartAction::None)};
    clients.push_back(&world.add("C" + std::string(n), std::move(c)));
    clients.back()->password = "pw";
    b.users["user" + std::string(n)] = "pw";
  }
  b.start();
  const auto connect = [&](Host& c, Duration limit) {
    c.engine->initiate(world.now, "c", "");
    c.perform();
    return world.run_until([&] { return c.up() && c.current_out("net") != nullptr; }, limit);
  };
  for (Host* c : clients) c->start();
  REQUIRE(connect(*clients[0], 10s));
  CHECK_FALSE(connect(*clients[1], 5s));
  CHECK(b.counted(Exchange::ModeConfig, Reason::NoAddress) >= 1);
  CHECK(b.counted(Exchange::ModeConfig, Reason::NoAddress) <= 3);  // it does not come again at once
  if (how == config::ModeConfig::Pull) CHECK(clients[1]->counted(Exchange::ModeConfig, Reason::NoAddress) >= 1);
  CHECK(clients[0]->up());
  CHECK(leased(b) == 1);
  clients[0]->engine->terminate(world.now, "c", "");
  clients[0]->perform();
  world.run(2s);
  CHECK(leased(b) == 0);
  CHECK(connect(*clients[1], 120s));
  CHECK(leased(b) == 1);
}

TEST_CASE("several users of one group have SAs and addresses of their own, and children between those", "[xauth][mode_config][G5]") {
  World world;
  auto server = site("10.9.0.2", "", config::StartAction::None);
  serve(server);
  server.connections[0].children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
  server.connections[0].children[0].remote_dynamic = true;
  server.connections[0].dpd_delay = config::Seconds{2};
  server.connections[0].dpd_timeout = config::Seconds{10};
  Host& b = world.add("B", std::move(server));
  std::vector<Host*> clients;
  for (const char* n : {"11", "12", "13"}) {
    auto c = site("10.9.7." + std::string(n), "10.9.0.2", config::StartAction::None);
    visit(c, "user" + std::string(n));
    c.connections[0].local_id = {config::Identity::Type::Fqdn, "group.example"};
    c.connections[0].children = {child("net", "0.0.0.0/0", "10.2.0.0/24", "aes128gcm16", config::StartAction::None)};
    c.connections[0].children[0].local_dynamic = true;
    clients.push_back(&world.add("C" + std::string(n), std::move(c)));
    clients.back()->password = "pw";
    b.users["user" + std::string(n)] = "pw";
  }
  b.start();
  const auto connect = [&](Host& c) {
    c.engine->initiate(world.now, "c", "");
    c.perform();
    return world.run_until([&] { return c.up() && c.current_out("net") != nullptr; }, 20s);
  };
  std::set<IpAddress> given;
  for (Host* c : clients) {
    c->start();
    const bool up = connect(*c);
    INFO(c->transcript() << b.transcript());
    REQUIRE(up);
    const IpAddress address = *c->engine->ike_sas().at(0).virtual_address;
    given.insert(address);
    CHECK(c->current_out("net")->sa.local_ts.first == address);
    CHECK(c->current_out("net")->sa.local_ts.last == address);
  }
  CHECK(given.size() == 3);
  CHECK(b.established() == 3);
  CHECK(b.inbound.size() == 3);
  CHECK(leased(b) == 3);
  // One loses its memory and comes again: it has its address again, and the others are not touched.
  const auto before = clients[1]->engine->ike_sas().at(0).virtual_address;
  clients[1]->inbound.clear();
  clients[1]->outbound.clear();
  clients[1]->current.clear();
  clients[1]->restart();
  REQUIRE(connect(*clients[1]));
  CHECK(clients[1]->engine->ike_sas().at(0).virtual_address == before);
  world.run(30s);
  for (Host* c : clients) CHECK(c->up());
  CHECK(b.established() == 3);
  CHECK(leased(b) == 3);
  for (Host* c : clients) {
    c->engine->terminate(world.now, "c", "");
    c->perform();
  }
  world.run(60s);
  CHECK(leased(b) == 0);
  CHECK(b.engine->ike_sas().empty());
  CHECK(b.inbound.empty());
}

TEST_CASE("a server that is restarted gives the address of a client's SAs to nobody but that client", "[xauth][mode_config][attack-F7]") {
  World world;
  auto server = site("10.9.0.2", "", config::StartAction::None);
  serve(server);
  server.pools[0].addrs = TrafficSelector::parse("10.3.0.7").value();
  server.connections[0].children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
  server.connections[0].children[0].remote_dynamic = true;
  Host& b = world.add("B", std::move(server));
  std::vector<Host*> clients;
  for (const char* n : {"1", "2"}) {
    auto c = site("10.9.7." + std::string(n), "10.9.0.2", config::StartAction::None);
    visit(c, "user" + std::string(n));
    c.connections[0].children = {child("net", "0.0.0.0/0", "10.2.0.0/24", "aes128gcm16", config::StartAction::None)};
    c.connections[0].children[0].local_dynamic = true;
    clients.push_back(&world.add("C" + std::string(n), std::move(c)));
    clients.back()->password = "pw";
    b.users["user" + std::string(n)] = "pw";
  }
  Host &first = *clients[0], &second = *clients[1];
  const auto connect = [&](Host& c, Duration limit) {
    c.engine->initiate(world.now, "c", "");
    c.perform();
    return world.run_until([&] { return c.up() && c.current_out("net") != nullptr; }, limit);
  };
  b.start();
  for (Host* c : clients) c->start();
  REQUIRE(connect(first, 10s));
  world.run(1s);
  b.restart();
  CHECK(leased(b) == 1);
  CHECK_FALSE(connect(second, 5s));
  CHECK(b.counted(Exchange::ModeConfig, Reason::NoAddress) >= 1);
  second.engine->terminate(world.now, "c", "");
  second.perform();

  // The first one comes again, with its pairs still there or without: the address is its own.
  const bool forgets = GENERATE(false, true);
  if (forgets) {
    first.lose_plane();
    first.restart();
  } else {
    first.engine->rekey(world.now, "c", "", true);
    first.perform();
  }
  if (forgets) CHECK(connect(first, 20s));
  world.run_until([&] { return b.engine->pools().at(0).leases.at(0).identity == "c/user1"; }, 20s);
  INFO(first.transcript() << second.transcript() << b.transcript());
  const auto pool = b.engine->pools().at(0);
  REQUIRE(pool.leases.size() == 1);
  CHECK(pool.leases[0].identity == "c/user1");
  CHECK(pool.online == 1);
  world.run(10s);
  first.engine->terminate(world.now, "c", "");
  first.perform();
  world.run(100s);
  CHECK(leased(b) == 0);
  CHECK(connect(second, 120s));
}

TEST_CASE("unique: never: a client whose NAT gives it another port keeps its address", "[mode_config][unique][nat]") {
  World world;
  auto [a, b] = client_and_server(world, [](auto& ca, auto& cb) {
    ca = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
    visit(ca, "alice");
    cb.connections[0].remote_addrs.clear();
    cb.connections[0].unique = config::Unique::Never;
  });
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  const auto before = b.engine->ike_sas().at(0);
  world.forget_nat();
  REQUIRE(a.engine->rekey(world.now, "c", "net", false).ok);
  a.perform();
  REQUIRE(world.run_until([&] { return b.engine->ike_sas().at(0).remote != before.remote; }, 5s));
  world.run(1s);
  REQUIRE(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  world.run(20s);
  CHECK(b.established() == 1);
  const auto after = b.engine->ike_sas().back();
  CHECK(after.spi_i != before.spi_i);
  CHECK(after.virtual_address == before.virtual_address);
  CHECK(a.engine->ike_sas().back().virtual_address == before.virtual_address);
  CHECK(leased(b) == 1);
  const auto pool = b.engine->pools().at(0);
  CHECK(std::ranges::any_of(pool.leases, [&](const auto& l) { return l.online && l.identity == "c/alice@" + after.remote.to_string(); }));
}
