// Counter synchronisation whose answers are lost (RFC 6311 §5.1): the peer counts from IDs that we do not know.
//
//   A  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, M1, P1)}  -->  B   five times
//   A                                                x  <--  HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC, nonce, P2, M2)}  B
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

void both_agree(World& world, const Pair& p) {
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.run(1s);
}

/// A asks B to set IDs right, while a request of B's is under way; B takes all that A asks, and each of its answers is lost.
void lose_answers(World& world, const Pair& p) {
  const IpAddress b = p.b.config.connections[0].local_addrs[0];
  bool mute = true;
  world.hook = [&, b](ike::Datagram& d) {
    const auto framed = ike::parse_header(d.data);
    if (!framed || d.local.address != b) return true;
    const bool response = (framed->header.flags & ike::kFlagResponse) != 0;
    return response ? framed->header.message_id.value != 0 : !mute;
  };
  p.b.step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "net", false).ok); });
  world.run(200ms);
  p.a.step([&](ike::Engine& e) { REQUIRE(e.sync_counters(world.now, "c", {}).ok); });
  world.run(200ms);
  mute = false;
  world.run(35s);
  REQUIRE(p.a.counted(Exchange::CounterSync, Reason::Timeout) == 1);
  REQUIRE(p.b.counted(Exchange::CounterSync, Reason::Ok) == 5);
  world.hook = {};
}

}  // namespace

TEST_CASE("the IKE SA outlives that all answers to a request for synchronisation are lost", "[ikev2][sync][rfc6311-5.1][rfc7296-2.4]") {
  const int probes = GENERATE(0, 1);  // of A
  const std::uint32_t window = GENERATE(1U, 5U);
  World world;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    a.connections[0].window.size = window;  // in which B's next ID may be one that comes before its turn
    a.connections[0].dpd_delay = config::Seconds{probes * 20};
    b.connections[0].dpd_delay = config::Seconds{7};
  });
  both_agree(world, p);
  const auto before = p.a.engine->ike_sas().front();
  lose_answers(world, p);
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Ok) == 1);  // B asks by the IDs that it takes for agreed on
  world.run(200s);
  INFO(p.a.transcript() << p.b.transcript());
  p.a.step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "net", false).ok); });
  CHECK(world.run_until([&] { return p.a.counted(Exchange::CreateChildSa, Reason::Ok) == 2; }, 60s));
  CHECK(p.a.counted(Exchange::CounterSync, Reason::Ok) == 1);
  for (const Host* h : {&p.a, &p.b}) {
    REQUIRE(h->engine->ike_sas().size() == 1);
    CHECK(h->engine->ike_sas().front().spi_i == before.spi_i);
    CHECK(h->reports(Reason::DpdTimeout).empty());
  }
}

TEST_CASE("a peer that is dead behind that is found dead as any other", "[ikev2][sync][rfc7296-2.4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto&) { a.connections[0].dpd_delay = config::Seconds{20}; });
  both_agree(world, p);
  lose_answers(world, p);
  world.dead.insert(p.b.config.connections[0].local_addrs[0]);
  CHECK(world.run_until([&] { return !p.a.reports(Reason::DpdTimeout).empty(); }, 250s));
  INFO(p.a.transcript());
  world.run(100ms);
  CHECK(p.a.inbound.empty());
}
