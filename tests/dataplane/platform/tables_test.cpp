// The tables that wrap DPDK libraries against naive models, and the neighbour machinery on a clock of its own.
#include "tests/dataplane/platform/tables.hpp"

#include <random>
#include <set>

#include "dataplane/fib/fib.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/manager/resolver.hpp"
#include "dataplane/manager/slot_set.hpp"

namespace culvert::dp {

TEST_CASE("fib: own, connected, routed, martian", "[fib]") {
  need_eal();
  const std::vector<Interface> interfaces{{"wan", {}, 1500, {{v4(0x0a090001), 24}}},
                                          {"lan", {}, 1500, {{v4(0x0a010001), 24}, {v4(0x0a050001), 31}}}};
  NeighborTable neighbors;
  const std::vector<config::Route> routes{
      {{v4(0x0a020000), 24}, {v4(0x0a090002)}, ""}, {{v4(0), 0}, {v4(0x0a090003)}, "wan"}, {{v4(0x0b000000), 8}, {}, "lan"}};
  const auto fib = Fib::build(interfaces, routes, neighbors);
  REQUIRE(fib);
  struct Row {
    std::uint32_t address;
    HopKind kind;
    std::uint16_t port;
    std::uint32_t gateway;
  };
  for (const Row& r :
       {Row{0x0a090001, HopKind::Local, 0, 0}, Row{0x0a010001, HopKind::Local, 1, 0}, Row{0x0a09004d, HopKind::OnLink, 0, 0},
        Row{0x0a0900ff, HopKind::Martian, 0, 0}, Row{0x0a090000, HopKind::Martian, 0, 0}, Row{0x0a050000, HopKind::OnLink, 1, 0},
        Row{0x0a050001, HopKind::Local, 1, 0}, Row{0x0a020009, HopKind::Gateway, 0, 0x0a090002},
        Row{0x08080808, HopKind::Gateway, 0, 0x0a090003}, Row{0x0b010203, HopKind::OnLink, 1, 0}, Row{0x7f000001, HopKind::Martian, 0, 0},
        Row{0xe0000005, HopKind::Martian, 0, 0}, Row{0xffffffff, HopKind::Martian, 0, 0}, Row{0x00000001, HopKind::Martian, 0, 0}}) {
    const NextHop& h = (*fib)->lookup(kDefaultVrf, v4(r.address));
    INFO(v4(r.address).to_string());
    CHECK(h.kind == r.kind);
    CHECK(h.port == r.port);
    CHECK(h.gateway == (r.gateway ? v4(r.gateway) : IpAddress{}));
    CHECK((h.neighbor != nullptr) == (r.kind == HopKind::Gateway));
  }
  const std::vector<config::Route> nowhere{{{v4(0x0a020000), 24}, {v4(0x0c000001)}, ""}};
  CHECK_FALSE(Fib::build(interfaces, nowhere, neighbors));
}

TEST_CASE("fragments: all of the payload, in order, none larger than the MTU", "[fragment][rfc791]") {
  need_eal();
  static const auto pool = BufferPool::create("fragments", 511, 2000);
  REQUIRE(pool);
  for (const std::uint32_t mtu : {68U, 576U, 1400U}) {
    Packet p;
    REQUIRE((*pool)->allocate(p));
    p.resize(1500);
    p.family = Family::V4;
    for (std::uint32_t i = 0; i < 1500; ++i) p.data[i] = static_cast<std::uint8_t>(i);
    std::memset(p.data, 0, 20);
    p.data[0] = 0x45, p.data[8] = 9, p.data[9] = 17;
    store_be16(p.data + 2, 1500);
    store_be32(p.data + 12, 0x0a010001);
    set_ipv4_checksum(p.data);
    std::array<Packet, kBurstMax> out;
    const std::size_t n = fragment_ipv4(p, mtu, **pool, out);
    REQUIRE(n > 1);
    Bytes whole;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(out[i].length <= mtu);
      CHECK(out[i].family == Family::V4);  // who sends it asks
      REQUIRE(parse_ip(out[i]));
      const std::uint16_t field = load_be16(out[i].data + 6);
      CHECK((field & kIpv4OffsetMask) * 8U == whole.size());
      CHECK(((field & kIpv4Mf) != 0) == (i + 1 < n));
      whole.insert(whole.end(), out[i].data + 20, out[i].data + out[i].length);
      BufferPool::release(nullptr, std::span(&out[i].handle, 1));
    }
    CHECK(std::equal(whole.begin(), whole.end(), p.data + 20, p.data + 1500));
    BufferPool::release(nullptr, std::span(&p.handle, 1));
  }
}

TEST_CASE("af_packet devices get a queue per worker and a ring that holds a nap's worth", "[port]") {
  CHECK(device_arguments("net_af_packet0,iface=x", 1, 1500) == "net_af_packet0,iface=x,blocksz=4096,framesz=2048,framecnt=4096");
  CHECK(device_arguments("net_af_packet0,iface=x,framecnt=8,framesz=2048", 2, 1500) ==
        "net_af_packet0,iface=x,framecnt=8,framesz=2048,qpairs=2");
  CHECK(device_arguments("net_af_packet0,iface=x,qpairs=3", 2, 9000) ==
        "net_af_packet0,iface=x,qpairs=3,blocksz=12288,framesz=12288,framecnt=2048");
  CHECK(device_arguments("net_tap0,iface=x", 2, 1500) == "net_tap0,iface=x");
  CHECK(device_arguments("net_af_packet0,iface=x", 1, 2500) == "net_af_packet0,iface=x,blocksz=4096,framesz=4096,framecnt=2048");
  CHECK(buffer_mtu("net_af_packet0,iface=x", 1500) == 1500);
  CHECK(buffer_mtu("net_af_packet0,iface=x", 9000) == 12288 - 52);
  CHECK(buffer_mtu("net_tap0,iface=x", 9000) == 9000);
  CHECK((is_pci_device("0000:3b:00.0") && is_pci_device("3b:00.1") && !is_pci_device("net_null0")));
}

TEST_CASE("resolver: asks, delivers, gives up, forgets", "[neighbor][rfc826]") {
  auto rcu = Rcu::create(1);
  REQUIRE(rcu);
  NeighborTable table;
  const NeighborKey gateway_key{v4(0x0a010001), 1};
  Neighbor& gateway = *table.add(gateway_key, true);
  std::vector<NeighborKey> asked;
  std::vector<void*> sent, refused;
  Resolver r(table, **rcu,
             {[&](const NeighborKey& k) { asked.push_back(k); }, [&](void* b) { sent.push_back(b); },
              [&](void* b, bool) { refused.push_back(b); }});
  const NeighborKey key{v4(0x0a010009), 1};
  std::uint64_t now = 1'000'000'000;
  std::vector<int> packets(200);
  const auto pass = [&](std::uint64_t ms) {
    for (std::uint64_t i = 0; i < ms; i += 50) r.tick(now += 50 * Resolver::kMs);
  };

  SECTION("an answer sends what waits, in order") {
    for (int i = 0; i < 3; ++i) r.want(key, &packets[static_cast<std::size_t>(i)], now);
    CHECK(asked.size() == 1);
    table.find(key)->confirm({2, 0, 0, 0, 0, 9});
    r.tick(now);
    CHECK(sent == std::vector<void*>{&packets[0], &packets[1], &packets[2]});
    SECTION("unused for long, it is forgotten; nobody is asked") {
      pass(125'000);
      CHECK(table.find(key) == nullptr);
      CHECK(asked.size() == 1);
    }
    SECTION("in use, it is asked again, and stays while it answers") {
      for (int i = 0; i < 1000; ++i) {
        const std::size_t before = asked.size();
        table.find(key)->used = true;
        pass(200);
        if (asked.size() != before) table.find(key)->confirm({2, 0, 0, 0, 0, 9});
      }
      CHECK(asked.size() >= 5);  // 200 seconds
      CHECK(asked.size() <= 8);
      REQUIRE(table.find(key) != nullptr);
      CHECK(table.find(key)->state() == NeighborState::Reachable);
    }
    SECTION("in use and silent, it fails") {
      for (int i = 0; i < 40 && table.find(key) && table.find(key)->state() == NeighborState::Reachable; ++i) {
        table.find(key)->used = true;
        pass(1000);
      }
      CHECK((table.find(key) == nullptr || table.find(key)->state() == NeighborState::Failed));
    }
  }
  SECTION("an answer while it is still being asked sends what waits") {
    const unsigned unheard = GENERATE(0U, 1U);  // requests before
    Resolver quick(table, **rcu,
                   {[&](const NeighborKey& k) {
                      asked.push_back(k);
                      if (asked.size() > unheard) table.find(k)->confirm({2, 0, 0, 0, 0, 9});
                    },
                    [&](void* b) { sent.push_back(b); }, [&](void* b, bool) { refused.push_back(b); }});
    now += 2 * Resolver::kUnused;
    quick.want(key, packets.data(), now);
    if (unheard != 0) quick.tick(now += Resolver::kRetry);
    CHECK(sent.empty());
    quick.tick(now);
    CHECK(sent == std::vector<void*>{packets.data()});
    CHECK(refused.empty());
    CHECK((table.find(key) != nullptr && table.find(key)->state() == NeighborState::Reachable));
  }
  SECTION("what was heard while it was to be given up stands") {
    const std::uint64_t seen = gateway.link;
    CHECK(gateway.become(NeighborState::Failed, seen));
    CHECK(gateway.state() == NeighborState::Failed);
    gateway.confirm({2, 0, 0, 0, 0, 1});
    const std::uint64_t heard = gateway.link;
    CHECK_FALSE(gateway.become(NeighborState::Failed, heard));  // not looked at since
    gateway.confirmed = false;
    CHECK_FALSE(gateway.become(NeighborState::Failed, seen));
    CHECK(gateway.link == heard);
    CHECK(gateway.become(NeighborState::Failed, heard));
  }
  SECTION("silence refuses what waits, holds the failure for a second, then asks anew") {
    r.want(key, &packets[0], now);
    pass(2000);
    CHECK(asked.size() == Resolver::kTries);
    CHECK(refused.size() == 1);
    CHECK(table.find(key)->state() == NeighborState::Failed);
    r.want(key, &packets[1], now);
    CHECK(refused.size() == 2);
    pass(1100);
    CHECK(table.find(key) == nullptr);
    r.want(key, &packets[2], now);
    CHECK(asked.size() == Resolver::kTries + 1);
  }
  SECTION("a configured gateway that spoke first is not asked before it is wanted, probed in use, and failed when silent") {
    pass(5000);
    CHECK(asked.empty());
    gateway.confirm({2, 0, 0, 0, 0, 1});
    pass(31'000);
    CHECK(asked.empty());  // not in use
    for (int i = 0; i < 40 && gateway.state() == NeighborState::Reachable; ++i) {
      gateway.used = true;
      pass(1000);
    }
    CHECK(asked.size() == Resolver::kTries);
    CHECK(gateway.state() == NeighborState::Failed);
    pass(1100);
    CHECK(gateway.state() == NeighborState::Incomplete);
    SECTION("... then anew") {
      r.want(gateway_key, &packets[0], now);
      CHECK(asked.size() == Resolver::kTries + 1);
      gateway.confirm({2, 0, 0, 0, 0, 1});
      pass(50);
      CHECK(sent.size() == 1);
    }
    SECTION("... unused for long, its address is forgotten") {
      gateway.confirm({2, 0, 0, 0, 0, 1});
      pass(125'000);
      CHECK(gateway.state() == NeighborState::Incomplete);
    }
  }
  SECTION("the queue is bounded") {
    for (auto& p : packets) r.want(key, &p, now);
    CHECK(refused.size() == packets.size() - Resolver::kQueuePerNeighbor);
  }
  SECTION("a configured gateway's entry stays, and is asked again after its failure") {
    Neighbor* pinned = table.add(key, true);
    r.want(key, &packets[0], now);
    pass(3200);
    CHECK(refused.size() == 1);
    CHECK((table.find(key) == pinned && pinned->state() == NeighborState::Incomplete));
    r.want(key, &packets[1], now);
    CHECK(asked.size() == Resolver::kTries + 1);
  }
  r.give_up();
  (*rcu)->reclaim();
}

TEST_CASE("neighbour table: full means full, and removal keeps the rest reachable", "[neighbor][attack-O4]") {
  NeighborTable table;
  for (std::uint32_t i = 0; i < NeighborTable::kMaxEntries; ++i) REQUIRE(table.add({v4(0x0a000000 + i), 0}) != nullptr);
  CHECK(table.add({v4(0x0b000000), 0}) == nullptr);
  for (std::uint32_t i = 0; i < NeighborTable::kMaxEntries; i += 2) CHECK(table.remove(*table.find({v4(0x0a000000 + i), 0})) != nullptr);
  for (std::uint32_t i = 0; i < NeighborTable::kMaxEntries; ++i) CHECK((table.find({v4(0x0a000000 + i), 0}) != nullptr) == (i % 2 == 1));
  CHECK(table.find({v4(0x0a000001), 1}) == nullptr);
  for (std::uint32_t i = 0; i < NeighborTable::kMaxEntries; ++i)
    CHECK(table.find_v4(0x0a000000 + i, 0) == table.find({v4(0x0a000000 + i), 0}));
  CHECK(table.find_v4(0x0a000001, 1) == nullptr);
}

TEST_CASE("slot set: those that were put in and not taken out", "[slots][model]") {
  std::mt19937 rng(20261128);
  SlotSet set;
  std::set<std::uint32_t> model;
  for (int round = 0; round < 5000; ++round) {
    const auto slot = static_cast<std::uint32_t>(rng() % 200);
    if (rng() % 2 != 0) {
      set.insert(slot);
      model.insert(slot);
    } else {
      set.erase(slot);
      model.erase(slot);
    }
    REQUIRE(set.contains(slot) == model.contains(slot));
    REQUIRE(set.size() == model.size());
    REQUIRE(std::set<std::uint32_t>(set.begin(), set.end()) == model);
  }
}

}  // namespace culvert::dp
