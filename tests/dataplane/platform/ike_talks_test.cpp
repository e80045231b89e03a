// Whose messages of IKE culvertd gets first when there are too many: those of SAs that it has keys with, as its own messages show.
#include "dataplane/nodes/ike_talks.hpp"

#include <catch2/catch.hpp>

#include "dataplane/nodes/token_bucket.hpp"

using namespace culvert;
using namespace culvert::dp;

TEST_CASE("punt limiter: no flood of messages that only say that they are of something shuts out those of what is there",
          "[limits][K8][attack-H1]") {
  PuntLimiter limit(42);
  std::uint64_t now = 1'000'000'000;
  int stray = 0, begun = 0, keyed = 0, tries = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    now += 5'000;  // a second in all
    stray += limit.take(IpAddress::v4(0x0b000000 + i * 7919), PuntKind::Stray, now) ? 1 : 0;
    if (i % 2 == 0) begun += limit.take(IpAddress::v4(0x0b000000 + i * 7907), PuntKind::Begun, now) ? 1 : 0;
    if (i % 2 == 0) limit.take(IpAddress::v4(0x0a400007), PuntKind::First, now);  // in a peer's name
    if (i % 20 == 0) ++tries, keyed += limit.take(IpAddress::v4(i % 40 == 0 ? 0x0a400007 : 0x0a400000 + i), PuntKind::Keyed, now) ? 1 : 0;
  }
  CHECK((stray >= 1900 && stray <= 2300));
  CHECK((begun >= 9900 && begun <= 10700));
  CHECK(keyed == tries);
}

namespace {
Bytes talk(std::uint64_t spi_i, std::uint64_t spi_r, std::uint8_t next, std::uint8_t version, std::uint8_t flags) {
  Writer w;
  w.be(spi_i);
  w.be(spi_r);
  for (const std::uint8_t b : {next, version, std::uint8_t{37}, flags}) w.be(b);
  w.be(std::uint64_t{28});  // the message ID, and the length
  return std::move(w).take();
}
}  // namespace

TEST_CASE("IKE talks: what culvertd has said shows whom it knows, in clear or under keys", "[limits][attack-H1]") {
  using enum IkeTalks::Known;
  constexpr std::uint8_t kV1 = 0x10, kV2 = 0x20, kSk = 46, kSkf = 53, kNotify = 41;
  IkeTalks talks(7);
  const auto known = [&](std::uint64_t i, std::uint64_t r) { return talks.known(talk(i, r, kSk, kV2, 0)); };
  CHECK(known(1, 2) == No);
  talks.sent(talk(1, 2, kNotify, kV2, 0x20));
  CHECK(known(1, 2) == Begun);
  CHECK(known(2, 1) == No);
  CHECK(known(1, 3) == No);
  talks.sent(talk(1, 2, kSkf, kV2, 0x20));
  CHECK(known(1, 2) == Keyed);
  talks.sent(talk(5, 6, kSk, kV1, 0));  // of IKEv1 another payload has this number
  CHECK(known(5, 6) == Begun);
  talks.sent(talk(5, 6, 8, kV1, 1));
  CHECK(known(5, 6) == Keyed);
  talks.sent(talk(9, 0, 33, kV2, 8));  // we begin: whatever SPI the peer chooses
  CHECK(known(9, 77) == Keyed);
  talks.sent(Bytes(27));
  CHECK(talks.known(Bytes(27)) == No);
  // What strangers make culvertd say in clear pushes out nothing that has keys.
  for (std::uint64_t i = 100; i < 100'100; ++i) talks.sent(talk(i, i, kNotify, kV2, 0x20));
  CHECK(known(1, 2) == Keyed);
  CHECK(known(100'099, 100'099) == Begun);
  // All IKE SAs that culvertd has at most, and a few more.
  for (std::uint64_t i = 1; i <= 16'384; ++i) talks.sent(talk(i << 20, i, kSk, kV2, 0x20));
  std::size_t there = 0;
  for (std::uint64_t i = 1; i <= 16'384; ++i) there += known(i << 20, i) == Keyed ? 1U : 0U;
  CHECK(there > 16'384 * 9 / 10);
}
