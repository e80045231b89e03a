// Outbound SAs that are for one worker's packets alone (RFC 9611): which one a packet gets, as they come, are replaced and go.
#include <thread>

#include "dataplane/io/rcu.hpp"
#include "dataplane/manager/commands.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

namespace {
constexpr unsigned kOwners = 3;
constexpr std::uint16_t kForAll = shm::InstallSa::kAnyWorker;

struct OwnRig {
  static constexpr std::uint32_t kCapacity = 64;
  explicit OwnRig(unsigned readers = 1) : rcu(std::move(*Rcu::create(readers))) {}
  std::vector<Interface> interfaces{{.name = "wan", .addresses = {{v4(0x0a090001), 16}}}};
  shm::Segment segment = std::move(*shm::Segment::create(kOwners, 1, kCapacity));
  InboundTable inbound{kCapacity};
  OutboundTable outbound{kCapacity};
  std::vector<PolicyState> policies = std::vector<PolicyState>(shm::kMaxPolicies + 1);
  std::atomic<const Spd*> spd{nullptr};
  std::unique_ptr<Rcu> rcu;
  CryptoEngine crypto = std::move(*CryptoEngine::create());
  OwnAddresses own{interfaces};
  Commands commands{{segment, inbound, outbound, policies, spd, *rcu, crypto, std::span(&own, 1), kOwners}};

  void apply(const auto& message) {
    const auto m = shm::Message::of(message, 1);
    REQUIRE(commands.apply({&m, 1}, 0).at(0).result == shm::AckResult::Ok);
  }
  shm::InstallSa terms(std::uint32_t slot, std::uint16_t worker, Direction direction) {
    shm::InstallSa m;
    m.direction = direction;
    m.slot = slot;
    m.spi = Spi{0xc0000000 | slot};
    m.policy = PolicyId{1};
    m.local = {v4(0x0a090001), 0};
    m.remote = {v4(0x0a090002), 0};
    m.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
    m.remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
    m.suite = parse_esp_proposal("aes128gcm16").value().front();
    m.encr_key_bytes = 20;
    m.worker = worker;
    return m;
  }
  void install(std::uint32_t slot, std::uint16_t worker = kForAll, Direction d = Direction::Outbound) { apply(terms(slot, worker, d)); }
  void remove(std::uint32_t slot) { apply(shm::RemoveSa{Direction::Outbound, slot, Spi{0xc0000000 | slot}}); }
  void policy(const std::string& remote = "10.2.0.0/24") {
    shm::InstallPolicy p;
    p.policy = PolicyId{1}, p.action = shm::PolicyAction::Protect;
    p.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
    p.remote_ts = TrafficSelector::parse(remote).value();
    apply(p);
  }
  /// The slot of the SA that the worker's packet leaves under; -1: none.
  int chosen(unsigned worker, std::uint32_t to = 0x0a020005) {
    Bytes bytes = packet_of(0x0a010005, to, 17, 1000, 9);
    Packet p;
    p.data = bytes.data();
    p.length = static_cast<std::uint32_t>(bytes.size());
    REQUIRE(parse_ip(p));
    const OutboundSa* sa = sa_for(policies[1], p, worker);
    return sa == nullptr ? -1 : static_cast<int>(sa->manager.slot);
  }
  std::vector<int> chosen_by_all() { return {chosen(0), chosen(1), chosen(2), chosen(kNoWorker)}; }
  bool shown_current(std::uint32_t slot) {
    shm::SaSnapshot s;
    return shm::read_record(segment.records(Direction::Outbound)[slot], s) && s.current;
  }
};
using Slots = std::vector<int>;
}  // namespace

TEST_CASE("a worker's own SA comes before the one for all, whatever was installed last", "[own_sas][rfc9611-5]") {
  need_eal();
  OwnRig rig;
  rig.policy();
  rig.install(1, 0);  // without one for all the others have none
  CHECK(rig.chosen_by_all() == Slots{1, -1, -1, -1});
  rig.install(2);
  CHECK(rig.chosen_by_all() == Slots{1, 2, 2, 2});
  rig.install(3, 2);
  CHECK(rig.chosen_by_all() == Slots{1, 2, 3, 2});
  rig.install(4, 2);  // rekeyed
  CHECK(rig.chosen_by_all() == Slots{1, 2, 4, 2});
  rig.install(5);
  CHECK(rig.chosen_by_all() == Slots{1, 5, 4, 5});
  for (const std::uint32_t slot : {1U, 4U, 5U}) CHECK(rig.shown_current(slot));
  for (const std::uint32_t slot : {2U, 3U}) CHECK_FALSE(rig.shown_current(slot));
  rig.remove(4);
  CHECK(rig.chosen_by_all() == Slots{1, 5, 3, 5});
  CHECK(rig.shown_current(3));
  rig.remove(3);
  rig.remove(2);
  CHECK(rig.chosen_by_all() == Slots{1, 5, 5, 5});
  rig.remove(1);
  CHECK(rig.chosen_by_all() == Slots{5, 5, 5, 5});
  CHECK(rig.policies[1].own.load() == nullptr);
  rig.rcu->reclaim();
  rig.install(6, 1);
  CHECK(rig.chosen_by_all() == Slots{5, 6, 5, 5});
}

TEST_CASE("each worker owns its SAs in both directions; a number beyond is one of them", "[own_sas][rfc9611-5]") {
  need_eal();
  OwnRig rig;
  rig.policy();
  for (std::uint16_t w = 0; w < kOwners; ++w) {
    rig.install(10U + w, w);
    CHECK(rig.outbound.at(10U + w)->worker == w);
    shm::InstallSa m = rig.terms(20, w, Direction::Inbound);
    m.slot += w * 2U, m.spi = Spi{0xc0000000 | m.slot};
    rig.apply(m);
    CHECK(rig.inbound.at(m.slot)->worker == w);
  }
  rig.install(13, 7);  // the configuration has had more workers
  CHECK(rig.outbound.at(13)->worker == 7 % kOwners);
  CHECK(rig.chosen_by_all() == Slots{10, 13, 12, -1});
}

TEST_CASE("an SA that has ended or does not admit the packet is passed over", "[own_sas][rfc4301-5.1]") {
  need_eal();
  OwnRig rig;
  rig.policy("10.2.0.0/16");  // the peer has narrowed it
  rig.install(1);
  rig.install(2, 0);
  shm::InstallSa wide = rig.terms(3, kForAll, Direction::Outbound);
  wide.remote_ts = TrafficSelector::parse("10.2.0.0/16").value();
  rig.apply(wide);
  CHECK(rig.chosen(0) == 2);
  CHECK(rig.chosen(0, 0x0a020705) == 3);
  CHECK(rig.chosen(1, 0x0a020705) == 3);
  rig.outbound.at(2)->halt.fetch_or(SaBase::kStopped);
  CHECK(rig.chosen(0) == 3);
}

TEST_CASE("what another thread has chosen for a worker's own SA is found there", "[own_sas]") {
  need_eal();
  OwnRig rig;
  rig.policy();
  rig.install(1);
  rig.install(2, 1);
  const auto found = [&](std::uint32_t slot, unsigned worker) { return chosen_sa(rig.policies[1], Spi{0xc0000000 | slot}, slot, worker); };
  CHECK(found(2, 1) == rig.outbound.at(2));
  CHECK(found(1, 1) == rig.outbound.at(1));
  CHECK(found(2, 0) == rig.outbound.at(1));  // gone since: that for all
}

/// While a manager installs, replaces and removes them. A worker has its own or that for all, never another's, and never one that is gone;
/// and between two changes the same each time, so that its flows stay in order.
TEST_CASE("with threads: each worker has its own SA, or the one for all", "[own_sas][threads]") {
  need_eal();
  OwnRig rig(kOwners);
  rig.policy();
  rig.install(1);
  std::atomic<bool> stop{false};
  std::array<std::atomic<std::uint64_t>, kOwners> looked{}, own{}, wrong{};
  std::vector<std::thread> workers;
  for (unsigned w = 0; w < kOwners; ++w)
    workers.emplace_back([&, w] {
      Bytes bytes = packet_of(0x0a010005, 0x0a020005, 17, 1000, 9);
      Packet p;
      p.data = bytes.data();
      p.length = static_cast<std::uint32_t>(bytes.size());
      wrong[w] += !parse_ip(p);
      rig.rcu->online(w);
      while (!stop.load(std::memory_order_relaxed)) {
        const OutboundSa* sa = sa_for(rig.policies[1], p, w);
        const bool good = sa != nullptr && sa->policy == PolicyId{1} && sa->spi == Spi{0xc0000000 | sa->manager.slot} &&
                          (!sa->manager.own || sa->worker == w);
        if (good)
          own[w] += sa->manager.own;
        else
          ++wrong[w];
        ++looked[w];
        rig.rcu->quiescent(w);
        if (looked[w] % 64 == 0) std::this_thread::yield();
      }
      rig.rcu->offline(w);
    });
  // Each worker's own in turn, replaced as in a rekeying (the new one first), and taken away; and that for all, too.
  std::uint32_t next = 2;
  const auto fresh = [&] {
    while (rig.outbound.at(next) != nullptr) next = next % (OwnRig::kCapacity - 1) + 1;
    return next;
  };
  std::array<std::uint32_t, kOwners> mine{};
  std::uint32_t all = 1;
  for (unsigned round = 0; round < 600; ++round) {
    const std::uint16_t w = static_cast<std::uint16_t>(round % kOwners);
    if (const std::uint32_t before = mine[w]; round % 7 == 6 && before != 0) {
      rig.remove(std::exchange(mine[w], 0));
    } else {
      mine[w] = fresh();
      rig.install(mine[w], w);
      if (before != 0) rig.remove(before);
    }
    if (round % 10 == 9) {
      const std::uint32_t before = std::exchange(all, fresh());
      rig.install(all);
      rig.remove(before);
    }
    rig.rcu->reclaim();
    if (round % 20 == 0) std::this_thread::yield();
  }
  for (unsigned w = 0; w < kOwners; ++w)  // what each has now, for as long as nothing changes
    while (looked[w] < 1000) std::this_thread::yield();
  stop = true;
  for (std::thread& t : workers) t.join();
  for (unsigned w = 0; w < kOwners; ++w) {
    CHECK(wrong[w] == 0);
    CHECK(looked[w] >= 1000);
    CHECK(rig.chosen(w) == static_cast<int>(mine[w] != 0 ? mine[w] : all));
  }
}

}  // namespace culvert::dp
