// The SPD's table against a model: what the configuration has, what peers come to have, and the numbers of both.
#include "control/sa/policy.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <span>

#include <catch2/catch.hpp>

#include "common/config/selectors.hpp"

using namespace culvert;
using namespace culvert::control;

namespace {
TrafficSelector ts(const char* text) { return *TrafficSelector::parse(text); }

config::Child child(const char* name, const char* local, const char* remote) {
  config::Child c;
  c.name = name;
  c.local_ts = ts(local);
  c.remote_ts = ts(remote);
  return c;
}

/// Peers with addresses of their own on `roads`; two tunnels to one peer on `office`; one bound to an interface on `branch`.
config::GatewayConfig some() {
  config::GatewayConfig out;
  config::Connection roads, office, branch;
  roads.name = "roads";
  roads.children = {child("net", "10.1.0.0/16", "10.50.0.0/16"), child("own", "10.1.0.0/16", "0.0.0.0/0")};
  roads.children[1].remote_dynamic = true;
  office.name = "office";
  office.remote_addrs = branch.remote_addrs = {IpAddress::v4(0x0a090014)};
  office.children = {child("net/1x1", "10.1.0.0/24", "10.60.0.0/16"), child("net/2x1", "10.1.1.0/24", "10.60.0.0/16")};
  office.children[0].start_action = config::StartAction::Trap;
  branch.name = "branch";
  branch.children = {child("all", "10.1.0.0/16", "0.0.0.0/0")};
  branch.children[0].tunnel = "st0";
  out.connections = {roads, office, branch};
  out.policies.push_back({"local", config::PolicyAction::Bypass, ts("10.1.0.0/16"), ts("10.1.0.0/16"), 100});
  return out;
}
shm::PeerTag tag(std::uint8_t n) { return {n}; }
}  // namespace

TEST_CASE("policies of the configuration: numbered by their place, those that wait for many peers last", "[policies]") {
  const PolicyTable table(some());
  const auto entries = table.entries();
  REQUIRE(entries.size() == 5);
  for (std::size_t i = 0; i < entries.size(); ++i) CHECK(entries[i].policy.value == i + 1);
  CHECK(entries[0].name.view() == "roads/net");
  CHECK(entries[0].order > entries[4].order);
  CHECK_FALSE(table.of("roads", "own"));  // nobody knows its selectors yet
  CHECK(table.of("office", "net/2x1") == PolicyId{3});
  CHECK(*table.child_of(PolicyId{3}) == ChildRef{"office", "net/2x1"});
  CHECK(*table.child_named("office/net/1x1") == ChildRef{"office", "net/1x1"});
  CHECK(entries[1].acquire);
  CHECK_FALSE(entries[2].acquire);
  CHECK(entries[4].action == shm::PolicyAction::Bypass);
  CHECK(table.child_of(PolicyId{5}) == nullptr);
}

TEST_CASE("policies: a child of a tunnel interface selects by route, whatever its selectors are", "[policies][tunnels]") {
  const PolicyTable table(some());
  const shm::InstallPolicy entry = table.entries().at(3);
  CHECK(entry.tunnel.view() == "st0");
  CHECK(entry.local_ts == ts("0.0.0.0/0"));
  CHECK(entry.remote_ts == ts("0.0.0.0/0"));
  CHECK(table.of("branch", "all") == entry.policy);
  for (const auto& other : table.entries()) CHECK((other.policy == entry.policy || other.tunnel.view().empty()));
}

TEST_CASE("policies: what is for a pool's address of either family waits for its client, and goes nowhere in clear", "[policies]") {
  config::GatewayConfig config;
  config.default_policy = config::PolicyAction::Bypass;
  config.pools.push_back({.name = "four", .addrs = ts("10.50.0.0/24")});
  config.pools.push_back({.name = "six", .addrs = ts("2001:db8:3::/112")});
  const auto entries = PolicyTable(config).entries();
  REQUIRE(entries.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(entries[i].action == shm::PolicyAction::Discard);
    CHECK(entries[i].remote_ts == config.pools[i].addrs);
    CHECK(entries[i].local_ts == ts(i == 0 ? "0.0.0.0/0" : "::/0"));
  }
}

TEST_CASE("policies: each is of the VRF inside, those of peers and of pools, too", "[policies][vrf]") {
  config::GatewayConfig config = some();
  config.connections[0].vrf.id = 1;
  for (auto& child : config.connections[0].children) child.vrf.id = 2;
  config.policies[0].vrf.id = 3;
  config.default_policy = config::PolicyAction::Bypass;
  config.pools.push_back({.name = "p", .addrs = ts("10.50.0.0/24"), .vrf = {"blue", 2}});
  PolicyTable table(config);
  const auto entries = table.entries();
  REQUIRE(entries.size() == 6);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    CHECK(entries[i].vrf == std::array<VrfId, 6>{2, 0, 0, 0, 3, 2}[i]);
    CHECK(table.vrf_of(entries[i].policy) == entries[i].vrf);
  }
  const auto taken = table.take({"roads", "own"}, tag(1), ts("10.1.0.0/16"), ts("10.50.1.1"));
  REQUIRE(taken);
  CHECK(taken->fresh->vrf == 2);
  CHECK(table.vrf_of(taken->policy) == 2);
  CHECK((table.vrfs_of({"roads", "own"}).inner == 2 && table.vrfs_of({"roads", "own"}).outer == 1));
  CHECK((table.vrf_outside("roads") == table.vrfs_of({"roads", "net"}).outer && table.vrf_outside("none") == kDefaultVrf));
  CHECK((table.vrfs_of({"roads", "none"}).inner == kDefaultVrf && table.vrf_of(PolicyId{99}) == kDefaultVrf));
}

TEST_CASE("policies of peers come with the first SA and go with the last, before their child's", "[policies]") {
  PolicyTable table(some());
  const ChildRef net{"roads", "net"};
  const auto first = table.take(net, tag(1), ts("10.1.0.0/16"), ts("10.50.1.0/24"));
  REQUIRE(first);
  REQUIRE(first->fresh);
  CHECK(PolicyTable::is_peers(first->policy));
  CHECK(first->fresh->remote_ts == ts("10.50.1.0/24"));
  CHECK(first->fresh->order + 1 < table.entries()[0].order);
  const auto again = table.take(net, tag(1), ts("10.1.0.0/16"), ts("10.50.1.0/24"));
  REQUIRE(again);
  CHECK(again->policy == first->policy);
  CHECK_FALSE(again->fresh);
  CHECK(table.take(net, tag(2), ts("10.1.0.0/16"), ts("10.50.1.0/24"))->policy != first->policy);
  CHECK_FALSE(table.take({"roads", "other"}, tag(1), ts("10.1.0.0/16"), ts("10.50.1.0/24")));
  CHECK_FALSE(table.release(first->policy));
  CHECK(table.entries().size() == 7);
  CHECK(table.release(first->policy));
  CHECK_FALSE(table.release(first->policy));
  CHECK(table.entries().size() == 6);
  CHECK_FALSE(table.release(PolicyId{1}));
}

TEST_CASE("policies of peers: who comes again is behind nothing that is left of before", "[policies][unique]") {
  PolicyTable table(some());
  const ChildRef net{"roads", "net"};
  const auto take = [&](std::uint8_t place, const char* remote = "10.50.1.0/24") {
    return table.take(net, tag(place), ts("10.1.0.0/16"), ts(remote)).value();
  };
  const auto peers = [](const PolicyTable& of) {
    std::vector<PolicyId> out;
    for (const auto& p : of.entries())
      if (PolicyTable::is_peers(p.policy)) out.push_back(p.policy);
    return out;
  };
  const PolicyId office = take(1).policy, part = take(1, "10.50.1.0/25").policy;
  CHECK(take(1).policy == office);
  const auto home = take(2);
  REQUIRE(home.fresh);
  CHECK((take(2).policy == home.policy && !take(2).fresh));  // the other SA of the pair, and a rekeying
  CHECK(take(1, "10.50.1.0/25").policy == part);             // other packets
  CHECK_FALSE(table.release(office));                        // its outbound SA alone
  const auto back = take(1);
  REQUIRE(back.fresh);
  CHECK((back.policy != office && take(1).policy == back.policy));
  CHECK(peers(table) == std::vector{office, part, home.policy, back.policy});

  // Of what a former culvertd had nobody knows the ages, and a number says nothing of them; but all of it may stay.
  PolicyTable next(some());
  for (const auto& [policy, place] : {std::pair(back.policy, 1), {home.policy, 2}, {office, 1}})
    CHECK(next.adopt(policy, net, tag(static_cast<std::uint8_t>(place)), ts("10.1.0.0/16"), ts("10.50.1.0/24")));
  CHECK_FALSE(next.adopt(home.policy, net, tag(1), ts("10.1.0.0/16"), ts("10.50.1.0/24")));
  const auto then = next.take(net, tag(2), ts("10.1.0.0/16"), ts("10.50.1.0/24")).value();
  REQUIRE(then.fresh);
  CHECK(then.policy == part);  // a number that is free
  CHECK(next.take(net, tag(2), ts("10.1.0.0/16"), ts("10.50.1.0/24"))->policy == then.policy);
  CHECK(peers(next) == std::vector{office, home.policy, back.policy, then.policy});
  CHECK((next.release(back.policy) && next.release(office) && next.release(home.policy)));
  CHECK(peers(next) == std::vector{then.policy});
}

TEST_CASE("policies of peers that want the same packets: a new SA is under the youngest", "[policies][unique][model]") {
  PolicyTable table(some());
  std::mt19937 rng(20261128);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const ChildRef net{"roads", "net"};
  struct Entry {
    PolicyId policy;
    std::uint8_t peer;
    std::uint32_t packets;
    unsigned users;
  };
  std::vector<Entry> model;  // the oldest first
  for (int step = 0; step < 20000; ++step) {
    if (model.size() < 20 && pick(2) == 0) {
      const auto peer = static_cast<std::uint8_t>(pick(4));
      const std::uint32_t packets = pick(3);
      const auto taken = table.take(net, tag(peer), ts("10.1.0.0/16"), TrafficSelector::from({IpAddress::v4(0x0a320000 + packets), 32}));
      REQUIRE(taken);
      const auto first = std::find_if(model.rbegin(), model.rend(), [&](const Entry& e) { return e.packets == packets; });
      const bool own = first != model.rend() && first->peer == peer;
      REQUIRE(taken->fresh.has_value() == !own);
      if (own) {
        REQUIRE(taken->policy == first->policy);
        ++first->users;
      } else {
        model.push_back({taken->policy, peer, packets, 1});
      }
    } else if (!model.empty()) {
      const auto it = model.begin() + pick(static_cast<std::uint32_t>(model.size()));
      const bool last = --it->users == 0;
      REQUIRE(table.release(it->policy) == last);
      if (last) model.erase(it);
    }
    const auto entries = table.entries();
    REQUIRE(std::ranges::equal(std::span(entries).subspan(5), model, {}, &shm::InstallPolicy::policy, &Entry::policy));
  }
}

TEST_CASE("policies of several selectors: one for all of them, known by all of them", "[policies][selectors]") {
  auto config = some();
  config.connections[1].children[0].more_remote = {{ts("10.61.0.0/16"), false}};
  PolicyTable table(config);
  const auto entries = table.entries();
  const auto many = std::ranges::count_if(entries, [](const auto& p) { return p.more.any(); });
  CHECK(many == 1);
  const ChildRef net{"roads", "net"};
  const std::vector local{ts("10.1.0.0/16"), ts("2001:db8:1::/48")}, remote{ts("10.50.1.1"), ts("2001:db8:50::1")};
  const auto more = MoreSelectors::behind_first(local, remote);
  REQUIRE(more);
  const auto first = table.take(net, tag(1), local[0], remote[0], *more);
  REQUIRE(first);
  CHECK(first->fresh->more == *more);
  CHECK(table.take(net, tag(1), local[0], remote[0], *more)->policy == first->policy);
  CHECK(table.take(net, tag(1), local[0], remote[0])->policy != first->policy);
  // A culvertd after this one finds it by the SA's record.
  PolicyTable next(config);
  CHECK(next.adopt(first->policy, net, tag(1), local[0], remote[0], *more));
  CHECK_FALSE(next.adopt(first->policy, net, tag(1), local[0], remote[0]));
  CHECK(next.entries().back().more == *more);
  CHECK_FALSE(MoreSelectors::behind_first(local, {}));
  CHECK_FALSE(MoreSelectors::behind_first(std::vector(16, ts("10.1.0.1")), remote));
}

TEST_CASE("policies: one that was refused is not given out again, and one that was found is whose it was", "[policies]") {
  PolicyTable table(some());
  const ChildRef own{"roads", "own"};
  const auto bad = table.take(own, tag(1), ts("10.1.0.0/16"), ts("10.50.1.1"));
  table.refuse(bad->policy, "unsupported");
  REQUIRE(table.refusal(bad->policy) != nullptr);
  CHECK(*table.refusal(bad->policy) == "unsupported");
  CHECK(table.take(own, tag(1), ts("10.1.0.0/16"), ts("10.50.1.1"))->policy != bad->policy);
  const PolicyId old{shm::kConfiguredPolicies + 100};
  CHECK(table.adopt(old, own, tag(3), ts("10.1.0.0/16"), ts("10.50.1.3")));
  CHECK(table.adopt(old, own, tag(3), ts("10.1.0.0/16"), ts("10.50.1.3")));
  CHECK_FALSE(table.adopt(old, own, tag(4), ts("10.1.0.0/16"), ts("10.50.1.3")));
  CHECK_FALSE(table.adopt(PolicyId{7}, own, tag(5), ts("10.1.0.0/16"), ts("10.50.1.5")));
  CHECK_FALSE(table.adopt(PolicyId{shm::kMaxPolicies + 1}, own, tag(5), ts("10.1.0.0/16"), ts("10.50.1.5")));
  CHECK(table.take(own, tag(3), ts("10.1.0.0/16"), ts("10.50.1.3"))->policy == old);
  table.lose_all();
  CHECK(table.refusal(bad->policy) == nullptr);
  CHECK(table.entries().size() == 5);
}

TEST_CASE("policies of peers that come and go: never two of one number, never a number lost", "[policies][model]") {
  PolicyTable table(some());
  std::mt19937 rng(20260101);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const ChildRef net{"roads", "net"};
  std::map<std::uint32_t, std::pair<std::uint32_t, unsigned>> model;  // by number: whose, and how often
  for (int step = 0; step < 20000; ++step) {
    const std::uint32_t who = pick(64);
    if (pick(2) == 0) {
      const auto remote = TrafficSelector::from({IpAddress::v4(0x0a320000 + who), 32});
      const auto taken = table.take(net, tag(static_cast<std::uint8_t>(who)), ts("10.1.0.0/16"), remote);
      REQUIRE(taken);
      const auto known = model.find(taken->policy.value);
      REQUIRE(taken->fresh.has_value() == (known == model.end()));
      if (known != model.end()) REQUIRE(known->second.first == who);
      model[taken->policy.value].first = who;
      ++model[taken->policy.value].second;
    } else if (!model.empty()) {
      const auto it = std::next(model.begin(), pick(static_cast<std::uint32_t>(model.size())));
      const bool last = --it->second.second == 0;
      REQUIRE(table.release(PolicyId{it->first}) == last);
      if (last) model.erase(it);
    }
    REQUIRE(table.entries().size() == 5 + model.size());
  }
  table.lose_all();
  // All numbers there are can be had, and no more.
  std::set<std::uint32_t> numbers;
  for (std::uint32_t i = 0; i < shm::kMaxPolicies - shm::kConfiguredPolicies; ++i) {
    const auto who = tag(static_cast<std::uint8_t>(i / PolicyTable::kMaxOfPeer));
    const auto taken = table.take(net, who, ts("10.1.0.0/16"), TrafficSelector::from({IpAddress::v4(0x0a320000 + i), 32}));
    REQUIRE(taken);
    numbers.insert(taken->policy.value);
  }
  CHECK(numbers.size() == shm::kMaxPolicies - shm::kConfiguredPolicies);
  CHECK_FALSE(table.take(net, tag(255), ts("10.1.0.0/16"), ts("10.60.0.0/16")));
}

TEST_CASE("policies of peers: none takes so many that others get none", "[policies]") {
  PolicyTable table(some());
  const ChildRef net{"roads", "net"};
  std::vector<PolicyId> taken;
  for (std::uint32_t i = 0; i < PolicyTable::kMaxOfPeer; ++i)
    taken.push_back(table.take(net, tag(1), ts("10.1.0.0/16"), TrafficSelector::from({IpAddress::v4(0x0a320000 + i), 32})).value().policy);
  CHECK_FALSE(table.take(net, tag(1), ts("10.1.0.0/16"), ts("10.60.0.0/16")));
  CHECK(table.take(net, tag(1), ts("10.1.0.0/16"), TrafficSelector::from({IpAddress::v4(0x0a320000), 32})));  // one that is there
  CHECK(table.take(net, tag(2), ts("10.1.0.0/16"), ts("10.60.0.0/16")));
  CHECK(table.release(taken.back()));
  CHECK(table.take(net, tag(1), ts("10.1.0.0/16"), ts("10.60.0.0/16")));
}
