// SAs that are up, at the edges: what fails where both sides have made one, many pairs of one child, and dead-peer detection on a bad line.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/identity.hpp"
#include "tests/exchange/insider.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Seconds;
using ike::Exchange;
using ikev1::NotifyType;

namespace {

bool both_up(const Host& a, const Host& b) { return a.current_out("net") && b.current_out("net"); }

void begin(World& world, Host& a, Host& b) {
  world.record = true;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return both_up(a, b); }, 60s));
  world.run(100ms);
}

Bytes cookies_of(const ike::IkeSaInfo& sa) {
  Writer w;
  w.be(sa.spi_i.value);
  w.be(sa.spi_r.value);
  return std::move(w).take();
}

ikev1::Builder delete_of(const ike::IkeSaInfo& sa) {
  ikev1::Builder b;
  b.add(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {cookies_of(sa)}});
  return b;
}

bool informational(const ike::Datagram& d) {
  const auto seen = look(d);
  return seen && seen->header.exchange == ike::kExchangeInformational;
}

void watched_every(Seconds delay, Seconds timeout, config::GatewayConfig& a, config::GatewayConfig& b) {
  for (auto* g : {&a, &b}) {
    g->connections[0].dpd_delay = delay;
    g->connections[0].dpd_timeout = timeout;
  }
}

}  // namespace

TEST_CASE("both sides have rekeyed at once, and the third pair that ends it cannot be made: tried again seldom", "[simultaneous][rekey]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(world, a, b);
  for (Host* h : {&a, &b}) {
    REQUIRE(h->engine->rekey(world.now, "c", "net", false).ok);
    h->perform();
  }
  world.run(2s);
  REQUIRE(a.live_pairs() == 2);
  for (Host* h : {&a, &b}) h->spi_room = false;
  world.run(300s);
  for (Host* h : {&a, &b}) {
    CHECK(h->counted(Exchange::QuickMode, Reason::Limit) >= 2);
    CHECK(h->counted(Exchange::QuickMode, Reason::Limit) <= 12);
    h->spi_room = true;
  }
  world.run(120s);
  CHECK(a.live_pairs() == 1);
  CHECK(b.live_pairs() == 1);
}

// ---------------------------------------------------------------------------------------------------------------- a wide child

namespace {

/// A has one child for each of `count` parts of 10.2.0.0/16; B has them all in one.
Pair many_parts(World& world, int count) {
  return two_sites(world, [count](auto& ca, auto& cb) {
    cb.connections[0].children[0].local_ts = TrafficSelector::parse("10.2.0.0/16").value();
    auto& children = ca.connections[0].children;
    children[0].remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
    for (int i = 1; i < count; ++i) {
      children.push_back(children[0]);
      children.back().name = "n" + std::to_string(i);
      children.back().remote_ts = TrafficSelector::parse("10.2." + std::to_string(i) + ".0/24").value();
    }
  });
}

}  // namespace

TEST_CASE("a peer that has a pair for each line of an access list keeps all of them", "[quick_mode][policy]") {
  World world;
  auto [a, b] = many_parts(world, 12);
  begin(world, a, b);
  world.run(30s);
  CHECK(a.inbound.size() == 12);
  CHECK(b.inbound.size() == 12);
  CHECK(a.reports(Reason::DeletedByPeer).empty());
  // What the peer never deletes is bounded for each part by itself.
  const Insider insider(world);
  const auto suites = parse_esp_proposal("aes128gcm16").value();
  for (std::uint32_t i = 0; i < 20; ++i) {
    ikev1::Builder message;
    message.add(ikev1::build_esp_offer({suites, Spi{0x1000 + i}, ikev1::Encapsulation::Tunnel, 3600, 0}));
    message.add(ikev1::Nonce{Bytes(32, 7)});
    message.add(*ikev1::to_proxy_id(TrafficSelector::parse("10.1.0.0/24").value()));
    message.add(*ikev1::to_proxy_id(TrafficSelector::parse("10.2.3.0/24").value()));
    world.deliver(insider.message(ike::kExchangeQuickMode, MessageId{0x1000 + i}, message, false));
    world.run(10ms);
    for (const auto& [spi, sa] : std::map(b.inbound))  // which says as much as message 3
      if (sa.sa.local_ts.to_string() == "10.2.3.0/24") b.engine->on_traffic(world.now, Spi{spi}, world.now);
    b.perform();
    world.run(10ms);
  }
  const auto like = std::ranges::count_if(b.inbound, [](const auto& in) { return in.second.sa.local_ts.to_string() == "10.2.3.0/24"; });
  CHECK(like == 8);
  CHECK(b.inbound.size() == 11 + 8);
}

TEST_CASE("pairs of one child have an upper bound, which is said, and does not keep those that are there from being rekeyed",
          "[quick_mode][policy][attack-H7]") {
  World world;
  auto [a, b] = many_parts(world, 140);
  begin(world, a, b);
  REQUIRE(world.run_until([&] { return b.inbound.size() == 128; }, 60s));
  world.run(30s);
  CHECK(b.inbound.size() == 128);
  CHECK(b.counted(Exchange::QuickMode, Reason::Limit) >= 12);
  CHECK(a.engine->rekey(world.now, "c", "net", false).ok);
  a.perform();
  world.run(30s);
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) == 129);
  CHECK(b.inbound.size() == 128);
}

TEST_CASE("a Delete of one part's pair is no rekeying because another part has one", "[delete][policy]") {
  World world;
  auto [a, b] = many_parts(world, 2);
  begin(world, a, b);
  REQUIRE(world.run_until([&] { return b.inbound.size() == 2; }, 10s));
  REQUIRE(a.engine->terminate(world.now, "c", "n1").ok);
  a.perform();
  world.run(100ms);
  CHECK(b.inbound.size() == 1);  // at once: nobody takes in what goes out on it
  CHECK(b.outbound.size() == 1);
  CHECK(b.reports(Reason::DeletedByPeer).size() == 1);
}

// ---------------------------------------------------------------------------------------------------------------- dead-peer detection

TEST_CASE("a peer that repeats its R-U-THERE under the same number has lost the answer, and gets it again", "[dpd][rfc3706-7]") {
  World world;
  auto [a, b] = two_sites(world);
  begin(world, a, b);
  const Insider insider(world);
  const auto answers = [&] {
    return std::ranges::count_if(world.wire, [&](const auto& d) { return informational(d) && d.local == b.engine->ike_sas()[0].local; });
  };
  world.wire.clear();
  std::vector<std::ptrdiff_t> after;
  for (const auto& [number, id] : {std::pair{7U, 1U}, {7U, 2U}, {7U, 2U}, {6U, 3U}, {8U, 4U}}) {
    Writer w;
    w.be(number);
    ikev1::Notify n;
    n.protocol = ikev1::kProtoIsakmp;
    n.type = NotifyType::RUThere;
    n.spi = cookies_of(b.engine->ike_sas().front());
    n.data = std::move(w).take();
    ikev1::Builder message;
    message.add(n);
    world.deliver(insider.informational(message, false, MessageId{id}));
    after.push_back(answers());
  }
  CHECK(after == std::vector<std::ptrdiff_t>{1, 2, 2, 2, 3});  // a copy of the message, and a number of before, are replays
}

TEST_CASE("a peer is dead when it has left several questions unanswered, however short dpd_timeout is", "[dpd][rfc3706-5.5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    watched_every(Seconds{10}, Seconds{10}, ca, cb);
    cb.connections[0].dpd_delay = Seconds{0};  // it answers
  });
  begin(world, a, b);
  int asked = 0;
  world.hook = [&](ike::Datagram& d) {  // of three questions, the last one gets through
    return d.local.address != a.config.connections[0].local_addrs.front() || ++asked % 3 == 0;
  };
  world.run(120s);
  CHECK(asked > 20);
  CHECK(a.counted(Exchange::Dpd, Reason::DpdTimeout) == 0);
  world.hook = [](ike::Datagram&) { return false; };
  const TimePoint cut = world.now;
  REQUIRE(world.run_until([&] { return a.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 60s));
  CHECK(world.now - cut <= 16s);
}

TEST_CASE("an ISAKMP SA that outlives its successor is watched again", "[dpd][rfc3706]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) { watched_every(Seconds{2}, Seconds{8}, ca, cb); });
  begin(world, a, b);
  world.first_shared = {};
  REQUIRE(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  REQUIRE(world.run_until([&] { return b.established() == 2; }, 5s));
  const Insider insider(world);  // of the second one
  world.hook = [&](ike::Datagram& d) { return d.local.address != a.config.connections[0].local_addrs.front(); };
  world.run(4s);
  REQUIRE(b.established() == 2);
  world.deliver(insider.informational(delete_of(b.engine->ike_sas().back()), false));
  REQUIRE(b.established() == 1);
  CHECK(world.run_until([&] { return b.counted(Exchange::Dpd, Reason::DpdTimeout) == 1; }, 20s));
}

// ---------------------------------------------------------------------------------------------------------------- the commit bit

TEST_CASE("CONNECTED is waited for beyond the end of a slow Quick Mode's time", "[quick_mode][rfc2408-3.1]") {
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    if (seen && seen->header.exchange == ike::kExchangeQuickMode && d.local.address == b.config.connections[0].local_addrs.front())
      d.data[19] |= ike::kFlagCommit;
    return b.counted(Exchange::QuickMode, Reason::Timeout) == 0 || !informational(d);  // it has given up, which is lost
  };
  a.install_min = a.install_max = 88s;  // of the 90 that a Quick Mode may take
  a.start();
  b.start();
  world.run(92s);
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) + a.counted(Exchange::QuickMode, Reason::Timeout) == 0);
  world.run(2s);
  CHECK(a.counted(Exchange::QuickMode, Reason::Ok) == 1);
}
