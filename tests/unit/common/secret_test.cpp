// Secrets: compared in a time that says nothing, and wiped.
#include "common/secret.hpp"

#include <algorithm>
#include <chrono>

#include <catch2/catch.hpp>

using namespace culvert;

TEST_CASE("a comparison finds each differing byte, and other lengths", "[secret]") {
  const Bytes right(48, 0x5a);
  CHECK(equal_constant_time(right, right));
  CHECK(equal_constant_time({}, {}));
  for (std::size_t i = 0; i < right.size(); ++i)
    for (const std::uint8_t bit : std::initializer_list<std::uint8_t>{1, 128}) {
      Bytes wrong = right;
      wrong[i] = static_cast<std::uint8_t>(wrong[i] ^ bit);
      CHECK_FALSE(equal_constant_time(right, wrong));
      CHECK_FALSE(equal_constant_time(ByteView(right).first(i), right));
    }
}

TEST_CASE("a comparison takes as long for a guess that is wrong at its first byte as for one wrong at its last", "[secret][attack-E10]") {
  const Bytes right(4096, 0x5a);
  Bytes first = right, last = right;
  first.front() = 0;
  last.back() = 0;
  // The shortest of many: whatever else the machine does only adds to it. One that ended at the difference would be a thousand times
  // faster.
  const auto shortest = [&](const Bytes& guess) {
    auto best = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 300; ++i) {
      const auto begun = std::chrono::steady_clock::now();
      const bool equal = equal_constant_time(right, guess);
      best = std::min(best, std::chrono::steady_clock::now() - begun);
      REQUIRE_FALSE(equal);
    }
    return std::chrono::duration<double, std::nano>(best).count();
  };
  const double early = shortest(first), late = shortest(last);
  CAPTURE(early, late);
  CHECK(early > 0.7 * late);
  CHECK(late > 0.7 * early);
}

TEST_CASE("what carried a secret holds zeros when it is wiped", "[secret]") {
  Bytes bytes(100, 7);
  wipe(bytes);
  CHECK(std::ranges::count(bytes, 0) == 100);
  SecretBytes from{ByteView(Bytes(20, 9))};
  const SecretBytes to = std::move(from);
  CHECK(to.size() == 20);
  CHECK(to == SecretBytes{ByteView(Bytes(20, 9))});
}
