// Every way in which an ESP packet can be refused: the reason, the counters, and that nothing else changes.
#include <random>

#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
/// Offers `packet` and demands that it is dropped under `reason`, counted so by the SA (unless none is found), and that all else,
/// the window included, stays.
void expect_drop(Worker& worker, SaPair& pair, const Bytes& packet, Drop reason, bool by_sa = true) {
  auto expected = std::make_unique<shm::SaCounters>();
  std::memcpy(static_cast<void*>(expected.get()), static_cast<const void*>(pair.counters_in.get()), sizeof(shm::SaCounters));
  if (by_sa) expected->drop(Direction::Inbound, reason);
  const auto all = worker.dropped(), mine = worker.dropped(reason), top = pair.inbound->replay.top();
  const auto usage = pair.inbound->usage;
  const auto out = pair.open({packet});
  CAPTURE(info(reason).name);
  REQUIRE(out.empty());
  REQUIRE(worker.dropped(reason) == mine + 1);
  REQUIRE(worker.dropped() == all + 1);
  REQUIRE(values(*pair.counters_in) == values(*expected));
  REQUIRE(pair.inbound->replay.top() == top);
  REQUIRE(pair.inbound->usage.packets == usage.packets);
  REQUIRE(pair.inbound->usage.bytes == usage.bytes);
}
std::uint64_t dropped_by(const SaPair& pair, Drop reason) { return pair.counters_in->dropped(Direction::Inbound, reason); }
const auto& suite_of_this_run() { return kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))]; }

/// Sets the IPv4 (and UDP) lengths and checksum to what the packet has.
void fix_lengths(Bytes& p) {
  store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
  set_ipv4_checksum(p.data());
  if (p[9] == kProtocolUdp && p.size() >= 28) store_be16(&p[24], static_cast<std::uint16_t>(p.size() - 20));
}
}  // namespace

TEST_CASE("corrupted in any byte: the reason fits the byte, and nothing changes", "[esp][drop][attack-J1]") {
  const auto& suite = suite_of_this_run();
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair(worker, suite, udp);
  std::vector<Bytes> sealed = pair.seal({inner_packet(64), inner_packet(100)});
  REQUIRE(pair.open({sealed[0]}).size() == 1);  // the window stands at 1
  const std::size_t esp = udp ? 28 : 20;
  for (std::size_t at = esp; at < sealed[1].size(); ++at) {
    CAPTURE(at);
    Bytes bad = sealed[1];
    bad[at] ^= 0x40;
    if (at < esp + 4) {
      expect_drop(worker, pair, bad, Drop::EspNoSa, false);
    } else {
      expect_drop(worker, pair, bad, Drop::EspAuth);
    }
  }
  // Sequence number 2 forged into ones that the window refuses before any crypto.
  Bytes replay = sealed[1], zero = sealed[1];
  store_be32(&replay[esp + 4], 1);
  expect_drop(worker, pair, replay, Drop::EspReplay);
  store_be32(&zero[esp + 4], 0);
  expect_drop(worker, pair, zero, Drop::EspOld);
  CHECK(pair.open({sealed[1]}).size() == 1);  // and the honest one still gets through
}

TEST_CASE("another peer, another encapsulation", "[esp][drop][rfc4301-5.2][attack-J7]") {
  Worker worker;
  SaPair native(worker, kSuites[0], false), udp(worker, kSuites[0], true);
  for (const bool in_udp : {false, true}) {
    SaPair& pair = in_udp ? udp : native;
    const Bytes good = pair.seal({inner_packet(64)})[0];
    for (const std::size_t at : {15U, 19U}) {  // outer source, outer destination
      Bytes bad = good;
      bad[at] ^= 8;
      set_ipv4_checksum(bad.data());
      expect_drop(worker, pair, bad, Drop::EspWrongPeer);
    }
    if (in_udp)
      for (const std::size_t at : {21U, 23U}) {  // UDP ports
        Bytes bad = good;
        bad[at] ^= 1;
        expect_drop(worker, pair, bad, Drop::EspWrongPeer);
      }
    SaPair& other = in_udp ? native : udp;  // the same SPI there: the encapsulation is what differs
    expect_drop(worker, other, good, Drop::EspWrongPeer);
    CHECK(pair.open({good}).size() == 1);
  }
}

TEST_CASE("every length from 0 to 80 bytes of ESP", "[esp][drop][runt][attack-K1][attack-J10]") {
  const auto& suite = suite_of_this_run();
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair(worker, suite, udp);
  const EspGeometry& g = pair.outbound->geometry;
  const Bytes good = pair.seal({inner_packet(200)})[0];
  for (std::size_t n = 0; n <= 80; ++n) {
    CAPTURE(n);
    Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>((udp ? 28 : 20) + n));
    fix_lengths(cut);
    const std::size_t around = kEspHeaderBytes + g.iv + std::size_t{g.icv};
    if (n < kEspHeaderBytes) {
      expect_drop(worker, pair, cut, Drop::EspRunt, false);  // not even an SPI and a sequence number
    } else if (n < around + g.align || (n - around) % g.align != 0) {
      expect_drop(worker, pair, cut, Drop::EspRunt);
    } else {
      expect_drop(worker, pair, cut, Drop::EspAuth);
    }
  }
  if (udp) {  // RFC 768: a length that the IP packet does not have, or that is no header
    for (const std::uint16_t length : {std::uint16_t{0}, std::uint16_t{7}, static_cast<std::uint16_t>(good.size() - 19)}) {
      Bytes bad = good;
      store_be16(&bad[24], length);
      expect_drop(worker, pair, bad, Drop::EspRunt);
    }
  }
  CHECK(pair.open({good}).size() == 1);
}

TEST_CASE("replays, within a burst and across bursts", "[esp][replay][rfc4303-3.4.3][attack-J3][attack-J4]") {
  const auto& suite = suite_of_this_run();
  CAPTURE(suite.name);
  Worker worker;
  SaPair pair(worker, suite);
  const auto packet = [&](std::uint32_t sequence) { return pair.craft(sequence, pair.padded(inner_packet(40))); };
  std::vector<Bytes> first;
  for (std::uint32_t n = 1; n <= 33; ++n) first.push_back(packet(n));
  CHECK(pair.open(first).size() == 33);
  CHECK(pair.open(first).empty());
  CHECK(worker.dropped(Drop::EspReplay) == 33);
  CHECK(pair.open(std::vector<Bytes>(8, packet(35))).size() == 1);  // eight times the same in one burst
  CHECK(worker.dropped(Drop::EspReplay) == 40);
  CHECK(dropped_by(pair, Drop::EspReplay) == 40);
  // Forged packets far ahead do not move the window.
  std::vector<Bytes> forged;
  for (int i = 0; i < 17; ++i) {
    forged.push_back(packet(500));
    forged.back().back() ^= 1;
  }
  CHECK(pair.open(forged).empty());
  CHECK(dropped_by(pair, Drop::EspAuth) == 17);
  CHECK(pair.inbound->replay.top() == 35);
  CHECK(pair.open({packet(34)}).size() == 1);
  // In one batch: 200, then 81, which was inside of the window when the batch began, then 201.
  CHECK(pair.open({packet(80)}).size() == 1);
  CHECK(pair.open({packet(200), packet(81), packet(201)}).size() == 2);
  CHECK(worker.dropped(Drop::EspOld) == 1);
  // With extended numbers, what lies left of the window is taken for one of the next 2^32, and is not authentic as such.
  const unsigned old = suite.esn ? 1 : 2;
  CHECK(pair.open({packet(17)}).empty());
  CHECK(worker.dropped(Drop::EspOld) == old);
  CHECK(dropped_by(pair, Drop::EspOld) == old);
  CHECK(dropped_by(pair, Drop::EspAuth) == 17 + 2 - old);
  CHECK(pair.counters_in->packets.get() == 33 + 1 + 1 + 1 + 2);
  CHECK(pair.counters_in->sequence.get() == 201);
}

TEST_CASE("authentic, but wrong inside", "[esp][drop][rfc4303-2.4][attack-I4][attack-J8]") {
  const auto& suite = suite_of_this_run();
  CAPTURE(suite.name);
  Worker worker;
  SaPair pair(worker, suite);
  std::uint32_t sequence = 0;
  const auto offer = [&](const Bytes& text, Drop reason) {
    const auto before = worker.dropped(reason), all = worker.dropped();
    CAPTURE(reason == Drop::Count_ ? "accepted" : info(reason).name, sequence);
    const auto out = pair.open({pair.craft(++sequence, text)});
    if (reason == Drop::Count_) {
      REQUIRE(out.size() == 1);
      REQUIRE(worker.dropped() == all);
    } else {
      REQUIRE(out.empty());
      REQUIRE(worker.dropped(reason) == before + 1);
      REQUIRE(worker.dropped() == all + 1);
    }
    REQUIRE(pair.inbound->replay.top() == sequence);  // its number is used up in any case
  };
  const Bytes inner = inner_packet(84);

  SECTION("pad length") {
    Bytes text = pair.padded(inner);
    text[text.size() - 2] = 0xff;
    offer(text, Drop::EspPadding);
    text = Bytes(pair.outbound->geometry.align, 0);  // nothing but a trailer that claims one byte too many
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint8_t>(i + 1);
    text[text.size() - 2] = static_cast<std::uint8_t>(text.size() - 1);
    text.back() = 4;
    offer(text, Drop::EspPadding);
    text[text.size() - 2] = static_cast<std::uint8_t>(text.size() - 2);  // exactly nothing inside
    offer(text, Drop::EspInner);
    Bytes longest = inner;  // RFC 4303 §2.4: up to 255
    std::uint8_t pad = 0;
    while (pad < 200 || (longest.size() + 2) % 16 != 0) longest.push_back(++pad);
    longest.push_back(pad);
    longest.push_back(4);
    offer(longest, Drop::Count_);
  }
  SECTION("pad bytes") {
    Bytes text = inner_packet(84 + 14 - 84 % 16);
    const std::size_t at = text.size();
    for (std::uint8_t i = 1; i <= 16; ++i) text.push_back(i);
    text.push_back(16);
    text.push_back(4);
    REQUIRE(text.size() % 16 == 0);
    offer(text, Drop::Count_);
    for (std::size_t i = 0; i < 16; ++i) {
      Bytes bad = text;
      bad[at + i] ^= 1;
      offer(bad, Drop::EspPadding);
    }
    CHECK(dropped_by(pair, Drop::EspPadding) == 16);
  }
  SECTION("next header") {
    for (unsigned nh = 0; nh < 256; ++nh)
      offer(pair.padded(inner, static_cast<std::uint8_t>(nh)), nh == 4    ? Drop::Count_
                                                               : nh == 41 ? Drop::EspInner
                                                               : nh == 59 ? Drop::EspDummy
                                                                          : Drop::EspNextHeader);
    CHECK(pair.counters_in->packets.get() == 1);
    CHECK(dropped_by(pair, Drop::EspNextHeader) == 253);
    CHECK(dropped_by(pair, Drop::EspDummy) == 1);
  }
  SECTION("inner packet") {
    Bytes bad = inner;
    store_be16(&bad[2], 85);  // longer than what was decrypted
    set_ipv4_checksum(bad.data());
    offer(pair.padded(bad), Drop::EspInner);
    bad = inner;
    bad[10] ^= 1;  // checksum
    offer(pair.padded(bad), Drop::EspInner);
    for (const int first : {0x44, 0x4f, 0x65, 0x00}) {
      bad = inner_packet(40);
      bad[0] = static_cast<std::uint8_t>(first);
      offer(pair.padded(bad), Drop::EspInner);
    }
    for (std::size_t n = 0; n < 20; ++n)
      offer(pair.padded(Bytes(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(n))), Drop::EspInner);
    // Shorter: padded against traffic analysis (RFC 4303 §2.7).
    Bytes tfc = inner;
    tfc.resize(300, 0xaa);
    const auto out = pair.open({pair.craft(++sequence, pair.padded(tfc))});
    REQUIRE(out.size() == 1);
    CHECK(out[0] == inner);
  }
  SECTION("selectors") {
    Bytes bad = inner;
    bad[14] = 9;  // source 10.2.9.5
    set_ipv4_checksum(bad.data());
    offer(pair.padded(bad), Drop::EspSelector);
    bad = inner;
    bad[18] = 9;
    set_ipv4_checksum(bad.data());
    offer(pair.padded(bad), Drop::EspSelector);
    // Of another tunnel, of the LAN, a group, a loopback, ourselves; a packet of IPv6.
    const std::vector<Bytes> sources{{10, 7, 0, 1}, {10, 1, 0, 9}, {224, 0, 0, 5}, {127, 0, 0, 1}, {10, 9, 0, 1}};
    for (const Bytes& source : sources) {
      bad = inner;
      std::copy(source.begin(), source.end(), bad.begin() + 12);
      set_ipv4_checksum(bad.data());
      offer(pair.padded(bad), Drop::EspSelector);
    }
    bad = inner;
    bad[0] = 0x65;
    offer(pair.padded(bad), Drop::EspInner);
    CHECK(dropped_by(pair, Drop::EspSelector) == 7);
    CHECK(pair.counters_in->packets.get() == 0);
  }
}

TEST_CASE("selectors with protocol and ports", "[esp][selector][rfc4301-5.2][attack-I4]") {
  Worker worker;
  auto in = install(kSuites[0], Direction::Inbound), out = install(kSuites[0], Direction::Outbound);
  in.local_ts = *TrafficSelector::parse("10.1.0.0/24[udp/9]");
  in.remote_ts = *TrafficSelector::parse("10.2.0.0/24[udp/7]");
  SaPair pair(worker, in, out);
  CHECK(pair.open(pair.seal({inner_packet(60)})).size() == 1);
  Bytes port = inner_packet(60), tcp = inner_packet(60), later = inner_packet(60, 0, 10), first = inner_packet(60, 0, kIpv4Mf);
  store_be16(&port[22], 10);
  tcp[9] = kProtocolTcp;
  set_ipv4_checksum(tcp.data());
  CHECK(pair.open(pair.seal({port, tcp, later})).empty());  // a later fragment shows no port: it cannot be told to match
  CHECK(worker.dropped(Drop::EspSelector) == 3);
  CHECK(pair.open(pair.seal({first})).size() == 1);
}

TEST_CASE("congestion marks on the way out of the tunnel", "[esp][rfc6040-4.2]") {
  Worker worker;
  SaPair pair(worker, kSuites[0]);
  constexpr int kDropped = -1;
  // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: the same of the outer header.
  constexpr std::array<std::array<int, 4>, 4> kExpected{{{0, 0, 0, kDropped}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}}};
  std::uint32_t sequence = 0;
  for (unsigned inner = 0; inner < 4; ++inner)
    for (unsigned outer = 0; outer < 4; ++outer) {
      CAPTURE(inner, outer);
      const auto tos = static_cast<std::uint8_t>(0xb8 | inner);
      const auto out = pair.open({pair.craft(++sequence, pair.padded(inner_packet(60, tos)), static_cast<std::uint8_t>(outer))});
      if (kExpected[inner][outer] == kDropped) {
        CHECK(out.empty());
        CHECK(worker.dropped(Drop::EspEcn) == 1);
        continue;
      }
      REQUIRE(out.size() == 1);
      CHECK(out[0] == inner_packet(60, static_cast<std::uint8_t>(0xb8 | kExpected[inner][outer])));  // the checksum, too
    }
}
