// ESP in UDP through the nodes: the non-IKE marker of the drafts before RFC 3948.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

TEST_CASE("on port 500 ESP stands behind eight zero bytes, in both directions", "[esp][nat]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  CAPTURE(suite.name);
  Worker worker;
  auto in = install(suite, Direction::Inbound, true), out = install(suite, Direction::Outbound, true);
  in.local.port = out.remote.port = 500;
  in.remote.port = out.local.port = 500;
  SaPair pair(worker, in, out);
  std::vector<Bytes> packets;
  for (std::size_t n = 28; n < 1500; n += 7) packets.push_back(inner_packet(n));
  const auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  for (const Bytes& p : sealed) {
    CHECK(load_be16(&p[20]) == 500);
    CHECK(load_be16(&p[24]) == p.size() - 20);
    CHECK(std::all_of(p.begin() + 28, p.begin() + 36, [](std::uint8_t b) { return b == 0; }));
    CHECK(load_be32(&p[36]) == 0xc0ffee05);
  }
  CHECK(pair.open(sealed) == packets);
  CHECK(worker.dropped() == 0);
  // Without the marker, or cut short in it, there is no such SA.
  Bytes bare = sealed.front();
  bare.erase(bare.begin() + 28, bare.begin() + 36);
  store_be16(&bare[2], static_cast<std::uint16_t>(bare.size()));
  store_be16(&bare[24], static_cast<std::uint16_t>(bare.size() - 20));
  set_ipv4_checksum(bare.data());
  CHECK(pair.open({bare}).empty());
  CHECK(worker.dropped() == 1);
}
