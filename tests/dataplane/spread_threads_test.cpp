// The same with real threads: an owner, two that help it, at random speeds, and a manager that replaces SAs in mid-stream and destroys the
// old ones as soon as RCU lets it. scripts/soak --threads runs it under ThreadSanitizer, and longer. CULVERT_SPREAD_PACKETS: how many,
// instead of 60,000. CULVERT_SPREAD_SEED: a seed that was printed.
#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "dataplane/io/rcu.hpp"
#include "tests/support/replay_model.hpp"
#include "tests/support/spread_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}
using Random = std::mt19937_64;
std::size_t below(Random& random, std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); }
void spin(std::size_t rounds) {
  for (std::size_t i = 0; i < rounds; ++i) __builtin_ia32_pause();
}

/// A worker that has nothing of its own to do.
void help(ParcelBoards& boards, std::size_t id, std::uint64_t seed, const std::atomic<bool>& stop, std::atomic<std::uint64_t>& helped) {
  auto engine = CryptoEngine::create();
  Random random(seed);
  while (!stop.load(std::memory_order_relaxed)) {
    if (below(random, 50) == 0) std::this_thread::yield();
    Parcel* parcel = boards.claim_of_others(id, id + 1);
    if (parcel == nullptr) continue;
    if (below(random, 20) == 0) spin(below(random, 20'000));  // begun, and held up: others overtake it
    helped.fetch_add(work(*parcel, *engine, true), std::memory_order_relaxed);
  }
}

/// One pair of SAs of ours, from its installation to its replacement: what the other side sends and gets, and what is right.
struct Life {
  static shm::InstallSa terms(std::size_t life, const EspSuite& suite, std::uint32_t window, Direction d) {
    shm::InstallSa m = install(suite, d);
    m.encr_key[0] = static_cast<std::uint8_t>(life);  // each its own keys: one that is wiped, or another one's, opens nothing
    m.integ_key[0] = static_cast<std::uint8_t>(life);
    m.replay_window = static_cast<std::uint16_t>(window);
    m.rules.spread = SpreadCrypto::Yes;
    return m;
  }
  Life(Worker& peer, std::size_t n, const EspSuite& with, std::uint32_t size)
      : number(n),
        suite(with),
        window(size),
        gets(peer, of(Direction::Inbound), of(Direction::Outbound)),
        sends(peer, of(Direction::Inbound), of(Direction::Outbound)) {}
  [[nodiscard]] shm::InstallSa of(Direction d) const { return terms(number, suite, window, d); }

  /// The next packet for our inbound SA: of a new number, a late one, one that was there before, a forged one.
  Arrival next(Random& random) {
    const std::size_t dice = below(random, 100);
    if (dice < 12 && !late.empty()) return sealed_as(std::exchange(late[below(random, late.size())], late.back()));
    if (dice < 24 && !sealed.empty()) return sealed_as(sealed.size() - below(random, std::min<std::size_t>(sealed.size(), 3 * window / 2)));
    if (dice < 28 && !sealed.empty()) return forged_as(sealed.size());
    do {
      plain.push_back(inner_packet(60 + below(random, 900)));
      sealed.push_back(sends.seal({plain.back()}).at(0));
      if (below(random, 6) != 0) break;
      late.push_back(sealed.size());
    } while (true);
    return sealed_as(sealed.size());
  }

  std::size_t number;
  EspSuite suite;
  std::uint32_t window;
  SaPair gets, sends;
  shm::SaCounters counters_out{}, counters_in{};
  std::vector<Bytes> plain, sealed;  // of the other side, by number from 1
  std::vector<std::uint64_t> late;
  std::vector<std::pair<Item*, Arrival>> arrived;
  std::vector<std::pair<Item*, Bytes>> given, opened;
  std::vector<Bytes> sent;
};

struct Tally {
  std::size_t packets = 0, accepted = 0, refused = 0, sealed = 0, full = 0, lives = 0, destroyed = 0;
  std::atomic<std::uint64_t> helped{0};
};

/// Makes our SAs, one life after the other, and destroys the old ones: a thread of its own, as the data plane's manager.
class Installer {
 public:
  Installer(std::deque<Life>& lives, Rcu& rcu) : lives_(lives), rcu_(rcu) { replace(lives_.front()); }
  ~Installer() {
    out_.reset();
    in_.reset();
  }
  void run(Random random, const std::atomic<bool>& stop, Tally& tally) {
    for (std::size_t next = 1; !stop.load(std::memory_order_relaxed);) {
      std::this_thread::sleep_for(std::chrono::microseconds(200 + below(random, 3000)));
      const std::size_t before = waiting_;
      waiting_ = rcu_.reclaim();
      tally.destroyed += before - waiting_;
      if (next < lives_.size()) replace(lives_[next++]);
    }
  }
  std::atomic<OutboundSa*> outbound{nullptr};
  std::atomic<InboundSa*> inbound{nullptr};

 private:
  void replace(Life& life) {
    SaPtr<OutboundSa> out(std::move(*make_outbound(life.of(Direction::Outbound), kCapacity, engine_, {0, &life.counters_out, 0})));
    SaPtr<InboundSa> in(std::move(*make_inbound(life.of(Direction::Inbound), kCapacity, engine_, {0, &life.counters_in, 0})));
    out->manager.pair = in->manager.pair = life.number;
    outbound.store(out.get(), std::memory_order_release);
    inbound.store(in.get(), std::memory_order_release);
    out_.swap(out);
    in_.swap(in);
    if (out == nullptr) return;
    rcu_.defer(std::move(out));
    rcu_.defer(std::move(in));
    waiting_ += 2;
  }
  std::deque<Life>& lives_;
  Rcu& rcu_;
  CryptoEngine engine_ = std::move(*CryptoEngine::create());
  SaPtr<OutboundSa> out_;
  SaPtr<InboundSa> in_;
  std::size_t waiting_ = 0;
};

/// The owner's thread: what a worker does with its spread SAs, pass by pass.
class Episode {
 public:
  Episode(ParcelBoards& boards, std::deque<Life>& lives, Installer& installer, std::uint64_t seed)
      : owner_(boards), lives_(lives), installer_(installer), random_(seed) {}

  void run(std::size_t packets, Rcu& rcu) {
    rcu.online(0);
    while (items_.size() < packets) {
      pass();
      late_.report(rcu, 0, owner_.board());
    }
    while (!owner_.board().idle()) {
      serve(below(random_, 2));
      late_.report(rcu, 0, owner_.board());
      std::this_thread::yield();
    }
    rcu.offline(0);
  }

  /// What became of every packet.
  void check(Tally& tally) {
    for (Life& life : lives_) {
      check_outbound(life, tally);
      check_inbound(life, tally);
      tally.lives += life.given.empty() && life.arrived.empty() ? 0 : 1;
    }
    tally.packets += items_.size();
    tally.full += owner_.refused;
  }

 private:
  void pass() {
    const bool out = below(random_, 2) == 0;
    OutboundSa* outbound = installer_.outbound.load(std::memory_order_acquire);
    InboundSa* inbound = installer_.inbound.load(std::memory_order_acquire);
    Life& life = lives_[out ? outbound->manager.pair : inbound->manager.pair];
    std::vector<Item*> burst;
    for (std::size_t n = below(random_, 3) == 0 ? 1 + below(random_, 10) : 1 + below(random_, kBurstMax); n > 0; --n)
      burst.push_back(out ? to_send(life) : to_receive(life));
    const bool at_once = owner_.board().idle() && burst.size() < 8;
    owner_.take(
        burst, out ? Direction::Outbound : Direction::Inbound, [&](Packet&) { return out ? static_cast<SaBase*>(outbound) : inbound; },
        at_once, [this](Item& item, const Packet& p) { came_out(item, p); });
    serve(below(random_, 3) == 0 ? below(random_, ParcelBoard::kParcels) : below(random_, 3));
    if (below(random_, 16) == 0) std::this_thread::yield();
  }
  Item* to_send(Life& life) {
    const Bytes packet = inner_packet(40 + below(random_, 900));
    life.given.emplace_back(&items_.emplace_back(packet, life.number, 0), packet);
    return life.given.back().first;
  }
  Item* to_receive(Life& life) {
    const Arrival a = life.next(random_);
    Bytes packet = life.sealed.at(a.sealed - 1);
    if (a.fault) packet.back() ^= 0x20;
    life.arrived.emplace_back(&items_.emplace_back(packet, life.number, a.sealed), a);
    return life.arrived.back().first;
  }
  /// Leaves up to so many parcels to others.
  void serve(std::size_t leave) {
    while (owner_.board().waiting() > leave) {
      Parcel* parcel = owner_.board().claim();
      if (parcel == nullptr) break;
      work(*parcel, owner_.engine(), false);
    }
    while (owner_.collect([this](Item& item, const Packet& p) { came_out(item, p); })) {
    }
  }
  void came_out(Item& item, const Packet& p) {
    Life& life = lives_[item.tunnel];
    Bytes bytes(p.data, p.data + p.length);
    if (item.number != 0) return void(life.opened.emplace_back(&item, std::move(bytes)));
    life.sent.push_back(std::move(bytes));
  }

  /// Sequence numbers on the wire are 1, 2, 3, ..., and under them is, in order, what was given and not refused.
  void check_outbound(Life& life, Tally& tally) {
    std::vector<Bytes> expected;
    for (const auto& [item, packet] : life.given) {
      if (item->fate != Drop::Count_ && item->fate != Drop::HandoffFull)
        FAIL("a packet to be sent ended as " << static_cast<int>(item->fate));
      if (item->fate == Drop::Count_) expected.push_back(packet);
    }
    const std::size_t at = life.gets.outbound->header_bytes - 4U;
    for (std::size_t i = 0; i < life.sent.size(); ++i)
      if (load_be32(&life.sent[i][at]) != i + 1) FAIL("number " << load_be32(&life.sent[i][at]) << " on the wire as packet " << i + 1);
    if (life.gets.open(life.sent) != expected) FAIL("the peer did not get what was sent, in order");
    if (life.counters_out.packets.get() != expected.size())
      FAIL("counted " << life.counters_out.packets.get() << " of " << expected.size());
    tally.sealed += expected.size();
  }
  /// Which were taken in is what the model says of them one after the other.
  void check_inbound(Life& life, Tally& tally) {
    ReplayModel model(life.window, life.suite.esn);
    std::vector<std::pair<Item*, Bytes>> expected;
    for (const auto& [item, arrival] : life.arrived) {
      if (item->fate == Drop::HandoffFull) continue;
      const Drop verdict = model.verdict(arrival);
      if (item->fate == kPending) FAIL("a packet was lost");
      if ((verdict == Drop::Count_) != (item->fate == Drop::Count_))
        FAIL("number " << arrival.sealed << ": " << static_cast<int>(item->fate) << " and not " << static_cast<int>(verdict));
      ++(verdict == Drop::Count_ ? tally.accepted : tally.refused);
      if (verdict != Drop::Count_) continue;
      model.take(arrival.sealed);
      expected.emplace_back(item, life.plain.at(arrival.sealed - 1));
    }
    if (life.opened != expected) FAIL("what came out is not what went in, in order");
    if (life.counters_in.packets.get() != expected.size()) FAIL("counted " << life.counters_in.packets.get() << " of " << expected.size());
  }

  Owner owner_;
  std::deque<Life>& lives_;
  Installer& installer_;
  Random random_;
  std::deque<Item> items_;
  LateQuiescence late_;
};

void run_episode(std::size_t packets, std::uint64_t seed, Tally& tally) {
  Random random(seed);
  static const std::array<const char*, 6> kNames{"aes128gcm16",      "aes256gcm16-esn", "aes128-sha256",
                                                 "chacha20poly1305", "aes256-sha1-esn", "aes128ctr-sha256"};
  Worker peer;
  std::deque<Life> lives;
  for (std::size_t n = 0; n < 12; ++n)
    lives.emplace_back(peer, n, parse_esp_proposal(kNames[below(random, kNames.size())])->front(), 32U << below(random, 9));
  ParcelBoards boards(3);
  auto rcu = Rcu::create(1);
  REQUIRE(rcu.has_value());
  Installer installer(lives, **rcu);
  Episode episode(boards, lives, installer, seed + 1);
  std::atomic<bool> stop{false}, ended{false};
  std::thread first(help, std::ref(boards), 1, seed + 2, std::cref(stop), std::ref(tally.helped));
  std::thread second(help, std::ref(boards), 2, seed + 3, std::cref(stop), std::ref(tally.helped));
  std::thread manager([&] { installer.run(Random(seed + 4), ended, tally); });
  episode.run(packets, **rcu);
  ended = true;
  manager.join();
  stop = true;
  first.join();
  second.join();
  REQUIRE((*rcu)->reclaim() == 0);
  episode.check(tally);
}
}  // namespace

TEST_CASE("spread: an owner, two that help and a manager, each in a thread", "[spread][threads][replay]") {
  constexpr std::size_t kEpisode = 30'000;
  const std::uint64_t packets = from_environment("CULVERT_SPREAD_PACKETS", 60'000);
  const std::uint64_t seed = from_environment("CULVERT_SPREAD_SEED", std::random_device{}());
  std::cout << "spread: CULVERT_SPREAD_SEED=" << seed << std::endl;
  Tally tally;
  for (std::uint64_t n = 0; tally.packets < packets; ++n)
    run_episode(std::min<std::size_t>(kEpisode, packets - tally.packets), seed + 1000 * n, tally);
  std::cout << "spread: " << tally.packets << " packets in threads, " << tally.sealed << " sent in order, " << tally.accepted
            << " taken in and " << tally.refused << " refused as the model says, " << tally.full << " refused for want of a parcel; "
            << tally.helped << " by those that help; " << tally.lives << " pairs of SAs used, " << tally.destroyed
            << " SAs destroyed in mid-stream\n";
  CHECK(tally.accepted > 0);
  CHECK(tally.refused > 0);
}
