// Lifetimes of pairs and of ISAKMP SAs, as the two ends state them to each other: RESPONDER-LIFETIME, lower ends, kilobytes.
#include <catch2/catch.hpp>

#include "control/ikev1/lifetimes.hpp"
#include "tests/exchange/insider_helpers.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;
using ikev1::NotifyType;

TEST_CASE("RESPONDER-LIFETIME: the initiator learns of our shorter lifetime, and rekeys in time", "[lifetime][rfc2407-4.6.3.1]") {
  World world;
  auto [a, b] = two_sites(world, [](auto&, auto& cb) {
    config::Child& c = cb.connections[0].children[0];
    c.rekey_time = Seconds{3000};  // ours rekeys late: the initiator has to
    c.rand_time = Seconds{0};
    c.life_time = Seconds{90};
    c.life_bytes = 5'000'000;
  });
  begin_recorded(world, a, b);
  for (const PlaneSa* sa : {a.current_out("net"), b.current_out("net")}) {
    CHECK(sa->sa.hard_seconds == 90);
    CHECK(sa->sa.hard_bytes / 1024 == 5'000'000 / 1024);
  }
  world.begin_traffic();
  world.run(600s);
  CHECK(world.gaps.empty());
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) >= 6);
  CHECK(a.reports(Reason::Expired).empty());
  CHECK(b.reports(Reason::Expired).empty());
}

TEST_CASE("lifetimes that a peer asks for have a lower end", "[lifetime][attack-C3]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) {
    config::Child& c = ca.connections[0].children[0];
    c.rekey_time = c.life_time = Seconds{1};
    c.rand_time = Seconds{0};
    c.life_bytes = 1024;
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return !b.inbound.empty(); }, 60s));
  CHECK(b.inbound.begin()->second.sa.hard_seconds == 10);
  CHECK(b.inbound.begin()->second.sa.hard_bytes == 1024 * 1024);
}

TEST_CASE("a lifetime that comes outside of Quick Mode shortens, and never lengthens", "[lifetime][rfc2407-4.6.3.1]") {
  World world;
  auto [a, b] = two_sites(world);
  begin_recorded(world, a, b);
  const Insider insider(world);
  const auto before = b.engine->ike_sas().front();
  const auto state = [&](std::uint64_t seconds, bool isakmp, std::uint32_t id) {
    const Bytes spi = isakmp ? cookies_of(before) : bytes_of(b.current_out("net")->sa.spi);
    const auto n = notify(NotifyType::ResponderLifetime, spi, ikev1::encode_responder_lifetime({seconds, {}}, isakmp && id % 2 == 0),
                          isakmp ? ikev1::kProtoIsakmp : ikev1::kProtoEsp);
    world.deliver(insider.informational(one(n), false, MessageId{id}));
  };
  state(1'000'000, true, 1);
  state(1'000'000, false, 2);
  CHECK(b.engine->ike_sas().front().expires_at == before.expires_at);
  CHECK(b.engine->ike_sas().front().children.front().expires_at == before.children.front().expires_at);
  state(600, true, 3);
  state(300, false, 4);
  const auto after = b.engine->ike_sas().front();
  CHECK(after.expires_at == after.established + 600s);
  CHECK(after.rekey_at < after.expires_at);
  CHECK(after.children.front().expires_at == after.children.front().established + 300s);
  CHECK(after.children.front().rekey_at < after.children.front().expires_at);
}

TEST_CASE("RESPONDER-LIFETIME of the ISAKMP SA: the initiator learns of our shorter lifetime, and rekeys in time",
          "[lifetime][rfc2407-4.6.3.1]") {
  const bool aggressive = GENERATE(false, true), shorter = GENERATE(false, true);
  World world;
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    for (auto* c : {&ca.connections[0], &cb.connections[0]}) {
      c->aggressive = c->aggressive_psk_exposes_hash = aggressive;
      c->dpd_delay = {};
    }
    config::Connection& ours = (shorter ? cb : ca).connections[0];
    ours.rekey_time = Seconds{500};  // of B it rekeys late: the initiator has to
    ours.over_time = Seconds{100};
    ours.rand_time = Seconds{0};
    if (shorter) cb.connections[0].rekey_time = Seconds{599}, cb.connections[0].over_time = Seconds{1};
  });
  unsigned told = 0;  // beside Quick Mode and phase 1: there is no other Informational
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    told += seen && seen->header.exchange == ike::kExchangeInformational ? 1 : 0;
    return true;
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.current_out("net"); }, 60s));
  world.run(1s);
  CHECK(told == (aggressive && shorter ? 1 : 0));
  const auto sa = a.engine->ike_sas().front();
  CHECK(sa.expires_at <= sa.established + 600s);
  CHECK(sa.rekey_at < sa.expires_at);
  world.run(1500s);
  CHECK(a.counted(aggressive ? Exchange::AggressiveMode : Exchange::MainMode, Reason::Ok) >= 3);
  CHECK(a.reports(Reason::Expired).empty());
  CHECK(b.reports(Reason::Expired).empty());
}

TEST_CASE("a lifetime of the ISAKMP SA in kilobytes: it is replaced before so much is encrypted under it", "[lifetime][rfc2409-A]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* g : {&ca, &cb}) {
      g->connections[0].dpd_delay = Seconds{1};
      g->connections[0].dpd_timeout = Seconds{30};
    }
  });
  begin_recorded(world, a, b);
  const Insider insider(world);
  world.record = false;
  const auto state = [&](Host& to, std::uint64_t kbytes, std::uint32_t id) {
    const auto n = notify(NotifyType::ResponderLifetime, cookies_of(b.engine->ike_sas().front()),
                          ikev1::encode_responder_lifetime({{}, kbytes}, true), ikev1::kProtoIsakmp);
    world.deliver(insider.informational(one(n), &to == &a, MessageId{id}));
  };
  std::uint64_t sealed = 0;
  const auto cookie = a.engine->ike_sas().front().spi_i;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (seen && seen->header.spi_i == cookie && seen->header.encrypted()) sealed += d.data.size();
    return true;
  };
  SECTION("one end asks, with less than we take") {
    state(a, 1, 1);
    world.run(2000s);
    CHECK(sealed < 64 * 1024);
    CHECK(sealed > 40 * 1024);
    CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 2);  // the next one has no such limit
  }
  SECTION("an enormous one is none") {
    state(a, 0xffffffffffffffff, 1);
    state(b, 1ULL << 60U, 2);
    world.run(2000s);
    CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 1);
  }
  SECTION("it cannot be replaced in time: it ends") {
    world.hook = [](ike::Datagram& d) {
      const auto seen = look(d);
      return !seen || seen->header.exchange != ike::kExchangeMainMode;
    };
    state(a, 1, 1);
    world.run(2500s);
    CHECK(a.reports(Reason::Expired).size() == 1);
    CHECK(a.established() == 0);
  }
  CHECK(a.log.size() < 5000);
  CHECK(b.reports(Reason::Expired).empty());
}
