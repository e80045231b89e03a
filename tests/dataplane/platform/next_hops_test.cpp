// Several next hops of one route: which flow has which, and what becomes of flows when one of them goes and returns.
#include <map>
#include <set>

#include "dataplane/fib/fib.hpp"
#include "dataplane/manager/resolver.hpp"
#include "dataplane/spd/flow_cache.hpp"
#include "tests/dataplane/platform/tables.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
constexpr std::uint32_t kFar = 0x64400000;
constexpr std::size_t kFlows = 6000;

struct Routes {
  explicit Routes(std::size_t hops) : Routes(std::vector<std::uint8_t>(hops, 1)) {}
  explicit Routes(const std::vector<std::uint8_t>& weights) {
    need_eal();
    std::vector<config::Hop> via, via_v6;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      via.emplace_back(v4(0x0a090002 + static_cast<std::uint32_t>(i)), weights[i]);
      via_v6.emplace_back(*IpAddress::parse("2001:db8:9::" + std::to_string(i + 2)), weights[i]);
    }
    const std::vector<Interface> interfaces{
        {"wan", {2, 0, 0, 0, 0, 1}, 1500, {{v4(0x0a090001), 24}, {*IpAddress::parse("2001:db8:9::1"), 64}}}};
    const std::vector<config::Route> routes{{{v4(kFar), 10}, via, ""},
                                            {*Prefix::parse("2001:db8:64::/48"), via_v6, "wan"},
                                            {{v4(0x0b000000), 8}, via, ""},
                                            {{v4(0x0c000000), 8}, {via[0]}, ""}};
    auto made = Fib::build(interfaces, routes, neighbors);
    if (!made) FAIL(made.error());
    fib = std::move(*made);
    spd = std::move(*Spd::build(std::vector<shm::InstallPolicy>{}));
  }
  /// The gateway of each flow, as a worker asks.
  template <class Key>
  std::vector<IpAddress> ask(FlowCache<Key>& flows) const {
    std::vector<IpAddress> out;
    for (std::size_t f = 0; f < kFlows; ++f) {
      Bytes b = packet_of(0x0a010000 + static_cast<std::uint32_t>(f / 50), kFar + static_cast<std::uint32_t>(f % 50), 17,
                          static_cast<std::uint16_t>(1000 + f), 53);
      test::OwnedPacket p(b, 64, 0);
      REQUIRE(parse_ip(p.view));
      flows.outbound(
          *spd, 1, [&](std::size_t) { return Key::outbound(p.view); },
          [&](std::size_t, const SpdEntry*, HopId hop) { out.push_back(fib->hop(hop).gateway); });
    }
    return out;
  }
  [[nodiscard]] bool without(std::set<IpAddress> gone) const {
    return fib->refresh([&](const NextHop& hop) { return !gone.contains(hop.gateway); });
  }
  NeighborTable neighbors;
  std::unique_ptr<Fib> fib;
  std::unique_ptr<Spd> spd;
};
/// UDP of flow `f` to the networks of Routes; a fragment (RFC 8200 §4.5) that stands at 8 * `offset`.
Bytes udp_v6(std::uint32_t f, bool fragment, std::uint16_t offset, bool more) {
  Bytes b(kIpv6HeaderBytes + (fragment ? kFragmentHeaderBytes : 0) + 16);
  b[0] = 0x60;
  store_be16(&b[4], static_cast<std::uint16_t>(b.size() - kIpv6HeaderBytes));
  b[6] = fragment ? kFragment : kProtocolUdp, b[7] = 64;
  std::ranges::copy(IpAddress::parse("2001:db8:1::5")->view(), &b[8]);
  std::ranges::copy(IpAddress::parse("2001:db8:64::")->view(), &b[24]);
  store_be32(&b[36], f);
  std::size_t at = kIpv6HeaderBytes;
  if (fragment) {
    b[at] = kProtocolUdp;
    store_be16(&b[at + 2], static_cast<std::uint16_t>(offset << 3 | (more ? 1 : 0)));
    at += kFragmentHeaderBytes;
  }
  store_be16(&b[at], static_cast<std::uint16_t>(1000 + f)), store_be16(&b[at + 2], 53);
  return b;
}
std::map<IpAddress, std::size_t> shares(const std::vector<IpAddress>& of) {
  std::map<IpAddress, std::size_t> out;
  for (const IpAddress& a : of) ++out[a];
  return out;
}
}  // namespace

TEST_CASE("next hops: each has its share of the flows, the same in every worker and for each packet", "[fib][rfc2992]") {
  for (const std::size_t hops : {2U, 3U, 5U, 16U}) {
    const Routes r(hops);
    FlowCache<> one(*r.fib, 1), other(*r.fib, 0x123456789);
    const auto first = r.ask(one);
    CHECK(r.ask(one) == first);
    CHECK(r.ask(other) == first);
    const auto of = shares(first);
    INFO(hops);
    CHECK(of.size() == hops);
    for (const auto& [gateway, flows] : of) {
      CHECK(flows > kFlows / hops * 6 / 10);
      CHECK(flows < kFlows / hops * 15 / 10);
    }
    CHECK(r.fib->lookup(kDefaultVrf, v4(0x0c000001)).one_of == 0);
    CHECK(r.fib->lookup(kDefaultVrf, v4(kFar)).one_of == hops);
    CHECK(r.fib->lookup(kDefaultVrf, *IpAddress::parse("2001:db8:64::1")).one_of == hops);
  }
}

TEST_CASE("next hops: all fragments of a packet go by one, in whatever order they come", "[fib][rfc2992]") {
  const Routes r(4);
  FlowCache<> flows(*r.fib, 7);
  FlowCache<FlowKeyV6> flows_v6(*r.fib, 7);
  const auto way = [&](auto& cache, const auto& key) {
    IpAddress gateway;
    cache.outbound(
        *r.spd, 1, [&](std::size_t) { return key; }, [&](std::size_t, const SpdEntry*, HopId hop) { gateway = r.fib->hop(hop).gateway; });
    return gateway;
  };
  std::size_t packets = 0, elsewhere = 0;
  std::set<IpAddress> used;
  for (std::uint32_t f = 0; f < 600; ++f)
    for (const bool v6 : {false, true}) {
      std::vector<IpAddress> gateways;
      for (const unsigned at : {0U, 1U, 2U, 3U}) {  // whole, then three fragments of another packet of its flow, the last one first
        const std::uint16_t offset = at == 0 ? 0 : static_cast<std::uint16_t>((3 - at) * 2);
        Bytes b = v6 ? udp_v6(f, at != 0, offset, at > 1)
                     : packet_of(0x0a010000 + f, kFar + f, 17, static_cast<std::uint16_t>(1000 + f), 53,
                                 static_cast<std::uint16_t>(offset | (at > 1 ? kIpv4Mf : 0)));
        test::OwnedPacket p(b, 64, 0);
        REQUIRE(parse_ip(p.view));
        REQUIRE((p.view.fragment == (at != 0) && p.view.ports_hidden == (offset != 0)));
        gateways.push_back(v6 ? way(flows_v6, FlowKeyV6::outbound(p.view)) : way(flows, FlowKey::outbound(p.view)));
      }
      ++packets;
      CHECK((gateways[1] == gateways[2] && gateways[1] == gateways[3]));
      elsewhere += gateways[0] != gateways[1];
      used.insert(gateways[1]);
    }
  CHECK(used.size() == 8);  // they are spread, too
  CHECK((elsewhere > packets / 2 && elsewhere < packets * 9 / 10));
}

TEST_CASE("next hops: shares follow the weights, also among those that are left", "[fib][rfc2992]") {
  const Routes r(std::vector<std::uint8_t>{5, 1, 2});
  FlowCache<> flows(*r.fib, 7);
  const auto gateway = [](std::uint32_t n) { return v4(0x0a090002 + n); };
  const auto share = [&](std::uint32_t n, std::size_t of, std::size_t all) {
    const std::size_t got = shares(r.ask(flows))[gateway(n)];
    CHECK(got > kFlows * of / all * 7 / 10);
    CHECK(got < kFlows * of / all * 13 / 10);
  };
  share(0, 5, 8), share(1, 1, 8), share(2, 2, 8);
  const auto before = r.ask(flows);
  CHECK(r.without({gateway(0)}));
  share(1, 1, 3), share(2, 2, 3);
  const auto meanwhile = r.ask(flows);
  for (std::size_t f = 0; f < kFlows; ++f)
    if (before[f] != gateway(0)) CHECK(meanwhile[f] == before[f]);
  CHECK(r.without({}));
  CHECK(r.ask(flows) == before);
}

TEST_CASE("next hops: only the flows of one that goes get another, and they return to it", "[fib][rfc2992]") {
  const Routes r(4);
  FlowCache<> flows(*r.fib, 7);
  const auto before = r.ask(flows);
  const std::uint64_t epoch = r.fib->epoch();
  CHECK_FALSE(r.without({}));
  CHECK(r.fib->epoch() == epoch);
  const IpAddress gone = v4(0x0a090003);
  CHECK(r.without({gone}));
  CHECK_FALSE(r.without({gone}));
  const auto meanwhile = r.ask(flows);
  std::map<IpAddress, std::size_t> moved;
  for (std::size_t f = 0; f < kFlows; ++f) {
    if (before[f] == gone) {
      CHECK(meanwhile[f] != gone);
      ++moved[meanwhile[f]];
    } else {
      CHECK(meanwhile[f] == before[f]);
    }
  }
  CHECK(moved.size() == 3);  // all others take some of them
  CHECK(r.without({gone, v4(0x0a090002), v4(0x0a090004)}));
  CHECK(shares(r.ask(flows)).size() == 1);
  CHECK(r.without({v4(0x0a090002), gone, v4(0x0a090004), v4(0x0a090005)}));  // none answers: as if all did
  CHECK(r.ask(flows) == before);
  CHECK_FALSE(r.without({}));
}

TEST_CASE("next hops: SAs with one peer are spread like flows, and what has waited leaves by its own", "[fib]") {
  const Routes r(3);
  std::map<IpAddress, std::size_t> of;
  for (std::uint32_t spi = 0x1000; spi < 0x1000 + 600; ++spi) {
    const NextHop& hop = r.fib->lookup(kDefaultVrf, v4(kFar + 9), spi);
    CHECK(&hop == &r.fib->lookup(kDefaultVrf, v4(kFar + 9), spi));
    ++of[hop.gateway];
    const HopId member = r.fib->member(hop.port, hop.gateway);
    CHECK(&r.fib->hop(member) == &hop);
  }
  CHECK(of.size() == 3);
  for (const auto& [gateway, sas] : of) CHECK(sas > 120);
  CHECK(r.fib->member(0, v4(0x0a090063)) == 0);
  CHECK(r.fib->member(1, v4(0x0a090002)) == 0);
  std::size_t members = 0;
  r.fib->for_each_member([&](const NextHop& hop) {
    ++members;
    CHECK(hop.neighbor != nullptr);
  });
  CHECK(members == 6);  // three of each family
}

TEST_CASE("next hops: one that is watched is asked though nobody uses it, while it answers and while it does not", "[neighbor]") {
  auto rcu = Rcu::create(1);
  REQUIRE(rcu);
  NeighborTable table;
  Neighbor& watched = *table.add({v4(0x0a090002), 0}, true);
  table.add({v4(0x0a090003), 0}, true);
  std::vector<std::uint64_t> asked;
  std::uint64_t now = 1'000'000'000'000;
  Resolver r(table, **rcu,
             {[&](const NeighborKey& k) {
                CHECK(k == watched.key);  // the other one is no business of anybody's
                asked.push_back(now);
              },
              [](void*) {}, [](void*, bool) {}});
  r.watch(watched);
  const auto pass = [&](std::uint64_t ms) {
    for (std::uint64_t i = 0; i < ms; i += 50) r.tick(now += 50 * Resolver::kMs);
  };
  pass(50);
  CHECK(asked.size() == 1);
  watched.confirm({2, 0, 0, 0, 0, 9});
  asked.clear();
  for (int i = 0; i < 10; ++i) {
    pass(3100);
    if (asked.size() > static_cast<std::size_t>(i)) watched.confirm({2, 0, 0, 0, 0, 9});
  }
  CHECK((asked.size() >= 9 && asked.size() <= 11));  // each three seconds
  asked.clear();
  pass(8000);
  CHECK(watched.state() == NeighborState::Failed);
  pass(10000);
  CHECK((asked.size() > 12 && asked.size() < 40));  // again and again, at a measured pace
  CHECK(watched.state() != NeighborState::Reachable);
  watched.confirm({2, 0, 0, 0, 0, 9});
  pass(1000);
  CHECK(watched.state() == NeighborState::Reachable);
}

}  // namespace culvert::dp
