// Deletes that the line loses: nobody acknowledges one (RFC 2408 §3.15), so that it goes again a few times, and no more.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/insider_helpers.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

/// What A says in Informational messages, of which the line loses the first.
struct Line {
  World world;
  Pair ends;
  unsigned lose = 0;
  std::vector<TimePoint> said{};
  std::set<MessageId> ids{};

  explicit Line(unsigned lost)
      : ends(two_sites(world, [](auto& a, auto& b) {
          for (auto* g : {&a, &b}) {
            g->connections[0].dpd_delay = {};
            g->connections[0].children[0].start_action = config::StartAction::None;
          }
        })) {
    ends.a.start();
    ends.b.start();
    CHECK(ends.a.engine->initiate(world.now, "c", "net").ok);
    ends.a.perform();
    REQUIRE(world.run_until([&] { return ends.a.current_out("net") && ends.b.current_out("net"); }, 60s));
    world.run(20s);
    lose = lost;
    world.hook = [&](ike::Datagram& d) {
      const auto seen = look(d);
      const bool ours = seen && d.local.address == ends.a.config.connections[0].local_addrs.front();
      if (!ours || seen->header.exchange != ike::kExchangeInformational) return true;
      said.push_back(world.now);
      ids.insert(seen->header.message_id);
      return said.size() > lose;
    };
  }
  void end(const std::string& child) {
    CHECK(ends.a.engine->terminate(world.now, "c", child).ok);
    ends.a.perform();
  }
};

}  // namespace

TEST_CASE("a pair's Delete is lost: it is said three times, each under its own message ID", "[delete][rfc2408-3.15]") {
  const unsigned lost = GENERATE(0U, 1U, 2U, 3U);
  Line line(lost);
  auto& [a, b] = line.ends;
  const std::size_t noise = a.log.size();
  line.end("net");
  line.world.run(100s);
  CHECK(line.said.size() == 3);
  CHECK(line.ids.size() == 3);
  REQUIRE(line.said.size() == 3);
  CHECK(line.said[1] - line.said[0] < 1200ms);
  CHECK(line.said[2] - line.said[0] < 6s);
  CHECK(b.inbound.size() == (lost < 3 ? 0 : 1));
  CHECK(b.reports(Reason::DeletedByPeer).size() == (lost < 3 ? 1 : 0));
  CHECK(a.log.size() == noise + 1);  // the peer says nothing of it
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
}

TEST_CASE("a Delete is not said again of what the peer itself has deleted, nor without an ISAKMP SA", "[delete]") {
  Line line(100);
  auto& [a, b] = line.ends;
  SECTION("the peer deletes") {
    CHECK(b.engine->terminate(line.world.now, "c", "net").ok);
    b.perform();
    line.world.run(100s);
    CHECK(line.said.empty());
    CHECK(a.inbound.empty());
  }
  SECTION("the ISAKMP SA ends meanwhile") {
    line.end("net");
    CHECK(b.engine->terminate(line.world.now, "c", "").ok);
    b.perform();
    line.world.run(100s);
    CHECK(line.said.size() == 1);
  }
}

TEST_CASE("an operator ends a tunnel on a line that loses the first Deletes: the other end learns of it at once", "[delete]") {
  const unsigned lost = GENERATE(1U, 2U, 3U);
  Line line(lost);
  auto& [a, b] = line.ends;
  line.end("");
  line.world.run(5s);
  CHECK(b.engine->ike_sas().empty());
  CHECK(b.inbound.empty());
  line.world.run(100s);
  CHECK(a.engine->ike_sas().empty());
  CHECK(line.said.size() <= 6);
}

namespace {
/// The first Quick Mode's message 3 never arrives, nor what the responder says of that; A rekeys its ISAKMP SA meanwhile, if asked to.
struct HalfPair {
  World world;
  Pair ends{two_sites(world, [](auto& a, auto& b) { a.connections[0].dpd_delay = b.connections[0].dpd_delay = {}; })};
  std::optional<MessageId> first{};
  std::set<std::pair<IkeSpi, MessageId>> farewells{};  ///< by the initiator's cookie
  bool silent = true;

  explicit HalfPair(bool b_silent) : silent(b_silent) {
    world.hook = [this](ike::Datagram& d) {
      const auto seen = look(d);
      const bool forth = seen && d.local.address == ends.a.config.connections[0].local_addrs.front();
      if (forth && seen->header.exchange == ike::kExchangeQuickMode) {
        if (!first) return first = seen->header.message_id, true;
        return seen->header.message_id != *first;
      }
      if (forth || !seen || seen->header.exchange != ike::kExchangeInformational) return true;
      if (ends.b.counted(ike::Exchange::QuickMode, Reason::Timeout) > 0) farewells.emplace(seen->header.spi_i, seen->header.message_id);
      return !silent;
    };
    ends.a.start();
    ends.b.start();
  }
  [[nodiscard]] bool up() const { return ends.a.current_out("net") && ends.b.counted(ike::Exchange::QuickMode, Reason::Ok) > 0; }
};
}  // namespace

TEST_CASE("the responder gives a Quick Mode up and its Deletes never arrive: the initiator does not stay with half a pair",
          "[quick_mode][retransmission]") {
  HalfPair line(true);
  auto& [a, b] = line.ends;
  REQUIRE(line.world.run_until([&, &one = a] { return one.current_out("net") != nullptr; }, 60s));
  CHECK_FALSE(line.up());
  CHECK(line.world.run_until([&] { return line.up(); }, 100s));
  line.world.run(200s);
  CHECK(line.up());
  CHECK(a.live_pairs() == 1);
  CHECK(b.live_pairs() == 1);
  CHECK(a.counted(ike::Exchange::QuickMode, Reason::Ok) == 2);
}

TEST_CASE("a line with a long round trip is no reason to make idle pairs again and again", "[quick_mode][retransmission]") {
  World world;
  world.link.delay_min = world.link.delay_max = GENERATE(400ms, 700ms);
  auto [a, b] = two_sites(world);
  a.start();
  b.start();
  world.run(600s);
  CHECK(a.current_out("net"));
  CHECK(b.current_out("net"));
  CHECK(a.counted(ike::Exchange::QuickMode, Reason::Ok) <= (world.link.delay_max < 500ms ? 1 : 5));
}

TEST_CASE("a pair that the peer did not confirm is deleted under the ISAKMP SA that the peer has by then", "[quick_mode][delete]") {
  HalfPair line(false);
  auto& [a, b] = line.ends;
  REQUIRE(line.world.run_until([&, &one = a] { return one.current_out("net") != nullptr; }, 60s));
  line.world.run(500ms);
  const IkeSpi before = b.engine->ike_sas().front().spi_i;
  SECTION("rekeyed") {
    CHECK(a.engine->rekey(line.world.now, "c", "", true).ok);
    a.perform();
  }
  SECTION("not rekeyed") {}
  const std::uint32_t half = a.current_out("net")->sa.spi.value;
  const auto gone = [&, &one = a] { return std::ranges::none_of(one.outbound, [&](const PlaneSa& s) { return s.sa.spi.value == half; }); };
  REQUIRE(line.world.run_until(gone, 100s));
  REQUIRE(line.world.run_until([&] { return line.up(); }, 20s));
  const bool rekeyed = b.engine->ike_sas().back().spi_i != before;
  for (const auto& [cookie, id] : line.farewells)
    if (rekeyed) CHECK(cookie != before);
}

TEST_CASE("an ISAKMP SA is replaced and its first Deletes are lost: the peer does not keep it, and takes no repetition for a stranger's",
          "[delete][rekey]") {
  const unsigned lost = GENERATE(0U, 1U, 3U);
  Line line(lost);
  auto& [a, b] = line.ends;
  CHECK(a.engine->rekey(line.world.now, "c", "", true).ok);
  a.perform();
  line.world.run(20s);
  CHECK(line.said.size() == 4);
  CHECK(a.established() == 1);
  CHECK(b.established() == 1);
  line.world.run(20s);
  CHECK(a.engine->ike_sas().size() == 1);
  CHECK(b.engine->ike_sas().size() == 1);
  CHECK(b.reports(Reason::UnknownSa).empty());
}
