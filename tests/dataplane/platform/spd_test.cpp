// The SPD's classifier and the flow cache before it against a linear search.
#include <random>

#include "dataplane/spd/flow_cache.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint32_t kVrfs = 3;

/// Ways that differ within 10.0.0.0 to 10.0.0.99, and between VRFs.
std::unique_ptr<Fib> some_routes() {
  static NeighborTable neighbors;
  const std::vector<Interface> interfaces{{"wan", {}, 1500, {{v4(0x0a000001), 28}}},
                                          {"lan", {}, 1500, {{v4(0x0a000021), 27}}},
                                          {"red", {}, 1500, {{v4(0x0a000001), 27}}, 0, 0, 1},
                                          {"blue", {}, 1500, {{v4(0x0a000031), 26}}, 0, 0, 2}};
  std::vector<config::Route> routes{{{v4(0x0a000040), 28}, {v4(0x0a000002)}, ""}, {{v4(0x0a000030), 28}, {v4(0x0a000002)}, ""}};
  routes[1].vrf.id = 1;
  auto fib = Fib::build(interfaces, routes, neighbors, {}, kVrfs);
  REQUIRE(fib);
  return std::move(*fib);
}

/// The linear reference: the policy that wins, of equal ones the last, and what it does. What hides its ports is discarded by the first
/// that may mean it.
std::pair<std::uint32_t, shm::PolicyAction> winner(const std::vector<shm::InstallPolicy>& policies, const Packet& p) {
  const shm::InstallPolicy* best = nullptr;
  const auto matches = [&](TrafficSelector ts, std::uint32_t address, std::uint16_t port) {
    if (p.ports_hidden) ts.port_first = 0, ts.port_last = 0xffff;
    return ts.matches(v4(address), p.protocol, port);
  };
  for (const auto& c : policies)
    if (c.vrf == p.vrf && matches(c.local_ts, load_be32(p.data + 12), p.source_port) &&
        (matches(c.remote_ts, load_be32(p.data + 16), p.destination_port) ||
         std::ranges::any_of(c.more.remote(), [&](const auto& s) { return matches(s, load_be32(p.data + 16), p.destination_port); })) &&
        (best == nullptr || c.priority <= best->priority))
      best = &c;
  if (best == nullptr) return {};
  const bool unsure = p.ports_hidden && !(best->local_ts.any_port() && best->remote_ts.any_port());
  return {best->policy.value, unsure ? shm::PolicyAction::Discard : best->action};
}
}  // namespace

TEST_CASE("spd: the classifier and the flow cache before it agree with a linear search", "[spd][model]") {
  need_eal();
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20260101;
  INFO("seed " << seed);
  std::mt19937 rng(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const auto fib = some_routes();
  FlowCache cache(*fib, rng());  // lives through the snapshots: what one said is nothing to the next
  for (int round = 0; round < 20; ++round) {
    std::vector<shm::InstallPolicy> policies;
    for (std::uint32_t i = 1 + pick(30); i > 0; --i) {
      shm::InstallPolicy p;
      p.policy = PolicyId{i * 7 % 31};  // a number says nothing of the order
      p.priority = pick(4);
      p.vrf = static_cast<VrfId>(pick(kVrfs));
      p.action = static_cast<shm::PolicyAction>(pick(3));
      for (TrafficSelector* ts : {&p.local_ts, &p.remote_ts}) {
        const std::uint32_t a = 0x0a000000 + pick(64), b = a + pick(64);
        *ts = pick(4) == 0 ? TrafficSelector::from({v4(0), 0}) : TrafficSelector{v4(a), v4(b), 0, 0xffff, 0};
      }
      if (pick(2) == 0) {
        p.local_ts.protocol = p.remote_ts.protocol = 17;
        p.remote_ts.port_first = static_cast<std::uint16_t>(pick(4));
        p.remote_ts.port_last = static_cast<std::uint16_t>(p.remote_ts.port_first + pick(4));
      }
      p.more.remotes = static_cast<std::uint8_t>(pick(3));
      for (std::uint8_t k = 0; k < p.more.remotes; ++k) {
        p.more.all[k] = p.remote_ts;
        p.more.all[k].first = v4(0x0a000000 + pick(64));
        p.more.all[k].last = v4(p.more.all[k].first.v4_host() + pick(64));
      }
      if (Spd::check(p) == shm::AckResult::Unsupported) p.more = {};  // of too many prefixes together
      REQUIRE(Spd::check(p) == shm::AckResult::Ok);
      policies.push_back(p);
    }
    const auto spd = Spd::build(policies);
    REQUIRE(spd);
    for (int n = 0; n < 500; ++n) {
      const std::uint32_t s = 0x0a000000 + pick(140), d = 0x0a000000 + pick(140);
      const auto protocol = static_cast<std::uint8_t>(pick(2) ? 17 : 1);
      const auto dport = static_cast<std::uint16_t>(protocol == 17 ? pick(9) : 0);
      constexpr std::array<std::uint16_t, 4> kFragments{0, kIpv4Mf, 1, kIpv4Mf | 77};
      const std::uint16_t fragment = kFragments[pick(4)];
      Bytes bytes = packet_of(s, d, protocol, 0, dport, fragment);
      Packet p;
      p.data = bytes.data();
      p.length = 28;
      p.vrf = static_cast<VrfId>(pick(kVrfs));
      REQUIRE(parse_ip(p));
      const FlowKey key = FlowKey::outbound(p);
      REQUIRE(key.vrf() == p.vrf);
      std::uint32_t number = 0;
      (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
      const SpdEntry* got = (*spd)->numbered(number);
      REQUIRE(p.ports_hidden == (protocol == 17 && (fragment & kIpv4OffsetMask) != 0));
      const auto want = winner(policies, p);
      REQUIRE((got ? got->policy.value : 0) == want.first);
      if (got != nullptr) REQUIRE(got->action == want.second);
      for (int again = 0; again < 2; ++again) {
        std::array<FlowKey, 3> keys{key, FlowKey{}, key};
        std::array<const SpdEntry*, 3> cached{};
        cache.outbound(
            **spd, keys.size(), [&](std::size_t i) { return keys[i]; }, [&](std::size_t i, const SpdEntry* e, HopId) { cached[i] = e; });
        REQUIRE(cached[0] == got);
        REQUIRE(cached[2] == got);
      }
      // The mirrored question about the packet that comes back.
      Bytes back = packet_of(d, s, protocol, dport, 0, fragment);
      p.data = back.data();
      p.length = 28;
      REQUIRE(parse_ip(p));
      CHECK(FlowKey::outbound(p).mirrored() == key);
    }
  }
}

TEST_CASE("flow cache: what the snapshot itself says, whatever was asked before of whichever snapshot", "[spd][model]") {
  need_eal();
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20260101;
  INFO("seed " << seed);
  std::mt19937 rng(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const auto random_spd = [&] {
    std::vector<shm::InstallPolicy> policies;
    for (std::uint32_t i = pick(9); i > 0; --i) {
      shm::InstallPolicy p;
      p.policy = PolicyId{i};
      p.vrf = static_cast<VrfId>(pick(kVrfs));
      p.priority = pick(4);
      p.action = static_cast<shm::PolicyAction>(pick(3));
      for (TrafficSelector* ts : {&p.local_ts, &p.remote_ts}) {
        const std::uint32_t a = 0x0a000000 + pick(64);
        *ts = {v4(a), v4(a + pick(64)), static_cast<std::uint16_t>(pick(3)), static_cast<std::uint16_t>(3 + pick(3)), 0};
      }
      policies.push_back(p);
    }
    auto spd = Spd::build(policies);
    REQUIRE(spd);
    return std::move(*spd);
  };
  const auto fib = some_routes();
  FlowCache cache(*fib, rng(), 12);
  std::vector<FlowKey> flows(6000);  // more than the cache holds
  for (FlowKey& k : flows) {
    const auto port = [&] { return static_cast<std::uint16_t>(pick(7)); };
    k = FlowKey::of(pick(2) != 0 ? 17 : 6, 0x0a000000 + pick(100), 0x0a000000 + pick(100), port(), port(), pick(8) == 0,
                    static_cast<VrfId>(pick(kVrfs)));
  }
  // Two snapshots at a time, as when workers see a swap late; the freed one's address is free for the next.
  std::array<std::unique_ptr<Spd>, 2> spds{random_spd(), random_spd()};
  std::size_t settled = 0;
  for (int round = 0; round < 2000; ++round) {
    if (pick(20) == 0) {
      auto& old = spds[pick(2)];
      old.reset();
      old = random_spd();
    }
    const Spd& spd = *spds[pick(2)];
    const std::size_t few = pick(2) != 0 ? 40 : flows.size();  // now hits, now displacement
    std::array<FlowKey, kBurstMax> keys;
    std::array<const SpdEntry*, kBurstMax> got{}, want{}, got_mirrored{}, want_mirrored{};
    std::array<HopId, kBurstMax> hops{};
    const std::size_t n = 1 + pick(kBurstMax);
    for (std::size_t i = 0; i < n; ++i) keys[i] = flows[pick(static_cast<std::uint32_t>(few))];
    const std::span asked = std::span(keys).first(n);
    const bool both = pick(2) != 0;
    const auto key_of = [&](std::size_t i) { return keys[i]; };
    if (both) {
      cache.both(spd, n, key_of, [&](std::size_t i, const SpdEntry* out, HopId hop, const SpdEntry* in) {
        got[i] = out, got_mirrored[i] = in, hops[i] = hop;
      });
    } else {
      cache.outbound(spd, n, key_of, [&](std::size_t i, const SpdEntry* out, HopId hop) { got[i] = out, hops[i] = hop; });
    }
    const auto ask_spd = [&](std::span<const SpdEntry*> answers) {
      std::array<std::uint32_t, kBurstMax> numbers{};
      spd.lookup(asked, std::span(numbers).first(n));
      for (std::size_t i = 0; i < n; ++i) answers[i] = spd.numbered(numbers[i]);
    };
    ask_spd(want);
    REQUIRE(got == want);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(&fib->hop(hops[i]) == &fib->lookup(keys[i].vrf(), v4(keys[i].destination())));
    if (!both) continue;
    std::array<bool, kBurstMax> at_once{};
    cache.recall<true>(spd, n, key_of, [&](std::size_t i, const auto& flow) {
      at_once[i] = flow.settled();
      REQUIRE(flow.protect == (want[i] != nullptr && want[i]->action == shm::PolicyAction::Protect ? want[i]->policy.value : 0));
    });
    for (FlowKey& k : asked) k = k.mirrored();
    ask_spd(want_mirrored);
    REQUIRE(got_mirrored == want_mirrored);
    // What is protected at once is what the rules protect, whatever port it came by; and nothing else is left to them.
    for (std::size_t i = 0; i < n; ++i) {
      const HopKind kind = fib->hop(hops[i]).kind;
      const bool forwarded = kind != HopKind::Local && kind != HopKind::Martian;
      const bool anywhere = (want[i] == nullptr || !want[i]->overlapping) && want_mirrored[i] == nullptr;
      const bool accepted = inbound_verdict(want_mirrored[i], false).accept;
      const bool protect = outbound_action(want[i], Origin::Clear, {}, false, false) == OutboundAction::Protect;
      REQUIRE(at_once[i] == (forwarded && anywhere && accepted && protect));
      settled += at_once[i] ? 1 : 0;
    }
  }
  CHECK(settled > 20);
}

TEST_CASE("spd: the rest of a fragmented packet does not get past a policy for its ports", "[spd][rfc4301-7]") {
  need_eal();
  const auto ts = [](const char* text) { return *TrafficSelector::parse(text); };
  shm::InstallPolicy syslog{PolicyId{1}, 100, shm::PolicyAction::Protect, false, ts("10.1.0.0/24[udp]"), ts("10.2.0.0/24[udp/514]"), {}};
  shm::InstallPolicy telnet{PolicyId{2}, 200, shm::PolicyAction::Discard, false, ts("10.1.0.0/24[tcp]"), ts("10.2.0.0/24[tcp/23]"), {}};
  shm::InstallPolicy rest{PolicyId{3}, 900, shm::PolicyAction::Bypass, false, ts("10.1.0.0/16"), ts("10.2.0.0/16"), {}};
  const auto spd = Spd::build(std::vector{syslog, telnet, rest});
  REQUIRE(spd);
  struct Row {
    const char* what;
    std::uint32_t to;
    std::uint8_t protocol;
    std::uint16_t dport, fragment;
    std::uint32_t policy;
    shm::PolicyAction action;
  };
  using enum shm::PolicyAction;
  for (const Row& r :
       {Row{"whole, 514", 0x0a020005, 17, 514, 0, 1, Protect}, Row{"first, 514", 0x0a020005, 17, 514, kIpv4Mf, 1, Protect},
        Row{"later", 0x0a020005, 17, 514, 1, 1, Discard}, Row{"last", 0x0a020005, 17, 0, 185, 1, Discard},
        Row{"whole, 515", 0x0a020005, 17, 515, 0, 3, Bypass}, Row{"later, beside its addresses", 0x0a020105, 17, 515, 1, 3, Bypass},
        Row{"whole, 23", 0x0a020005, 6, 23, 0, 2, Discard}, Row{"later TCP", 0x0a020005, 6, 80, 9, 2, Discard},
        Row{"later of another protocol", 0x0a020005, 1, 0, 9, 3, Bypass}}) {
    INFO(r.what);
    Bytes bytes = packet_of(0x0a010009, r.to, r.protocol, 7, r.dport, r.fragment);
    Packet p;
    p.data = bytes.data();
    p.length = 28;
    REQUIRE(parse_ip(p));
    for (const bool mirrored : {false, true}) {
      FlowKey key = FlowKey::outbound(p);
      if (mirrored) {
        Bytes back = packet_of(r.to, 0x0a010009, r.protocol, r.dport, 7, r.fragment);
        Packet q;
        q.data = back.data();
        q.length = 28;
        REQUIRE(parse_ip(q));
        key = FlowKey::outbound(q).mirrored();
      }
      std::uint32_t number = 0;
      (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
      const SpdEntry* got = (*spd)->numbered(number);
      REQUIRE(got != nullptr);
      CHECK(got->policy.value == r.policy);
      CHECK(got->action == r.action);
    }
  }
}

TEST_CASE("spd: a policy of several selectors is for what any two of its sides select, of either family",
          "[spd][selectors][rfc4301-4.4.1.2]") {
  need_eal();
  const auto ts = [](const char* text) { return *TrafficSelector::parse(text); };
  const std::vector local{ts("10.1.0.0/24"), ts("2001:db8:1::/48"), ts("10.1.5.0/24[udp/53]")};
  const std::vector remote{ts("10.2.0.0/24"), ts("10.2.9.0/24[udp]"), ts("2001:db8:2::/48")};
  shm::InstallPolicy many{PolicyId{1}, 100, shm::PolicyAction::Protect, true, local[0], remote[0], {}};
  many.more = MoreSelectors::behind_first(local, remote).value();
  const shm::InstallPolicy rest{PolicyId{2}, 900, shm::PolicyAction::Bypass, false, ts("0.0.0.0/0"), ts("0.0.0.0/0"), {}};
  REQUIRE(Spd::check(many) == shm::AckResult::Ok);
  const auto spd = Spd::build(std::vector{many, rest});
  REQUIRE(spd);
  using enum shm::PolicyAction;
  const auto won_by = [&](const auto& key, std::uint32_t policy, shm::PolicyAction action) {
    std::uint32_t number = 0;
    (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
    const SpdEntry* got = (*spd)->numbered(number);
    return policy == 0 ? got == nullptr : got != nullptr && got->policy.value == policy && got->action == action;
  };
  const std::uint32_t a = 0x0a010005, b = 0x0a010505, c = 0x0a020005, d = 0x0a020905, other = 0x0a030005;
  CHECK(won_by(FlowKey::of(6, a, c, 1, 2), 1, Protect));
  CHECK(won_by(FlowKey::of(6, a, c, 0, 0, true), 1, Protect));  // any port: what hides them, too
  CHECK(won_by(FlowKey::of(17, a, d, 1, 2), 1, Protect));
  CHECK(won_by(FlowKey::of(6, a, d, 1, 2), 2, Bypass));
  CHECK(won_by(FlowKey::of(17, b, c, 53, 2), 1, Protect));
  CHECK(won_by(FlowKey::of(17, b, d, 53, 2), 1, Protect));
  CHECK(won_by(FlowKey::of(17, b, d, 54, 2), 2, Bypass));
  CHECK(won_by(FlowKey::of(17, b, d, 0, 0, true), 1, Discard));
  CHECK(won_by(FlowKey::of(17, b, c, 0, 0, true), 1, Discard));
  CHECK(won_by(FlowKey::of(6, a, other, 1, 2), 2, Bypass));
  const auto v6 = [](const char* text) { return IpAddress::parse(text)->bytes; };
  CHECK(won_by(FlowKeyV6::of(6, v6("2001:db8:1::5"), v6("2001:db8:2::5"), 1, 2), 1, Protect));
  CHECK(won_by(FlowKeyV6::of(6, v6("2001:db8:2::5"), v6("2001:db8:1::5"), 1, 2), 0, Bypass));

  auto bad = many;
  bad.more.locals = 15;
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = many;
  std::swap(bad.more.all[0].first, bad.more.all[0].last);
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = many;
  bad.more.all[3].first.family = bad.more.all[3].last.family = Family::None;
  CHECK(Spd::check(bad) == shm::AckResult::Unsupported);
  bad = many;
  for (auto& one : bad.more.all) one = TrafficSelector{v4(1), v4(0xfffffffe)};  // 62 prefixes each
  CHECK(Spd::check(bad) == shm::AckResult::Unsupported);
}

TEST_CASE("spd: impossible policies are refused", "[spd]") {
  shm::InstallPolicy p;
  p.policy = PolicyId{1};
  p.local_ts = p.remote_ts = TrafficSelector::from({v4(0x0a000000), 8});
  REQUIRE(Spd::check(p) == shm::AckResult::Ok);
  auto bad = p;
  bad.local_ts.first = v4(0xffffffff);
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.action = static_cast<shm::PolicyAction>(3);
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.local_ts.protocol = 6, bad.remote_ts.protocol = 17;
  CHECK(Spd::check(bad) == shm::AckResult::BadMessage);
  bad = p;
  bad.local_ts.first = v4(1), bad.local_ts.last = v4(0xfffffffe);  // 62 prefixes a side
  bad.remote_ts = bad.local_ts;
  CHECK(Spd::check(bad) == shm::AckResult::Unsupported);
  bad = p;
  bad.remote_ts.first.family = bad.remote_ts.last.family = Family::None;
  CHECK(Spd::check(bad) != shm::AckResult::Ok);
}

}  // namespace culvert::dp
