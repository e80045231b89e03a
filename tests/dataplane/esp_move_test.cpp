// SAs that go to other outer addresses (RFC 4555 §3.5): with keys, numbers and window as they were, into UDP and out of it, to the other
// family.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {

struct Move {
  const char *from, *to;  ///< the peer's, ours: what the outbound SA of the pair sends from and to
  std::uint16_t port;     ///< 0: native
};

shm::MoveSa command(Direction direction, const Move& m) {
  const Endpoint peer{*IpAddress::parse(m.from), m.port}, own{*IpAddress::parse(m.to), m.port};
  const bool in = direction == Direction::Inbound;
  shm::MoveSa out{0, Spi{0xc0ffee05}, in ? peer : own};
  out.local = in ? own : peer;
  out.direction = direction;
  return out;
}

}  // namespace

TEST_CASE("a moved SA goes on with its numbers between the new addresses", "[esp][mobike][rfc4555-3.5]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair(worker, suite, udp);
  const std::vector<Bytes> packets(4, inner_packet(100));
  CHECK(pair.open(pair.seal(packets)) == packets);
  std::unique_ptr<const Relocation> in_before, out_before;  // a worker may look at it as long as it has not passed on
  std::uint64_t sent = 4;
  for (const Move& to : {Move{"10.9.1.2", "10.9.0.1", 0}, Move{"10.9.1.2", "10.9.1.1", 4500}, Move{"2001:db8:9::2", "2001:db8:9::1", 4500},
                         Move{"2001:db8:9::7", "2001:db8:9::1", 0}, Move{"10.9.0.2", "10.9.0.1", 0}}) {
    CAPTURE(to.from, to.port);
    const auto on_its_way = pair.seal(packets);
    auto out = relocate(command(Direction::Outbound, to), *pair.outbound), in = relocate(command(Direction::Inbound, to), *pair.inbound);
    REQUIRE(out.has_value());
    REQUIRE(in.has_value());
    out_before = std::move(*out);
    in_before = std::move(*in);
    CHECK(pair.open(on_its_way) == packets);  // nothing has come between the new addresses yet
    const auto sealed = pair.seal(packets);
    REQUIRE(sealed.size() == packets.size());
    const bool v4 = sealed[0][0] >> 4 == 4;
    CHECK(v4 == (IpAddress::parse(to.from)->family == Family::V4));
    CHECK(sealed[0][v4 ? 9 : 6] == (to.port != 0 ? 17 : 50));
    sent += 8;
    CHECK(pair.outbound->sequence() == sent);
    CHECK(pair.open(sealed) == packets);
    const auto late = pair.open(on_its_way);  // of before: as from anybody, and seen
    CHECK(late.empty());
  }
}

TEST_CASE("a moved SA takes no packet from elsewhere", "[esp][mobike][attack-L2]") {
  Worker worker;
  SaPair pair(worker, kSuites[0]);
  const std::vector<Bytes> packets(2, inner_packet(100));
  const auto old = pair.seal(packets);
  const Move to{"10.9.1.2", "10.9.0.1", 0};
  REQUIRE(relocate(command(Direction::Outbound, to), *pair.outbound).has_value());
  REQUIRE(relocate(command(Direction::Inbound, to), *pair.inbound).has_value());
  CHECK(pair.open(pair.seal(packets)) == packets);
  CHECK(pair.open(old).empty());
  CHECK(worker.dropped(Drop::EspWrongPeer) == 2);
}

TEST_CASE("where an SA cannot be it does not go", "[esp][mobike]") {
  Worker worker;
  SaPair pair(worker, kSuites[0]);
  const std::vector<Bytes> packets(1, inner_packet(100));
  auto wrong = command(Direction::Outbound, {"10.9.1.2", "10.9.0.1", 0});
  SECTION("two families") { wrong.remote.address = *IpAddress::parse("2001:db8::1"); }
  SECTION("no family") { wrong.local.address = wrong.remote.address = {}; }
  SECTION("one port alone") { wrong.remote.port = 4500; }
  SECTION("another VRF") { wrong.local.vrf = wrong.remote.vrf = 1; }
  CHECK_FALSE(relocate(wrong, *pair.outbound).has_value());
  CHECK_FALSE(relocate(wrong, *pair.inbound).has_value());
  CHECK(pair.open(pair.seal(packets)) == packets);
}
