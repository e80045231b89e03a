// What a route into a tunnel interface means beside the policies, for what goes out and for what comes in clear; and of the table.
#include "dataplane/spd/flow_cache.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
using enum shm::PolicyAction;

const std::vector<Interface>& tunnels() {
  static const std::vector<Interface> all{{"st0", {}, 1500, {{v4(0xa9fe0101), 30}}}, {"st1", {}, 1500, {}}};
  return all;
}

std::unique_ptr<Fib> routes_into_tunnels() {
  static NeighborTable neighbors;
  const std::vector<Interface> interfaces{{"wan", {}, 1500, {{v4(0x0a090001), 24}}}, {"lan", {}, 1500, {{v4(0x0a010001), 16}}}};
  std::vector<config::Route> routes{
      {{v4(0x0a020000), 16}, {}, "", "st0"}, {{v4(0x0a030000), 16}, {}, "", "st1"}, {{v4(0x0a020900), 24}, {v4(0x0a090002)}, "", ""}};
  auto fib = Fib::build(interfaces, routes, neighbors, tunnels());
  REQUIRE(fib);
  routes[0].tunnel = "st2";
  CHECK_FALSE(Fib::build(interfaces, routes, neighbors, tunnels()));
  return std::move(*fib);
}

shm::InstallPolicy policy(std::uint32_t id, shm::PolicyAction action, const char* local, const char* remote, const char* tunnel = "") {
  shm::InstallPolicy p{PolicyId{id}, 100, action, false, *TrafficSelector::parse(local), *TrafficSelector::parse(remote), {}};
  p.tunnel = shm::Name(tunnel);
  return p;
}
}  // namespace

TEST_CASE("fib: a route leads into a tunnel, and its own addresses are inside", "[fib][tunnels]") {
  need_eal();
  const auto fib = routes_into_tunnels();
  CHECK(fib->lookup(kDefaultVrf, v4(0x0a020005)).kind == HopKind::Tunnel);
  CHECK(fib->lookup(kDefaultVrf, v4(0x0a020005)).port == 0);
  CHECK(fib->lookup(kDefaultVrf, v4(0x0a030005)).port == 1);
  CHECK_FALSE(fib->lookup(kDefaultVrf, v4(0x0a030005)).leads_out());
  CHECK(fib->lookup(kDefaultVrf, v4(0x0a020905)).kind == HopKind::Gateway);  // the longer prefix
  CHECK(fib->lookup(kDefaultVrf, v4(0xa9fe0101)).kind == HopKind::Local);
  CHECK(fib->lookup(kDefaultVrf, v4(0xa9fe0102)).kind == HopKind::Tunnel);
  CHECK(fib->lookup(kDefaultVrf, v4(0xa9fe0103)).kind == HopKind::Tunnel);  // no broadcast between two
  CHECK(OwnAddresses({}, tunnels()).contains_v4(0xa9fe0101));
}

TEST_CASE("a tunnel takes what its route brings and no other policy protects or discards", "[spd][tunnels][rfc4301-4.4.1]") {
  need_eal();
  const auto fib = routes_into_tunnels();
  const std::vector policies{policy(1, Discard, "10.1.0.66", "0.0.0.0/0"), policy(2, Protect, "10.1.0.0/24", "10.2.7.0/24"),
                             policy(3, Bypass, "10.1.0.0/16", "10.2.8.0/22"), policy(9, Protect, "0.0.0.0/0", "0.0.0.0/0", "st0")};
  const auto spd = Spd::build(policies, tunnels());
  REQUIRE(spd);
  const auto plain = Spd::build(std::span(policies).first(3));
  REQUIRE(plain);
  FlowCache cache(*fib, 7);
  struct Row {
    const char* what;
    std::uint32_t source, destination;
    std::uint32_t out, out_mirrored;  // policies that decide on the packet as it is, and as one that came in clear; 0: none
  };
  constexpr std::uint32_t kDiscard = 999;  // a tunnel's that has no policy
  for (const Row& r :
       {Row{"into the tunnel", 0x0a010009, 0x0a020005, 9, 0}, Row{"back from where it leads", 0x0a020005, 0x0a010009, 0, 9},
        Row{"discarded before", 0x0a010042, 0x0a020005, 1, 0}, Row{"a policy child before it", 0x0a010009, 0x0a020705, 2, 0},
        Row{"and what should have come by that", 0x0a020705, 0x0a010009, 0, 2},
        Row{"bypass goes by its route: the tunnel", 0x0a010009, 0x0a020805, 9, 0},
        Row{"bypass goes by its route: in clear", 0x0a010009, 0x0a020905, 3, 0},
        Row{"nor may it come in clear", 0x0a020805, 0x0a010009, 0, 9}, Row{"in clear from where bypass says", 0x0a020905, 0x0a010009, 0, 3},
        Row{"a tunnel without a policy", 0x0a010009, 0x0a030005, kDiscard, 0}, Row{"from there", 0x0a030005, 0x0a010009, 0, kDiscard},
        Row{"from one tunnel to another", 0x0a020005, 0x0a030005, kDiscard, 9}, Row{"nobody's", 0x0a010009, 0x0b000001, 0, 0},
        Row{"to the other end", 0xa9fe0101, 0xa9fe0102, 9, 0}}) {
    INFO(r.what);
    const FlowKey key = FlowKey::of(17, r.source, r.destination, 7, 9);
    const auto value = [&](const SpdEntry* e) {
      if (e == nullptr) return 0U;
      return e->policy.value == 0 && e->action == Discard ? kDiscard : e->policy.value;
    };
    for (int again = 0; again < 2; ++again) {  // from the classifier, then from memory
      cache.both(
          **spd, 1, [&](std::size_t) { return key; },
          [&](std::size_t, const SpdEntry* out, HopId hop, const SpdEntry* in) {
            CHECK(value(out) == r.out);
            CHECK(value(in) == r.out_mirrored);
            CHECK(&fib->hop(hop) == &fib->lookup(kDefaultVrf, v4(r.destination)));
          });
      cache.outbound(
          **spd, 1, [&](std::size_t) { return key; }, [&](std::size_t, const SpdEntry* out, HopId) { CHECK(value(out) == r.out); });
    }
  }
  CHECK((*spd)->has_tunnels());
  CHECK_FALSE((*plain)->has_tunnels());
}

}  // namespace culvert::dp
