// Two of what one is wanted of, since both sides began at once: IKE SAs (RFC 7296 §2.8, §2.25), and CHILD SAs of the same traffic. One of
// them stays, whatever the order is in which the two sides have come to send by them, and no packet is lost while the other one goes.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

struct Header {
  IkeSpi spi_i;
  std::uint8_t exchange = 0;
  bool response = false;
};
Header header_of(const ike::Datagram& d) {
  const auto framed = ike::parse_header(ByteView(d.data).subspan(d.local.port == ike::kNatPort ? 4 : 0));
  if (!framed) return {};
  return {framed->header.spi_i, framed->header.exchange, (framed->header.flags & ike::kFlagResponse) != 0};
}

/// Two IKE SAs with a pair of "net" each. The one with the higher SPI of its initiator is to go, and who has begun it sees to that.
struct Twins {
  Pair sites;
  Host &leaver, &other;
  IkeSpi staying, leaving;
};
Twins twins(World& world, std::chrono::seconds probe_of_a = std::chrono::seconds{2}) {
  world.record = true;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    a.connections[0].dpd_delay = probe_of_a;
    b.connections[0].dpd_delay = std::chrono::seconds{2};
    b.connections[0].children[0].start_action = config::StartAction::Start;
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return p.a.inbound.size() == 2 && p.b.inbound.size() == 2; }, 1s));
  std::map<IpAddress, IkeSpi> begun;
  for (const ike::Datagram& d : world.wire)
    if (const Header h = header_of(d); h.exchange == ike::kExchangeSaInit && !h.response) begun[d.local.address] = h.spi_i;
  const IkeSpi of_a = begun.at(p.a.config.connections[0].local_addrs[0]), of_b = begun.at(p.b.config.connections[0].local_addrs[0]);
  const bool a_leaves = of_b < of_a;
  return {p, a_leaves ? p.a : p.b, a_leaves ? p.b : p.a, std::min(of_a, of_b), std::max(of_a, of_b)};
}

/// Both pairs are rekeyed by who is to close one of the IKE SAs: to that side the one under the SA that stays is the later one, to the peer
/// the other one.
void rekey_crosswise(World& world, const Twins& t) {
  world.run(27s);  // a probe has shown that both SAs are there; now it is about time that one of them goes
  REQUIRE(t.leaver.outbound.size() == 2);
  bool stayed = false;
  world.hook = [&](ike::Datagram& d) {
    const Header h = header_of(d);
    if (h.exchange != ike::kExchangeCreateChildSa) return true;
    return h.response ? h.spi_i != t.staying : h.spi_i != t.leaving || stayed;
  };
  t.leaver.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  REQUIRE(world.run_until([&] { return t.other.inbound.size() == 3; }, 1s));
  stayed = true;
  world.run(8s);
  world.hook = {};
}

/// One IKE SA and one pair of each child, the same on both sides, and nothing on its way.
bool settled(const Pair& p, std::size_t children = 1) {
  for (const Host* h : {&p.a, &p.b})
    if (h->established() != 1 || h->inbound.size() != children || h->outbound.size() != children || h->spis.size() != children)
      return false;
  const auto reaches = [](const Host& from, const Host& to) {
    return std::ranges::all_of(from.outbound, [&](const PlaneSa& s) {
      const auto it = to.inbound.find(s.sa.spi.value);
      return it != to.inbound.end() && it->second.sa.encr_key == s.sa.encr_key;
    });
  };
  return reaches(p.a, p.b) && reaches(p.b, p.a);
}

}  // namespace

TEST_CASE("IKEv2: of two IKE SAs one goes, though the rekeyings under them have ended in another order on each side",
          "[ikev2][twins][rfc7296-2.8]") {
  World world;
  const Twins t = twins(world);
  world.begin_traffic();
  rekey_crosswise(world, t);
  REQUIRE(world.run_until([&] { return settled(t.sites); }, 60s));
  world.run(60s);
  INFO(t.sites.a.transcript() << t.sites.b.transcript());
  CHECK(settled(t.sites));
  CHECK(world.gaps == std::vector<std::string>{});
  CHECK(t.leaver.reports(Reason::Replaced).size() == 1);
}

TEST_CASE("IKEv2: what is under an IKE SA that goes takes in what comes until the peer knows that it goes",
          "[ikev2][twins][rfc7296-1.4.1]") {
  World world;
  const Twins t = twins(world);
  world.begin_traffic();
  rekey_crosswise(world, t);
  world.hook = [&](ike::Datagram& d) { return t.leaver.reports(Reason::Replaced).empty() || header_of(d).spi_i != t.leaving; };
  REQUIRE(world.run_until([&] { return !t.leaver.reports(Reason::Replaced).empty(); }, 60s));
  world.run(10s);
  INFO(t.sites.a.transcript() << t.sites.b.transcript());
  CHECK(t.leaver.outbound.size() == 1);
  CHECK(t.other.outbound.size() == 2);
  CHECK(std::ranges::all_of(t.other.outbound, [&](const PlaneSa& s) { return t.leaver.inbound.contains(s.sa.spi.value); }));
  world.hook = {};
  CHECK(world.run_until([&] { return settled(t.sites); }, 60s));
  CHECK(world.gaps == std::vector<std::string>{});
}

TEST_CASE("IKEv2: the other one of two goes when its Delete is never answered, and takes all with it", "[ikev2][twins][rfc7296-1.4.1]") {
  World world;
  const Twins t = twins(world);
  REQUIRE(world.run_until([&] { return !t.leaver.reports(Reason::Replaced).empty(); }, 60s));
  world.hook = [&](ike::Datagram& d) { return header_of(d).spi_i != t.leaving; };
  world.run(200s);
  INFO(t.sites.a.transcript() << t.sites.b.transcript());
  CHECK(t.leaver.established() == 1);
  CHECK(t.leaver.inbound.size() == 1);
  CHECK(t.leaver.outbound.size() == 1);
  CHECK(t.leaver.spis.size() == 1);
}

TEST_CASE("IKEv2: that one of two IKE SAs is deleted by the peer is no failure; that of the last one is", "[ikev2][twins][rfc7296-1.4.1]") {
  World world;
  const Twins t = twins(world);
  REQUIRE(world.run_until([&] { return settled(t.sites); }, 120s));
  world.run(10s);
  INFO(t.sites.a.transcript() << t.sites.b.transcript());
  const auto replaced = t.other.reports(Reason::Replaced);
  REQUIRE(replaced.size() == 1);
  CHECK(replaced[0].severity == ike::Severity::Info);
  CHECK_FALSE(replaced[0].count);
  for (const Host* h : {&t.sites.a, &t.sites.b}) {
    CHECK(h->reports(Reason::DeletedByPeer).empty());
    CHECK(h->engine->failures("c").empty());
  }
  t.leaver.step([&](ike::Engine& e) { e.terminate(world.now, "c", {}); });
  REQUIRE(world.run_until([&] { return !t.other.reports(Reason::DeletedByPeer).empty(); }, 5s));
  CHECK(t.other.reports(Reason::DeletedByPeer)[0].severity == ike::Severity::Warn);
  REQUIRE(t.other.engine->failures("c").size() == 1);
  CHECK(t.other.engine->failures("c")[0].reason == Reason::DeletedByPeer);
}

TEST_CASE("IKEv2: what both sides have made of one child, one a minute after the other, becomes one", "[ikev2][twins][rfc7296-2.8]") {
  const bool ike_rekeyed = GENERATE(false, true);
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      const bool first = g == &a;
      g->connections[0].children.push_back(child("more", first ? "10.1.7.0/24" : "10.2.7.0/24", first ? "10.2.7.0/24" : "10.1.7.0/24",
                                                 "aes128gcm16", config::StartAction::None));
    }
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.run(5s);
  world.begin_traffic();
  // B asks, and is not heard for a minute.
  bool deaf = true;
  const IpAddress b = p.b.config.connections[0].local_addrs[0];
  world.hook = [&](ike::Datagram& d) {
    const Header h = header_of(d);
    return !(deaf && d.local.address == b && h.exchange == ike::kExchangeCreateChildSa && !h.response);
  };
  p.b.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "more").ok); });
  world.run(10ms);
  p.a.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "more").ok); });
  world.run(60s);
  CHECK(p.a.live_pairs("more") == 1);
  deaf = false;
  REQUIRE(world.run_until([&] { return p.a.live_pairs("more") == 2 && p.b.live_pairs("more") == 2; }, 60s));
  if (ike_rekeyed) p.b.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  REQUIRE(world.run_until([&] { return settled(p, 2); }, 200s));
  world.run(200s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(settled(p, 2));
  CHECK(world.gaps == std::vector<std::string>{});
}

TEST_CASE("IKEv2: where what carried the packets ends, they go by what has waited for the peer", "[ikev2][twins][rfc7296-2.8]") {
  World world;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.run(1s);
  // A has rekeyed the pair, and B is not told by packets nor by A's Delete that it can send by the new one.
  const IpAddress a = p.a.config.connections[0].local_addrs[0];
  world.hook = [&](ike::Datagram& d) {
    const Header h = header_of(d);
    return d.local.address != a || h.exchange != ike::kExchangeInformationalV2 || h.response;
  };
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  REQUIRE(world.run_until([&] { return p.a.outbound.size() == 2; }, 5s));
  REQUIRE(p.b.outbound.size() == 1);
  const ike::InstallSa old = p.b.outbound[0].sa;
  p.b.step(
      [&](ike::Engine& e) { e.on_expired(world.now, {.direction = Direction::Outbound, .spi = old.spi, .hard = true, .pair = old.pair}); });
  REQUIRE(world.run_until([&] { return p.b.current_out("net") && p.b.current_out("net")->sa.pair != old.pair; }, 5s));
  world.hook = {};
  REQUIRE(world.run_until([&] { return settled(p); }, 60s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.b.counted(Exchange::CreateChildSa, Reason::Ok) == 1);
}

TEST_CASE("IKEv2: what a peer has lost and begun anew is one on the other side, too, though that looks for no dead peers",
          "[ikev2][twins][rfc7296-2.4]") {
  World world;
  const Pair p = two_v2(world, [](auto& a, auto& b) {
    a.connections[0].dpd_delay = std::chrono::seconds{5};
    b.connections[0].dpd_delay = {};
  });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  const IpAddress b = p.b.config.connections[0].local_addrs[0];
  world.dead.insert(b);
  REQUIRE(world.run_until([&] { return !p.a.up(); }, 600s));
  world.dead.clear();
  REQUIRE(world.run_until([&] { return p.a.up(); }, 200s));
  CHECK(world.run_until([&] { return settled(p); }, 10s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.b.established() == 1);
}

TEST_CASE("IKEv2: a pair made beside another one is sent by when the peer asks for something else, without a packet of its",
          "[ikev2][twins][rfc7296-2.3]") {
  World world;
  const Twins t = twins(world);  // each side has answered one IKE_AUTH, and has a pair that waits for a sign
  world.run(500ms);
  REQUIRE(t.leaver.outbound.size() == 1);
  REQUIRE(t.other.outbound.size() == 1);
  REQUIRE(world.run_until([&] { return t.leaver.outbound.size() == 2 && t.other.outbound.size() == 2; }, 4s));  // a probe is one
}

TEST_CASE("IKEv2: what waits under an IKE SA that the peer deletes is not sent by in the end", "[ikev2][twins][rfc7296-1.4.1]") {
  World world;
  const Twins t = twins(world, {});
  REQUIRE(&t.leaver == &t.sites.a);  // who asks for nothing under the SA that goes, but for its end
  world.run(500ms);
  REQUIRE(t.other.inbound.size() == 2);
  REQUIRE(t.other.outbound.size() == 1);
  std::uint64_t waits = 0;
  for (const auto& [spi, sa] : t.other.inbound)
    if (sa.sa.pair != t.other.outbound[0].sa.pair) waits = sa.sa.pair;
  t.other.install_min = t.other.install_max = 20ms;
  bool sent_by = false;
  CHECK(world.run_until(
      [&] {
        sent_by = sent_by || std::ranges::any_of(t.other.outbound, [&](const PlaneSa& s) { return s.sa.pair == waits; });
        return settled(t.sites);
      },
      120s));
  INFO(t.sites.a.transcript() << t.sites.b.transcript());
  CHECK_FALSE(sent_by);
}

TEST_CASE("IKEv2: a Delete that the peer has not answered follows the pair through two rekeyings of the IKE SA",
          "[ikev2][rfc7296-2.25.2]") {
  World world;
  world.record = true;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
  world.run(1s);
  const IkeSpi first = header_of(world.wire.front()).spi_i;
  const IpAddress b = p.b.config.connections[0].local_addrs[0];
  world.hook = [&](ike::Datagram& d) {
    const Header h = header_of(d);
    return d.local.address != b || h.spi_i != first || h.exchange != ike::kExchangeInformationalV2;
  };
  p.a.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "net", false).ok); });
  world.run(200ms);
  for (int i = 0; i < 2; ++i) {
    p.b.step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(200ms);
  }
  world.hook = {};
  CHECK(world.run_until([&] { return settled(p); }, 60s));
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(p.a.outbound.size() == 1);
}
