// Several traffic selectors in one CHILD SA (RFC 7296 §2.9): offered, narrowed, kept when it is rekeyed.
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_v2.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace culvert::ikev2;

namespace {

TrafficSelector ts(const std::string& text) { return TrafficSelector::parse(text).value(); }
std::vector<TrafficSelector> all(const std::vector<std::string>& texts) {
  std::vector<TrafficSelector> out;
  for (const std::string& one : texts) out.push_back(ts(one));
  return out;
}
void give(config::Child& child, const std::vector<std::string>& local, const std::vector<std::string>& remote) {
  const auto side = [](const std::vector<std::string>& from, TrafficSelector& first, std::vector<config::SideSelector>& more) {
    first = ts(from.at(0));
    more.clear();
    for (std::size_t i = 1; i < from.size(); ++i) more.push_back({ts(from[i]), false});
  };
  side(local, child.local_ts, child.more_local);
  side(remote, child.remote_ts, child.more_remote);
}
using Texts = std::vector<std::string>;
const Texts kOurs{"10.1.0.0/24", "2001:db8:1::/48"}, kTheirs{"10.2.0.0/24", "10.2.1.0/24", "2001:db8:2::/48"};

/// A and B, with these selectors as each has them.
Pair sites_with(World& world, const Texts& a_local, const Texts& a_remote, const Texts& b_local, const Texts& b_remote,
                const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return two_v2(world, [&](auto& a, auto& b) {
    give(a.connections[0].children[0], a_local, a_remote);
    give(b.connections[0].children[0], b_local, b_remote);
    if (change) change(a, b);
  });
}
Pair mirrored(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  return sites_with(world, kOurs, kTheirs, kTheirs, kOurs, change);
}

/// "10.1.0.0/24, ... - 10.2.0.0/24, ...", as the data plane has it.
std::string carried(const ike::InstallSa& sa) {
  return to_string(sa.local_ts, sa.more.local()) + " - " + to_string(sa.remote_ts, sa.more.remote());
}
std::string carried(const Host& h) { return h.current_out("net") ? carried(h.current_out("net")->sa) : "nothing"; }
/// All SAs that a host has, in both directions, carry just this.
void check_carries(const Host& h, const std::string& what) {
  for (const PlaneSa& sa : h.outbound) CHECK(carried(sa.sa) == what);
  for (const auto& [spi, sa] : h.inbound) CHECK(carried(sa.sa) == what);
  CHECK(h.current_out("net"));
}
const char* const kAtA = "10.1.0.0/24, 2001:db8:1::/48 - 10.2.0.0/24, 10.2.1.0/24, 2001:db8:2::/48";
const char* const kAtB = "10.2.0.0/24, 10.2.1.0/24, 2001:db8:2::/48 - 10.1.0.0/24, 2001:db8:1::/48";

/// B, with an insider in A's place.
struct In {
  World world;
  Host& b;
  InsiderV2 peer;
  explicit In(const std::function<void(config::GatewayConfig&)>& change = {})
      : b(*make(world, change)), peer(world, b, IpAddress::parse("10.9.0.1").value()) {
    b.start();
    const auto m = peer.connect(ts("10.1.0.0/24"), ts("10.2.0.0/24"));
    REQUIRE(m);
    REQUIRE(m->find<TsI>());
  }
  static Host* make(World& w, const std::function<void(config::GatewayConfig&)>& change) {
    auto config = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
    config.connections[0].version = 2;
    config.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
    if (change) change(config);
    return &w.add("B", std::move(config));
  }
  std::optional<Message> ask(const std::vector<TrafficSelector>& mine, const std::vector<TrafficSelector>& theirs) {
    Builder out;
    out.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(++asked), true))
        .add(Nonce{Bytes(32, static_cast<std::uint8_t>(asked))});
    return peer.ask(ike::kExchangeCreateChildSa, out.add(TsI{mine, 0}).add(TsR{theirs, 0}));
  }
  std::uint32_t asked = 0;
};

}  // namespace

TEST_CASE("IKEv2: one CHILD SA has all selectors of its child, of both families", "[ikev2][selectors][rfc7296-2.9]") {
  World world;
  const Pair p = mirrored(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.run(10s);
  check_carries(p.a, kAtA);
  check_carries(p.b, kAtB);
  for (const Host* h : {&p.a, &p.b}) {
    CHECK((h->live_pairs() == 1 && h->inbound.size() == 1 && h->outbound.size() == 1));
    const auto children = h->engine->ike_sas().at(0).children;
    REQUIRE(children.size() == 1);
    CHECK(children[0].more_local_ts.size() + children[0].more_remote_ts.size() == 3);
  }
}

TEST_CASE("IKEv2: either side may have a part of it only", "[ikev2][selectors][rfc7296-2.9]") {
  struct Row {
    Texts a_local, a_remote, b_local, b_remote;
    std::string at_a;
  };
  const std::vector<Row> rows{
      {kOurs, kTheirs, {"10.2.1.0/24"}, {"10.1.0.0/16"}, "10.1.0.0/24 - 10.2.1.0/24"},  // the responder has less
      {{"10.1.0.0/25"}, {"10.2.0.0/24"}, kTheirs, kOurs, "10.1.0.0/25 - 10.2.0.0/24"},  // the initiator has
      {kOurs, {"10.2.1.0/24", "2001:db8:2::/64"}, kTheirs, {"2001:db8::/32"}, "2001:db8:1::/48 - 2001:db8:2::/64"},
      {{"10.1.0.0/24"}, {"10.2.0.0/16"}, {"10.2.1.0/24", "10.2.3.0/24"}, {"0.0.0.0/0"}, "10.1.0.0/24 - 10.2.1.0/24, 10.2.3.0/24"},
      {{"10.1.0.0/24[tcp]", "10.1.0.0/24[udp]"},
       {"10.2.0.0/24[tcp/443]", "10.2.0.0/24[udp/53]"},
       {"10.2.0.0/24[udp]", "10.2.0.0/24[icmp]"},
       {"10.1.0.0/24[udp]", "10.1.0.0/24[icmp]"},
       "10.1.0.0/24[udp] - 10.2.0.0/24[udp/53]"},
      {{"10.1.0.0/24"},
       {"10.2.0.0/24", "10.2.9.0/24"},
       {"10.2.9.0/24", "10.2.0.0/24"},
       {"10.1.0.0/24"},
       "10.1.0.0/24 - 10.2.0.0/24, 10.2.9.0/24"},  // in another order
  };
  for (const Row& row : rows) {
    CAPTURE(row.at_a);
    World world;
    const Pair p = sites_with(world, row.a_local, row.a_remote, row.b_local, row.b_remote);
    p.a.start();
    p.b.start();
    const bool up = world.run_until([&] { return both_up(p); }, 10s);
    INFO(p.a.transcript() << p.b.transcript());
    REQUIRE(up);
    check_carries(p.a, row.at_a);
    // Rekeyed by the one and the other side, it stays what it was (RFC 7296 §2.9.2).
    for (Host* h : {&p.a, &p.b}) {
      const std::uint64_t before = p.a.current_out("net")->sa.pair;
      REQUIRE(h->engine->rekey(world.now, "c", "net", false, "").ok);
      h->perform();
      REQUIRE(world.run_until([&] { return both_up(p) && p.a.current_out("net")->sa.pair != before; }, 10s));
      world.run(10s);
      CHECK(p.a.inbound.size() == 1);
      check_carries(p.a, row.at_a);
    }
  }
}

TEST_CASE("IKEv2: no selectors in common", "[ikev2][selectors][rfc7296-2.9]") {
  const std::vector<std::array<Texts, 2>> rows{{Texts{"10.3.0.0/24", "2001:db8:3::/48"}, Texts{"10.1.0.0/24"}},
                                               {Texts{"10.2.0.0/24"}, Texts{"2001:db8:1::/48"}},  // no packet has two families
                                               {Texts{"10.2.0.0/24[gre]"}, Texts{"10.1.0.0/24[tcp]"}}};
  for (const auto& [b_local, b_remote] : rows) {
    World world;
    const Pair p = sites_with(world, kOurs, kTheirs, b_local, b_remote);
    p.a.start();
    p.b.start();
    world.run(5s);
    INFO(p.b.transcript());
    CHECK(p.a.established() == 1);
    CHECK(p.b.counted(ike::Exchange::IkeAuth, Reason::SelectorMismatch) == 1);
    CHECK(p.a.counted(ike::Exchange::IkeAuth, Reason::PeerSelectorMismatch) == 1);
    const auto failures = p.b.engine->failures("c");
    REQUIRE(!failures.empty());
    const auto* evidence = std::get_if<ike::SelectorEvidence>(&failures[0].cause.evidence);
    REQUIRE(evidence);
    CHECK(evidence->asked.local == "10.2.0.0/24, 10.2.1.0/24, 2001:db8:2::/48");
    CHECK(evidence->asked.remote == "10.1.0.0/24, 2001:db8:1::/48");
    for (const Host* h : {&p.a, &p.b}) CHECK((h->inbound.empty() && h->outbound.empty()));
  }
}

TEST_CASE("IKEv2: several selectors over a bad line, rekeyed by both sides at once, by seed", "[ikev2][selectors][rfc7296-2.8.1]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.link = {0.2, 0.1, 1ms, 60ms};
    const Pair p = mirrored(world, [&](auto& a, auto& b) {
      for (auto* g : {&a, &b}) {
        auto& child = g->connections[0].children[0];
        child.start_action = config::StartAction::Start;
        child.rekey_time = config::Seconds{20};
        child.rand_time = config::Seconds{1};
        child.life_time = config::Seconds{300};
      }
      // The peer's order is not ours.
      std::swap(b.connections[0].children[0].local_ts, b.connections[0].children[0].more_local[0].ts);
    });
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 300s));
    world.begin_traffic();
    world.run(120s);
    world.link = {};
    world.run(20s);
    world.end_traffic();
    REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
    for (const Host* h : {&p.a, &p.b}) {
      INFO(h->transcript());
      for (const PlaneSa& sa : h->outbound) CHECK(sa.sa.more.locals + sa.sa.more.remotes == 3);
      CHECK(h->live_pairs() <= 2);
    }
    CHECK(world.gaps.empty());
  }
}

TEST_CASE("IKEv2: with SAs of several selectors a culvertd is restarted", "[ikev2][selectors]") {
  World world;
  const Pair p = mirrored(world);
  p.a.start();
  p.b.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.run(1s);
  p.a.restart();
  const std::uint64_t before = p.b.current_out("net")->sa.pair;
  REQUIRE(world.run_until([&] { return both_up(p) && p.b.current_out("net")->sa.pair != before; }, 60s));
  world.run(30s);
  check_carries(p.a, kAtA);
  CHECK(p.a.inbound.size() == 1);
}

TEST_CASE("IKEv2 insider: more selectors than there is room for", "[ikev2][selectors][attack-I1][rfc7296-2.9]") {
  In in([](auto& b) { give(b.connections[0].children[0], {"10.2.0.0/16"}, {"10.1.0.0/16"}); });
  std::vector<TrafficSelector> many, theirs;
  for (unsigned n = 0; n < 255; ++n) many.push_back(ts("10.1." + std::to_string(n) + ".0/25"));
  for (unsigned n = 0; n < 255; ++n) theirs.push_back(ts("10.2." + std::to_string(n) + ".0/25"));
  std::swap(many[0], many[200]);  // what comes first stays
  const auto m = in.ask(many, theirs);
  REQUIRE(m);
  REQUIRE(m->find<TsI>());
  const auto &ts_i = m->find<TsI>()->selectors, &ts_r = m->find<TsR>()->selectors;
  CHECK(ts_i.size() + ts_r.size() == kMaxPairSelectors);
  CHECK(std::ranges::find(ts_i, ts("10.1.200.0/25")) != ts_i.end());
  CHECK(std::ranges::find(ts_r, ts("10.2.0.0/25")) != ts_r.end());
  CHECK(in.b.engine->selectors_left_out() == 2 * 255 - kMaxPairSelectors);
  CHECK_FALSE(in.b.reports(Reason::Limit).empty());
  REQUIRE(in.b.inbound.size() == 2);
  // One of each side has room for what the other side has.
  const auto lone = in.ask(many, {ts("10.2.0.0/16")});
  REQUIRE(lone);
  REQUIRE(lone->find<TsI>());
  CHECK(lone->find<TsI>()->selectors.size() == kMaxPairSelectors - 1);
}

TEST_CASE("IKEv2 insider: a packet's selectors in front choose the child", "[ikev2][selectors][rfc7296-2.9]") {
  In in([](auto& b) {
    auto& children = b.connections[0].children;
    give(children[0], {"10.2.0.0/24"}, {"10.1.0.0/24"});
    children.push_back(children[0]);
    children[1].name = "voice";
    give(children[1], {"10.2.5.0/24"}, {"10.1.5.0/24"});
  });
  const auto m = in.ask(all({"10.1.5.7[udp/5060]", "10.1.0.0/16"}), all({"10.2.5.9[udp/5060]", "10.2.0.0/16"}));
  REQUIRE(m);
  REQUIRE(m->find<TsI>());
  CHECK(m->find<TsI>()->selectors == all({"10.1.5.0/24"}));
  CHECK(m->find<TsR>()->selectors == all({"10.2.5.0/24"}));
  CHECK(in.b.up("c", "voice"));
  // Without them it is the first of the configuration.
  const auto first = in.ask(all({"10.1.0.0/16"}), all({"10.2.0.0/16"}));
  REQUIRE(first);
  REQUIRE(first->find<TsI>());
  CHECK(first->find<TsI>()->selectors == all({"10.1.0.0/24"}));
}

TEST_CASE("IKEv2 insider: an answer with more than was asked for", "[ikev2][selectors][attack-I2][rfc7296-2.9]") {
  In in;
  REQUIRE(in.b.engine->rekey(in.world.now, "c", "net", false, "").ok);
  in.b.perform();
  in.world.run(1s);
  const auto asked = in.peer.asked();
  REQUIRE(asked);
  std::vector<TrafficSelector> mine = all({"10.2.0.0/24"}), theirs = all({"10.1.0.0/24"});
  std::string said = "are not within those that we asked for";
  SECTION("a wider one") { theirs = all({"10.1.0.0/16"}); }
  SECTION("another one beside it") { theirs = all({"10.1.0.0/24", "10.1.7.0/24"}); }
  SECTION("of another family beside it") { mine = all({"10.2.0.0/24", "::/0"}); }
  SECTION("another one") { mine = all({"10.3.0.0/24"}); }
  SECTION("more pieces than there is room for") {
    mine.clear();
    for (unsigned n = 0; n < 100; ++n) mine.push_back(ts("10.2.0." + std::to_string(2 * n)));
    said = "has room for 16";
  }
  SECTION("nothing that a packet could be for") {
    mine = all({"10.2.0.0/24[tcp]"});
    theirs = all({"10.1.0.0/24[udp]"});
    said = "There is no packet";
  }
  Builder answer;
  auto offer = build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(7), true);
  in.peer.answer(*asked, answer.add(offer).add(Nonce{Bytes(32, 7)}).add(TsI{mine, 0}).add(TsR{theirs, 0}));
  in.world.run(1s);
  INFO(in.b.transcript());
  CHECK(in.b.inbound.size() == 1);
  CHECK(carried(in.b) == "10.2.0.0/24 - 10.1.0.0/24");
  const auto failures = in.b.engine->failures("c");
  REQUIRE(!failures.empty());
  CHECK(failures[0].reason == Reason::SelectorMismatch);
  CHECK_THAT(failures[0].message, Catch::Contains(said));
  const auto* evidence = std::get_if<ike::SelectorEvidence>(&failures[0].cause.evidence);
  REQUIRE(evidence);
  CHECK(evidence->answered);
  // The peer has its half: it is told that there is none of it here.
  const auto deleted = in.peer.asked();
  REQUIRE(deleted);
  CHECK(deleted->message.find<Delete>());
}

namespace {
/// A request of the host's for a CHILD SA, answered by the insider as it is asked for.
std::pair<std::vector<TrafficSelector>, std::vector<TrafficSelector>> asked_for(In& in) {
  in.world.run(5s);
  const auto asked = in.peer.asked();
  REQUIRE(asked);
  REQUIRE(asked->header.exchange == ike::kExchangeCreateChildSa);
  return {asked->message.find<TsI>()->selectors, asked->message.find<TsR>()->selectors};
}
void agree(In& in, const std::vector<TrafficSelector>& ts_i, const std::vector<TrafficSelector>& ts_r, std::uint32_t spi) {
  Builder answer;
  answer.add(build_child_offer(parse_esp_proposal("aes128gcm16").value(), InsiderV2::spi(spi), true)).add(Nonce{Bytes(32, 7)});
  in.peer.answer(*in.peer.asked(), answer.add(TsI{ts_i, 0}).add(TsR{ts_r, 0}));
  in.world.run(1s);
}
void wants(In& in, const char* source, const char* destination, std::uint8_t protocol = 17, std::uint16_t port = 53) {
  in.b.step([&](ike::Engine& e) {
    e.on_acquire(in.world.now, "c", "voice", ike::Flow{*IpAddress::parse(source), *IpAddress::parse(destination), 4000, port, protocol});
  });
}
void with_voice(config::GatewayConfig& b) {
  auto& children = b.connections[0].children;
  children.push_back(children[0]);
  children[1].name = "voice";
  children[1].start_action = config::StartAction::Trap;
  give(children[1], {"10.2.5.0/24", "10.2.6.0/24"}, {"10.1.5.0/24"});
}
}  // namespace

TEST_CASE("IKEv2: a packet that asks stands in front of what is offered", "[ikev2][selectors][rfc7296-2.9]") {
  In in(with_voice);
  SECTION("with its ports") {
    wants(in, "10.2.6.9", "10.1.5.7");
    const auto [ts_i, ts_r] = asked_for(in);
    CHECK(ts_i == all({"10.2.6.9[udp/4000]", "10.2.5.0/24", "10.2.6.0/24"}));
    CHECK(ts_r == all({"10.1.5.7[udp/53]", "10.1.5.0/24"}));
    agree(in, all({"10.2.5.0/24", "10.2.6.0/24"}), all({"10.1.5.0/24"}), 20);
    CHECK(in.b.current_out("voice"));
    // Once there is a pair, and when it is rekeyed, it is of no matter any more.
    in.b.step([&](ike::Engine& e) { CHECK(e.rekey(in.world.now, "c", "voice", false, "").ok); });
    CHECK(asked_for(in).first == all({"10.2.5.0/24", "10.2.6.0/24"}));
  }
  SECTION("of a protocol that has none") {
    wants(in, "10.2.6.9", "10.1.5.7", 1, 0);
    CHECK(asked_for(in).first.front() == ts("10.2.6.9[icmp]"));
  }
  SECTION("one that the child is not for: it does not") {
    wants(in, "10.2.77.9", "10.1.5.7");
    CHECK(asked_for(in).first == all({"10.2.5.0/24", "10.2.6.0/24"}));
  }
}

TEST_CASE("IKEv2: a peer that takes one pair of addresses a CHILD SA", "[ikev2][selectors][rfc7296-2.9]") {
  In in(with_voice);
  wants(in, "10.2.6.9", "10.1.5.7");
  CHECK(asked_for(in).first.size() == 3);
  in.peer.answer(*in.peer.asked(), Builder().notify(NotifyType::SinglePairRequired));
  const auto [ts_i, ts_r] = asked_for(in);
  CHECK(ts_i == all({"10.2.6.9"}));
  CHECK(ts_r == all({"10.1.5.7"}));
  agree(in, ts_i, ts_r, 21);
  REQUIRE(in.b.current_out("voice"));
  CHECK(carried(in.b.current_out("voice")->sa) == "10.2.6.9/32 - 10.1.5.7/32");
  in.world.run(10s);
  CHECK(in.b.live_pairs("voice") == 1);
  // Another packet of the same two addresses needs none, one of others does.
  wants(in, "10.2.6.9", "10.1.5.7", 6, 80);
  in.world.run(5s);
  CHECK_FALSE(in.peer.asked());
  wants(in, "10.2.5.9", "10.1.5.7", 6, 80);
  const auto [more_i, more_r] = asked_for(in);
  CHECK(more_i == all({"10.2.5.9"}));
  agree(in, more_i, more_r, 22);
  CHECK(in.b.live_pairs("voice") == 2);
  CHECK(in.b.engine->failures("c").empty());
}

TEST_CASE("IKEv2: a peer that takes one pair of addresses, and no packet that says which", "[ikev2][selectors][rfc7296-2.9]") {
  In in(with_voice);
  in.b.step([&](ike::Engine& e) { CHECK(e.initiate(in.world.now, "c", "voice").ok); });
  CHECK(asked_for(in).first == all({"10.2.5.0/24", "10.2.6.0/24"}));
  in.peer.answer(*in.peer.asked(), Builder().notify(NotifyType::SinglePairRequired));
  const auto failures = in.b.engine->failures("c");
  REQUIRE(!failures.empty());
  CHECK(failures[0].cause.said == "SINGLE_PAIR_REQUIRED");
  in.world.run(20s);  // its turn comes again
  wants(in, "10.2.6.9", "10.1.5.7");
  CHECK(asked_for(in).first == all({"10.2.6.9"}));
}
