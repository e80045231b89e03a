// Proving ourselves anew, make before break: a new IKE SA with all that is under the old one, and then that is deleted.
//
//   A                                                       B
//   the time is over, an operator says so, or: IKE_AUTH     <--  N(AUTH_LIFETIME)
//   IKE_SA_INIT, IKE_AUTH (no INITIAL_CONTACT)         -->  <--  packets go by either
//   CREATE_CHILD_SA for each further CHILD SA          -->  <--
//   D(CHILD SAs), D                                    -->  <--  of the old one
#include <set>

#include <catch2/catch.hpp>

#include "control/ikev2/proposal.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::Builder;
using ikev2::NotifyType;

namespace {

config::Seconds secs(int n) { return config::Seconds{n}; }

void more_children(config::GatewayConfig& a, config::GatewayConfig& b) {
  a.connections[0].children.push_back(child("more", "10.1.1.0/24", "10.2.1.0/24", "aes128gcm16", config::StartAction::Start));
  b.connections[0].children.push_back(child("more", "10.2.1.0/24", "10.1.1.0/24", "aes128gcm16", config::StartAction::None));
}

bool two(const Host& h) { return h.up() && h.live_pairs("net") == 1 && h.live_pairs("more") == 1; }

ike::CommandResult anew(World& world, Host& h) {
  ike::CommandResult result;
  h.step([&](ike::Engine& e) { result = e.reauthenticate(world.now, "c"); });
  return result;
}

/// The one IKE SA that stays, by the SPI of its initiator; 0: there is none, or more than one.
std::uint64_t only_sa(const Host& h) {
  const auto all = h.engine->ike_sas();
  return all.size() == 1 && h.up() ? all[0].spi_i.value : 0;
}

/// Packets that nothing carries; but not those of B before A has had its answer.
std::vector<std::string> lost_by(const World& world, const std::string& host) {
  std::vector<std::string> out = world.gaps;
  std::erase_if(out, [&](const std::string& gap) { return !gap.starts_with(host + "/"); });
  for (const std::string& gap : out) UNSCOPED_INFO(gap);
  return out;
}

std::string told(const Pair& p) { return p.a.transcript() + p.b.transcript(); }

bool clean(const Pair& p) {
  return p.a.live_pairs() == p.b.live_pairs() && p.a.inbound.size() == p.b.inbound.size() && p.a.spis.size() == p.a.inbound.size() &&
         p.b.spis.size() == p.b.inbound.size();
}

}  // namespace

TEST_CASE("reauthentication by reauth_time: a new IKE SA takes over, and no packet is lost", "[ikev2][reauth][rfc7296-2.8.3]") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    World world(seed);
    const Pair p = two_v2(world, [&](auto& a, auto& b) {
      more_children(a, b);
      a.connections[0].renewal.reauth_time = secs(60);
      a.connections[0].rand_time = secs(10);
      // Rekeyed meanwhile it is no younger.
      if (seed % 4 == 0) a.connections[0].rekey_time = b.connections[0].rekey_time = secs(25);
      if (seed % 3 == 0) b.connections[0].unique = config::Unique::Never;
    });
    p.a.start();
    p.b.start();
    const auto both = [&] { return both_up(p) && two(p.a) && two(p.b); };
    REQUIRE(world.run_until(both, 60s));
    const TimePoint since = world.now;
    const std::uint64_t first = p.a.engine->ike_sas().at(0).spi_i.value;
    world.begin_traffic();
    if (seed > 4) world.link = {.loss = 0.2, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 60ms};
    const bool began =
        world.run_until([&] { return p.a.transcript().find("prove themselves anew, for another") != std::string::npos; }, 61s);
    INFO("seed " << seed << "\n" << told(p));
    REQUIRE(began);
    CHECK(world.now - since >= 49s);
    world.run(40s);
    world.link = {};
    world.run(20s);
    CHECK(world.run_until(both, 60s));  // the next one may be under way
    CHECK(lost_by(world, "A").empty());
    CHECK(lost_by(world, "B").empty());
    CHECK(p.a.engine->ike_sas().at(0).spi_i.value != first);
    CHECK(p.a.transcript().find("for which both sides have proved themselves anew, carries all by now") != std::string::npos);
    world.end_traffic();
    p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
    world.run(300s);
    check_nothing_left(p);
  }
}

TEST_CASE("reauthentication on an operator's word, by whom it can be begun", "[ikev2][reauth]") {
  World world;
  const Pair p = two_v2(world, more_children);
  p.a.start();
  p.b.start();
  CHECK_FALSE(anew(world, p.a).ok);
  REQUIRE(world.run_until([&] { return two(p.a) && two(p.b); }, 30s));
  const std::uint64_t first = only_sa(p.a);
  REQUIRE(first != 0);
  world.begin_traffic();
  const auto said = anew(world, p.a);
  CHECK(said.ok);
  CHECK(said.message == "Authenticating 1 IKE SA anew.");
  CHECK(anew(world, p.a).ok);  // it is on its way: not twice
  world.run(100s);
  INFO(told(p));
  const std::uint64_t second = only_sa(p.a);
  CHECK(second != 0);
  CHECK(second != first);
  CHECK(only_sa(p.b) == second);
  // And by the side that has not begun it, if it could have.
  REQUIRE(anew(world, p.b).ok);
  world.run(120s);
  CHECK(only_sa(p.a) != second);
  CHECK(only_sa(p.a) == only_sa(p.b));
  CHECK(clean(p));
  CHECK(two(p.a));
  CHECK(lost_by(world, "A").empty());
  CHECK(lost_by(world, "B").empty());
  CHECK(p.a.established() == 1);
}

TEST_CASE("a gateway cannot have its clients prove themselves anew, and says so", "[ikev2][reauth]") {
  World world;
  const Pair p = two_v2(world, [](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  const auto said = anew(world, p.b);
  CHECK_FALSE(said.ok);
  CHECK(said.message.find("only the peer, which has begun the IKE SA, can do that") != std::string::npos);
}

TEST_CASE("reauthentication that fails: the old IKE SA stays, and it is tried again", "[ikev2][reauth]") {
  World world;
  const Pair p = two_v2(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  const std::uint64_t first = only_sa(p.a);
  world.begin_traffic();
  bool broken = true;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = ike::parse_header(d.data);
    return !broken || !seen || seen->header.exchange != ike::kExchangeAuth;
  };
  REQUIRE(anew(world, p.a).ok);
  world.run(150s);
  INFO(told(p));
  CHECK(p.a.engine->ike_sas().at(0).spi_i.value == first);
  CHECK(both_up(p));
  CHECK_FALSE(p.a.reports(Reason::Timeout).empty());
  broken = false;
  CHECK(world.run_until([&] { return only_sa(p.a) != 0 && only_sa(p.a) != first; }, 200s));
  world.run(30s);
  CHECK(lost_by(world, "A").empty());
  CHECK(lost_by(world, "B").empty());
  CHECK(clean(p));
}

TEST_CASE("AUTH_LIFETIME: the client proves itself anew before the gateway ends its time", "[ikev2][reauth][rfc4478]") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    World world(seed);
    const Pair p = two_v2(world, [&](auto&, auto& b) {
      b.connections[0].remote_addrs.clear();
      b.connections[0].renewal.reauth_time = secs(40);
      b.connections[0].over_time = secs(5);
    });
    if (seed > 4) world.link = {.loss = 0.1, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
    const std::uint64_t first = p.a.engine->ike_sas().at(0).spi_i.value;
    world.link = {};
    world.begin_traffic();
    world.run(300s);
    INFO("seed " << seed << "\n" << told(p));
    CHECK(both_up(p));
    CHECK(p.a.engine->ike_sas().back().spi_i.value != first);
    CHECK(p.b.reports(Reason::Expired).empty());
    CHECK(lost_by(world, "A").empty());
    CHECK(lost_by(world, "B").empty());
    CHECK(p.a.live_pairs() <= 2);
  }
}

TEST_CASE("reauthentication of a client, again and again: it keeps its virtual address, and no packet is lost",
          "[ikev2][reauth][mode_config][attack-N6][rfc7296-2.8.3][rfc4478-3]") {
  const bool told = GENERATE(false, true);  // by AUTH_LIFETIME, or by its own reauth_time
  CAPTURE(told);
  World world;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    a.connections[0].vips = {IpAddress::v4(0)};
    a.connections[0].children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
    a.connections[0].children[0].local_dynamic = true;
    config::Pool pool;
    pool.name = "clients";
    pool.addrs = TrafficSelector::parse("10.3.0.1-10.3.0.2").value();
    b.pools = {pool};
    b.connections[0].remote_addrs.clear();
    b.connections[0].pools = {"clients"};
    b.connections[0].children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
    b.connections[0].children[0].remote_dynamic = true;
    (told ? b : a).connections[0].renewal.reauth_time = secs(40);
    (told ? b : a).connections[0].over_time = secs(5);
  });
  p.a.start();
  p.b.start();
  const auto addresses = [&] {
    std::set<IpAddress> out;
    for (const auto& sa : p.a.engine->ike_sas())
      if (sa.virtual_address) out.insert(*sa.virtual_address);
    return out;
  };
  REQUIRE(world.run_until([&] { return p.a.up() && p.b.up() && addresses().size() == 1; }, 30s));
  const auto given = addresses();
  world.begin_traffic();
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 40; ++i) {
    seen.insert(p.a.engine->ike_sas().at(0).spi_i.value);
    world.run(10s);
    REQUIRE(p.a.up());
    CHECK(addresses() == given);
  }
  INFO(p.a.transcript());
  CHECK(seen.size() >= 8);
  CHECK(lost_by(world, "A").empty());
  CHECK(lost_by(world, "B").empty());
  world.end_traffic();
  CHECK(p.b.engine->pools().at(0).leases.size() == 1);
  p.a.step([&](ike::Engine& e) { e.terminate(world.now, "c", ""); });
  world.run(300s);
  check_nothing_left(p);
}

TEST_CASE("AUTH_LIFETIME that is heeded by nobody: the gateway ends it", "[ikev2][reauth][rfc4478-3]") {
  World world;
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    a.connections[0].children[0].start_action = config::StartAction::None;
    b.connections[0].remote_addrs.clear();
    b.connections[0].renewal.reauth_time = secs(40);
    b.connections[0].over_time = secs(5);
  });
  p.a.start();
  p.b.start();
  InsiderV2 peer(world, p.b, IpAddress::parse("10.9.0.66").value());
  const auto m = peer.connect(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value());
  REQUIRE(m);
  const auto* n = m->notify(NotifyType::AuthLifetime);
  REQUIRE(n);
  CHECK(n->data == Bytes{0, 0, 0, 40});
  world.run(44s);
  CHECK(p.b.up());
  world.run(10s);
  CHECK_FALSE(p.b.up());
  CHECK_FALSE(p.b.reports(Reason::Expired).empty());
}

TEST_CASE("AUTH_LIFETIME of a peer that has begun the IKE SA, or of no number, is not heeded", "[ikev2][reauth][rfc4478]") {
  World world;
  const Pair p = two_v2(world, [&](auto&, auto& b) { b.connections[0].remote_addrs.clear(); });
  p.b.start();
  InsiderV2 peer(world, p.b, IpAddress::parse("10.9.0.66").value());
  REQUIRE(peer.connect(TrafficSelector::parse("10.1.0.0/24").value(), TrafficSelector::parse("10.2.0.0/24").value()));
  CHECK(peer.ask(ike::kExchangeInformationalV2, Builder().notify(NotifyType::AuthLifetime, {0, 0, 0, 1})));
  CHECK(peer.ask(ike::kExchangeInformationalV2, Builder().notify(NotifyType::AuthLifetime, {0, 0, 1})));
  CHECK(p.b.reports(Reason::BadPayloads).size() == 2);
  CHECK(only_sa(p.b) != 0);
  world.run(20s);
  CHECK(p.b.transcript().find("prove themselves anew") == std::string::npos);
}
