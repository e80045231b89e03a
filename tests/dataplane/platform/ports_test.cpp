// The life of ports: links that go and return, MTUs that change, and a reset while a worker polls the device.
#include <atomic>
#include <thread>

#include "dataplane/manager/port_keeper.hpp"
#include "dataplane/manager/resolver.hpp"
#include "tests/dataplane/platform/tables.hpp"

using namespace culvert;
using namespace culvert::dp;

TEST_CASE("a link that goes down and returns is said once each, and counted", "[port][attack-O4]") {
  PortWatch watch;
  watch.add("wan", 1500);
  CHECK(watch.look(0, {.up = true}).lines.empty());
  const auto down = watch.look(0, {.up = false});
  CHECK((!down.usable && !down.returned && down.alarm && down.lines.size() == 1));
  CHECK_THAT(down.lines.at(0), Catch::StartsWith("port wan: the link is down"));
  for (int i = 0; i < 3; ++i) CHECK(watch.look(0, {.up = false}).lines.empty());
  const auto up = watch.look(0, {.up = true});
  CHECK((up.usable && up.returned && !up.alarm && up.lines.size() == 1));
  CHECK_FALSE(watch.look(0, {.up = true}).returned);
  CHECK(watch.changes(0) == 2);
}

TEST_CASE("a port that never had a link is used all the same: not every device says", "[port]") {
  PortWatch watch;
  watch.add("wan", 1500);
  const auto first = watch.look(0, {.up = false});
  CHECK((first.usable && first.lines == std::vector<std::string>{"port wan: it has no link"}));
  CHECK(watch.look(0, {.up = false}).lines.empty());
  CHECK(watch.look(0, {.up = true}).lines.empty());
  CHECK_FALSE(watch.look(0, {.up = false}).usable);
  CHECK(watch.changes(0) == 1);
}

TEST_CASE("an interface that is taken away is one line, not two", "[port][attack-O4]") {
  PortWatch watch;
  watch.add("wan", 1500);
  (void)watch.look(0, {.up = true});
  const auto gone = watch.look(0, {.up = false, .gone = true});
  REQUIRE(gone.lines.size() == 1);
  CHECK_THAT(gone.lines[0], Catch::Contains("is gone"));
  CHECK((!gone.usable && gone.alarm));
  CHECK(watch.look(0, {.up = false, .gone = true}).lines.empty());
}

TEST_CASE("the MTU follows the interface's, never above the configured one", "[port]") {
  PortWatch watch;
  watch.add("wan", 1400);
  CHECK(watch.look(0, {.up = true, .mtu = 1500}).mtu == 1400);
  CHECK(watch.look(0, {.up = true, .mtu = 9000}).lines.empty());
  const auto less = watch.look(0, {.up = true, .mtu = 1300});
  CHECK((less.mtu == 1300 && less.alarm && less.lines.size() == 1));
  CHECK(watch.look(0, {.up = true}).mtu == 1300);  // not known at this moment
  const auto again = watch.look(0, {.up = true, .mtu = 1500});
  CHECK((again.mtu == 1400 && !again.alarm && again.lines.size() == 1));
  Interface interface{.name = "wan", .mtu = 1400};
  interface.mtu = again.mtu;
  CHECK(interface.mtu == 1400);
}

TEST_CASE("a link that returns has its neighbours asked anew", "[neighbor][port]") {
  auto rcu = Rcu::create(1);
  REQUIRE(rcu);
  NeighborTable table;
  Neighbor& gateway = *table.add({v4(0x0a010001), 1}, true);
  std::vector<NeighborKey> asked;
  std::vector<void*> sent, refused;
  Resolver r(table, **rcu,
             {[&](const NeighborKey& k) { asked.push_back(k); }, [&](void* b) { sent.push_back(b); },
              [&](void* b, bool) { refused.push_back(b); }});
  std::uint64_t now = 1'000'000'000'000;
  int packet = 0;
  const NeighborKey used{v4(0x0a010009), 1}, idle{v4(0x0a01000a), 1}, elsewhere{v4(0x0a020009), 2}, silent{v4(0x0a01000b), 1};
  for (const NeighborKey& key : {used, idle, elsewhere, silent}) r.want(key, &packet, now);
  for (const NeighborKey& key : {used, idle, elsewhere}) table.find(key)->confirm({2, 0, 0, 0, 0, 9});
  gateway.confirm({2, 0, 0, 0, 0, 1});
  for (int i = 0; i < 40; ++i) r.tick(now += 50 * Resolver::kMs);  // the silent one has failed
  REQUIRE(table.find(silent)->state() == NeighborState::Failed);
  table.find(used)->used = table.find(elsewhere)->used = true;
  asked.clear();
  r.renew(1, now);
  CHECK(asked == std::vector<NeighborKey>{used});
  CHECK(table.find(used)->state() == NeighborState::Reachable);  // packets go on to where it was
  CHECK(table.find(idle) == nullptr);
  CHECK(table.find(silent) == nullptr);
  CHECK(gateway.state() == NeighborState::Incomplete);
  CHECK(table.find(elsewhere)->state() == NeighborState::Reachable);
  SECTION("it answers from another MAC address") {
    table.find(used)->confirm({2, 0, 0, 0, 0, 7});
    for (int i = 0; i < 100; ++i) r.tick(now += 50 * Resolver::kMs);
    CHECK(asked.size() == 1);
    const Neighbor::Mac other{2, 0, 0, 0, 0, 7};
    CHECK(Neighbor::mac_of(table.find(used)->link) == load_mac(other.data()));
  }
  SECTION("it is gone") {
    for (int i = 0; i < 100 && table.find(used) && table.find(used)->state() == NeighborState::Reachable; ++i)
      r.tick(now += 50 * Resolver::kMs);
    CHECK(asked.size() == Resolver::kTries);
    CHECK((table.find(used) == nullptr || table.find(used)->state() == NeighborState::Failed));
  }
  r.give_up();
  (*rcu)->reclaim();
}

TEST_CASE("a device is reset once no worker is in it, and is used again", "[port][rcu]") {
  need_eal();
  auto pool = BufferPool::create("reset", 1024, 1500);
  REQUIRE(pool);
  config::Port config;
  config.name = "wan";
  config.device = "net_null0,size=60";
  std::vector<std::unique_ptr<Port>> ports;
  auto opened = Port::open(config, 0, 1, **pool);
  if (!opened) FAIL(opened.error());
  ports.push_back(std::move(*opened));
  Port& port = *ports[0];
  auto rcu = Rcu::create(1);
  REQUIRE(rcu);
  std::vector<Interface> interfaces{{.name = "wan", .mtu = 1500}, {.name = "wan.7", .mtu = 1400, .port = 0, .vlan = 7}};
  std::vector<VlanTraffic> traffic(3);  // of three workers
  for (VlanTraffic& t : traffic) t.rx_packets.add(5), t.tx_bytes.add(100);
  PortKeeper keeper(ports, interfaces, traffic, **rcu);
  std::vector<shm::PortCounters> counters(2);
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> received = 0;
  std::thread worker([&] {
    (*rcu)->online(0);
    std::vector<Packet> views(kBurstMax);
    while (!stop) {
      const std::size_t n = port.queues() > 0 ? port.receive(0, views) : 0;
      for (std::size_t i = 0; i < n; ++i) BufferPool::release(nullptr, std::span(&views[i].handle, 1));
      received += n;
      (*rcu)->quiescent(0);
    }
    (*rcu)->offline(0);
  });
  const auto flows = [&] {
    const std::uint64_t before = received;
    for (int i = 0; i < 2000 && received == before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return received != before;
  };
  CHECK(flows());
  std::uint64_t now = 1;
  CHECK(keeper.look(counters, now).empty());
  for (int round = 0; round < 3; ++round) {
    port.want_reset();
    std::vector<std::uint16_t> returned;
    int looks = 0;
    for (; looks < 2000 && returned.empty(); ++looks) {
      returned = keeper.look(counters, ++now);
      if (looks == 0) CHECK(port.queues() == 0);  // parked at once, and not reset in the same look
      (*rcu)->reclaim();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(returned == std::vector<std::uint16_t>{0, 1});
    CHECK(looks >= 2);
    CHECK((port.queues() == 1 && !port.reset_wanted()));
    CHECK(flows());
  }
  stop = true;
  worker.join();
  CHECK((counters[1].rx_packets.get() == 15 && counters[1].tx_bytes.get() == 300 && counters[1].mtu.get() == 1400));
  // A VLAN is no wider than its port.
  std::vector<Interface> narrow{{.name = "wan", .mtu = 1300}, {.name = "wan.7", .mtu = 1400, .port = 0, .vlan = 7}};
  PortKeeper(ports, narrow, traffic, **rcu).look(counters, ++now);
  CHECK((narrow[0].mtu == 1300 && narrow[1].mtu == 1300 && counters[1].mtu.get() == 1300));
}
