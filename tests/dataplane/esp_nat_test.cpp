// ESP in UDP through the nodes: the non-IKE marker of the drafts before RFC 3948, and peers whose NAT gives them another address.
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

namespace {
/// The same packet from another outer source.
Bytes from(Bytes packet, std::uint32_t address, std::uint16_t port) {
  store_be32(&packet[12], address);
  store_be16(&packet[20], port);
  set_ipv4_checksum(packet.data());
  return packet;
}
constexpr std::uint32_t kPeer = 0x0a090002, kElsewhere = 0x0a090099;

SaPair following(Worker& worker) {
  auto in = install(kSuites[0], Direction::Inbound, true);
  in.follow = true;
  return {worker, in, install(kSuites[0], Direction::Outbound, true)};
}
}  // namespace

TEST_CASE("a peer behind a NAT is followed by its newest authentic packet, and by nothing else", "[esp][nat][attack-L2]") {
  Worker worker;
  SaPair pair = following(worker);
  const auto sealed = pair.seal(std::vector<Bytes>(10, inner_packet(100)));
  CHECK(pair.open({sealed[0], sealed[3]}).size() == 2);
  CHECK(pair.inbound->moved_to == 0);
  SECTION("a copy of an old packet from elsewhere") {
    CHECK(pair.open({from(sealed[0], kElsewhere, 9), from(sealed[3], kElsewhere, 9)}).empty());
    CHECK(worker.dropped(Drop::EspReplay) == 2);
    CHECK(pair.inbound->moved_to == 0);
  }
  SECTION("a packet that was overtaken is taken in, and moves nothing") {
    CHECK(pair.open({from(sealed[1], kElsewhere, 9)}).size() == 1);
    CHECK(pair.inbound->moved_to == 0);
  }
  SECTION("a forged one, however new") {
    Bytes forged = from(sealed[9], kElsewhere, 9);
    forged.back() ^= 1;
    CHECK(pair.open({forged}).empty());
    CHECK(worker.dropped(Drop::EspAuth) == 1);
    CHECK(pair.inbound->moved_to == 0);
  }
  SECTION("the newest one moves the peer; another port is another place, too") {
    CHECK(pair.open({from(sealed[4], kElsewhere, 4500)}).size() == 1);
    CHECK(pair.inbound->moved_to == peer_word(kElsewhere, 4500));
    CHECK(pair.open({from(sealed[5], kElsewhere, 4501)}).size() == 1);
    CHECK(pair.inbound->moved_to == peer_word(kElsewhere, 4501));
    pair.inbound->moved_to = 0;
    CHECK(pair.open({from(sealed[6], kElsewhere, 4501)}).size() == 1);
    CHECK(pair.inbound->moved_to == 0);  // it has not moved since
    CHECK(pair.open({from(sealed[7], kPeer, 4500)}).size() == 1);
    CHECK(pair.inbound->moved_to == peer_word(kPeer, 4500));
  }
  SECTION("several in one burst: the last newest one decides") {
    CHECK(pair.open({from(sealed[8], kElsewhere, 1), from(sealed[7], kElsewhere, 2), from(sealed[9], kElsewhere, 3)}).size() == 3);
    CHECK(pair.inbound->moved_to == peer_word(kElsewhere, 3));
  }
  SECTION("to another address or port of ours nothing is taken in") {
    Bytes other = sealed[4];
    store_be16(&other[22], 4501);
    CHECK(pair.open({other}).empty());
    CHECK(worker.dropped(Drop::EspWrongPeer) == 1);
  }
}

TEST_CASE("a peer that is behind no NAT stays where it is", "[esp][nat][attack-L2]") {
  Worker worker;
  SaPair pair(worker, kSuites[0], true);
  const auto sealed = pair.seal({inner_packet(100)});
  CHECK(pair.open({from(sealed[0], kElsewhere, 4500)}).empty());
  CHECK(pair.open({from(sealed[0], kPeer, 4501)}).empty());
  CHECK(worker.dropped(Drop::EspWrongPeer) == 2);
  CHECK(pair.open({sealed[0]}).size() == 1);
}

TEST_CASE("an outbound SA that is moved sends there, its checksum right, its sequence numbers going on", "[esp][nat]") {
  Worker worker;
  SaPair pair(worker, kSuites[0], true);
  const auto before = pair.seal({inner_packet(100)});
  pair.outbound->peer = peer_word(0xc6336407, 62000);
  const auto after = pair.seal({inner_packet(100)});
  REQUIRE(after.size() == 1);
  CHECK(load_be32(&after[0][16]) == 0xc6336407);
  CHECK(load_be16(&after[0][22]) == 62000);
  CHECK(load_be32(&after[0][32]) == load_be32(&before[0][32]) + 1);
  Bytes checked = after[0];
  set_ipv4_checksum(checked.data());
  CHECK(checked == after[0]);
}
