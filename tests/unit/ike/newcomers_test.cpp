// The memory of those who have sent a first message: what it forgets, and that it never grows beyond its bounds.
#include "control/ike/newcomers.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ike;
using namespace std::chrono_literals;

namespace {
const Endpoint kUs{IpAddress::v4(0x0a090001), 500};
Endpoint peer(std::uint32_t n) { return {IpAddress::v4(0x0a400000 + n), 500}; }
Newcomer newcomer(std::uint64_t n, std::size_t bytes = 100) {
  return {.spi_i = IkeSpi{n + 1},
          .spi_r = IkeSpi{~n},
          .local = kUs,
          .remote = peer(static_cast<std::uint32_t>(n)),
          .since = TimePoint{} + n * 1ms,
          .message = Bytes(bytes, 1)};
}
}  // namespace

TEST_CASE("a newcomer is taken by both cookies and both ends", "[newcomers]") {
  Newcomers all;
  CHECK(all.add(newcomer(7)) == 0);
  REQUIRE(all.find(IkeSpi{8}, peer(7)) != nullptr);
  CHECK(all.find(IkeSpi{8}, peer(8)) == nullptr);
  CHECK_FALSE(all.take(IkeSpi{8}, IkeSpi{1}, kUs, peer(7)));
  CHECK_FALSE(all.take(IkeSpi{8}, IkeSpi{~7ULL}, peer(1), peer(7)));
  CHECK_FALSE(all.take(IkeSpi{8}, IkeSpi{~7ULL}, kUs, peer(1)));
  const auto taken = all.take(IkeSpi{8}, IkeSpi{~7ULL}, kUs, peer(7));
  REQUIRE(taken);
  CHECK(taken->message == Bytes(100, 1));
  CHECK(all.size() == 0);
  CHECK(all.bytes() == 0);
  CHECK_FALSE(all.take(IkeSpi{8}, IkeSpi{~7ULL}, kUs, peer(7)));
}

TEST_CASE("the oldest make room for the newest", "[newcomers][attack-H1]") {
  Newcomers all;
  std::size_t forgotten = 0;
  for (std::uint64_t n = 0; n < kMaxNewcomers + 500; ++n) forgotten += all.add(newcomer(n));
  CHECK(forgotten == 500);
  CHECK(all.size() == kMaxNewcomers);
  CHECK(all.bytes() == 100 * kMaxNewcomers);
  CHECK(all.find(IkeSpi{500}, peer(499)) == nullptr);
  CHECK(all.find(IkeSpi{501}, peer(500)) != nullptr);
}

TEST_CASE("long first messages are bounded by their bytes", "[newcomers][attack-H1]") {
  Newcomers all;
  for (std::uint64_t n = 0; n < 2000; ++n) all.add(newcomer(n, 60'000));
  CHECK(all.bytes() <= kMaxNewcomerBytes);
  CHECK(all.size() == kMaxNewcomerBytes / 60'000);
  CHECK(all.find(IkeSpi{2000}, peer(1999)) != nullptr);
}

TEST_CASE("the same one again takes its own place", "[newcomers]") {
  Newcomers all;
  all.add(newcomer(3, 50));
  all.add(newcomer(3, 70));
  CHECK(all.size() == 1);
  CHECK(all.bytes() == 70);
}

TEST_CASE("newcomers leave in the order of their coming when their time is over", "[newcomers]") {
  Newcomers all;
  for (std::uint64_t n = 0; n < 5; ++n) all.add(newcomer(n));
  CHECK(all.deadline(1500ms) == TimePoint{} + 2s);
  CHECK(all.take_older(TimePoint{} + 1ms)->spi_i == IkeSpi{1});
  CHECK(all.take_older(TimePoint{} + 1ms)->spi_i == IkeSpi{2});
  CHECK_FALSE(all.take_older(TimePoint{} + 1ms));
  CHECK(all.size() == 3);
}
