// The anti-replay window against a naive model, and the cases of RFC 4303 §3.4.3 one by one.
#include "dataplane/sad/replay_window.hpp"

#include <random>
#include <set>

#include <catch2/catch.hpp>

using culvert::dp::ReplayVerdict;
using culvert::dp::ReplayWindow;

namespace {
/// What RFC 4303 §3.4.3 says, without any cleverness.
class Model {
 public:
  explicit Model(std::uint64_t size) : size_(size) {}
  [[nodiscard]] ReplayVerdict check(std::uint64_t n) const {
    if (n == 0 || (n <= top_ && top_ - n >= size_)) return ReplayVerdict::Old;
    return seen_.contains(n) ? ReplayVerdict::Seen : ReplayVerdict::Fresh;
  }
  ReplayVerdict commit(std::uint64_t n) {
    const auto v = check(n);
    if (v == ReplayVerdict::Fresh) {
      seen_.insert(n);
      top_ = std::max(top_, n);
    }
    return v;
  }

 private:
  std::uint64_t size_, top_ = 0;
  std::set<std::uint64_t> seen_;
};
}  // namespace

TEST_CASE("the replay window agrees with a naive model", "[replay][rfc4303-3.4.3][attack-J3]") {
  const std::uint32_t size = GENERATE(32U, 64U, 128U, 256U, 512U, 1024U, 2048U, 4096U, 8192U);
  const std::uint64_t seed = GENERATE(1U, 2U, 3U);
  CAPTURE(size, seed);
  std::mt19937_64 random(seed);
  ReplayWindow window(size);
  Model model(size);
  const auto near = [&](std::uint64_t range) -> std::uint64_t { return random() % range; };
  for (int i = 0; i < 60000; ++i) {
    const std::uint64_t top = window.top();
    std::uint64_t n = 0;
    switch (random() % 16) {
      case 0:
        n = top + size - 1 + near(4);
        break;  // a jump by a window, more or less
      case 1:
        n = top + near(std::uint64_t{3} * size);
        break;  // a long jump
      case 2:
        n = top > size + 2 ? top - size + near(5) - 2 : near(5);
        break;  // the left edge
      case 3:
        n = near(top + 2);
        break;  // anything before
      case 4:
      case 5:
      case 6:
        n = top + 1;
        break;
      default: {
        const std::uint64_t ahead = top + near(40);
        n = ahead > size / 2 ? ahead - near(size / 2) : near(100);
        break;
      }
    }
    if (n > 0xffffffff) break;
    const auto expected = model.check(n);
    if (window.check(n) != expected) FAIL("check " << n << " with top " << top);
    if (random() % 4 == 0) continue;  // was not authentic: nothing may change
    if (window.commit(n) != model.commit(n)) FAIL("commit " << n << " with top " << top);
  }
  CHECK(window.top() > 1000);
}

TEST_CASE("the replay window at its edges", "[replay][rfc4303-3.4.3][attack-J3]") {
  ReplayWindow w(64);
  CHECK(w.check(0) == ReplayVerdict::Old);  // no sender uses 0
  for (std::uint64_t n = 1; n <= 33; ++n) CHECK(w.commit(n) == ReplayVerdict::Fresh);
  for (std::uint64_t n = 1; n <= 33; ++n) CHECK(w.commit(n) == ReplayVerdict::Seen);
  CHECK(w.commit(33 + 64) == ReplayVerdict::Fresh);
  CHECK(w.check(33) == ReplayVerdict::Old);
  CHECK(w.check(34) == ReplayVerdict::Fresh);
  CHECK(w.commit(34) == ReplayVerdict::Fresh);
  CHECK(w.commit(34) == ReplayVerdict::Seen);
  CHECK(w.commit(0xffffffff) == ReplayVerdict::Fresh);
  CHECK(w.check(97) == ReplayVerdict::Old);
  CHECK(w.commit(0xffffffff) == ReplayVerdict::Seen);
  CHECK(w.commit(0xffffffff - 63) == ReplayVerdict::Fresh);
  CHECK(w.commit(0xffffffff - 64) == ReplayVerdict::Old);
}

TEST_CASE("replay window sizes", "[replay]") {
  for (const std::uint32_t good : {32U, 64U, 128U, 4096U, 8192U}) CHECK(ReplayWindow::valid_size(good));
  for (const std::uint32_t bad : {0U, 1U, 16U, 31U, 33U, 63U, 65U, 96U, 8191U, 16384U}) CHECK_FALSE(ReplayWindow::valid_size(bad));
}

TEST_CASE("the upper half of a sequence number is inferred", "[esp][replay][rfc4303-A2.2][attack-J5]") {
  // RFC 4303 App. A2.2, word for word: T is the top, W the size; case A: Tl >= W - 1, case B: Tl < W - 1.
  const auto as_the_rfc_says = [](std::uint64_t top, std::uint32_t size, std::uint32_t low) -> std::uint64_t {
    const auto tl = static_cast<std::uint32_t>(top), th = static_cast<std::uint32_t>(top >> 32);
    const std::uint32_t edge = tl - size + 1;
    std::uint32_t high = 0;
    if (tl >= size - 1) {
      high = low >= edge ? th : th + 1;
    } else {
      if (low >= edge && th == 0) return 0;  // before the first number
      high = low >= edge ? th - 1 : th;
    }
    return std::uint64_t{high} << 32 | low;
  };
  std::mt19937_64 random(7);
  for (const std::uint32_t size : {32U, 64U, 1024U, 4096U, 8192U})
    for (int i = 0; i < 4000; ++i) {
      ReplayWindow window(size);
      const std::uint64_t top = (random() % 3 << 32) + (random() % 2 == 0 ? random() % 16384 - 8192 : random() & 0xffffffff);
      if (top > std::uint64_t{3} << 32) continue;
      if (top != 0) REQUIRE(window.commit(top) == ReplayVerdict::Fresh);
      const auto low = static_cast<std::uint32_t>(random() % 2 == 0 ? top + random() % 20000 - 10000 : random());
      CAPTURE(size, top, low);
      REQUIRE(window.extended(low) == as_the_rfc_says(top, size, low));
    }
}

TEST_CASE("a window that starts again knows of no number, whatever its size", "[replay]") {
  for (std::uint32_t size = ReplayWindow::kMin; size <= ReplayWindow::kMax; size *= 2) {
    ReplayWindow w(size), fresh(size);
    for (std::uint64_t n = 1; n <= 3 * std::uint64_t{size}; ++n) REQUIRE(w.commit(n) == ReplayVerdict::Fresh);
    w.restart();
    CHECK(w.top() == 0);
    CHECK(w.size() == size);
    for (std::uint64_t n = 0; n <= 3 * std::uint64_t{size}; ++n) REQUIRE(w.commit(n) == fresh.commit(n));
  }
}
