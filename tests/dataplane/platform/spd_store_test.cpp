// The SPD as policies come and go, of peers beside those of the configuration: what a snapshot says is what one built of all of them at
// once by the classifier alone would say, and goes on saying it.
#include "dataplane/spd/spd_store.hpp"

#include <algorithm>
#include <random>

#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint32_t kPeers = shm::kConfiguredPolicies;
using Policies = std::vector<shm::InstallPolicy>;  ///< the oldest first

struct Dice {
  std::mt19937 rng;
  std::uint32_t operator()(std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); }
};
/// Of 256 addresses in each family.
IpAddress address_of(Family family, std::uint32_t n) {
  if (family == Family::V4) return v4(0x0a000000 + n);
  IpAddress a = IpAddress::parse("2001:db8::").value();
  a.bytes[15] = static_cast<std::uint8_t>(n);
  return a;
}
/// Mostly prefixes, some ranges, and now and then all.
TrafficSelector some_range(Dice& pick, Family family) {
  if (pick(30) == 0) return TrafficSelector::from({IpAddress{{}, family}, 0});
  const std::uint32_t hosts = 1U << pick(5), first = pick(256) / hosts * hosts;
  if (pick(8) == 0) return {address_of(family, first), address_of(family, std::min(first + pick(6), 255U)), 0, 0xffff, 0};
  return {address_of(family, first), address_of(family, first + hosts - 1), 0, 0xffff, 0};
}
shm::InstallPolicy some_policy(Dice& pick, std::uint32_t number) {
  const Family family = pick(3) == 0 ? Family::V6 : Family::V4;
  shm::InstallPolicy p;
  p.policy = PolicyId{number};
  p.priority = pick(3), p.order = pick(3);
  p.vrf = static_cast<VrfId>(pick(2));
  p.action = static_cast<shm::PolicyAction>(pick(3));
  p.acquire = pick(2) != 0;
  p.local_ts = some_range(pick, family), p.remote_ts = some_range(pick, family);
  if (pick(3) == 0) {
    p.local_ts.protocol = p.remote_ts.protocol = 17;
    p.remote_ts.port_first = static_cast<std::uint16_t>(pick(3));
    p.remote_ts.port_last = static_cast<std::uint16_t>(p.remote_ts.port_first + pick(3));
  }
  if (pick(4) == 0) {
    p.more.locals = static_cast<std::uint8_t>(pick(3)), p.more.remotes = static_cast<std::uint8_t>(pick(3));
    for (std::size_t i = 0; i < std::size_t{p.more.locals} + p.more.remotes; ++i)
      p.more.all[i] = some_range(pick, pick(3) == 0 ? Family::V6 : Family::V4);
  }
  if (Spd::check(p) != shm::AckResult::Ok) p.more = {};
  if (Spd::check(p) != shm::AckResult::Ok) p.local_ts = p.remote_ts = TrafficSelector::from({address_of(family, 9), 32});
  REQUIRE(Spd::check(p) == shm::AckResult::Ok);
  return p;
}
/// The same under the configuration's numbers, so that the classifier has all, and with an order that says which is younger. Numbers as
/// they were: by the new ones.
std::pair<std::unique_ptr<Spd>, std::vector<std::uint32_t>> plain(const Policies& policies) {
  std::vector<shm::InstallPolicy> all;
  std::vector<std::uint32_t> numbers{0};
  for (const shm::InstallPolicy& policy : policies) {
    all.push_back(policy);
    all.back().policy = PolicyId{static_cast<std::uint32_t>(numbers.size())};
    all.back().order = policy.order * 1000 + static_cast<std::uint32_t>(policies.size() - all.size());
    numbers.push_back(policy.policy.value);
  }
  REQUIRE(numbers.size() <= kPeers);
  auto spd = Spd::build(all);
  REQUIRE(spd);
  return {std::move(*spd), numbers};
}
template <class Key>
std::vector<Key> some_keys(Dice& pick) {
  std::vector<Key> out;
  for (int i = 0; i < 400; ++i) {
    const auto protocol = static_cast<std::uint8_t>(pick(2) != 0 ? 17 : 1);
    const bool hidden = pick(4) == 0;
    const auto port = static_cast<std::uint16_t>(hidden ? 0 : pick(6));
    const auto vrf = static_cast<VrfId>(pick(2));
    const std::uint32_t from = pick(260), to = pick(260);
    if constexpr (std::is_same_v<Key, FlowKey>) {
      out.push_back(FlowKey::of(protocol, 0x0a000000 + from, 0x0a000000 + to, 7, port, hidden, vrf));
    } else {
      const auto bytes = [](std::uint32_t n) { return address_of(Family::V6, n).bytes; };
      out.push_back(FlowKeyV6::of(protocol, bytes(from), bytes(to), 7, port, hidden, vrf));
    }
  }
  return out;
}
/// What is said of a packet, with the policy's number.
using Said = std::tuple<std::uint32_t, shm::PolicyAction, bool, bool>;
template <class Key>
std::vector<Said> all_said(const Spd& spd, const std::vector<Key>& keys, const std::vector<std::uint32_t>* numbers = nullptr) {
  std::vector<Said> out;
  std::array<std::uint32_t, kBurstMax> found{};
  for (std::size_t at = 0; at < keys.size(); at += kBurstMax) {
    const std::size_t n = std::min(kBurstMax, keys.size() - at);
    spd.lookup(std::span<const Key>(keys).subspan(at, n), std::span(found).first(n));
    for (std::size_t i = 0; i < n; ++i) {
      const SpdEntry* e = spd.numbered(found[i]);
      const std::uint32_t policy = e == nullptr ? 0 : e->policy.value;
      out.push_back(e == nullptr ? Said{} : Said{numbers == nullptr ? policy : numbers->at(policy), e->action, e->acquire, e->overlapping});
    }
  }
  return out;
}
shm::InstallPolicy host_policy(std::uint32_t number, std::uint32_t remote, std::uint32_t local = 0x0a010000) {
  shm::InstallPolicy p;
  p.policy = PolicyId{number}, p.action = shm::PolicyAction::Protect, p.priority = 100;
  p.local_ts = TrafficSelector::from({v4(local), 24}), p.remote_ts = TrafficSelector::from({v4(remote), 32});
  return p;
}
}  // namespace

TEST_CASE("spd store: whatever comes and goes, a snapshot says what one built of all at once says, for as long as there is one",
          "[spd][store][model]") {
  need_eal();
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20261128;
  INFO("seed " << seed);
  Dice pick{std::mt19937(seed)};
  SpdStore store;
  Policies model;
  struct Old {
    std::unique_ptr<Spd> spd;
    std::vector<FlowKey> keys;
    std::vector<Said> said;
  };
  std::vector<Old> old;
  std::size_t most_rows = 0;
  for (int round = 0; round < 250; ++round) {
    const std::uint32_t most = round % 50 < 30 ? 150 : 5;  // now they grow, now they go
    for (std::uint32_t changes = 1 + pick(12); changes > 0; --changes) {
      const std::uint32_t number = pick(8) == 0 ? 1 + pick(10) : kPeers + 1 + pick(200);
      if (model.size() < most && pick(4) != 0) {
        const shm::InstallPolicy policy = some_policy(pick, number);
        const auto there = std::ranges::find(model, policy.policy, &shm::InstallPolicy::policy);
        there == model.end() ? model.push_back(policy) : void(*there = policy);
        store.install(policy);
      } else {
        const PolicyId gone = model.empty() ? PolicyId{number} : model[pick(static_cast<std::uint32_t>(model.size()))].policy;
        REQUIRE(store.remove(gone) == (std::erase_if(model, [&](const auto& one) { return one.policy == gone; }) == 1));
      }
    }
    if (pick(40) == 0) {
      std::set<std::uint32_t> kept;
      for (const shm::InstallPolicy& policy : model)
        if (pick(2) != 0) kept.insert(policy.policy.value);
      store.keep(kept);
      std::erase_if(model, [&](const auto& one) { return !kept.contains(one.policy.value); });
    }
    if (pick(10) == 0) {  // a culvertd starts anew
      Policies again = model;
      std::ranges::shuffle(again, pick.rng);
      for (const shm::InstallPolicy& policy : again) store.install(policy);
    }
    auto spd = store.snapshot();
    REQUIRE(spd);
    REQUIRE_FALSE(store.changed());
    REQUIRE(store.size() == model.size());
    most_rows = std::max(most_rows, store.rows());
    const auto [reference, numbers] = plain(model);
    const auto keys = some_keys<FlowKey>(pick);
    const auto said = all_said(**spd, keys);
    REQUIRE(said == all_said(*reference, keys, &numbers));
    const auto keys_v6 = some_keys<FlowKeyV6>(pick);
    REQUIRE(all_said(**spd, keys_v6) == all_said(*reference, keys_v6, &numbers));
    // A worker may be late: a snapshot before this one still says what it said, in whatever order they are let go.
    old.push_back({std::move(*spd), keys, said});
    const Old& one = old[pick(static_cast<std::uint32_t>(old.size()))];
    REQUIRE(all_said(*one.spd, one.keys) == one.said);
    if (old.size() > 6) old.erase(old.begin() + pick(7));
  }
  CHECK(most_rows > 100);
}

TEST_CASE("spd store: a peer more or less leaves the classifier as it is", "[spd][store]") {
  need_eal();
  SpdStore store;
  shm::InstallPolicy configured = host_policy(1, 0);
  configured.remote_ts = TrafficSelector::from({v4(0x0a800000), 9});
  configured.priority = 200;
  store.install(configured);
  REQUIRE(store.snapshot());
  constexpr std::uint32_t kMany = 10'000;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    store.install(host_policy(kPeers + 1 + i, 0x0a800000 + i));
    if (i % 10 == 0) REQUIRE(store.snapshot());
  }
  const auto full = store.snapshot();
  REQUIRE(full);
  CHECK(store.classifiers_built() == 1);
  CHECK(store.rows() == kMany);
  const auto winner = [](const Spd& spd, std::uint32_t remote) {
    const FlowKey key = FlowKey::of(6, 0x0a010005, remote, 1, 2);
    std::uint32_t number = 0;
    spd.lookup(std::span(&key, 1), std::span(&number, 1));
    return spd.numbered(number) == nullptr ? 0 : spd.numbered(number)->policy.value;
  };
  for (std::uint32_t i = 0; i < kMany; ++i) REQUIRE(winner(**full, 0x0a800000 + i) == kPeers + 1 + i);
  CHECK(winner(**full, 0x0a800000 + kMany) == 1);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    REQUIRE(store.remove(PolicyId{kPeers + 1 + i}));
    if (i % 10 == 0) REQUIRE(store.snapshot());
  }
  const auto empty = store.snapshot();
  REQUIRE(empty);
  CHECK(store.rows() == 0);
  CHECK(winner(**empty, 0x0a800000) == 1);
  CHECK(winner(**full, 0x0a800000) == kPeers + 1);
  CHECK(store.classifiers_built() == 1);
}

TEST_CASE("spd store: what has no room among the rows is in the classifier, and is found no less", "[spd][store]") {
  need_eal();
  SpdStore store;
  constexpr std::uint32_t kMany = 40;  // with the same remote side, and of as many lengths
  for (std::uint32_t i = 0; i < kMany; ++i) store.install(host_policy(kPeers + 1 + i, 0x0a800001, 0x0a010000 + 256 * i));
  for (std::uint32_t i = 0; i < 30; ++i) {
    shm::InstallPolicy p = host_policy(kPeers + 101 + i, 0);
    p.remote_ts = TrafficSelector::from({v4(0x80000000), static_cast<std::uint8_t>(2 + i)});
    p.priority = 130 - i;  // the longest first
    store.install(p);
  }
  const auto spd = store.snapshot();
  REQUIRE(spd);
  CHECK(store.rows() < 2 * PeerRows<FlowKey>::kAlike + PeerRows<FlowKey>::kLengths);
  const auto winner = [&](std::uint32_t local, std::uint32_t remote) {
    const FlowKey key = FlowKey::of(6, local, remote, 1, 2);
    std::uint32_t number = 0;
    (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
    return (*spd)->numbered(number) == nullptr ? 0 : (*spd)->numbered(number)->policy.value;
  };
  for (std::uint32_t i = 0; i < kMany; ++i) CHECK(winner(0x0a010005 + 256 * i, 0x0a800001) == kPeers + 1 + i);
  for (std::uint32_t i = 0; i < 30; ++i) CHECK(winner(0x0a010005, 0x80000000 | 1U << (29 - i)) == kPeers + 101 + i);
}

TEST_CASE("spd store: of peers that want the same packets the one that came last has them, for as long as it is there", "[spd][store]") {
  need_eal();
  SpdStore store;
  const auto winner = [&] {
    const auto spd = store.snapshot();
    REQUIRE(spd);
    const FlowKey key = FlowKey::of(6, 0x0a010005, 0x0a800001, 1, 2);
    std::uint32_t number = 0;
    (*spd)->lookup(std::span(&key, 1), std::span(&number, 1));
    return (*spd)->numbered(number) == nullptr ? 0 : (*spd)->numbered(number)->policy.value;
  };
  const auto peer = [](std::uint32_t n) {
    shm::InstallPolicy p = host_policy(kPeers + n, 0x0a800001);
    p.order = 5;
    return p;
  };
  constexpr std::uint32_t kMany = 2 * PeerRows<FlowKey>::kAlike;  // half of them are in the classifier
  std::vector<std::uint32_t> came;
  for (std::uint32_t i = 1; i <= kMany; ++i) came.push_back(i * 7 % (kMany + 1));
  for (const std::uint32_t n : came) {
    store.install(peer(n));
    REQUIRE(winner() == kPeers + n);
  }
  CHECK(store.rows() == PeerRows<FlowKey>::kAlike);
  // What another child comes before stays behind it, and before what it came before.
  shm::InstallPolicy other = host_policy(kPeers + 1000, 0x0a800001);
  other.order = 3;
  store.install(other);
  CHECK(winner() == kPeers + 1000);
  CHECK(store.remove(other.policy));
  other.order = 7;
  store.install(other);
  CHECK(winner() == kPeers + came.back());
  // Another culvertd says what there is in whatever order; one at a time or all at once.
  for (std::uint32_t n = 1; n <= kMany; ++n) {
    store.install(peer(n));
    if (n % 5 == 0) REQUIRE(winner() == kPeers + came.back());
  }
  while (!came.empty()) {
    REQUIRE(winner() == kPeers + came.back());
    CHECK(store.remove(PolicyId{kPeers + came.back()}));
    came.pop_back();
    if (came.size() < 2) continue;
    CHECK(store.remove(PolicyId{kPeers + came.front()}));  // an old one's end changes nothing
    came.erase(came.begin());
  }
  CHECK(winner() == kPeers + 1000);
  // One that was away is young again.
  store.install(peer(1));
  store.install(peer(2));
  CHECK(winner() == kPeers + 2);
  CHECK(store.remove(PolicyId{kPeers + 1}));
  store.install(peer(1));
  CHECK(winner() == kPeers + 1);
}

TEST_CASE("spd store: what cannot be had leaves all as it was", "[spd][store]") {
  need_eal();
  SpdStore store;
  for (std::uint32_t i = 0; i < 50; ++i) store.install(host_policy(kPeers + 1 + i, 0x0a800000 + i));
  store.install(host_policy(1, 0x0a800100));
  const auto before = store.snapshot();
  REQUIRE(before);
  // 64 entries each: every pair of selectors overlaps.
  shm::InstallPolicy large = host_policy(0, 0x0a800000);
  large.local_ts = large.remote_ts;
  large.more.locals = large.more.remotes = 7;
  large.more.all.fill(large.remote_ts);
  REQUIRE(Spd::check(large) == shm::AckResult::Ok);
  REQUIRE(store.remove(PolicyId{kPeers + 5}));
  REQUIRE(store.remove(PolicyId{1}));
  for (std::uint32_t i = 0; i < Spd::kMaxEntries / 64 + 1; ++i) {
    large.policy = PolicyId{kPeers + 40 + i};
    store.install(large);
  }
  const auto failed = store.snapshot();
  REQUIRE_FALSE(failed);
  CHECK(failed.error() == "policies: too many selectors");
  CHECK_FALSE(store.changed());
  CHECK(store.size() == 51);
  REQUIRE(store.find(PolicyId{kPeers + 40}) != nullptr);
  CHECK(store.find(PolicyId{kPeers + 40})->remote_ts.first == v4(0x0a800000 + 39));
  CHECK(store.find(PolicyId{kPeers + 51}) == nullptr);
  const auto after = store.snapshot();
  REQUIRE(after);
  std::vector<FlowKey> keys;
  for (std::uint32_t i = 0; i < 300; ++i) keys.push_back(FlowKey::of(6, 0x0a010005, 0x0a800000 + i, 1, 2));
  CHECK(all_said(**before, keys) == all_said(**after, keys));
  // And there is room again.
  store.install(large);
  CHECK(store.snapshot());
}

}  // namespace culvert::dp
