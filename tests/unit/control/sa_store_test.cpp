// Slots and SPIs: the rules of the contract, exhaustion, release, and what happens around a lost data plane.
#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "control/sa/store.hpp"

using namespace culvert;
using namespace culvert::control;

namespace {
SaStore make(std::uint32_t capacity, std::uint32_t seed = 1) {
  return SaStore(capacity, [rng = std::mt19937(seed)]() mutable { return static_cast<std::uint32_t>(rng()); });
}
}  // namespace

TEST_CASE("an SPI carries its slot in its low bits, is above 255, and is unique", "[sa][rfc4303-2.1]") {
  auto store = make(16);
  std::set<std::uint32_t> spis, slots;
  for (int i = 0; i < 16; ++i) {
    const auto spi = store.allocate_spi();
    REQUIRE(spi);
    CHECK(spi->value > 255);
    spis.insert(spi->value);
    slots.insert(spi->value & 15);
  }
  CHECK(spis.size() == 16);
  CHECK(slots.size() == 16);
  CHECK_FALSE(store.allocate_spi());
}

TEST_CASE("reserved and repeated SPIs are drawn again", "[sa][rfc4303-2.1]") {
  std::uint32_t n = 0;
  const std::uint32_t draws[] = {0, 0x10, 0x1000, 0x1000, 0x2000};
  SaStore store(1, [&] { return draws[n++]; });
  const auto first = store.allocate_spi();
  REQUIRE(first);
  CHECK(first->value == 0x1000);
  store.release_spi(*first);
  store.settle();
  CHECK(store.allocate_spi()->value == 0x2000);
}

TEST_CASE("a slot is free again only when the engine released it and the data plane has let go", "[sa]") {
  auto store = make(1);
  const Spi spi = *store.allocate_spi();
  const auto slot = store.begin_install(Direction::Inbound, spi, 7, "c", "k");
  REQUIRE(slot);
  CHECK_FALSE(store.begin_install(Direction::Inbound, spi, 7, "c", "k"));  // never twice
  store.installed(Direction::Inbound, *slot);
  store.release_spi(spi);
  store.settle();
  CHECK_FALSE(store.allocate_spi());
  REQUIRE(store.begin_remove(Direction::Inbound, spi, 7) != nullptr);
  CHECK(store.begin_remove(Direction::Inbound, spi, 7) == nullptr);  // on its way already
  CHECK_FALSE(store.allocate_spi());
  store.gone(Direction::Inbound, *slot);
  CHECK(store.allocate_spi());
}

TEST_CASE("a release before the removal is performed does not free the slot under it", "[sa]") {
  auto store = make(1);
  const Spi spi = *store.allocate_spi();
  store.release_spi(spi);  // decided in the same step as an install that is still to be performed
  CHECK(store.begin_install(Direction::Inbound, spi, 1, "c", "k"));
  store.settle();
  CHECK_FALSE(store.allocate_spi());
}

TEST_CASE("an install that was refused leaves the SPI reserved until it is released", "[sa]") {
  auto store = make(1);
  const Spi spi = *store.allocate_spi();
  const auto slot = store.begin_install(Direction::Inbound, spi, 1, "c", "k");
  store.gone(Direction::Inbound, *slot);
  CHECK_FALSE(store.allocate_spi());
  CHECK(store.at(Direction::Inbound, *slot)->state == SlotState::Reserved);
  store.release_spi(spi);
  store.settle();
  CHECK(store.allocate_spi());
}

TEST_CASE("an inbound SPI that is not ours is refused", "[sa]") {
  auto store = make(8);
  CHECK_FALSE(store.begin_install(Direction::Inbound, Spi{0x12345678}, 1, "c", "k"));
}

TEST_CASE("two peers may choose the same outbound SPI", "[sa]") {
  auto store = make(4);
  const auto a = store.begin_install(Direction::Outbound, Spi{0xabcdef01}, 1, "a", "k");
  const auto b = store.begin_install(Direction::Outbound, Spi{0xabcdef01}, 2, "b", "k");
  REQUIRE(a);
  REQUIRE(b);
  CHECK(*a != *b);
  CHECK_FALSE(store.begin_install(Direction::Outbound, Spi{0xabcdef01}, 2, "b", "k"));
  CHECK(store.begin_remove(Direction::Outbound, Spi{0xabcdef01}, 2)->connection == "b");
  store.gone(Direction::Outbound, *b);
  CHECK(store.find(Direction::Outbound, Spi{0xabcdef01}, 1) != nullptr);
  CHECK(store.find(Direction::Outbound, Spi{0xabcdef01}, 2) == nullptr);
}

TEST_CASE("outbound slots run out and come back", "[sa][attack-O4]") {
  auto store = make(2);
  CHECK(store.begin_install(Direction::Outbound, Spi{1000}, 1, "c", "k"));
  CHECK(store.begin_install(Direction::Outbound, Spi{1001}, 2, "c", "k"));
  CHECK_FALSE(store.begin_install(Direction::Outbound, Spi{1002}, 3, "c", "k"));
  store.gone(Direction::Outbound, 0);
  CHECK(store.begin_install(Direction::Outbound, Spi{1002}, 3, "c", "k"));
}

TEST_CASE("orphans keep their slots until they are gone", "[sa]") {
  auto store = make(4);
  CHECK(store.adopt(Direction::Inbound, 2, Spi{0x1002}, 9, "c", "k"));
  CHECK(store.adopt(Direction::Outbound, 3, Spi{0x777}, 9, "c", "k"));
  CHECK_FALSE(store.adopt(Direction::Inbound, 2, Spi{0x2002}, 9, "c", "k"));  // taken
  CHECK_FALSE(store.adopt(Direction::Inbound, 1, Spi{0x1002}, 9, "c", "k"));  // an SPI of another slot
  CHECK_FALSE(store.adopt(Direction::Inbound, 4, Spi{0x1004}, 9, "c", "k"));  // out of range
  for (int i = 0; i < 3; ++i) CHECK((store.allocate_spi()->value & 3) != 2);
  CHECK_FALSE(store.allocate_spi());
  REQUIRE(store.begin_remove(Direction::Inbound, Spi{0x1002}, 9) != nullptr);
  store.gone(Direction::Inbound, 2);
  CHECK((store.allocate_spi()->value & 3) == 2);
}

TEST_CASE("a lost data plane frees what it had, but not what the engine still holds", "[sa]") {
  auto store = make(2);
  const Spi held = *store.allocate_spi();
  const Spi live = *store.allocate_spi();
  store.installed(Direction::Inbound, *store.begin_install(Direction::Inbound, live, 1, "c", "k"));
  CHECK(store.begin_install(Direction::Outbound, Spi{999}, 1, "c", "k"));
  store.lose_all();
  CHECK(store.used(Direction::Outbound) == 0);
  CHECK(store.used(Direction::Inbound) == 2);
  store.release_spi(live);
  store.settle();
  CHECK(store.used(Direction::Inbound) == 1);
  CHECK(store.find(Direction::Inbound, held, 0) != nullptr);
}

TEST_CASE("random histories: no slot is ever in two hands", "[sa][model]") {
  auto store = make(32, 7);
  std::mt19937 rng(11);
  std::vector<Spi> held;
  for (int step = 0; step < 20'000; ++step) {
    if (rng() % 2 == 0) {
      if (const auto spi = store.allocate_spi()) {
        for (const Spi other : held) REQUIRE((other.value & 31) != (spi->value & 31));
        held.push_back(*spi);
      } else {
        REQUIRE(held.size() == 32);
      }
    } else if (!held.empty()) {
      const std::size_t i = rng() % held.size();
      const Spi spi = held[i];
      if (rng() % 2 == 0) {
        if (const auto slot = store.begin_install(Direction::Inbound, spi, 1, "c", "k")) store.gone(Direction::Inbound, *slot);
      }
      store.release_spi(spi);
      store.settle();
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

TEST_CASE("the data plane is told which SPIs are awaited: from when a peer may know them until their SA is there", "[sa][early]") {
  auto store = make(4);
  std::vector<std::atomic<std::uint32_t>> awaited(4);
  const auto now = [&] { return std::vector<std::uint32_t>(awaited.begin(), awaited.end()); };
  const auto at = [&](Spi spi) { return awaited[spi.value & 3].load(); };
  awaited[3] = 0x12345603;  // of a culvertd before this one
  const Spi before = store.allocate_spi().value();
  store.announce(awaited);
  CHECK(at(before) == before.value);
  CHECK(std::ranges::count(now(), 0U) == 3);
  const Spi spi = store.allocate_spi().value();
  CHECK(at(spi) == spi.value);
  const auto slot = store.begin_install(Direction::Inbound, spi, 1, "a", "b").value();
  CHECK(at(spi) == spi.value);  // it is on its way
  const auto out = store.begin_install(Direction::Outbound, spi, 1, "a", "b").value();
  store.installed(Direction::Inbound, slot);
  CHECK(at(spi) == spi.value);  // an answer would find no SA
  store.installed(Direction::Outbound, out);
  CHECK(at(spi) == 0);
  REQUIRE(store.begin_remove(Direction::Inbound, spi, 1) != nullptr);
  store.gone(Direction::Inbound, slot);
  CHECK(at(spi) == 0);
  store.announce(awaited);
  CHECK(at(spi) == 0);
  store.release_spi(before);
  store.settle();
  CHECK(at(before) == 0);
  const Spi refused = store.allocate_spi().value();
  store.gone(Direction::Inbound, store.begin_install(Direction::Inbound, refused, 2, "a", "b").value());
  CHECK(at(refused) == 0);
  for (const bool first : {true, false}) {  // the way back is there before, or is not to come
    const Spi half = store.allocate_spi().value();
    const auto in = store.begin_install(Direction::Inbound, half, 3, "a", "b").value();
    const auto way_back = store.begin_install(Direction::Outbound, half, 3, "a", "b").value();
    if (first) store.installed(Direction::Outbound, way_back);
    store.installed(Direction::Inbound, in);
    CHECK(at(half) == (first ? 0 : half.value));
    store.gone(Direction::Outbound, way_back);
    CHECK(at(half) == 0);
    store.release_spi(half);
    store.settle();
    store.gone(Direction::Inbound, in);
  }
  const Spi alone = store.allocate_spi().value();  // what is to be the way back is asked for later
  store.installed(Direction::Inbound, store.begin_install(Direction::Inbound, alone, 4, "a", "b").value());
  CHECK(at(alone) == alone.value);
  store.installed(Direction::Outbound, store.begin_install(Direction::Outbound, alone, 4, "a", "b").value());
  CHECK(at(alone) == 0);
  store.announce({});
  CHECK(std::ranges::count(now(), 0U) == 4);
}
