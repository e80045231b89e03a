// What an inbound SA's counters say of the path: lost, reordered, duplicated; and that every packet is counted exactly once. The oracle is
// a naive one, sets of numbers.
#include <algorithm>
#include <random>
#include <set>

#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

TEST_CASE("lost, reordered and duplicated packets of a bad path are counted", "[esp][counters][rfc4303-3.4.3]") {
  const auto seed = GENERATE(range(1U, 9U));
  std::mt19937 rng(seed);
  CAPTURE(seed);
  Worker worker;
  SaPair pair(worker, kSuites[0]);
  const Bytes inner = inner_packet(64);
  const Bytes foreign = [] {  // authentic, but outside of the selectors: it takes its number, and is dropped after
    Bytes p = inner_packet(64);
    store_be32(&p[12], 0x0a630005);
    set_ipv4_checksum(p.data());
    return p;
  }();
  std::vector<std::uint32_t> path;
  for (std::uint32_t n = 1; n <= 600; ++n)
    for (unsigned copies = rng() % 10 == 0 ? 0 : rng() % 10 == 0 ? 2 : 1; copies > 0; --copies) path.push_back(n);
  for (std::size_t i = 0; i + 40 < path.size(); ++i)
    if (rng() % 20 == 0) std::swap(path[i], path[i + 1 + rng() % 30]);

  std::set<std::uint32_t> accepted;
  std::uint64_t top = 0, reordered = 0, duplicated = 0, old = 0, refused = 0, good = 0;
  for (std::size_t at = 0; at < path.size();) {
    std::vector<Bytes> burst;
    for (std::size_t n = std::min<std::size_t>(1 + rng() % kBurstMax, path.size() - at); n > 0; --n, ++at) {
      const std::uint32_t number = path[at];
      const bool wrong = number % 17 == 0;
      burst.push_back(pair.craft(number, pair.padded(wrong ? foreign : inner)));
      if (accepted.contains(number)) {
        ++(top - number >= 64 ? old : duplicated);
      } else if (number <= top && top - number >= 64) {
        ++old;
      } else {
        accepted.insert(number);
        reordered += number < top;
        top = std::max<std::uint64_t>(top, number);
        ++(wrong ? refused : good);
      }
    }
    const std::size_t offered = burst.size(), out = pair.open(burst).size();
    CHECK(out <= offered);
    const shm::SaCounters& c = *pair.counters_in;
    CHECK(c.missing() == top - accepted.size());
  }
  const shm::SaCounters& c = *pair.counters_in;
  const auto of = [&c](Drop reason) { return c.dropped(Direction::Inbound, reason); };
  CHECK(c.packets.get() == good);
  CHECK(c.refused.get() == refused);
  CHECK(of(Drop::EspSelector) == refused);
  CHECK(c.reordered.get() == reordered);
  CHECK(of(Drop::EspReplay) == duplicated);
  CHECK(of(Drop::EspOld) == old);
  CHECK(c.sequence.get() == top);
  CHECK(reordered > 0);
  CHECK(duplicated > 0);
  // In = out + drops by reason, exactly.
  std::uint64_t drops = 0;
  for (const shm::Counter& n : c.drops) drops += n.get();
  CHECK(path.size() == c.packets.get() + drops);
  CHECK(worker.dropped() == drops);
}

TEST_CASE("every reason that an SA tells apart has a slot of its own", "[counters]") {
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    std::set<const shm::Counter*> seen;
    shm::SaCounters c;
    for (const Drop reason : sa_drops(d)) {
      c.drop(d, reason);
      CHECK(c.dropped(d, reason) == 1);
    }
    c.drop(d, Drop::ArpInvalid);  // none that an SA has: other
    CHECK(c.drops[kSaDropSlots - 1].get() == 1);
    c.reset();
    for (const shm::Counter& n : c.drops) CHECK(n.get() == 0);
  }
}
