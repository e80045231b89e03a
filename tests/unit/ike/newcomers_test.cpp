// The memory of those who have sent a first message: what it forgets, and that it never grows beyond its bounds.
#include "control/ike/newcomers.hpp"

#include <catch2/catch.hpp>

#include "control/ike/sa_table.hpp"

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
Datagram third(std::size_t bytes, std::uint8_t byte) { return {kUs, {}, Bytes(bytes, byte)}; }
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

TEST_CASE("those whose message 3 has to wait have their turn in order, each address by itself", "[newcomers][attack-H1]") {
  Newcomers all;
  const auto from = [](std::uint64_t n, std::uint32_t address) {
    Newcomer out = newcomer(n);
    out.remote = {IpAddress::v4(address), static_cast<std::uint16_t>(1000 + n)};
    return out;
  };
  for (std::uint64_t n = 0; n < 6; ++n) all.add(from(n, n % 2 ? 0x0a400001 : 0x0a400002));
  const TimePoint begun = TimePoint{} - 1s;
  const Endpoint odd{IpAddress::v4(0x0a400001)}, even{IpAddress::v4(0x0a400002)};
  CHECK(all.waiting(odd, begun) == nullptr);
  for (const std::uint64_t n : {std::uint64_t{5}, std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1}}) {
    Newcomer* one = all.find(IkeSpi{n + 1}, {(n % 2 ? odd : even).address, static_cast<std::uint16_t>(1000 + n)});
    REQUIRE(one != nullptr);
    all.wait(*one, third(30, static_cast<std::uint8_t>(n + 1)), host_of(one->remote));
  }
  CHECK(all.bytes() == 6 * 100 + 3 * 30);
  REQUIRE(all.waiting(odd, begun) != nullptr);
  CHECK(all.waiting(odd, begun)->third->data == Bytes(30, 6));
  CHECK(all.waiting(even, begun)->third->data == Bytes(30, 1));
  CHECK(all.take(IkeSpi{6}, IkeSpi{~5ULL}, kUs, {odd.address, 1005}));
  CHECK(all.waiting(odd, begun)->third->data == Bytes(30, 2));
  CHECK(all.waiting(odd, TimePoint{} + 1ms) == nullptr);  // it waits no longer
  CHECK(all.bytes() == 5 * 100 + 30);
  CHECK(all.take_older(TimePoint{} + 1ms));
  CHECK(all.waiting(even, begun) == nullptr);
  CHECK(all.bytes() == 4 * 100);
}

TEST_CASE("long message 3s that wait are bounded by their bytes", "[newcomers][attack-H1]") {
  Newcomers all;
  for (std::uint64_t n = 0; n < 2000; ++n) {
    all.add(newcomer(n));
    Newcomer* one = all.find(IkeSpi{n + 1}, peer(static_cast<std::uint32_t>(n)));
    all.wait(*one, third(60'000, 1), host_of(one->remote));
    CHECK(all.bytes() <= kMaxNewcomerBytes);
  }
}

TEST_CASE("those who wait at one address are bounded by their number", "[newcomers][attack-H1]") {
  Newcomers all;
  for (std::uint64_t n = 0; n < kMaxWaiting + 10; ++n) {
    Newcomer one = newcomer(n);
    one.remote = {IpAddress::v4(0x0a400001), static_cast<std::uint16_t>(1000 + n)};
    const Endpoint remote = one.remote;
    all.add(std::move(one));
    all.wait(*all.find(IkeSpi{n + 1}, remote), third(30, 1), host_of(remote));
  }
  CHECK(all.bytes() == (kMaxWaiting + 10) * 100 + kMaxWaiting * 30);
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
