// IPv6 in the tables: policies against a linear search, routes, and the flow cache before both.
#include <random>

#include "dataplane/spd/flow_cache.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {
namespace {
IpAddress v6(const char* text) { return *IpAddress::parse(text); }
IpAddress low(std::uint64_t n) {
  IpAddress a = v6("2001:db8::");
  store_be64(a.bytes.data() + 8, n);
  return a;
}
Bytes packet_v6(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol, std::uint16_t sport, std::uint16_t dport,
                bool later_fragment) {
  Bytes b(40 + (later_fragment ? 8 : 0) + 8);
  b[0] = 0x60;
  store_be16(&b[4], static_cast<std::uint16_t>(b.size() - 40));
  b[6] = later_fragment ? std::uint8_t{44} : protocol;
  b[7] = 64;
  std::copy(source.bytes.begin(), source.bytes.end(), b.begin() + 8);
  std::copy(destination.bytes.begin(), destination.bytes.end(), b.begin() + 24);
  if (later_fragment) b[40] = protocol, b[43] = 64;
  store_be16(&b[b.size() - 8], sport);
  store_be16(&b[b.size() - 6], dport);
  return b;
}
std::vector<Interface> two_ports() {
  std::vector<Interface> out{{"wan", {2, 0, 0, 0, 0, 1}, 1500, {{v4(0x0a090001), 24}, {v6("2001:db8:9::1"), 64}}},
                             {"lan", {2, 0, 0, 0, 0, 2}, 1500, {{v4(0x0a010001), 24}, {v6("2001:db8:1::1"), 64}}}};
  for (Interface& i : out) i.add_link_local();
  return out;
}
config::Route route(const char* to, const char* via, const char* port = "") {
  return {*Prefix::parse(to), via == nullptr ? std::vector<config::Hop>{} : std::vector<config::Hop>{v6(via)}, port, {}};
}
/// The policy that wins, of equal ones the last, and what it then says.
std::pair<std::uint32_t, shm::PolicyAction> winner(const std::vector<shm::InstallPolicy>& policies, const Packet& p) {
  const shm::InstallPolicy* best = nullptr;
  for (const auto& c : policies) {
    const bool ports = p.ports_hidden || (c.local_ts.port_first <= p.source_port && p.source_port <= c.local_ts.port_last &&
                                          c.remote_ts.port_first <= p.destination_port && p.destination_port <= c.remote_ts.port_last);
    const IpAddress s = source_of(p), d = destination_of(p);
    const bool there = c.local_ts.first.family == Family::V6 && c.local_ts.first <= s && s <= c.local_ts.last && c.remote_ts.first <= d &&
                       d <= c.remote_ts.last && (c.local_ts.protocol == 0 || c.local_ts.protocol == p.protocol) && ports;
    if (there && (best == nullptr || c.priority <= best->priority)) best = &c;
  }
  if (best == nullptr) return {};
  const bool unsure = p.ports_hidden && !(best->local_ts.any_port() && best->remote_ts.any_port());
  return {best->policy.value, unsure ? shm::PolicyAction::Discard : best->action};
}
}  // namespace

TEST_CASE("spd, IPv6: the classifier and the flow cache agree with a linear search", "[spd][v6][model]") {
  need_eal();
  std::mt19937_64 rng(20261126);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  NeighborTable neighbors;
  const auto ports = two_ports();
  const auto fib = Fib::build(ports, {}, neighbors);
  REQUIRE(fib);
  FlowCache<FlowKeyV6> cache(**fib, rng());
  for (int round = 0; round < 12; ++round) {
    std::vector<shm::InstallPolicy> policies;
    for (std::uint32_t i = 1 + pick(20); i > 0; --i) {
      shm::InstallPolicy p;
      p.policy = PolicyId{i * 7 % 31};
      p.priority = pick(4);
      p.action = static_cast<shm::PolicyAction>(pick(3));
      for (TrafficSelector* ts : {&p.local_ts, &p.remote_ts}) {
        const std::uint64_t a = pick(64), b = a + pick(64);
        *ts =
            pick(4) == 0 ? *TrafficSelector::parse(pick(2) == 0 ? "::/0" : "2001:db8::/64") : TrafficSelector{low(a), low(b), 0, 0xffff, 0};
      }
      if (pick(8) == 0) p.local_ts = p.remote_ts = *TrafficSelector::parse("0.0.0.0/0");  // of the other family: means none of these
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
    for (int n = 0; n < 400; ++n) {
      const IpAddress s = low(pick(140)), d = low(pick(140));
      const auto protocol = static_cast<std::uint8_t>(pick(2) ? 17 : 58);
      const auto dport = static_cast<std::uint16_t>(protocol == 17 ? pick(9) : 0);
      Bytes bytes = packet_v6(s, d, protocol, 0, dport, pick(3) == 0);
      Packet p;
      p.data = bytes.data();
      p.length = static_cast<std::uint32_t>(bytes.size());
      REQUIRE(parse_ip(p));
      const FlowKeyV6 key = FlowKeyV6::outbound(p);
      CHECK(key.mirrored().mirrored() == key);
      std::uint32_t number = 0;
      (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
      const SpdEntry* got = (*spd)->numbered(number);
      const auto want = winner(policies, p);
      REQUIRE((got ? got->policy.value : 0) == want.first);
      if (got != nullptr) REQUIRE(got->action == want.second);
      for (int again = 0; again < 2; ++again)
        cache.both(
            **spd, 1, [&](std::size_t) { return key; },
            [&](std::size_t, const SpdEntry* e, HopId, const SpdEntry* in) {
              REQUIRE(e == got);
              const FlowKeyV6 back = key.mirrored();
              (*spd)->lookup(std::span(&back, 1), std::span(&number, 1));
              REQUIRE(in == (*spd)->numbered(number));
            });
    }
  }
}

TEST_CASE("spd, IPv6: a policy that needs too many prefixes is refused", "[spd][v6]") {
  shm::InstallPolicy p;
  p.policy = PolicyId{1};
  p.action = shm::PolicyAction::Protect;
  p.local_ts = *TrafficSelector::parse("2001:db8::1-2001:db8:ffff:ffff:ffff:ffff:ffff:fffe");
  p.remote_ts = *TrafficSelector::parse("::/0");
  CHECK(Spd::check(p) == shm::AckResult::Ok);
  p.remote_ts = p.local_ts;
  CHECK(Spd::check(p) == shm::AckResult::Unsupported);
  p.remote_ts = *TrafficSelector::parse("0.0.0.0/0");
  CHECK(Spd::check(p) == shm::AckResult::BadMessage);
}

TEST_CASE("fib, IPv6: own, on link, behind a gateway, of the link alone, nowhere", "[fib][v6]") {
  need_eal();
  NeighborTable neighbors;
  const auto ports = two_ports();
  const std::vector<config::Route> routes{route("::/0", "2001:db8:9::fe"), route("2001:db8:2::/48", "fe80::2", "wan"),
                                          route("2001:db8:2:0:8000::/65", nullptr, "lan"), route("10.2.0.0/24", "10.9.0.2")};
  const auto fib = Fib::build(ports, routes, neighbors);
  REQUIRE(fib);
  const auto kind = [&](const char* a) { return (*fib)->lookup(kDefaultVrf, v6(a)).kind; };
  for (const char* own : {"2001:db8:9::1", "2001:db8:1::1", "fe80::ff:fe00:1", "fe80::ff:fe00:2", "10.9.0.1"})
    CHECK(kind(own) == HopKind::Local);
  for (const char* bad : {"::", "::1", "::ffff:10.9.0.1", "fe80::77", "ff02::1", "ff0e::1"}) CHECK(kind(bad) == HopKind::Martian);
  CHECK((kind("2001:db8:1::77") == HopKind::OnLink && (*fib)->lookup(kDefaultVrf, v6("2001:db8:1::77")).port == 1));
  const NextHop& far = (*fib)->lookup(kDefaultVrf, v6("2001:db8:2::5"));
  CHECK((far.kind == HopKind::Gateway && far.gateway == v6("fe80::2") && far.port == 0 && far.neighbor != nullptr));
  CHECK((kind("2001:db8:2:0:8000::5") == HopKind::OnLink && (*fib)->lookup(kDefaultVrf, v6("2001:db8:2:0:8000::5")).port == 1));
  CHECK((*fib)->lookup(kDefaultVrf, v6("2001:4860::1")).gateway == v6("2001:db8:9::fe"));
  CHECK((*fib)->lookup(kDefaultVrf, v6("10.2.0.9")).gateway == v6("10.9.0.2"));
  CHECK((*fib)->hop((*fib)->link(1)).kind == HopKind::OnLink);
  CHECK((*fib)->hop((*fib)->link(1)).port == 1);
  CHECK_FALSE(Fib::build(ports, std::vector<config::Route>{route("2001:db8:2::/48", "fe80::2")}, neighbors));
  // Without an IPv6 address there is no table, and no way.
  const std::vector<Interface> v4_only{{"wan", {2, 0, 0, 0, 0, 1}, 1500, {{v4(0x0a090001), 24}}}};
  const auto none = Fib::build(v4_only, {}, neighbors);
  REQUIRE(none);
  CHECK((*none)->lookup(kDefaultVrf, v6("2001:db8::1")).kind == HopKind::None);
}
}  // namespace culvert::dp
