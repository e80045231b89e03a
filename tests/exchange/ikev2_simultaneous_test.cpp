// Both sides rekey the IKE SA at once (RFC 7296 §2.8.2), and one of them never hears what came of its own: no SA lingers for that.
//
//   A  CREATE_CHILD_SA(rekey)  -->   answered            <--  CREATE_CHILD_SA(rekey)  B: A's answers to it are lost
//   A  Delete of the old SA    -->   answered: what B has asked for under that is over, and the SA that A has made for it B knows nothing
//   of
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

/// Both begin at once; of the answers of A to CREATE_CHILD_SA none comes through while `lost`.
struct AtOnce {
  World world;
  Pair p = two_v2(world);
  bool lost = true;
  std::size_t deletes = 0;
  AtOnce() {
    p.b.start();
    p.a.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 3s));
    world.hook = [&](ike::Datagram& d) {
      const auto h = ike::parse_header(d.data);
      const bool from_a = d.local.address == p.a.config.connections[0].local_addrs[0];
      if (!h) return true;
      deletes += from_a && h->header.exchange == ike::kExchangeInformationalV2 && (h->header.flags & ike::kFlagResponse) == 0;
      return !(lost && from_a && h->header.exchange == ike::kExchangeCreateChildSa && (h->header.flags & ike::kFlagResponse) != 0);
    };
    world.begin_traffic();
    for (Host* h : {&p.a, &p.b}) h->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
  }
};

}  // namespace

TEST_CASE("IKEv2: the other side's new IKE SA, of which it never learns, goes soon behind the old one",
          "[ikev2][rfc7296-2.8.2][rfc7296-2.25.2]") {
  AtOnce t;
  REQUIRE(t.world.run_until([&] { return t.p.b.established() == 1 && t.p.a.established() == 2; }, 5s));
  CHECK(t.deletes == 1);
  CHECK(t.world.run_until([&] { return t.p.a.established() == 1; }, 10s));
  CHECK(t.deletes == 1);  // nobody would answer
  t.world.run(600s);
  CHECK(t.p.a.engine->ike_sas().size() == 1);
  CHECK(t.p.b.engine->ike_sas().size() == 1);
  CHECK(both_up(t.p));
  CHECK(t.world.gaps.empty());
}

TEST_CASE("IKEv2: ... and of which it learns late, it deletes", "[ikev2][rfc7296-2.8.2][rfc7296-2.25.2]") {
  AtOnce t;
  t.world.run(100ms);
  t.lost = false;
  CHECK(t.world.run_until([&] { return t.p.a.established() == 1 && t.p.b.established() == 1; }, 12s));
  t.world.run(600s);
  CHECK(t.p.a.engine->ike_sas().size() == 1);
  CHECK(t.p.b.engine->ike_sas().size() == 1);
  CHECK(both_up(t.p));
  CHECK(t.world.gaps.empty());
}
