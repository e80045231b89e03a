// Both sides are started anew at once, and INITIAL_CONTACT of each (RFC 7296 §2.4) crosses the new IKE SA of the other: it is about what
// was before, and not about what comes up at the same time.
//
//   A  IKE_SA_INIT, IKE_AUTH ... N(INITIAL_CONTACT)  -->
//                                               <--  IKE_SA_INIT, IKE_AUTH ... N(INITIAL_CONTACT)  B
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

constexpr std::uint64_t kSeeds = 300;

/// What leaves by the newest pair finds its SA.
bool flows(const Host& from, const Host& to) {
  const PlaneSa* out = from.current_out("net");
  const auto in = out ? to.inbound.find(out->sa.spi.value) : to.inbound.end();
  return in != to.inbound.end() && in->second.sa.encr_key == out->sa.encr_key;
}

struct Restart {
  World world;
  Pair p;
  bool whole;  ///< the machine, and not culvertd alone
  explicit Restart(std::uint64_t seed) : world(seed), p(sites(world)), whole(world.random(2) == 0) {
    world.link = {seed % 3 == 0 ? 0.3 : 0.0, 0.1, 1ms, world.between(1ms, 400ms)};
    for (Host* h : {&p.a, &p.b}) h->install_max = world.between(1ms, 30ms);
  }
  static Pair sites(World& world) {
    const auto unique = world.random(2) == 0 ? config::Unique::Replace : config::Unique::Keep;
    return two_v2(world, [&](auto& a, auto& b) {
      for (auto* g : {&a, &b}) {
        g->connections[0].dpd_delay = std::chrono::seconds{10};
        g->connections[0].unique = unique;
        g->connections[0].children[0].start_action = config::StartAction::Start;
      }
    });
  }
  void crash(Host& h) const {
    if (whole) {
      h.inbound.clear();
      h.outbound.clear();
      h.current.clear();
    }
    h.restart();
  }
  [[nodiscard]] bool both_ways() const { return flows(p.a, p.b) && flows(p.b, p.a); }
  [[nodiscard]] bool one() const {
    return both_ways() && p.a.engine->ike_sas().size() == 1 && p.b.engine->ike_sas().size() == 1 && p.a.inbound.size() == 1 &&
           p.b.inbound.size() == 1 && p.a.outbound.size() == 1 && p.b.outbound.size() == 1;
  }
};

}  // namespace

TEST_CASE("IKEv2: both sides are started anew at once, and have one IKE SA, by which packets go within seconds",
          "[ikev2][restart][rfc7296-2.4]") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Restart r(seed);
    r.p.a.start();
    r.p.b.start();
    REQUIRE(r.world.run_until([&] { return r.both_ways(); }, 60s));
    r.world.run(r.world.between(0ms, 8s));
    r.world.begin_traffic();
    const bool a_first = r.world.random(2) == 0;
    r.crash(a_first ? r.p.a : r.p.b);
    r.world.run(r.world.random(2) == 0 ? 0ms : r.world.between(0ms, 3s));
    r.crash(a_first ? r.p.b : r.p.a);
    const TimePoint since = r.world.now;
    const bool fast =
        r.world.run_until([&] { return r.both_ways() && r.p.a.established() > 0 && r.p.b.established() > 0; }, seed % 3 == 0 ? 60s : 6s);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(r.world.now - since).count();
    r.world.link = {};
    const bool settled = r.world.run_until([&] { return r.one(); }, 300s);
    r.world.run(300s);
    INFO("seed " << seed << ", " << took << " ms\n" << r.p.a.transcript() << r.p.b.transcript());
    CHECK(fast);
    if (!r.whole && seed % 3 != 0) CHECK(r.world.gaps == std::vector<std::string>{});  // by what the data planes have kept
    CHECK(settled);
    REQUIRE(r.one());
  }
}
