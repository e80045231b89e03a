// What an SA does besides carrying packets: outer header, lifetimes, sequence numbers, MTU, installation, the table.
#include "common/secret.hpp"
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

TEST_CASE("the outer header", "[esp][rfc4301-5.1.2.1][rfc6040-4.1]") {
  Worker worker;
  const bool udp = GENERATE(false, true);
  SaPair pair(worker, kSuites[0], udp);
  for (unsigned tos = 0; tos < 256; ++tos) {
    const std::uint16_t df = tos % 2 != 0 ? kIpv4Df : std::uint16_t{0};
    const Bytes p = pair.seal({inner_packet(70, static_cast<std::uint8_t>(tos), df)}).at(0);
    REQUIRE(p[0] == 0x45);
    REQUIRE(p[1] == tos);  // DSCP and ECN are copied
    REQUIRE(load_be16(&p[2]) == p.size());
    REQUIRE(load_be16(&p[6]) == df);  // so is DF
    REQUIRE(p[8] == 64);
    REQUIRE(ipv4_header_sum(p.data(), 20) == 0xffff);
    REQUIRE(load_be32(&p[12]) == 0x0a090002);
    REQUIRE(load_be32(&p[16]) == 0x0a090001);
    if (udp) {
      REQUIRE(load_be16(&p[20]) == 4500);
      REQUIRE(load_be16(&p[22]) == 4500);
      REQUIRE(load_be16(&p[24]) == p.size() - 20);
      REQUIRE(load_be16(&p[26]) == 0);  // RFC 3948 §2.1
    }
  }
}

TEST_CASE("IVs never repeat and CBC's are not predictable from the outside",
          "[esp][rfc3602-3][rfc3686-2.1][rfc4106-3.1][rfc7634-2][attack-J2]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  CAPTURE(suite.name);
  Worker worker;
  SaPair pair(worker, suite), other(worker, suite);
  const EspGeometry& g = pair.outbound->geometry;
  if (g.iv_source == IvSource::None) return;
  if (g.esn) pair.outbound->usage.packets = 0xffffffff - 300;  // so that the counter goes on where its lower half starts again
  std::set<Bytes> seen;
  std::uint64_t number = pair.outbound->usage.packets;
  const std::vector<Bytes> packets(640, inner_packet(40));
  for (const Bytes& p : pair.seal(packets)) {
    const Bytes iv(p.begin() + 28, p.begin() + 28 + g.iv);
    CHECK(seen.insert(iv).second);
    if (g.iv_source == IvSource::Counter) CHECK(load_be64(iv.data()) == ++number);  // all of the sequence number
  }
  if (g.iv_source == IvSource::Random)  // not under any key of this worker
    for (const Bytes& p : other.seal(packets)) CHECK(seen.insert(Bytes(p.begin() + 28, p.begin() + 28 + g.iv)).second);
}

TEST_CASE("a packet without room is dropped and takes no sequence number", "[esp][drop]") {
  Worker worker;
  SaPair pair(worker, kSuites[0], true);
  const EspGeometry& g = pair.outbound->geometry;
  const auto front = static_cast<std::uint16_t>(pair.outbound->header_bytes + g.iv);
  CHECK(pair.seal({inner_packet(64)}, static_cast<std::uint16_t>(front - 1)).empty());
  CHECK(pair.seal({inner_packet(64)}, kHeadroom, 15).empty());
  CHECK(pair.seal({inner_packet(0xffff)}).empty());  // the outer packet would be longer than IP can say
  CHECK(worker.dropped(Drop::NoBuffer) == 3);
  CHECK(pair.counters_out->dropped(Direction::Outbound, Drop::NoBuffer) == 3);
  CHECK(pair.counters_out->packets.get() == 0);
  const auto p = pair.seal({inner_packet(64)}, front, 20);  // exactly enough
  REQUIRE(p.size() == 1);
  CHECK(load_be32(&p[0][32]) == 1);
}

TEST_CASE("the largest inner packet that fits", "[esp][mtu]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  const bool udp = GENERATE(false, true);
  CAPTURE(suite.name, udp);
  Worker worker;
  SaPair pair(worker, suite, udp);
  for (const std::uint32_t outer : {576U, 577U, 1280U, 1400U, 1492U, 1499U, 1500U, 9000U}) {
    const std::uint32_t inner = effective_mtu(*pair.outbound, outer);
    CAPTURE(outer, inner);
    const auto fits = pair.seal({inner_packet(inner), inner_packet(inner + 1)});
    CHECK(fits[0].size() <= outer);
    CHECK(fits[1].size() > outer);
  }
  CHECK(effective_mtu(*pair.outbound, 0) == 0);
  CHECK(effective_mtu(*pair.outbound, 40) == 0);
}

TEST_CASE("sequence numbers end and never start again", "[esp][sequence][rfc4303-3.3.3][attack-J6]") {
  Worker worker;
  SaPair pair(worker, kSuites[0]);
  OutboundSa& sa = *pair.outbound;
  const auto skip_to = [&](std::uint64_t n) {
    sa.usage.packets = n;
    sa.reach_mark();
  };
  CHECK(take_expirations(sa, 0).count == 0);
  skip_to(kSequenceSoftLimit - 2);
  CHECK(pair.seal({inner_packet(64)}).size() == 1);
  CHECK(take_expirations(sa, 0).count == 0);
  CHECK(pair.seal({inner_packet(64)}).size() == 1);
  auto report = take_expirations(sa, 0);
  REQUIRE(report.count == 1);
  CHECK_FALSE(report.events[0].hard);
  CHECK(report.events[0].cause == shm::ExpireCause::Sequence);
  CHECK(report.events[0].direction == Direction::Outbound);
  CHECK(report.events[0].spi == sa.spi);
  CHECK(report.events[0].slot == 5);

  skip_to(0xfffffffd);
  const auto last = pair.seal(std::vector<Bytes>(5, inner_packet(64)));
  REQUIRE(last.size() == 2);
  CHECK(load_be32(&last[0][24]) == 0xfffffffe);
  CHECK(load_be32(&last[1][24]) == 0xffffffff);
  CHECK(worker.dropped(Drop::EspSequence) == 3);
  CHECK(pair.counters_out->dropped(Direction::Outbound, Drop::EspSequence) == 3);
  CHECK(pair.counters_out->sequence.get() == 0xffffffff);
  report = take_expirations(sa, 0);
  REQUIRE(report.count == 1);
  CHECK(report.events[0].hard);
  CHECK(report.events[0].cause == shm::ExpireCause::Sequence);
  CHECK(pair.seal({inner_packet(64)}).empty());
  CHECK(take_expirations(sa, 0).count == 0);
  CHECK(pair.open(last).size() == 2);  // the receiver takes them to the very end
}

TEST_CASE("lifetimes in packets and bytes end exactly, and are reported once", "[esp][lifetime][attack-J9]") {
  Worker worker;
  const bool by_bytes = GENERATE(false, true);
  auto in = install(kSuites[0], Direction::Inbound), out = install(kSuites[0], Direction::Outbound);
  for (auto* m : {&in, &out}) {
    (by_bytes ? m->soft.bytes : m->soft.packets) = by_bytes ? 400 : 4;
    (by_bytes ? m->hard.bytes : m->hard.packets) = by_bytes ? 700 : 7;
  }
  const auto cause = by_bytes ? shm::ExpireCause::Bytes : shm::ExpireCause::Packets;
  SaPair pair(worker, in, out);
  const auto packets = [](std::size_t n) { return std::vector<Bytes>(n, inner_packet(100)); };
  const auto check_soft = [&](auto& sa) {
    const auto report = take_expirations(sa, 0);
    REQUIRE(report.count == 1);
    CHECK_FALSE(report.events[0].hard);
    CHECK(report.events[0].cause == cause);
  };
  const auto check_hard = [&](auto& sa) {
    const auto report = take_expirations(sa, 0);
    REQUIRE(report.count == 1);
    CHECK(report.events[0].hard);
    CHECK(report.events[0].cause == cause);
    CHECK(take_expirations(sa, 0).count == 0);
  };
  CHECK(pair.open(pair.seal(packets(3))).size() == 3);
  CHECK(take_expirations(*pair.outbound, 0).count == 0);
  CHECK(take_expirations(*pair.inbound, 0).count == 0);
  CHECK(pair.open(pair.seal(packets(1))).size() == 1);
  check_soft(*pair.outbound);
  check_soft(*pair.inbound);
  CHECK(pair.open(pair.seal(packets(10))).size() == 3);  // in one burst: exactly seven in all
  CHECK(worker.dropped(Drop::EspExpired) == 7);
  CHECK(pair.counters_out->dropped(Direction::Outbound, Drop::EspExpired) == 7);
  check_hard(*pair.outbound);
  check_hard(*pair.inbound);
  // The receiver is exact within a batch, too.
  SaPair fresh(worker, in, install(kSuites[0], Direction::Outbound));
  CHECK(fresh.open(fresh.seal(packets(10))).size() == 7);
  CHECK(fresh.counters_in->dropped(Direction::Inbound, Drop::EspExpired) == 3);
  CHECK(fresh.counters_in->packets.get() == 7);
  const auto report = take_expirations(*fresh.inbound, 0);  // both passed at once
  CHECK(report.count == 2);
}

TEST_CASE("lifetimes in seconds are the manager's", "[esp][lifetime]") {
  Worker worker;
  constexpr std::uint64_t kSecond = 1'000'000'000;
  auto out = install(kSuites[0], Direction::Outbound);
  out.soft.seconds = 10;
  out.hard.seconds = 20;
  SaPair pair(worker, install(kSuites[0], Direction::Inbound), out);
  CHECK(take_expirations(*pair.outbound, 10 * kSecond - 1).count == 0);
  auto report = take_expirations(*pair.outbound, 10 * kSecond);
  REQUIRE(report.count == 1);
  CHECK(report.events[0].cause == shm::ExpireCause::Time);
  CHECK(take_expirations(*pair.outbound, 19 * kSecond).count == 0);
  CHECK(pair.seal({inner_packet(64)}).size() == 1);
  report = take_expirations(*pair.outbound, 21 * kSecond);
  REQUIRE(report.count == 1);
  CHECK(report.events[0].hard);
  CHECK(pair.seal({inner_packet(64)}).empty());
  CHECK(worker.dropped(Drop::EspExpired) == 1);
  CHECK(take_expirations(*pair.inbound, 1000 * kSecond).count == 0);
}

TEST_CASE("an SA that contradicts itself is refused", "[esp][install]") {
  Worker worker;
  shm::SaCounters counters;
  const SaPlacement placement{0, &counters, 0};
  const auto in = [&](auto change) {
    auto m = install(kSuites[2], Direction::Inbound);
    change(m);
    const auto r = make_inbound(m, kCapacity, worker.engine(), placement);
    return r ? shm::AckResult::Ok : r.error();
  };
  const auto out = [&](auto change) {
    auto m = install(kSuites[0], Direction::Outbound);
    change(m);
    const auto r = make_outbound(m, kCapacity, worker.engine(), placement);
    return r ? shm::AckResult::Ok : r.error();
  };
  using M = shm::InstallSa;
  using shm::AckResult;
  CHECK(in([](M&) {}) == AckResult::Ok);
  CHECK(out([](M&) {}) == AckResult::Ok);
  CHECK(in([](M& m) { m.spi.value += 1; }) == AckResult::BadMessage);  // SPI and slot disagree
  CHECK(in([](M& m) { m.spi.value = 5; }) == AckResult::BadMessage);   // reserved
  CHECK(in([](M& m) { m.slot = kCapacity; }) == AckResult::BadMessage);
  CHECK(out([](M& m) { m.slot = kCapacity; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.direction = Direction::Outbound; }) == AckResult::BadMessage);
  CHECK(out([](M& m) { m.direction = Direction::Inbound; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.replay_window = 63; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.replay_window = 16384; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.replay_window = 0; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.encr_key_bytes = 15; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.encr_key_bytes = 255; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.integ_key_bytes = 255; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.integ_key_bytes = 0; }) == AckResult::BadMessage);
  CHECK(out([](M& m) { m.encr_key_bytes = 16; }) == AckResult::BadMessage);  // without the salt
  CHECK(out([](M& m) { m.integ_key_bytes = 20; }) == AckResult::BadMessage);
  CHECK(out([](M& m) { m.suite.integ = Integ::HmacSha1_96; }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.suite.integ = Integ::None; }) == AckResult::Unsupported);             // never unauthenticated
  CHECK(in([](M& m) { m.suite.integ = Integ::Aes128Gmac; }) == AckResult::Unsupported);       // of AH only
  CHECK(in([](M& m) { m.suite.integ = Integ::HmacSha2_512_256; }) == AckResult::BadMessage);  // its key is longer
  CHECK(in([](M& m) { m.suite.key_bits = 192; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.suite.key_bits = 100; }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.suite.encr = static_cast<Encr>(999); }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.suite.protocol = static_cast<SaProtocol>(4); }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.local.address.family = Family::V6; }) == AckResult::BadMessage);  // the remote one is of the other
  CHECK(in([](M& m) { m.local.address.family = Family::None; }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.remote_ts = *TrafficSelector::parse("2001:db8::/32"); }) == AckResult::BadMessage);
  CHECK(in([](M& m) { m.local_ts.first.family = Family::None; }) == AckResult::Unsupported);
  CHECK(in([](M& m) { m.local.port = 4500; }) == AckResult::BadMessage);
  CHECK(in([](M& m) { std::swap(m.local_ts.first, m.local_ts.last); }) == AckResult::BadMessage);
}

TEST_CASE("the SA table: one SPI a slot, and the whole SPI must agree", "[esp][sad]") {
  Worker worker;
  shm::SaCounters counters;
  InboundTable table(kCapacity);
  const auto make = [&](std::uint32_t spi) {
    auto r = make_inbound(install(kSuites[0], Direction::Inbound, false, spi), kCapacity, worker.engine(), {0, &counters, 0});
    REQUIRE(r.has_value());
    return std::move(*r);
  };
  auto a = make(0x1005), again = make(0x1005), b = make(0x2005);
  InboundSa* raw = a.get();
  CHECK(table.publish(5, a) == shm::AckResult::Ok);
  CHECK(a == nullptr);
  CHECK(table.publish(5, again) == shm::AckResult::Exists);
  CHECK(table.publish(5, b) == shm::AckResult::Busy);
  CHECK(table.publish(kCapacity, b) == shm::AckResult::BadMessage);
  CHECK(b != nullptr);
  CHECK(table.find(Spi{0x1005}) == raw);
  CHECK(table.find(Spi{0x2005}) == nullptr);
  CHECK(table.find(Spi{0}) == nullptr);
  CHECK(table.unpublish(5, Spi{0x2005}) == nullptr);
  const auto removed = table.unpublish(5, Spi{0x1005});
  CHECK(removed.get() == raw);
  CHECK(table.find(Spi{0x1005}) == nullptr);
  CHECK(table.publish(5, b) == shm::AckResult::Ok);
}

TEST_CASE("key memory is locked, wiped when given back, and used again", "[esp][sad]") {
  SaArena arena(100);
  auto* a = static_cast<std::uint8_t*>(arena.allocate());
  REQUIRE(a != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(a) % 64 == 0);
  std::memset(a, 0x77, 100);
  arena.free(a);
  for (std::size_t i = 0; i < 100; ++i) CHECK(a[i] == 0);
  CHECK(arena.allocate() == a);
  std::set<void*> all{a};
  for (int i = 0; i < 40'000; ++i) REQUIRE(all.insert(arena.allocate()).second);  // some of the chunks are large pages
}

TEST_CASE("extended sequence numbers go on beyond 2^32, and every half is authenticated", "[esp][sequence][rfc4303-2.2.1][attack-J5]") {
  const auto& suite = kSuites[GENERATE(range<std::size_t>(0, kSuites.size()))];
  if (!suite.esn) return;
  CAPTURE(suite.name);
  Worker worker;
  SaPair pair(worker, suite);
  pair.outbound->usage.packets = 0xffffffff - 20;
  const std::vector<Bytes> packets(40, inner_packet(100));
  // Received from a little before, so that the window follows.
  REQUIRE(pair.inbound->replay.commit(0xffffffff - 30) == ReplayVerdict::Fresh);
  auto sealed = pair.seal(packets);
  REQUIRE(sealed.size() == packets.size());
  CHECK(worker.dropped() == 0);
  CHECK(load_be32(&sealed[39][24]) == 19);  // the lower half alone is sent
  std::swap(sealed[19], sealed[22]);        // across the boundary
  CHECK(pair.open(sealed).size() == packets.size());
  CHECK(pair.inbound->replay.top() == 0x1'0000'0013);
  CHECK(pair.open(sealed).empty());
  CHECK(worker.dropped(Drop::EspReplay) == packets.size());
  CHECK(pair.counters_out->sequence.get() == 0x1'0000'0013);
  // Another upper half is another packet.
  SaPair early(worker, suite);
  CHECK(early.open({sealed[39]}).empty());
  CHECK(early.counters_in->dropped(Direction::Inbound, Drop::EspAuth) == 1);
}
