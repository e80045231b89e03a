// Both sides replace the ISAKMP SA at once, or the peer deletes what was to take its place: one stays, and the pairs belong to it.
#include <catch2/catch.hpp>

#include "control/ikev1/exchange_informational.hpp"
#include "tests/exchange/insider_helpers.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

void begin(World& world, Host& a, Host& b) {
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.current_out("net"); }, 60s));
  world.begin_traffic();
  world.run(2s);
}

void replace_isakmp(Host& h) {
  CHECK(h.engine->rekey(h.world.now, "c", "", true).ok);
  h.perform();
}

void one_of_each(const Host& a, const Host& b) {
  for (const Host* h : {&a, &b}) {
    CHECK(h->established() == 1);
    CHECK(h->inbound.size() == 1);
    CHECK(h->outbound.size() == 1);
  }
  CHECK(a.world.gaps.empty());
}

}  // namespace

TEST_CASE("both sides replace the ISAKMP SA at once: there is a new pair under the one that stays before the other one ends",
          "[simultaneous]") {
  World world(GENERATE(range(1, 9)));
  auto [a, b] = two_sites(world);
  begin(world, a, b);
  const std::uint32_t before = a.current_out("net")->sa.spi.value;
  replace_isakmp(a);
  replace_isakmp(b);
  std::optional<std::uint32_t> at_the_end;
  world.hook = [&, &one = a](ike::Datagram& d) {
    const auto seen = look(d);
    if (seen && seen->header.exchange == ike::kExchangeInformational && world.now > TimePoint{} + 14s && !at_the_end)
      at_the_end = one.current_out("net")->sa.spi.value;
    return true;
  };
  world.run(100s);
  CHECK(a.current_out("net")->sa.spi.value != before);
  if (at_the_end) CHECK(*at_the_end != before);
  one_of_each(a, b);
}

TEST_CASE("the Delete of a collision's loser is lost, again and again: the peer does not give up the one that stays", "[simultaneous]") {
  World world(GENERATE(range(1, 5)));
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) { ca.connections[0].dpd_delay = cb.connections[0].dpd_delay = {}; });
  begin(world, a, b);
  replace_isakmp(a);
  replace_isakmp(b);
  world.run(5s);
  const TimePoint good = world.now + 40s;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    return world.now > good || !seen || seen->header.exchange != ike::kExchangeInformational;
  };
  world.run(200s);
  one_of_each(a, b);
}

TEST_CASE("the peer deletes an ISAKMP SA that was to take another one's place: the other one stays", "[delete]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(world, a, b);
  world.record = true;
  world.wire.clear();
  world.first_shared = {};
  replace_isakmp(a);
  REQUIRE(world.run_until([&, &one = a] { return one.established() == 2; }, 10s));
  ikev1::Builder farewell;
  for (const ike::IkeSaInfo& sa : a.engine->ike_sas()) {
    if (sa.spi_i == look(world.wire.front())->header.spi_i)
      farewell.add(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {cookies_of(sa)}});
  }
  world.deliver(Insider(world).informational(farewell, true));
  CHECK(a.established() == 1);
  world.run(8s);  // beyond the time at which the replaced one would have gone
  CHECK(a.established() == 1);
  CHECK(a.counted(Exchange::MainMode, ike::Reason::Ok) == 2);
  world.run(120s);
  one_of_each(a, b);
}
