// Sequence numbers that are left out (RFC 6311): of an outbound SA at the manager's word, of an inbound one by the peer.
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

TEST_CASE("an outbound SA goes on behind the numbers that it leaves out", "[esp][rfc6311-5.2]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  CAPTURE(suite.name);
  Worker worker;
  SaPair pair(worker, suite, false);
  const std::vector<Bytes> packets(4, inner_packet(100));
  CHECK(pair.open(pair.seal(packets)) == packets);
  pair.outbound->skip(1000);
  pair.outbound->skip(500);
  CHECK(pair.outbound->sequence() == 4);  // the owner takes them with its next packet
  const auto late = pair.seal(packets);
  CHECK(pair.outbound->sequence() == 1508);
  CHECK(pair.inbound->replay.top() == 4);
  CHECK(pair.open(late) == packets);
  CHECK(pair.inbound->replay.top() == 1508);
  CHECK(pair.inbound->counters->missing() == 1500);
  pair.inbound->counters->skipped.add(1500);
  CHECK(pair.inbound->counters->missing() == 0);
  CHECK(pair.open(pair.seal(packets)) == packets);
  CHECK(pair.open(late).empty());  // all of it was seen
}

TEST_CASE("numbers that are left out are used up, and none comes again", "[esp][rfc6311-5.2][rfc4303-3.3.3]") {
  Worker worker;
  SaPair pair(worker, kSuites[0], false);
  const std::vector<Bytes> one(1, inner_packet(100));
  REQUIRE_FALSE(pair.outbound->geometry.esn);
  CHECK(pair.seal(one).size() == 1);
  pair.outbound->skip(kMaxSequence - 3);  // the next packet's number is the last but one
  CHECK(pair.seal(one).size() == 1);
  CHECK(pair.outbound->sequence() == kMaxSequence - 1);
  pair.outbound->skip(shm::SkipNumbers::kMost);
  CHECK(pair.seal(one).empty());
  CHECK(worker.dropped(Drop::EspSequence) == 1);
  CHECK(pair.outbound->sequence() == kMaxSequence);
  for (int i = 0; i < 3; ++i) pair.outbound->skip(shm::SkipNumbers::kMost);
  CHECK(pair.seal(one).empty());
  CHECK(pair.outbound->sequence() == kMaxSequence);
}
