// What happens to SAs that are up: loss and duplicates of each message, both sides at once, rekeying, DPD, deletes, restarts.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;

namespace {

bool both_up(const Host& a, const Host& b) { return a.current_out("net") && b.current_out("net"); }
bool one_pair(const Host& h) { return h.inbound.size() == 1 && h.outbound.size() == 1 && h.spis.size() == 1; }

void begin(Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(a.world.run_until([&] { return both_up(a, b); }, 60s));
}

}  // namespace

TEST_CASE("loss of each message in turn: the tunnel comes up all the same", "[main_mode][quick_mode][retransmission]") {
  const int lost = GENERATE(0, 1, 2, 3, 4, 5, 6, 7, 8);  // the n-th datagram on the wire
  const int times = GENERATE(1, 2);
  World world;
  auto [a, b] = two_sites(world);
  int seen = 0, dropped = 0;
  Bytes victim;
  world.hook = [&](ike::Datagram& d) {
    if (victim.empty() && seen++ == lost) victim = d.data;
    if (d.data != victim || dropped >= times) return true;
    ++dropped;
    return false;
  };
  begin(a, b);
  CHECK(dropped >= 1);
  world.begin_traffic();
  world.run(60s);
  CHECK(world.gaps.empty());
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("message 3 of Quick Mode never comes, nor do the first Deletes that say so: no half of a pair stays",
          "[quick_mode][retransmission]") {
  const int lost = GENERATE(0, 1, 5);
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) { ca.connections[0].dpd_delay = cb.connections[0].dpd_delay = {}; });
  const Host &initiator = a, &responder = b;
  std::optional<MessageId> first;
  std::set<MessageId> farewells;
  int said = 0;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    const bool forth = seen && d.local.address == initiator.config.connections[0].local_addrs.front();
    if (forth && seen->header.exchange == ike::kExchangeQuickMode) {
      if (!first) {
        first = seen->header.message_id;
        return true;
      }
      return seen->header.message_id != *first;
    }
    if (forth || !seen || seen->header.exchange != ike::kExchangeInformational) return true;
    if (responder.counted(Exchange::QuickMode, Reason::Timeout) == 0) return true;
    farewells.insert(seen->header.message_id);
    return ++said > lost;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&, &host = b] { return host.counted(Exchange::QuickMode, Reason::Timeout) == 1; }, 200s));
  CHECK(a.current_out("net") != nullptr);  // half of a pair
  REQUIRE(world.run_until([&, &one = a, &other = b] { return both_up(one, other); }, 120s));
  world.run(200s);
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  CHECK(b.engine->ike_sas().size() == 1);
  CHECK(said == 8);  // as often as a request, and no more
  CHECK(farewells.size() == 8);
}

TEST_CASE("every datagram arrives three times: one of everything", "[duplicates][B6]") {
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [&](ike::Datagram& d) {
    for (int i = 1; i < 3; ++i) world.at(world.now + i * 3ms, [&world, d] { world.deliver({d.remote, d.local, d.data}); });
    return true;
  };
  begin(a, b);
  world.run(5s);
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 1);
  CHECK(b.counted(Exchange::MainMode, Reason::Ok) == 1);
  CHECK(b.counted(Exchange::QuickMode, Reason::Ok) == 1);
  CHECK(one_pair(a));
  CHECK(one_pair(b));
}

TEST_CASE("both sides start at once: one ISAKMP SA and one pair remain, without a gap", "[simultaneous]") {
  World world(GENERATE(range(1, 9)));
  auto [a, b] = two_sites(world, [](auto&, auto& cb) { cb.connections[0].children[0].start_action = config::StartAction::Start; });
  begin(a, b);
  world.begin_traffic();
  world.run(120s);
  CHECK(world.gaps.empty());
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  const std::size_t quick_modes = a.counted(Exchange::QuickMode, Reason::Ok);
  world.run(300s);
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) == quick_modes);  // and nothing more is begun
}

TEST_CASE("both sides rekey the pair at once, with loss of each message", "[simultaneous][N1]") {
  const int lost = GENERATE(range(-1, 7));
  World world(static_cast<std::uint64_t>(lost) + 5);
  auto [a, b] = two_sites(world);
  begin(a, b);
  world.begin_traffic();
  world.run(2s);
  int seen = 0;
  world.hook = [&](ike::Datagram&) { return seen++ != lost; };
  for (Host* h : {&a, &b}) {
    CHECK(h->engine->rekey(world.now, "c", "net", false).ok);
    h->perform();
  }
  world.run(120s);
  CHECK(world.gaps.empty());
  CHECK(one_pair(a));
  CHECK(one_pair(b));
}

TEST_CASE("pairs are rekeyed and the ISAKMP SA replaced before their lifetimes end; no packet is lost", "[rekey][attack-N3][attack-N5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) {
      auto& conn = c->connections[0];
      conn.rekey_time = Seconds{25};
      conn.over_time = Seconds{10};
      conn.rand_time = Seconds{3};
      conn.children[0].rekey_time = Seconds{10};
      conn.children[0].life_time = Seconds{20};
      conn.children[0].rand_time = Seconds{2};
    }
  });
  begin(a, b);
  world.begin_traffic();
  world.run(120s);
  CHECK(world.gaps.empty());
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) >= 11);
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) >= 5);
  CHECK(a.reports(Reason::Expired).empty());
  CHECK(b.reports(Reason::Expired).empty());
  CHECK(a.inbound.size() <= 2);
  CHECK(a.established() <= 2);
}

TEST_CASE("a shorter lifetime of the peer is honoured", "[rekey][C3]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) {
    ca.connections[0].children[0].life_time = Seconds{100};
    ca.connections[0].children[0].rekey_time = Seconds{90};
    ca.connections[0].children[0].rand_time = Seconds{1};
  });
  begin(a, b);
  CHECK(b.current_out("net")->sa.hard_seconds == 100);
}

TEST_CASE("phase 1: a responder honours a shorter offer, the initiator learns of a shorter lifetime, and the SA is replaced in time",
          "[lifetime][rfc2409-5][rfc2407-4.6.3.1]") {
  const bool a_short = GENERATE(true, false);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    config::Connection& c = (a_short ? ca : cb).connections[0];
    c.rekey_time = Seconds{60};
    c.over_time = Seconds{20};
    c.rand_time = Seconds{0};
  });
  begin(a, b);
  const auto life = [](const Host& h) { return h.engine->ike_sas().front().expires_at - h.engine->ike_sas().front().established; };
  CHECK(life(a) == 80s);
  CHECK(life(b) == 80s);
  world.begin_traffic();
  world.run(600s);
  CHECK(world.gaps.empty());
  for (Host* h : {&a, &b}) {
    CHECK(h->established() == 1);
    CHECK(h->counted(Exchange::MainMode, Reason::Ok) >= 9);
    CHECK(h->reports(Reason::Expired).empty());
    CHECK(h->counted(Exchange::QuickMode, Reason::Ok) == 1);
  }
}

TEST_CASE("soft expiry in the data plane rekeys; of an SA on its way out it does not", "[rekey][attack-J6]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  world.begin_traffic();
  const ike::InstallSa old = a.current_out("net")->sa;
  CHECK(old.soft_packets == old.hard_packets / 10 * 9);
  CHECK(old.hard_packets == 0xffffffff);
  a.engine->on_expired(world.now, {Direction::Outbound, old.spi, false, old.pair});
  a.perform();
  world.run(1s);
  CHECK(a.current_out("net")->sa.pair != old.pair);
  a.engine->on_expired(world.now, {Direction::Outbound, old.spi, false, old.pair});
  a.perform();
  world.run(20s);
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) == 2);
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  CHECK(world.gaps.empty());
}

TEST_CASE("dead-peer detection: asks only when idle, gives up on time, and start tries again", "[dpd][rfc3706]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) {
      c->connections[0].dpd_delay = Seconds{10};
      c->connections[0].dpd_timeout = Seconds{40};
    }
  });
  begin(a, b);
  world.record = true;
  world.begin_traffic();
  world.run(60s);
  CHECK(world.wire.empty());  // traffic both ways: nobody asks
  world.end_traffic();
  world.run(30s);
  CHECK(world.wire.size() >= 4);  // R-U-THERE and its answer
  CHECK(a.counted(Exchange::Dpd, Reason::DpdTimeout) == 0);
  world.hook = [](ike::Datagram&) { return false; };
  const TimePoint cut = world.now;
  REQUIRE(world.run_until([&] { return a.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 80s));
  CHECK(world.now - cut >= 25s);
  CHECK(world.now - cut <= 45s);
  world.run(1s);
  CHECK(a.inbound.empty());
  CHECK(a.outbound.empty());
  world.hook = nullptr;
  CHECK(world.run_until([&] { return both_up(a, b); }, 80s));
}

TEST_CASE("an operator's end is told to the peer and stays", "[delete][rfc2408-3.15]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  SECTION("of everything") {
    CHECK(a.engine->terminate(world.now, "c", "").message == "Ended 1 ISAKMP SA and 1 pair of IPsec SAs.");
    a.perform();
    world.run(60s);
    CHECK(a.engine->ike_sas().empty());
    CHECK(b.engine->ike_sas().empty());
  }
  SECTION("of a child") {
    CHECK(a.engine->terminate(world.now, "c", "net").ok);
    a.perform();
    world.run(60s);
    CHECK(a.established() == 1);
  }
  SECTION("by shutdown") {
    a.engine->shutdown(world.now);
    a.perform();
    world.run(60s);
    CHECK(a.engine->ike_sas().empty());
    CHECK(b.established() == 0);
  }
  CHECK(a.inbound.empty());
  CHECK(b.inbound.empty());
  CHECK(a.spis.empty());
  CHECK(b.spis.empty());
  CHECK_FALSE(b.up());
}

TEST_CASE("unknown names get an answer that says so", "[commands]") {
  World world;
  auto [a, b] = two_sites(world);
  CHECK_FALSE(a.engine->initiate(world.now, "nope", "").ok);
  CHECK(a.engine->rekey(world.now, "c", "nope", false).message == "There is no child \"nope\" of a connection \"c\".");
  CHECK_FALSE(a.engine->rekey(world.now, "c", "", true).ok);
  CHECK(a.engine->terminate(world.now, "c", "").message == "Nothing was up.");
  static_cast<void>(b);
}

TEST_CASE("trap: a packet brings the child up, and its end waits for another packet", "[trap]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::Trap; });
  a.start();
  b.start();
  world.run(10s);
  CHECK(a.sent_datagrams == 0);
  a.engine->on_acquire(world.now, "c", "net");
  a.perform();
  REQUIRE(world.run_until([&] { return both_up(a, b); }, 5s));
}

TEST_CASE("the data plane loses everything: fresh keys under the same ISAKMP SA", "[dataplane][attack-O2][attack-J2]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  const SecretBytes old = a.current_out("net")->sa.encr_key;
  a.lose_plane();
  a.engine->on_dataplane_lost(world.now);
  a.perform();
  REQUIRE(world.run_until([&] { return both_up(a, b); }, 10s));
  world.run(10s);
  CHECK_FALSE(a.current_out("net")->sa.encr_key == old);
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 1);
}

TEST_CASE("a restarted engine makes successors of the SAs that it finds, without a gap", "[restart][attack-O1]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(a, b);
  world.begin_traffic();
  for (int i = 0; i < 3; ++i) {
    world.run(8s);
    a.restart();
  }
  world.run(200s);
  CHECK(world.gaps.empty());
  CHECK(one_pair(a));
  CHECK(one_pair(b));
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("NAT in front of the initiator: port 4500 from message 5, keepalives, and a new address", "[nat][rfc3947][rfc3948]") {
  World world;
  world.record = true;
  auto a_config = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
  auto b_config = site("10.9.0.2", "", config::StartAction::None);
  const bool asks = GENERATE(true, false);
  for (auto* c : {&a_config, &b_config}) c->connections[0].dpd_delay = Seconds{asks ? 300 : 0};
  Host& a = world.add("A", a_config);
  Host& b = world.add("B", b_config);
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  begin(a, b);
  const auto sa = b.engine->ike_sas().at(0);
  CHECK(sa.nat_remote);
  CHECK_FALSE(sa.nat_local);
  CHECK(a.engine->ike_sas().at(0).nat_local);
  CHECK(sa.remote.port >= 20000);
  CHECK(b.current_out("net")->sa.local.port == 4500);
  CHECK(b.current_out("net")->sa.remote == sa.remote);
  for (const ike::Datagram& d : world.wire) {
    const auto seen = look(d);
    REQUIRE(seen);
    CHECK((d.local.address.to_string() != "192.168.7.1" || d.local.port == (seen->header.encrypted() ? 4500 : 500)));
  }
  world.wire.clear();
  world.run(41s);
  // Every 20 s; instead of it, as the peer is silent, a question that shows our address, which is answered.
  CHECK(std::ranges::count(world.wire, Bytes{0xff}, &ike::Datagram::data) == (asks ? 0 : 2));
  CHECK(world.wire.size() == (asks ? 4 : 2));
  // The NAT forgets: the next authenticated message shows the new port, and the pair is made again towards it.
  world.forget_nat();
  CHECK(a.engine->rekey(world.now, "c", "net", false).ok);
  a.perform();
  world.run(20s);
  CHECK(b.engine->ike_sas().at(0).remote != sa.remote);
  CHECK(b.current_out("net")->sa.remote == b.engine->ike_sas().at(0).remote);
}

TEST_CASE("forced encapsulation makes both sides use UDP, whichever forces it", "[nat][rfc3947]") {
  const bool a_forces = GENERATE(true, false);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) { (a_forces ? ca : cb).connections[0].encap = true; });
  begin(a, b);
  for (Host* h : {&a, &b}) {
    CHECK(h->current_out("net")->sa.local.port == 4500);
    CHECK(h->current_out("net")->sa.remote.port == 4500);
    CHECK(h->engine->ike_sas().at(0).local.port == 4500);
  }
}

TEST_CASE("several children share one ISAKMP SA", "[quick_mode]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (int i = 0; i < 20; ++i) {
      const std::string name = "n" + std::to_string(i), net = "10.50." + std::to_string(i) + ".0/24[tcp/80]";
      ca.connections[0].children.push_back(child(name, "10.1.0.0/24", net, "aes128gcm16-ecp256", config::StartAction::Start));
      cb.connections[0].children.push_back(child(name, net, "10.1.0.0/24", "aes128gcm16-ecp256", config::StartAction::None));
    }
  });
  begin(a, b);
  REQUIRE(world.run_until([&] { return a.outbound.size() == 21 && b.outbound.size() == 21; }, 10s));
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 1);
}
