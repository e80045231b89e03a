// The order of what CHILD SAs there are for a peer's addresses, against a look at each.
#include "control/ikev2/taken_selectors.hpp"

#include <algorithm>
#include <random>
#include <set>

#include <catch2/catch.hpp>

namespace culvert::ikev2 {

namespace {
struct TakenOne {
  VrfId vrf;
  std::vector<TrafficSelector> remote;
};
}  // namespace

TEST_CASE("taken selectors: those that have an address of what is wanted are all asked about", "[ikev2][taken][model]") {
  const unsigned seed = Catch::rngSeed() != 0 ? Catch::rngSeed() : 20261128;
  INFO("seed " << seed);
  std::mt19937 rng(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
  const auto address = [](Family family, std::uint32_t n) {
    if (family == Family::V4) return IpAddress::v4(0xffffff00 + n);  // up to the last one that there is
    IpAddress a = IpAddress::parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00").value();
    a.bytes[15] = static_cast<std::uint8_t>(n);
    return a;
  };
  const auto some = [&] {
    std::vector<TrafficSelector> out;
    for (std::uint32_t i = 1 + pick(3); i > 0; --i) {
      const Family family = pick(3) == 0 ? Family::V6 : Family::V4;
      if (pick(40) == 0) {
        out.push_back(TrafficSelector::from({IpAddress{{}, family}, 0}));
        continue;
      }
      const std::uint32_t first = pick(256), more = pick(4) == 0 ? pick(100) : pick(3);
      out.push_back({address(family, first), address(family, std::min(first + more, 255U)), 0, 0xffff, 0});
    }
    return out;
  };
  TakenSelectors taken;
  std::map<Spi, TakenOne> model;
  for (int round = 0; round < 5000; ++round) {
    const Spi spi{1 + pick(80)};
    if (const auto there = model.find(spi); there != model.end()) {
      taken.remove(there->second.vrf, there->second.remote, spi);
      model.erase(there);
    } else {
      const TakenOne one{static_cast<VrfId>(pick(2)), some()};
      taken.add(one.vrf, one.remote, spi);
      model.emplace(spi, one);
    }
    const auto vrf = static_cast<VrfId>(pick(2));
    const auto wanted = some();
    std::set<Spi> expected, asked;
    for (const auto& [number, one] : model) {
      const auto meets = [&](const TrafficSelector& a) {
        return std::ranges::any_of(one.remote, [&](const auto& b) { return a.first.family == b.first.family && a.meets(b); });
      };
      if (one.vrf == vrf && std::ranges::any_of(wanted, meets)) expected.insert(number);
    }
    const bool found = taken.any(vrf, wanted, [&](Spi number) {
      asked.insert(number);
      return false;
    });
    REQUIRE_FALSE(found);
    REQUIRE(std::ranges::includes(asked, expected));
    for (const Spi number : asked) REQUIRE(model.at(number).vrf == vrf);
    REQUIRE(taken.any(vrf, wanted, [&](Spi number) { return expected.contains(number); }) == !expected.empty());
  }
  for (const auto& [spi, one] : model) taken.remove(one.vrf, one.remote, spi);
  CHECK(taken.size() == 0);
}

TEST_CASE("taken selectors: of ten thousand hosts a new one is compared with none", "[ikev2][taken]") {
  TakenSelectors taken;
  const auto host = [](std::uint32_t i) { return std::vector{TrafficSelector::from({IpAddress::v4(0x0a800000 + i), 32})}; };
  for (std::uint32_t i = 0; i < 10'000; ++i) taken.add(0, host(i), Spi{i + 1});
  std::size_t asked = 0;
  const auto ask = [&](const std::vector<TrafficSelector>& wanted) {
    asked = 0;
    return taken.any(0, wanted, [&](Spi) { return ++asked == 3; });
  };
  CHECK_FALSE(ask(host(10'000)));
  CHECK(asked == 0);
  CHECK_FALSE(ask(host(77)));
  CHECK(asked == 1);
  CHECK(ask({TrafficSelector::from({IpAddress::v4(0x0a800000), 9})}));
}

}  // namespace culvert::ikev2
