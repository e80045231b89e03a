// Equal CHILD SAs beside each other (RFC 7296 §2.8): what one side has begun several times, it wants, and the other side keeps all of it,
// as often as either rekeys them; where each side has begun one, there is one in the end.
//
//   A  two children of these selectors   --  two CHILD SAs  --  one child of them  B
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

/// A wants two of what B has as one child; the side that begins to rekey is the one with the shorter time.
Pair wanting_two(World& world, bool a_rekeys) {
  return two_v2(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      config::Child& net = g->connections[0].children[0];
      net.rekey_time = std::chrono::seconds{(g == &a) == a_rekeys ? 60 : 90};
      net.rand_time = std::chrono::seconds{20};
      net.life_time = std::chrono::seconds{180};
      g->connections[0].rekey_time = std::chrono::seconds{400};
    }
    a.connections[0].children.push_back(a.connections[0].children[0]);
    a.connections[0].children[1].name = "too";
  });
}

}  // namespace

TEST_CASE("IKEv2: equal CHILD SAs that the peer alone has begun stay as many as they are, whoever rekeys them",
          "[ikev2][parallel][rfc7296-2.8]") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    World world(seed);
    const Pair p = wanting_two(world, seed % 2 == 0);
    p.a.start();
    p.b.start();
    const auto both = [&] {
      return p.a.live_pairs("net") == 1 && p.a.live_pairs("too") == 1 && p.b.live_pairs("net") == 2 && p.b.outbound.size() == 2 &&
             p.a.established() == 1 && p.b.established() == 1;
    };
    REQUIRE(world.run_until([&] { return both_up(p) && p.a.up("c", "too"); }, 10s));
    world.begin_traffic();
    if (seed > 12) world.link = {.loss = 0.1, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 80ms};
    world.run(1500s);
    world.link = {};
    const bool settled = world.run_until(both, 400s);
    INFO("seed " << seed << "\n" << p.a.transcript() << p.b.transcript());
    CHECK(settled);
    for (const Host* h : {&p.a, &p.b}) {
      CHECK(h->reports(Reason::DeletedByPeer).empty());
      CHECK(h->reports(Reason::Expired).empty());
    }
    CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Ok) > 20);  // they were rekeyed, and not made anew
    CHECK(world.gaps == std::vector<std::string>{});
  }
}

TEST_CASE("IKEv2: what an answer is about is asked of the data plane before it goes out; of a rekeying we send by the old one still",
          "[ikev2][rfc7296-1.3][rfc7296-2.8]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      config::Child more = g->connections[0].children[0];
      more.name = "more";
      (g == &a ? more.local_ts : more.remote_ts) = TrafficSelector::parse("10.1.7.0/24").value();
      (g == &a ? more.remote_ts : more.local_ts) = TrafficSelector::parse("10.2.7.0/24").value();
      more.start_action = config::StartAction::None;
      g->connections[0].children.push_back(more);
    }
  });
  std::vector<unsigned> asked;  // when an answer goes out
  world.hook = [&](ike::Datagram& d) {
    const auto h = ike::parse_header(d.data);
    const bool about_child = h && (h->header.exchange == ike::kExchangeAuth || h->header.exchange == ike::kExchangeCreateChildSa);
    const bool answer = about_child && (h->header.flags & ike::kFlagResponse) != 0;
    if (answer && d.local.address == p.b.config.connections[0].local_addrs[0]) asked.push_back(p.b.asked_outbound);
    return true;
  };
  p.b.start();
  p.a.start();
  world.run(2s);
  CHECK(asked == std::vector<unsigned>{1});
  p.a.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "more").ok); });
  world.run(2s);
  CHECK(asked == std::vector<unsigned>{1, 2});
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  world.run(2s);
  CHECK(asked == std::vector<unsigned>{1, 2, 2});
  CHECK(p.b.asked_outbound == 3);
}
