// ESP through the nodes, both directions: what goes in must come out, and nothing else must change.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

TEST_CASE("every suite carries every size, native and in UDP", "[esp][rfc4303]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair(worker, suite, udp);
  std::vector<Bytes> packets;
  for (std::size_t n = 28; n < 200; ++n) packets.push_back(inner_packet(n));
  for (const std::size_t n : {256U, 570U, 1023U, 1024U, 1420U, 1500U, 8000U, 9000U}) packets.push_back(inner_packet(n));

  const auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    bytes += packets[i].size();
    const std::size_t esp = udp ? 28 : 20;
    REQUIRE(sealed[i][9] == (udp ? 17 : 50));
    REQUIRE(load_be32(&sealed[i][esp]) == 0xc0ffee05);
    REQUIRE(load_be32(&sealed[i][esp + 4]) == i + 1);  // RFC 4303 §2.2: from 1
    const bool hidden = suite.encr != Encr::Null && suite.encr != Encr::AesGmac;
    if (hidden)
      REQUIRE(std::search(sealed[i].begin(), sealed[i].end(), packets[i].begin() + 12, packets[i].begin() + 20) == sealed[i].end());
  }
  CHECK(pair.open(sealed) == packets);
  CHECK(worker.dropped() == 0);
  for (const auto* c : {pair.counters_in.get(), pair.counters_out.get()}) {
    CHECK(c->packets.get() == packets.size());
    CHECK(c->bytes.get() == bytes);
    CHECK(c->sequence.get() == packets.size());
    CHECK(c->last_used_ns.get() == 1234);
  }
}
