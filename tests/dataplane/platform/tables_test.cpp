// The tables that wrap DPDK libraries against naive models, and the neighbour machinery on a clock of its own. Starts EAL without
// hugepages and without rights.
#include <random>

#include <catch2/catch.hpp>

#include "dataplane/fib/fib.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/eal.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/manager/resolver.hpp"
#include "dataplane/spd/flow_cache.hpp"

namespace culvert::dp {
namespace {
void need_eal() {
  static const auto eal =
      Eal::start("test", {"--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "128", "--lcores", "0", "--log-level", "*:5"});
  if (!eal) FAIL(eal.error());
}
IpAddress v4(std::uint32_t a) { return IpAddress::v4(a); }

Bytes packet_of(std::uint32_t source, std::uint32_t destination, std::uint8_t protocol, std::uint16_t sport, std::uint16_t dport,
                std::uint16_t fragment = 0) {
  Bytes b(28);
  b[0] = 0x45, b[3] = 28, b[8] = 64, b[9] = protocol;
  store_be16(&b[6], fragment);
  store_be32(&b[12], source);
  store_be32(&b[16], destination);
  set_ipv4_checksum(b.data());
  store_be16(&b[20], sport);
  store_be16(&b[22], dport);
  return b;
}
}  // namespace

namespace {
/// Ways that differ within 10.0.0.0 to 10.0.0.99.
std::unique_ptr<Fib> some_routes() {
  static NeighborTable neighbors;
  const std::vector<Interface> interfaces{{"wan", {}, 1500, {{v4(0x0a000001), 28}}}, {"lan", {}, 1500, {{v4(0x0a000021), 27}}}};
  const std::vector<config::Route> routes{{{v4(0x0a000040), 28}, v4(0x0a000002), ""}};
  auto fib = Fib::build(interfaces, routes, neighbors);
  REQUIRE(fib);
  return std::move(*fib);
}
}  // namespace

TEST_CASE("fib: own, connected, routed, martian", "[fib]") {
  need_eal();
  const std::vector<Interface> interfaces{{"wan", {}, 1500, {{v4(0x0a090001), 24}}},
                                          {"lan", {}, 1500, {{v4(0x0a010001), 24}, {v4(0x0a050001), 31}}}};
  NeighborTable neighbors;
  const std::vector<config::Route> routes{
      {{v4(0x0a020000), 24}, v4(0x0a090002), ""}, {{v4(0), 0}, v4(0x0a090003), "wan"}, {{v4(0x0b000000), 8}, {}, "lan"}};
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
    const NextHop& h = (*fib)->lookup(v4(r.address));
    INFO(v4(r.address).to_string());
    CHECK(h.kind == r.kind);
    CHECK(h.port == r.port);
    CHECK(h.gateway == (r.gateway ? v4(r.gateway) : IpAddress{}));
    CHECK((h.neighbor != nullptr) == (r.kind == HopKind::Gateway));
  }
  const std::vector<config::Route> nowhere{{{v4(0x0a020000), 24}, v4(0x0c000001), ""}};
  CHECK_FALSE(Fib::build(interfaces, nowhere, neighbors));
}

/// The linear reference: the policy that wins, and what it does. What hides its ports is discarded by the first that may mean it.
std::pair<std::uint32_t, shm::PolicyAction> winner(const std::vector<shm::InstallPolicy>& policies, const Packet& p) {
  const shm::InstallPolicy* best = nullptr;
  const auto matches = [&](TrafficSelector ts, std::uint32_t address, std::uint16_t port) {
    if (p.ports_hidden) ts.port_first = 0, ts.port_last = 0xffff;
    return ts.matches(v4(address), p.protocol, port);
  };
  for (const auto& c : policies)
    if (matches(c.local_ts, load_be32(p.data + 12), p.source_port) && matches(c.remote_ts, load_be32(p.data + 16), p.destination_port) &&
        (best == nullptr || std::pair(c.priority, c.policy.value) < std::pair(best->priority, best->policy.value)))
      best = &c;
  if (best == nullptr) return {};
  const bool unsure = p.ports_hidden && !(best->local_ts.any_port() && best->remote_ts.any_port());
  return {best->policy.value, unsure ? shm::PolicyAction::Discard : best->action};
}

TEST_CASE("spd: the classifier and the flow cache before it agree with a linear search", "[spd][model]") {
  need_eal();
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20260101;
  INFO("seed " << seed);
  std::mt19937 rng(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const auto fib = some_routes();
  FlowCache cache(*fib, rng());  // lives through the snapshots: what one said is nothing to the next
  for (int round = 0; round < 20; ++round) {
    std::vector<shm::InstallPolicy> policies;
    for (std::uint32_t i = 1 + pick(30); i > 0; --i) {
      shm::InstallPolicy p;
      p.policy = PolicyId{i};
      p.priority = pick(4);
      p.action = static_cast<shm::PolicyAction>(pick(3));
      for (TrafficSelector* ts : {&p.local_ts, &p.remote_ts}) {
        const std::uint32_t a = 0x0a000000 + pick(64), b = a + pick(64);
        *ts = pick(4) == 0 ? TrafficSelector::from({v4(0), 0}) : TrafficSelector{v4(a), v4(b), 0, 0xffff, 0};
      }
      if (pick(2) == 0) {
        p.local_ts.protocol = p.remote_ts.protocol = 17;
        p.remote_ts.port_first = static_cast<std::uint16_t>(pick(4));
        p.remote_ts.port_last = static_cast<std::uint16_t>(p.remote_ts.port_first + pick(4));
      }
      REQUIRE(Spd::check(p) == shm::AckResult::Ok);
      policies.push_back(p);
    }
    const auto spd = Spd::build(policies);
    REQUIRE(spd);
    for (int n = 0; n < 500; ++n) {
      const std::uint32_t s = 0x0a000000 + pick(140), d = 0x0a000000 + pick(140);
      const auto protocol = static_cast<std::uint8_t>(pick(2) ? 17 : 1);
      const auto dport = static_cast<std::uint16_t>(protocol == 17 ? pick(9) : 0);
      constexpr std::array<std::uint16_t, 4> kFragments{0, kIpv4Mf, 1, kIpv4Mf | 77};
      const std::uint16_t fragment = kFragments[pick(4)];
      Bytes bytes = packet_of(s, d, protocol, 0, dport, fragment);
      Packet p;
      p.data = bytes.data();
      p.length = 28;
      REQUIRE(parse_ip(p));
      const FlowKey key = FlowKey::outbound(p);
      std::uint32_t number = 0;
      (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
      const SpdEntry* got = (*spd)->numbered(number);
      REQUIRE(p.ports_hidden == (protocol == 17 && (fragment & kIpv4OffsetMask) != 0));
      const auto want = winner(policies, p);
      REQUIRE((got ? got->policy.value : 0) == want.first);
      if (got != nullptr) REQUIRE(got->action == want.second);
      for (int again = 0; again < 2; ++again) {
        std::array<FlowKey, 3> keys{key, FlowKey{}, key};
        std::array<const SpdEntry*, 3> cached{};
        cache.outbound(
            **spd, keys.size(), [&](std::size_t i) { return keys[i]; }, [&](std::size_t i, const SpdEntry* e, HopId) { cached[i] = e; });
        REQUIRE(cached[0] == got);
        REQUIRE(cached[2] == got);
      }
      // The mirrored question about the packet that comes back.
      Bytes back = packet_of(d, s, protocol, dport, 0, fragment);
      p.data = back.data();
      p.length = 28;
      REQUIRE(parse_ip(p));
      CHECK(FlowKey::outbound(p).mirrored() == key);
    }
  }
}

TEST_CASE("flow cache: what the snapshot itself says, whatever was asked before of whichever snapshot", "[spd][model]") {
  need_eal();
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20260101;
  INFO("seed " << seed);
  std::mt19937 rng(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const auto random_spd = [&] {
    std::vector<shm::InstallPolicy> policies;
    for (std::uint32_t i = pick(6); i > 0; --i) {
      shm::InstallPolicy p;
      p.policy = PolicyId{i};
      p.priority = pick(4);
      p.action = static_cast<shm::PolicyAction>(pick(3));
      for (TrafficSelector* ts : {&p.local_ts, &p.remote_ts}) {
        const std::uint32_t a = 0x0a000000 + pick(64);
        *ts = {v4(a), v4(a + pick(64)), static_cast<std::uint16_t>(pick(3)), static_cast<std::uint16_t>(3 + pick(3)), 0};
      }
      policies.push_back(p);
    }
    auto spd = Spd::build(policies);
    REQUIRE(spd);
    return std::move(*spd);
  };
  const auto fib = some_routes();
  FlowCache cache(*fib, rng());
  std::vector<FlowKey> flows(6000);  // more than the cache holds
  for (FlowKey& k : flows) {
    const auto port = [&] { return static_cast<std::uint16_t>(pick(7)); };
    k = FlowKey::of(pick(2) != 0 ? 17 : 6, 0x0a000000 + pick(100), 0x0a000000 + pick(100), port(), port(), pick(8) == 0);
  }
  // Two snapshots at a time, as when workers see a swap late; the freed one's address is free for the next.
  std::array<std::unique_ptr<Spd>, 2> spds{random_spd(), random_spd()};
  for (int round = 0; round < 2000; ++round) {
    if (pick(20) == 0) {
      auto& old = spds[pick(2)];
      old.reset();
      old = random_spd();
    }
    const Spd& spd = *spds[pick(2)];
    const std::size_t few = pick(2) != 0 ? 40 : flows.size();  // now hits, now displacement
    std::array<FlowKey, kBurstMax> keys;
    std::array<const SpdEntry*, kBurstMax> got{}, want{}, got_mirrored{}, want_mirrored{};
    std::array<HopId, kBurstMax> hops{};
    const std::size_t n = 1 + pick(kBurstMax);
    for (std::size_t i = 0; i < n; ++i) keys[i] = flows[pick(static_cast<std::uint32_t>(few))];
    const std::span asked = std::span(keys).first(n);
    const bool both = pick(2) != 0;
    const auto key_of = [&](std::size_t i) { return keys[i]; };
    if (both) {
      cache.both(spd, n, key_of, [&](std::size_t i, const SpdEntry* out, HopId hop, const SpdEntry* in) {
        got[i] = out, got_mirrored[i] = in, hops[i] = hop;
      });
    } else {
      cache.outbound(spd, n, key_of, [&](std::size_t i, const SpdEntry* out, HopId hop) { got[i] = out, hops[i] = hop; });
    }
    const auto ask_spd = [&](std::span<const SpdEntry*> answers) {
      std::array<std::uint32_t, kBurstMax> numbers{};
      spd.lookup(asked, std::span(numbers).first(n));
      for (std::size_t i = 0; i < n; ++i) answers[i] = spd.numbered(numbers[i]);
    };
    ask_spd(want);
    REQUIRE(got == want);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(&fib->hop(hops[i]) == &fib->lookup(v4(keys[i].destination())));
    if (!both) continue;
    for (FlowKey& k : asked) k = k.mirrored();
    ask_spd(want_mirrored);
    REQUIRE(got_mirrored == want_mirrored);
  }
}

TEST_CASE("spd: the rest of a fragmented packet does not get past a policy for its ports", "[spd][rfc4301-7]") {
  need_eal();
  const auto ts = [](const char* text) { return *TrafficSelector::parse(text); };
  shm::InstallPolicy syslog{PolicyId{1}, 100, shm::PolicyAction::Protect, false, ts("10.1.0.0/24[udp]"), ts("10.2.0.0/24[udp/514]"), {}};
  shm::InstallPolicy telnet{PolicyId{2}, 200, shm::PolicyAction::Discard, false, ts("10.1.0.0/24[tcp]"), ts("10.2.0.0/24[tcp/23]"), {}};
  shm::InstallPolicy rest{PolicyId{3}, 900, shm::PolicyAction::Bypass, false, ts("10.1.0.0/16"), ts("10.2.0.0/16"), {}};
  const auto spd = Spd::build(std::vector{syslog, telnet, rest});
  REQUIRE(spd);
  struct Row {
    const char* what;
    std::uint32_t to;
    std::uint8_t protocol;
    std::uint16_t dport, fragment;
    std::uint32_t policy;
    shm::PolicyAction action;
  };
  using enum shm::PolicyAction;
  for (const Row& r :
       {Row{"whole, 514", 0x0a020005, 17, 514, 0, 1, Protect}, Row{"first, 514", 0x0a020005, 17, 514, kIpv4Mf, 1, Protect},
        Row{"later", 0x0a020005, 17, 514, 1, 1, Discard}, Row{"last", 0x0a020005, 17, 0, 185, 1, Discard},
        Row{"whole, 515", 0x0a020005, 17, 515, 0, 3, Bypass}, Row{"later, beside its addresses", 0x0a020105, 17, 515, 1, 3, Bypass},
        Row{"whole, 23", 0x0a020005, 6, 23, 0, 2, Discard}, Row{"later TCP", 0x0a020005, 6, 80, 9, 2, Discard},
        Row{"later of another protocol", 0x0a020005, 1, 0, 9, 3, Bypass}}) {
    INFO(r.what);
    Bytes bytes = packet_of(0x0a010009, r.to, r.protocol, 7, r.dport, r.fragment);
    Packet p;
    p.data = bytes.data();
    p.length = 28;
    REQUIRE(parse_ip(p));
    for (const bool mirrored : {false, true}) {
      FlowKey key = FlowKey::outbound(p);
      if (mirrored) {
        Bytes back = packet_of(r.to, 0x0a010009, r.protocol, r.dport, 7, r.fragment);
        Packet q;
        q.data = back.data();
        q.length = 28;
        REQUIRE(parse_ip(q));
        key = FlowKey::outbound(q).mirrored();
      }
      std::uint32_t number = 0;
      (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
      const SpdEntry* got = (*spd)->numbered(number);
      REQUIRE(got != nullptr);
      CHECK(got->policy.value == r.policy);
      CHECK(got->action == r.action);
    }
  }
}

TEST_CASE("spd: impossible policies are refused", "[spd]") {
  shm::InstallPolicy p;
  p.policy = PolicyId{1};
  p.local_ts = p.remote_ts = TrafficSelector::from({v4(0x0a000000), 8});
  REQUIRE(Spd::check(p) == shm::AckResult::Ok);
  auto bad = p;
  bad.local_ts.first = v4(0xffffffff);
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.action = static_cast<shm::PolicyAction>(3);
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.local_ts.protocol = 6, bad.remote_ts.protocol = 17;
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.local_ts.first = v4(1), bad.local_ts.last = v4(0xfffffffe);  // 62 prefixes a side
  bad.remote_ts = bad.local_ts;
  CHECK(Spd::check(bad) == shm::AckResult::Unsupported);
  bad = p;
  bad.remote_ts.first.family = bad.remote_ts.last.family = Family::None;
  CHECK(Spd::check(bad) != shm::AckResult::Ok);
}

TEST_CASE("fragments: all of the payload, in order, none larger than the MTU", "[fragment][rfc791]") {
  need_eal();
  static const auto pool = BufferPool::create("fragments", 511, 2000);
  REQUIRE(pool);
  for (const std::uint32_t mtu : {68U, 576U, 1400U}) {
    Packet p;
    REQUIRE((*pool)->allocate(p));
    p.resize(1500);
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
        "net_af_packet0,iface=x,qpairs=3,blocksz=16384,framesz=16384,framecnt=4096");
  CHECK(device_arguments("net_tap0,iface=x", 2, 1500) == "net_tap0,iface=x");
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

TEST_CASE("neighbour table: full means full, and removal keeps the rest reachable", "[neighbor]") {
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

}  // namespace culvert::dp
