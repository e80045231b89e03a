// The crypto of one SA on several workers, step by step in one thread: what the owner and those that help it do, in every order that there
// is or in random ones, must come to what one worker alone comes to.
#include <iostream>
#include <map>
#include <random>

#include "tests/support/replay_model.hpp"
#include "tests/support/spread_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
/// Runs `one` again and again until it has made every sequence of choices that it offers.
class EveryWay {
 public:
  template <class Run>
  std::size_t explore(Run&& one) {
    std::size_t runs = 0;
    do {
      at_ = 0;
      one(*this);
      ++runs;
      while (!made_.empty() && made_.back().choice + 1 == made_.back().of) made_.pop_back();
      if (!made_.empty()) ++made_.back().choice;
    } while (!made_.empty());
    return runs;
  }
  std::size_t choose(std::size_t of) {
    if (at_ == made_.size()) made_.push_back({0, of});
    return made_[at_++].choice;
  }

 private:
  struct Choice {
    std::size_t choice, of;
  };
  std::vector<Choice> made_;
  std::size_t at_ = 0;
};

/// What can happen next to `left` parcels that are not issued yet, and is chosen by `choose`.
template <class Choose, class Issue, class Collect>
void run_parcels(ParcelBoard& board, CryptoEngine& engine, std::size_t left, Choose&& choose, Issue&& issue, Collect&& collect) {
  std::array<Parcel*, 2> hands{};
  for (;;) {
    std::vector<std::function<void()>> steps;
    if (left > 0)
      steps.emplace_back([&] {
        issue();
        --left;
      });
    for (Parcel*& hand : hands) {
      if (hand != nullptr)
        steps.emplace_back([&] { work(*std::exchange(hand, nullptr), engine, true); });
      else if (board.waiting() > 0)
        steps.emplace_back([&] {
          hand = board.claim();
          REQUIRE(hand != nullptr);
        });
    }
    if (board.done(0) != nullptr) steps.emplace_back([&] { collect(); });
    if (steps.empty()) break;
    steps[choose(steps.size())]();
  }
  REQUIRE(board.idle());
  REQUIRE(board.claim() == nullptr);
}
EspSuite suite(const std::string& name) { return parse_esp_proposal(name)->front(); }
}  // namespace

TEST_CASE("a board keeps order, whoever works", "[spread]") {
  ParcelBoard board;
  REQUIRE(board.idle());
  REQUIRE(board.claim() == nullptr);
  REQUIRE(board.done(0) == nullptr);
  for (std::size_t i = 0; i < ParcelBoard::kParcels; ++i) {
    REQUIRE(board.room() != nullptr);
    board.issue();
  }
  REQUIRE(board.room() == nullptr);
  REQUIRE(board.waiting() == ParcelBoard::kParcels);
  Parcel* first = board.claim();
  Parcel* second = board.claim();
  REQUIRE(first != second);
  REQUIRE(board.waiting() == ParcelBoard::kParcels - 2);
  second->done = true;
  CHECK(board.done(0) == nullptr);  // the first is under way still
  CHECK(board.done(1) == second);
  first->done = true;
  CHECK(board.done(0) == first);
  board.release(2);
  CHECK(board.done(0) == nullptr);
  CHECK(board.room() == first);  // its place is the next one's
}

TEST_CASE("spread outbound: every interleaving of an owner and two that help", "[spread]") {
  const auto name = GENERATE(as<std::string>{}, "aes128gcm16", "aes128-sha256");
  Worker peer, helper;
  SaPair pair(peer, suite(name));
  ParcelBoards boards(2);
  Owner owner(boards);
  std::uint64_t sent = 0;
  EveryWay ways;
  const std::size_t runs = ways.explore([&](EveryWay& way) {
    std::deque<Item> items;
    std::vector<Bytes> sealed, plain;
    const auto out = [&](Item& item, const Packet& p) {
      REQUIRE(sequence_of(p, *pair.outbound) == ++sent);
      REQUIRE(item.number == sealed.size());
      sealed.emplace_back(p.data, p.data + p.length);
    };
    run_parcels(
        owner.board(), helper.engine(), 3, [&](std::size_t n) { return way.choose(n); },
        [&] {
          plain.push_back(inner_packet(40 + items.size() * 100));
          owner.take(
              {&items.emplace_back(plain.back(), 0, items.size())}, Direction::Outbound, [&](Packet&) { return pair.outbound.get(); },
              false, out);
        },
        [&] { REQUIRE(owner.collect(out)); });
    REQUIRE(pair.open(sealed) == plain);
  });
  std::cout << "spread " << name << ": " << runs << " interleavings outbound, all in order\n";
  CHECK(runs > 1000);
  CHECK(pair.counters_out->packets.get() == sent);
}

TEST_CASE("spread inbound: every interleaving against the model of the window", "[spread][replay][rfc4303-3.4.3][attack-J3]") {
  // Each is a parcel: a duplicate and a number that is behind the window by then, in all orders of work.
  const auto arrivals =
      GENERATE(std::vector{sealed_as(40), sealed_as(40), sealed_as(8)}, std::vector{sealed_as(3), sealed_as(40), sealed_as(3)},
               std::vector{forged_as(5), sealed_as(5), sealed_as(5)}, std::vector{sealed_as(100), forged_as(200), sealed_as(69)});
  Worker peer, helper;
  shm::InstallSa in = install(suite("aes128gcm16"), Direction::Inbound), mirror = install(suite("aes128gcm16"), Direction::Outbound);
  in.replay_window = 32;
  SaPair pair(peer, in, mirror);
  std::map<std::uint64_t, Bytes> sealed;
  for (std::uint64_t n = 1; n <= 200; ++n) sealed[n] = pair.seal({inner_packet(60)}).at(0);
  ParcelBoards boards(2);
  Owner owner(boards);
  EveryWay ways;
  const std::size_t runs = ways.explore([&](EveryWay& way) {
    pair.inbound->replay = ReplayWindow(32);
    ReplayModel model(32, false);
    std::deque<Item> items;
    const auto out = [&](Item&, const Packet&) {};
    run_parcels(
        owner.board(), helper.engine(), arrivals.size(), [&](std::size_t n) { return way.choose(n); },
        [&] {
          const Arrival& a = arrivals[items.size()];
          Bytes packet = sealed.at(a.sealed);
          if (a.fault) packet.back() ^= 1;
          owner.take({&items.emplace_back(packet, 0, items.size())}, Direction::Inbound, [&](Packet&) { return pair.inbound; }, false, out);
        },
        [&] { REQUIRE(owner.collect(out)); });
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const Drop expected = model.verdict(arrivals[i]);
      // Why one is refused may differ: its first look at the window may have been before another one moved it.
      REQUIRE((items[i].fate == Drop::Count_) == (expected == Drop::Count_));
      REQUIRE((items[i].fate == Drop::EspAuth) == (expected == Drop::EspAuth));
      if (expected == Drop::Count_) model.take(arrivals[i].sealed);
    }
    REQUIRE(pair.inbound->replay.top() == model.top());
  });
  std::cout << "spread: " << runs << " interleavings inbound, all as the model says\n";
  CHECK(runs > 100);
}

TEST_CASE("spread: random schedules of every kind of suite, full boards", "[spread]") {
  const auto name = GENERATE(as<std::string>{}, "aes256gcm16-esn", "aes128-sha1", "aes256-sha256-esn", "chacha20poly1305", "aes128gmac",
                             "null-sha256", "aes128ctr-aesxcbc-esn", "3des-sha1");
  const auto seed = std::random_device{}();
  CAPTURE(name, seed);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  Worker peer, helper;
  SaPair out_pair(peer, suite(name)), in_pair(peer, suite(name));
  ParcelBoards boards(2);
  Owner owner(boards);
  std::deque<Item> items;
  std::vector<Bytes> plain, sealed, opened;
  const auto out = [&](Item& item, const Packet& p) {
    if (item.tunnel == 0) REQUIRE(sequence_of(p, *out_pair.outbound) == sealed.size() + 1);
    (item.tunnel == 0 ? sealed : opened).emplace_back(p.data, p.data + p.length);
  };
  std::array<std::vector<Bytes>, 2> expected;
  const std::size_t parcels = ParcelBoard::kParcels + 20;
  run_parcels(
      owner.board(), helper.engine(), parcels,
      [&](std::size_t n) { return below(4) == 0 ? below(n) : 0; },  // rather issue: so that it gets full
      [&] {
        const bool outbound = below(2) == 0;
        std::vector<Bytes> packets;
        for (std::size_t n = 1 + below(Parcel::kMost); n > 0; --n) packets.push_back(inner_packet(28 + below(1300)));
        const std::vector<Bytes> given = outbound ? packets : in_pair.seal(packets);
        std::vector<Item*> burst;
        for (const Bytes& packet : given) burst.push_back(&items.emplace_back(packet, outbound ? 0 : 1, items.size()));
        const auto find = [&](Packet&) -> SaBase* { return outbound ? static_cast<SaBase*>(out_pair.outbound.get()) : in_pair.inbound; };
        owner.take(burst, outbound ? Direction::Outbound : Direction::Inbound, find, false, out);
        if (burst[0]->fate == kPending) std::ranges::copy(packets, std::back_inserter(expected[outbound ? 0 : 1]));
      },
      [&] { REQUIRE(owner.collect(out)); });
  std::size_t full = 0;
  for (const Item& item : items) {
    REQUIRE(item.fate != kPending);
    full += item.fate == Drop::HandoffFull ? 1 : 0;
  }
  CHECK(full == owner.refused);
  CHECK(out_pair.open(sealed) == expected[0]);
  CHECK(opened == expected[1]);
  CHECK(out_pair.counters_out->packets.get() == sealed.size());
  CHECK(in_pair.counters_in->packets.get() == opened.size());
  CHECK(out_pair.counters_out->dropped(Direction::Outbound, Drop::HandoffFull) +
            in_pair.counters_in->dropped(Direction::Inbound, Drop::HandoffFull) ==
        full);
}

TEST_CASE("spread: one that stands still amid a parcel holds up a board of packets, and no sequence number is lost", "[spread]") {
  Worker peer, helper;
  SaPair pair(peer, suite("aes128gcm16"));
  ParcelBoards boards(2);
  Owner owner(boards);
  std::deque<Item> items;
  std::vector<Bytes> sealed;
  const auto out = [&](Item&, const Packet& p) { sealed.emplace_back(p.data, p.data + p.length); };
  const auto take = [&] {
    ++owner.now;
    owner.take(
        {&items.emplace_back(inner_packet(100), 0, items.size())}, Direction::Outbound, [&](Packet&) { return pair.outbound.get(); }, false,
        out);
  };
  CHECK(owner.board().oldest_since() == 0);
  take();
  Parcel* begun = boards.claim_of_others(1, 0);
  REQUIRE(begun != nullptr);
  for (std::size_t n = 0; n < ParcelBoard::kParcels + 10; ++n) {
    take();
    if (Parcel* own = owner.board().claim()) work(*own, owner.engine(), false);
    CHECK_FALSE(owner.collect(out));
    CHECK(owner.board().oldest_since() == 2);  // the age that is told grows with the wait
  }
  CHECK((sealed.empty() && owner.refused == 11 && items.back().fate == Drop::HandoffFull));
  work(*begun, helper.engine(), true);
  while (owner.collect(out)) CHECK(owner.board().oldest_since() == (owner.board().idle() ? 0 : 2 + sealed.size()));
  REQUIRE(sealed.size() == ParcelBoard::kParcels);
  CHECK(pair.open(sealed).size() == ParcelBoard::kParcels);
  take();
  work(*owner.board().claim(), owner.engine(), false);
  REQUIRE(owner.collect(out));
  CHECK(load_be32(sealed.back().data() + kIpv4HeaderBytes + 4) == sealed.size());  // those that were refused have taken none
}

TEST_CASE("spread: what parcels point to is in use until they are released", "[spread][rcu]") {
  struct Reports {
    std::uint64_t now = 1, reported = 0;
    [[nodiscard]] std::uint64_t moment() const { return now; }
    void quiescent(unsigned) { reported = now; }
    void quiescent(unsigned, std::uint64_t moment) { reported = moment; }
  } rcu;
  ParcelBoard board;
  LateQuiescence late;
  const auto report = [&] {
    late.report(rcu, 0, board);
    return rcu.reported;
  };
  const auto finish = [&] {
    board.claim()->done = true;
    board.release(1);
  };
  REQUIRE(report() == 1);
  rcu.now = 2;
  REQUIRE(report() == 2);
  (void)board.room();
  board.issue();  // the first
  rcu.now = 3;
  REQUIRE(report() == 2);
  rcu.now = 4;
  board.issue();  // the second: it may hold what is removed at 4
  REQUIRE(report() == 2);
  finish();
  REQUIRE(report() == 3);  // all from before 3 is done; the moment 4 begins
  rcu.now = 5;
  board.issue();
  REQUIRE(report() == 3);
  finish();
  REQUIRE(report() == 4);
  finish();
  REQUIRE(report() == 5);  // nothing is under way
  rcu.now = 6;
  REQUIRE(report() == 6);
}
