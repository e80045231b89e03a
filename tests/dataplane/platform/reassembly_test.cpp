// Fragments for own addresses, put together whatever their order, and given up when they lie.
#include "dataplane/nodes/reassembly.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "dataplane/nodes/classify.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;

constexpr std::uint32_t kPeer = 0x0a090002, kWan = 0x0a090001;

struct Piece {
  std::uint32_t source = kPeer;
  std::uint16_t id = 7;
  std::uint32_t begin = 0;  ///< a multiple of 8
  Bytes data{};
  bool more = true;
  std::uint8_t protocol = kProtocolUdp;
  std::uint8_t tos = 0;
};
Bytes packet(const Piece& f) {
  Bytes b(kIpv4HeaderBytes + f.data.size());
  b[0] = 0x45;
  store_be16(b.data() + 2, static_cast<std::uint16_t>(b.size()));
  store_be16(b.data() + 4, f.id);
  store_be16(b.data() + 6, static_cast<std::uint16_t>(f.begin / 8 | (f.more ? kIpv4Mf : 0U)));
  b[8] = 64;
  b[1] = f.tos;
  b[9] = f.protocol;
  store_be32(b.data() + 12, f.source);
  store_be32(b.data() + 16, kWan);
  set_ipv4_checksum(b.data());
  std::ranges::copy(f.data, b.begin() + kIpv4HeaderBytes);
  return b;
}
Bytes datagram(std::size_t payload, std::uint16_t port = 500) {
  Bytes b(kUdpHeaderBytes + payload);
  for (std::size_t i = 0; i < payload; ++i) b[kUdpHeaderBytes + i] = static_cast<std::uint8_t>(i * 7 + i / 256 + 1);
  store_be16(b.data(), 500);
  store_be16(b.data() + 2, port);
  store_be16(b.data() + 4, static_cast<std::uint16_t>(b.size()));
  return b;
}
std::vector<Piece> cut(const Bytes& udp, std::uint32_t step, std::uint32_t source = kPeer, std::uint16_t id = 7) {
  std::vector<Piece> out;
  for (std::uint32_t at = 0; at < udp.size(); at += step) {
    const std::size_t end = std::min<std::size_t>(at + step, udp.size());
    out.push_back({source, id, at, Bytes(udp.begin() + at, udp.begin() + static_cast<std::ptrdiff_t>(end)), end < udp.size()});
  }
  return out;
}
/// Buffers of the heap, all of which must come back.
class Heap {
 public:
  ~Heap() { CHECK(out_ == 0); }
  Reassembly::Buffers buffers() {
    return {[this](Packet& view) {
              if (out_ >= limit) return false;
              ++out_;
              view = (new OwnedPacket({}, 64, room))->view;
              return true;
            },
            [this](void* handle) {
              --out_;
              delete static_cast<OwnedPacket*>(handle);
            }};
  }
  std::size_t limit = Reassembly::kMaxPackets;  ///< never more than that at once
  std::uint16_t room = Reassembly::kBufferBytes;

 private:
  std::size_t out_ = 0;
};
/// What came out of a Reassembly.
struct Result : Reassembly::Result {
  Bytes bytes{};
};
/// A Reassembly with a heap of its own.
struct Maker {
  Heap heap{};
  Reassembly r{heap.buffers()};
  [[nodiscard]] std::size_t size() const { return r.size(); }
  std::size_t expire(std::uint64_t now) { return r.expire(now); }
};
Result give(Maker& maker, const Piece& piece, std::uint64_t now = 0) {
  OwnedPacket p(packet(piece), 64, 0);
  REQUIRE(parse_ip(p.view));
  REQUIRE(classify_local(p.view) == LocalKind::Fragment);
  Result out{maker.r.add(p.view, now)};
  if (out.whole) {
    out.bytes.assign(out.packet.data, out.packet.data + out.packet.length);
    maker.heap.buffers().release(out.packet.handle);
  }
  return out;
}
}  // namespace

TEST_CASE("fragments in any order make the datagram, copies change nothing", "[reassembly][rfc791-3.2]") {
  std::mt19937 random(1);
  for (const std::uint32_t step : {296U, 552U, 1256U, 1480U})
    for (const std::size_t payload : {1500U, 4000U, 9216U}) {
      const Bytes udp = datagram(payload);
      std::vector<Piece> pieces = cut(udp, step);
      std::shuffle(pieces.begin(), pieces.end(), random);
      Maker r;
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
        for (int copy = 0; copy < 2; ++copy) {
          const auto result = give(r, pieces[i]);
          CHECK(!result.whole);
          CHECK(result.ended == 0);
        }
      const auto result = give(r, pieces.back());
      REQUIRE(result.whole);
      CHECK(r.size() == 0);
      OwnedPacket whole(result.bytes, 0, 0);
      REQUIRE(parse_ip(whole.view));
      CHECK(classify_local(whole.view) == LocalKind::Ike);
      CHECK(whole.view.length == udp.size() + kIpv4HeaderBytes);
      CHECK(std::equal(udp.begin(), udp.end(), whole.view.data + whole.view.l4_offset));
    }
}

TEST_CASE("a fragment that lies ends its datagram", "[reassembly][attack-H5]") {
  const Bytes udp = datagram(3000);
  const std::vector<Piece> good = cut(udp, 1000);
  const Bytes some(64, 9);
  const std::vector<Piece> liars{
      {kPeer, 7, 992, some, true},        // overlaps two
      {kPeer, 7, 1000, some, true},       // lies in one
      {kPeer, 7, 2000, some, false},      // ends too early for the second one
      {kPeer, 7, 15992, some, true},      // longer than any
      {kPeer, 7, 4000, Bytes(63), true},  // no multiple of eight bytes
      {kPeer, 7, 4000, {}, true},         // nothing
  };
  for (const Piece& liar : liars) {
    Maker r;
    give(r, good[0]);
    give(r, good[1]);
    Piece shown = liar;
    if (!liar.more) give(r, {kPeer, 7, 2048, some, true});
    const std::size_t before = r.size();
    const auto result = give(r, shown);
    CHECK(!result.whole);
    CHECK(result.ended >= 1);
    CHECK(r.size() == (result.ended > 1 ? before - 1 : before));
  }
}

TEST_CASE("two ends, or more after the end, end a datagram", "[reassembly][attack-H5]") {
  const Bytes some(64, 9);
  for (const Piece& second : {Piece{kPeer, 7, 2064, some, false}, Piece{kPeer, 7, 4000, some, true}}) {
    Maker r;
    give(r, {kPeer, 7, 2000, some, false});
    CHECK(give(r, second).ended == 2);
    CHECK(r.size() == 0);
  }
}

TEST_CASE("what is for nobody is not kept", "[reassembly]") {
  Maker r;
  CHECK(give(r, cut(datagram(3000, 53), 1000)[0]).ended == 1);
  CHECK(give(r, {kPeer, 7, 0, Bytes(8), true}).ended == 1);  // ports only
  CHECK(r.size() == 0);
}

TEST_CASE("datagrams in the making are bounded in all, by source, by parts and by time", "[reassembly][attack-H5]") {
  const Bytes some(8, 9);
  Maker r;
  std::size_t ended = 0;
  for (std::uint16_t id = 0; id < 100; ++id) ended += give(r, {kPeer, id, 1000, some, true}).ended;
  CHECK(r.size() == Reassembly::kMaxOfSource);
  CHECK(ended == 100 - Reassembly::kMaxOfSource);
  for (std::uint32_t source = 1; source <= 1000; ++source) give(r, {source, 1, 1000, some, true});
  CHECK(r.size() == Reassembly::kMaxPackets);
  // A flood does not keep out who sends its pieces one after the other.
  const std::vector<Piece> honest = cut(datagram(3000), 1480, 0x0a090077);
  for (std::uint32_t i = 0; i < honest.size(); ++i) {
    for (std::uint32_t flood = 0; flood < 20; ++flood) give(r, {5000 + i * 20 + flood, 1, 1000, some, true});
    if (i + 1 == honest.size()) CHECK(give(r, honest[i]).whole);
    if (i + 1 != honest.size()) give(r, honest[i]);
  }
  CHECK(r.expire(Reassembly::kLife - 1) == 0);
  CHECK(r.expire(Reassembly::kLife) > 0);
  CHECK(r.size() == 0);
  for (std::uint32_t part = 0; part < Reassembly::kMaxParts; ++part) CHECK(give(r, {kPeer, 1, 16 + part * 16, some, true}).ended == 0);
  CHECK(give(r, {kPeer, 1, 8, some, true}).ended == Reassembly::kMaxParts + 1);
  CHECK(r.size() == 0);
}

TEST_CASE("a packet of ESP is what it was before it was cut", "[reassembly][attack-K2][rfc4303-3.4.1]") {
  for (const std::uint8_t protocol : {kProtocolEsp, kProtocolAh}) {
    Maker r;
    std::vector<Piece> pieces = cut(datagram(3000), 1480);
    for (Piece& piece : pieces) piece.protocol = protocol;
    pieces[0].tos = 0x2a;  // the others are marked otherwise on their way
    pieces[1].tos = 0x03;
    CHECK(!give(r, pieces[2]).whole);
    CHECK(!give(r, pieces[1]).whole);
    const auto result = give(r, pieces[0]);
    REQUIRE(result.whole);
    CHECK(result.used == 3);
    Bytes want = packet({.data = datagram(3000), .more = false, .protocol = protocol, .tos = 0x2b});  // RFC 3168 §5.3
    CHECK(result.bytes == want);
  }
}

TEST_CASE("packets of two protocols with one number are two", "[reassembly]") {
  Maker r;
  std::vector<Piece> esp = cut(datagram(3000), 1480), udp = esp;
  for (Piece& piece : esp) piece.protocol = kProtocolEsp;
  for (std::size_t i = 0; i + 1 < esp.size(); ++i) {
    CHECK(!give(r, esp[i]).whole);
    CHECK(!give(r, udp[i]).whole);
  }
  CHECK(r.size() == 2);
  CHECK(give(r, udp.back()).whole);
  CHECK(give(r, esp.back()).whole);
}

TEST_CASE("without buffers fragments are given up, and nothing else happens", "[reassembly]") {
  Maker none, small;
  none.heap.limit = 0;
  small.heap.room = Reassembly::kBufferBytes - 1;
  for (Maker* r : {&none, &small}) {
    CHECK(give(*r, cut(datagram(3000), 1480)[0]).ended == 1);
    CHECK(r->size() == 0);
  }
}

TEST_CASE("any fragments in any order, against a naive model", "[reassembly][attack-K2]") {
  const unsigned seed = GENERATE(1U, 2U, 3U, 4U);
  CAPTURE(seed);
  std::mt19937 random(seed);
  Maker r;
  std::size_t wholes = 0, given = 0, ended = 0, used = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto source = static_cast<std::uint32_t>(1 + random() % 40);
    const auto id = static_cast<std::uint16_t>(random() % 3);
    Bytes udp = datagram(24 + random() % 3000);
    for (std::size_t i = kUdpHeaderBytes; i < udp.size(); ++i) udp[i] = static_cast<std::uint8_t>(source * 31 + id + i);
    std::vector<Piece> pieces = cut(udp, static_cast<std::uint32_t>(8 * (1 + random() % 180)), source, id);
    if (pieces.size() == 1) continue;
    std::shuffle(pieces.begin(), pieces.end(), random);
    if (random() % 4 == 0) pieces.resize(pieces.size() - random() % pieces.size());
    for (const Piece& piece : pieces) {
      const auto result = give(r, piece, static_cast<std::uint64_t>(round));
      ++given;
      ended += result.ended;
      used += result.used;
      if (!result.whole) continue;
      ++wholes;
      // All bytes are the sender's, each in its place: whatever was mixed, it was of this source and number.
      for (std::size_t i = kIpv4HeaderBytes + kUdpHeaderBytes; i < result.bytes.size(); ++i)
        if (result.bytes[i] != static_cast<std::uint8_t>(source * 31 + id + i - kIpv4HeaderBytes)) FAIL("byte " << i);
    }
    CHECK(r.size() <= Reassembly::kMaxPackets);
  }
  CHECK(wholes > 500);
  ended += r.expire(~std::uint64_t{0});
  CHECK(given == ended + used);  // no fragment is forgotten
}

}  // namespace culvert::dp
