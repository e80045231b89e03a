// CHILD SAs for one worker each (RFC 9611), beside the one for all: who makes how many, when the other side wants no more, what becomes of
// them as time goes on.
#include "tests/exchange/ikev2_shares.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;
using ike::Exchange;

namespace {

using Change = std::function<void(config::GatewayConfig&, config::GatewayConfig&)>;

/// A with so many workers, B with so many.
Pair sharing(World& world, std::size_t at_a, std::size_t at_b, const Change& change = {}) {
  return two_v2(world, [&](auto& a, auto& b) {
    give_workers(a, at_a);
    give_workers(b, at_b);
    if (change) change(a, b);
  });
}

/// How many workers send by a pair of their own.
std::size_t sending(const Host& h) {
  return static_cast<std::size_t>(std::ranges::count_if(h.current, [&](const auto& one) { return one.first.starts_with("@"); }));
}
/// Both sides have the same pairs, and in the data plane just these, both halves of each.
void check_alike(const Pair& p) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> a, b;
  for (const auto& c : pairs_of(p.a)) a.emplace(c.spi_in.value, c.spi_out.value);
  for (const auto& c : pairs_of(p.b)) b.emplace(c.spi_out.value, c.spi_in.value);
  CHECK(a == b);
  for (const Host* h : {&p.a, &p.b}) {
    CHECK(h->inbound.size() == a.size());
    CHECK(h->outbound.size() == a.size());
    for (const auto& [spi, sa] : h->inbound)
      for (const PlaneSa& out : h->outbound)
        if (out.sa.pair == sa.sa.pair) CHECK(out.sa.worker == sa.sa.worker);
  }
}
bool all_there(const Pair& p, std::size_t pairs) {
  return p.a.live_pairs() == pairs && p.b.live_pairs() == pairs && p.a.outbound.size() == pairs && p.b.outbound.size() == pairs;
}

}  // namespace

TEST_CASE("each worker gets a pair of its own, beside the one for all", "[ikev2][shares][rfc9611-4]") {
  World world;
  const Pair p = sharing(world, 3, 3);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.begin_traffic();
  REQUIRE(world.run_until([&] { return all_there(p, 4); }, 60s));
  CHECK(by_worker(p.a) == Counts{1, 1, 1, 1});
  CHECK(by_worker(p.b) == Counts{1, 1, 1, 1});
  CHECK(sending(p.a) == 3);
  CHECK(sending(p.b) == 3);
  check_alike(p);
  world.run(5min);  // and no more
  CHECK(all_there(p, 4));
  CHECK(p.a.established() == 1);
  CHECK(world.gaps == std::vector<std::string>{});
}

TEST_CASE("the side with more workers has all that it wants, the other one spreads them", "[ikev2][shares][rfc9611-5]") {
  World world;
  const auto [at_a, at_b, a_has, b_has] = GENERATE(table<std::size_t, std::size_t, Counts, Counts>({{4, 2, {1, 1, 1, 1, 1}, {2, 2, 1}},
                                                                                                    {2, 4, {2, 2, 1}, {1, 1, 1, 1, 1}},
                                                                                                    {1, 3, {3, 1}, {1, 1, 1, 1}},
                                                                                                    {3, 1, {1, 1, 1, 1}, {3, 1}}}));
  CAPTURE(at_a, at_b);
  const Pair p = sharing(world, at_a, at_b);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, std::max(at_a, at_b) + 1); }, 60s));
  world.run(60s);
  CHECK(by_worker(p.a) == a_has);
  CHECK(by_worker(p.b) == b_has);
  check_alike(p);
}

TEST_CASE("with one worker on both sides there is nothing to share", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 1, 1);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.run(60s);
  CHECK(all_there(p, 1));
}

TEST_CASE("TS_MAX_QUEUE is sent where there are enough, and obeyed as long as there are as many", "[ikev2][shares][rfc9611-4]") {
  World world;
  const std::uint16_t limit = GENERATE(as<std::uint16_t>(), 1, 2);
  const Pair p = sharing(world, 4, 4, [&](auto&, auto& b) { b.connections[0].children[0].per_cpu.limit = limit; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.b.counted(Exchange::CreateChildSa, Reason::Limit) > 0; }, 30s));
  world.run(10min);
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Limit) == 1);  // once, and never again
  CHECK(all_there(p, 1U + limit));
  CHECK(failure_of(p.a) == "none");
  check_alike(p);
}

TEST_CASE("a peer that shares nothing says so once", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 3, 3, [](auto&, auto& b) { b.connections[0].children[0].per_cpu.sas = false; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.b.counted(Exchange::CreateChildSa, Reason::Limit) > 0; }, 30s));
  world.run(10min);
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Limit) == 1);
  CHECK(all_there(p, 1));
}

TEST_CASE("both sides begin at once: nothing is a duplicate, nothing is taken back", "[ikev2][shares][rfc9611-5]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.link = {.loss = seed % 3 == 0 ? 0.2 : 0.0, .duplicate = 0.05, .delay_min = 1ms, .delay_max = 60ms};
    const Pair p = sharing(world, 3, 3, [](auto&, auto& b) { b.connections[0].children[0].start_action = config::StartAction::Start; });
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return sending(p.a) == 3 && sending(p.b) == 3; }, 120s));
    world.link = {};
    world.run(30s);
    world.begin_traffic();
    world.run(60s);
    CHECK(p.a.established() == 1);
    check_alike(p);
    CHECK(sending(p.a) == 3);
    CHECK(sending(p.b) == 3);
    CHECK(p.a.live_pairs() <= 7);  // one for all and three of each side at most
    CHECK(world.gaps == std::vector<std::string>{});
  }
}

TEST_CASE("both sides ask for the one for all at once: the second of them is a worker's", "[ikev2][shares][rfc9611-5]") {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.link = {.loss = seed % 2 == 0 ? 0.3 : 0.0, .delay_min = 1ms, .delay_max = 40ms};
    const Pair p = sharing(world, 2, 2);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return p.a.live_pairs() >= 3 && p.b.live_pairs() >= 3; }, 120s));
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", "net", {}); });
    REQUIRE(
        world.run_until([&] { return p.a.outbound.empty() && p.b.outbound.empty() && p.a.inbound.empty() && p.b.inbound.empty(); }, 120s));
    p.a.step([&](ike::Engine& e) { e.initiate(world.now, "c", "net"); });
    p.b.step([&](ike::Engine& e) { e.initiate(world.now, "c", "net"); });
    REQUIRE(world.run_until([&] { return sending(p.a) == 2 && sending(p.b) == 2; }, 120s));
    world.link = {};
    world.run(60s);
    check_alike(p);
    for (const Host* h : {&p.a, &p.b}) CHECK(by_worker(*h).back() == 1);
    CHECK(p.a.live_pairs() <= 5);
  }
}

TEST_CASE("30 % loss: all are there in the end", "[ikev2][shares]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.link = {.loss = 0.3, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 50ms};
    const Pair p = sharing(world, 3, 3);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p) && p.a.live_pairs() == 1; }, 60s));
    world.run(1s);
    world.begin_traffic();  // which a lost answer must not lead to where nobody is
    REQUIRE(world.run_until([&] { return sending(p.a) == 3 && sending(p.b) == 3; }, 300s));
    world.link = {};
    world.run(60s);
    check_alike(p);
    CHECK(world.gaps == std::vector<std::string>{});
  }
}

TEST_CASE("each is rekeyed for itself, and stays its worker's", "[ikev2][shares][rfc9611-4]") {
  const std::string proposals = GENERATE("aes128gcm16", "aes128gcm16-ecp256");
  CAPTURE(proposals);
  World world;
  const Pair p = sharing(world, 3, 3, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      config::Child& c = g->connections[0].children[0];
      c.esp_proposals = parse_esp_proposal(proposals).value();
      c.rekey_time = 60s;
      c.life_time = 90s;
      c.rand_time = 20s;
    }
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.begin_traffic();
  REQUIRE(world.run_until([&] { return all_there(p, 4); }, 60s));
  const auto before = pairs_of(p.a);
  world.run(10min);
  REQUIRE(world.run_until([&] { return all_there(p, 4) && p.a.inbound.size() == 4 && p.b.inbound.size() == 4; }, 60s));
  CHECK(by_worker(p.a) == Counts{1, 1, 1, 1});
  CHECK(by_worker(p.b) == Counts{1, 1, 1, 1});
  for (const auto& c : pairs_of(p.a)) CHECK(std::ranges::find(before, c.pair, &ike::ChildSaInfo::pair) == before.end());
  CHECK(world.gaps == std::vector<std::string>{});
}

TEST_CASE("both sides rekey all at once, with loss: each worker keeps one", "[ikev2][shares][rfc7296-2.8.1]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    World world(seed);
    const Pair p = sharing(world, 2, 2);
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return all_there(p, 3); }, 60s));
    world.begin_traffic();
    world.link = {.loss = 0.2, .delay_min = 1ms, .delay_max = 50ms};
    for (Host* h : {&p.a, &p.b}) h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false, {}).ok); });
    world.run(60s);
    world.link = {};
    REQUIRE(world.run_until([&] { return all_there(p, 3) && p.a.inbound.size() == 3 && p.b.inbound.size() == 3; }, 400s));
    CHECK(by_worker(p.a) == Counts{1, 1, 1});
    CHECK(by_worker(p.b) == Counts{1, 1, 1});
    check_alike(p);
    CHECK(world.gaps == std::vector<std::string>{});
  }
}

TEST_CASE("whatever both sides begin at once, with a message lost: in the end each worker has one", "[ikev2][shares][rfc7296-2.25]") {
  enum : std::uint64_t { kChild, kIke, kEnd, kActs };
  const auto begin = [](Host& h, std::uint64_t act) {
    h.step([&](ike::Engine& e) {
      if (act == kEnd)
        e.terminate(h.world.now, "c", "net", {});
      else
        e.rekey(h.world.now, "c", act == kIke ? "" : "net", act == kIke, {});
    });
  };
  for (std::uint64_t seed = 0; seed < kActs * kActs * 24; ++seed) {
    CAPTURE(seed);
    World world(seed);
    const std::uint64_t at_a = seed % kActs, at_b = seed / kActs % kActs, lost = seed / kActs / kActs % 12;
    const Pair p = sharing(world, 2, 2, [](auto& a, auto&) { a.connections[0].children[0].start_action = config::StartAction::None; });
    p.a.start();
    p.b.start();
    p.a.step([&](ike::Engine& e) { e.initiate(world.now, "c", "net"); });
    REQUIRE(world.run_until([&] { return all_there(p, 3); }, 60s));
    const bool ends = at_a == kEnd || at_b == kEnd;
    if (!ends) world.begin_traffic();
    std::uint64_t sent = 0;
    world.link = {.delay_min = 1ms, .delay_max = 40ms};
    world.hook = [&](ike::Datagram&) { return ++sent != lost; };
    begin(p.a, at_a);
    world.run(world.between(0ms, 50ms));
    begin(p.b, at_b);
    world.run(60s);
    if (ends) {
      const bool gone = world.run_until([&] { return p.a.inbound.empty() && p.b.inbound.empty(); }, 400s);
      if (!gone) UNSCOPED_INFO(p.a.transcript() << p.b.transcript());
      REQUIRE(gone);
      CHECK((p.a.outbound.empty() && p.b.outbound.empty()));
      continue;
    }
    REQUIRE(world.run_until([&] { return all_there(p, 3) && p.a.inbound.size() == 3 && p.b.inbound.size() == 3; }, 400s));
    REQUIRE(world.run_until([&] { return p.a.established() == 1 && p.b.established() == 1; }, 400s));
    CHECK(by_worker(p.a) == Counts{1, 1, 1});
    CHECK(by_worker(p.b) == Counts{1, 1, 1});
    check_alike(p);
    CHECK(world.gaps == std::vector<std::string>{});
  }
}

TEST_CASE("an IKE SA that is rekeyed hands them on; what the peer wants no more stays known", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 3, 3, [](auto&, auto& b) { b.connections[0].children[0].per_cpu.limit = 2; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, 3); }, 60s));
  world.run(20s);
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true, {}).ok); });
  world.run(60s);
  CHECK(all_there(p, 3));
  CHECK(p.a.established() == 1);
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Limit) == 1);
}

TEST_CASE("an operator ends the child: all of them go, and none comes back", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 3, 3);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, 4); }, 60s));
  Host& who = GENERATE(0, 1) == 0 ? p.a : p.b;
  who.step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "net", {}).ok); });
  world.run(60s);
  if (&who == &p.b) return;  // A wants it, and makes it anew
  check_nothing_left({p.a, p.b});
}

TEST_CASE("culvertd comes back, or the data plane does: they are made anew, and nothing old is left", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 3, 3);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, 4); }, 60s));
  const auto before = pairs_of(p.b);
  Host& who = GENERATE(0, 1) == 0 ? p.a : p.b;
  const bool plane = GENERATE(false, true);
  CAPTURE(who.name, plane);
  if (plane) {
    who.lose_plane();
    who.step([&](ike::Engine& e) { e.on_dataplane_lost(world.now); });
  } else {
    who.restart();
  }
  REQUIRE(world.run_until(
      [&] { return all_there(p, 4) && std::ranges::none_of(pairs_of(p.b), [&](const auto& c) { return c.pair == before.front().pair; }); },
      400s));
  world.run(30s);
  CHECK(all_there(p, 4));
  CHECK(by_worker(p.a) == Counts{1, 1, 1, 1});
  check_alike(p);
}

TEST_CASE("a gateway of many peers: each of them has its own", "[ikev2][shares]") {
  World world;
  auto gateway = site("10.9.0.1", "", config::StartAction::None);
  gateway.connections[0].version = 2;
  gateway.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  gateway.connections[0].remote_id = {config::Identity::Type::Any, ""};
  gateway.connections[0].children = {child("net", "10.1.0.0/24", "10.0.0.0/8", "aes128gcm16", config::StartAction::None)};
  give_workers(gateway, 3);
  Host& g = world.add("G", std::move(gateway));
  g.start();
  std::vector<Host*> peers;
  for (const int n : {2, 3}) {
    auto config = site("10.9.0." + std::to_string(n), "10.9.0.1", config::StartAction::Start);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    config.connections[0].local_id = {config::Identity::Type::Fqdn, "peer-" + std::to_string(n)};
    config.connections[0].children = {
        child("net", "10.2." + std::to_string(n) + ".0/24", "10.1.0.0/24", "aes128gcm16", config::StartAction::Start)};
    give_workers(config, 2);
    peers.push_back(&world.add("P" + std::to_string(n), std::move(config)));
    peers.back()->start();
  }
  REQUIRE(world.run_until([&] { return g.live_pairs() == 8 && g.outbound.size() == 8; }, 60s));
  world.run(60s);
  for (const Host* p : peers) CHECK(by_worker(*p) == Counts{2, 1, 1});
  CHECK(by_worker(g) == Counts{2, 2, 2, 2});
  CHECK(sending(g) == 6);
}

TEST_CASE("a pair for a worker that ends at its limit is made anew; the one for all carries on", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 2, 2);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, 3); }, 60s));
  world.begin_traffic();
  const auto gone = *std::ranges::find_if(p.a.outbound, [](const PlaneSa& s) { return s.sa.worker == 1; });
  p.a.step([&](ike::Engine& e) {
    e.on_expired(world.now, {.direction = Direction::Outbound, .spi = gone.sa.spi, .hard = true, .pair = gone.sa.pair});
  });
  REQUIRE(world.run_until([&] { return !p.a.current.contains("@1 net"); }, 10s));
  REQUIRE(world.run_until([&] { return all_there(p, 3); }, 60s));
  CHECK(by_worker(p.a) == Counts{1, 1, 1});
  CHECK(p.a.up());
  CHECK(failure_of(p.a) == "none");
  CHECK(world.gaps == std::vector<std::string>{});
}

TEST_CASE("a peer that comes back without anything: nothing leaves by what its workers had before", "[ikev2][shares]") {
  World world;
  const Pair p = sharing(world, 3, 3);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return all_there(p, 4) && sending(p.b) == 3; }, 60s));
  const std::uint64_t before = p.b.current.at("net");
  p.a.lose_plane();
  p.a.config.connections[0].children[0].per_cpu.sas = false;  // by now there is the one for all alone
  p.a.restart();
  world.begin_traffic();
  REQUIRE(world.run_until([&] { return p.b.current.at("net") != before; }, 3s));  // A has shown that it has it
  world.run(10ms);
  CHECK(sending(p.b) == 0);
  CHECK(p.a.inbound.contains(p.b.current_of("net")->sa.spi.value));
  CHECK(world.run_until([&] { return all_there(p, 1); }, 60s));
}
