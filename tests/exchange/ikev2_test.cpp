// IKEv2 between two engines: that both come up, stay up over rekeyings while traffic flows, and end without a rest.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

void require_matching(const Host& a, const Host& b, const std::string& name = "net") {
  const PlaneSa *out_a = a.current_out(name), *out_b = b.current_out(name);
  REQUIRE(out_a);
  REQUIRE(out_b);
  REQUIRE(b.inbound.contains(out_a->sa.spi.value));
  REQUIRE(a.inbound.contains(out_b->sa.spi.value));
  CHECK(b.inbound.at(out_a->sa.spi.value).sa.encr_key == out_a->sa.encr_key);
  CHECK(a.inbound.at(out_b->sa.spi.value).sa.encr_key == out_b->sa.encr_key);
  CHECK_FALSE(out_a->sa.encr_key == out_b->sa.encr_key);
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}
const std::uint64_t kSeeds = number_from("CULVERT_V2_SEEDS", 60), kFirstSeed = number_from("CULVERT_V2_FIRST", 1);

/// Deleted SAs and their memories are over.
void check_settled(World& world, const Pair& p) {
  world.run(60s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.live_pairs() == 1);
  CHECK(p.b.live_pairs() == 1);
  CHECK(p.a.established() == 1);
  CHECK(p.b.established() == 1);
  CHECK(p.a.inbound.size() == 1);
  CHECK(p.b.inbound.size() == 1);
  CHECK(p.a.outbound.size() == 1);
  CHECK(p.b.outbound.size() == 1);
  require_matching(p.a, p.b);
}

void check_ends(World& world, const Pair& p) {
  world.end_traffic();
  for (Host* h : {&p.a, &p.b}) h->step([&](ike::Engine& e) { CHECK(e.terminate(world.now, "c", "").ok); });
  world.run(300s);
  for (const Host* h : {&p.a, &p.b}) {
    INFO(h->transcript());
    CHECK(h->engine->ike_sas().empty());
    CHECK(h->inbound.empty());
    CHECK(h->outbound.empty());
    CHECK(h->spis.empty());
  }
}

}  // namespace

TEST_CASE("IKEv2: IKE_SA_INIT and IKE_AUTH, four messages and both are up", "[ikev2][rfc7296-1.2]") {
  World world;
  world.record = true;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(world.wire.size() == 4);
  require_matching(p.a, p.b);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::Ok) == 2);  // the IKE SA, and its child
  CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);
  check_settled(world, p);
  check_ends(world, p);
}

TEST_CASE("IKEv2: every rekeying leaves one pair and loses no packet", "[ikev2][rfc7296-2.8][attack-N1][attack-N2]") {
  const bool of_ike = GENERATE(false, true);
  const bool pfs = GENERATE(false, true);
  const int who = GENERATE(0, 1, 2);  // a, b, both at once
  World world;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    if (pfs)
      for (auto* g : {&a, &b}) g->connections[0].children[0].esp_proposals = parse_esp_proposal("aes128gcm16-ecp256").value();
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.begin_traffic();
  for (int i = 0; i < 5; ++i) {
    world.run(10s);
    if (who != 1) p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", of_ike).ok); });
    if (who != 0) p.b.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", of_ike).ok); });
  }
  world.run(5s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(world.gaps == std::vector<std::string>{});
  CHECK(p.a.counted(Exchange::CreateChildSa, Reason::Ok) >= 5);
  check_settled(world, p);
  check_ends(world, p);
}

TEST_CASE("IKEv2: a group that the responder does not take is asked for again, cookies or none", "[ikev2][rfc7296-1.3]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].proposals = parse_ike_proposal_v2("aes256-sha256-modp2048-ecp256").value();
    b.connections[0].proposals = parse_ike_proposal_v2("aes256-sha256-ecp256").value();
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  check_settled(world, p);
}

TEST_CASE("IKEv2: both begin at once: one IKE SA and one pair stay", "[ikev2]") {
  World world;
  const Pair p = two_v2(world, [](auto&, auto& b) { b.connections[0].children[0].start_action = config::StartAction::Start; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.run(100ms);  // the first answers are on their way
  world.begin_traffic();
  world.run(120s);
  CHECK(world.gaps == std::vector<std::string>{});
  check_settled(world, p);
}

TEST_CASE("IKEv2: wrong keys and identities are refused by name", "[ikev2][rfc7296-2.15]") {
  World world;
  Pair p = two_v2(world);
  Reason expected = Reason::AuthFailed;
  SECTION("secret") { p.b.secrets["c"] = "other"; }
  SECTION("identity of the initiator") {
    p.b.config.connections[0].remote_id = {config::Identity::Type::Fqdn, "somebody.example"};
    expected = Reason::WrongIdentity;
  }
  p.a.start();
  p.b.start();
  world.run(20s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK_FALSE(p.a.up());
  CHECK_FALSE(p.b.up());
  CHECK(p.b.counted(Exchange::IkeAuth, expected) >= 1);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  CHECK(p.a.inbound.empty());
  CHECK(p.b.inbound.empty());
}

TEST_CASE("IKEv2: a dead peer is found, and what dpd_action says happens", "[ikev2][rfc7296-2.4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto&) { a.connections[0].dpd_delay = config::Seconds{10}; });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.hook = [](ike::Datagram&) { return false; };
  world.run(200s);
  CHECK_FALSE(p.a.up());
  CHECK(p.a.counted(Exchange::Dpd, Reason::DpdTimeout) == 1);
  world.hook = {};
  REQUIRE(world.run_until([&] { return p.a.up(); }, 90s));  // dpd_action: restart
  check_settled(world, p);
}

TEST_CASE("IKEv2 over a bad line, by seed", "[ikev2]") {
  for (std::uint64_t seed = kFirstSeed; seed < kFirstSeed + kSeeds; ++seed) {
    World world(seed);
    world.link = {0.3, 0.1, 1ms, 60ms};
    const Pair p = two_v2(world, [&](auto& a, auto& b) {
      b.connections[0].children[0].start_action = seed % 3 == 0 ? config::StartAction::Start : config::StartAction::None;
      for (auto* g : {&a, &b}) {
        g->connections[0].children[0].rekey_time = config::Seconds{25};
        g->connections[0].children[0].rand_time = config::Seconds{10};
        g->connections[0].children[0].life_time = config::Seconds{200};
        g->connections[0].rekey_time = config::Seconds{60};
        g->connections[0].rand_time = config::Seconds{20};
        g->connections[0].over_time = config::Seconds{200};
      }
    });
    if (std::getenv("CULVERT_TRACE"))
      for (const Host* h : {&p.a, &p.b}) h->engine->watch(world.now, {"c", std::nullopt, world.now + 1h});
    p.a.start();
    p.b.start();
    INFO("seed " << seed);
    REQUIRE(world.run_until([&] { return both_up(p); }, 120s));
    world.run_until(
        [&] { return p.a.counted(Exchange::IkeAuth, Reason::Ok) % 4 == 0 && p.b.counted(Exchange::IkeAuth, Reason::Ok) % 4 == 0; }, 30s);
    world.begin_traffic();
    world.run(300s);
    INFO(p.a.transcript() << p.b.transcript());
    REQUIRE(world.gaps == std::vector<std::string>{});
    world.link = {};
    world.run(30s);
    check_ends(world, p);
  }
}

TEST_CASE("IKEv2: over a line that loses three of ten each way: up within 30 s, and half of them within 1.5 s",
          "[ikev2][loss][rfc7296-2.4]") {
  std::vector<Duration> took;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    World world(seed);
    world.link = {.loss = 0.3, .duplicate = 0, .delay_min = 1ms, .delay_max = 20ms};
    const Pair p = two_v2(world);
    const TimePoint begun = world.now;
    p.b.start();
    p.a.start();
    const bool up = world.run_until([&] { return p.a.up() && p.a.current_out("net"); }, 30s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(up);
    took.push_back(world.now - begun);
  }
  std::ranges::nth_element(took, took.begin() + 100);
  CHECK(took.at(100) < 1500ms);
}

TEST_CASE("IKEv2: who does not answer is asked for a minute, by waits that grow, and more often while the SA comes up",
          "[ikev2][rfc7296-2.4]") {
  const bool up = GENERATE(false, true);
  World world;
  const Pair p = two_v2(world, [](auto& a, auto&) { a.ike.retry_delay = 300s; });
  p.b.start();
  if (up) p.a.start();
  if (up) REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  std::vector<TimePoint> sent;
  world.hook = [&](ike::Datagram& d) {
    if (d.local.address == p.a.config.connections[0].local_addrs[0]) sent.push_back(world.now);
    return false;
  };
  if (up)
    p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  else
    p.a.start();
  world.run(60s);
  REQUIRE(sent.size() >= 8);
  CHECK(sent.size() == (up ? 8 : 18));
  for (std::size_t k = 2; k < sent.size(); ++k) CHECK(sent[k] - sent[k - 1] > (sent[k - 1] - sent[k - 2]) * 9 / 10);
  CHECK(sent.back() - sent.front() > 30s);
}
