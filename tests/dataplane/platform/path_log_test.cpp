// The ways of packets as a worker tells them: what is followed, in which order, and how each way ends.
#include "dataplane/nodes/path_log.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::dp;
using shm::StepKind;

namespace {
struct Rig {
  std::unique_ptr<shm::CaptureRing> memory = std::make_unique<shm::CaptureRing>();
  CaptureSwitch what;
  std::uint64_t now = 5;
  Tap tap{&what, memory.get(), 3, now};
  PathLog log{tap};
  shm::RingConsumer<shm::Captured, shm::kCaptureSlots> reader{*memory};
  std::unique_ptr<InboundSa> in = std::make_unique<InboundSa>();
  std::unique_ptr<OutboundSa> out = std::make_unique<OutboundSa>();
  std::array<std::uint8_t, 64> bytes{0x45, 0, 0, 64, 0, 0, 0, 0, 17};

  Rig() {
    in->spi = Spi{0x1111};
    out->spi = Spi{0x2222};
    in->watched = out->watched = true;
    what.what = shm::Capture::kPath;
    what.bytes = shm::Captured::kBytes;
    what.id = 7;
    log.begin_pass();
  }
  Packet packet() {
    Packet p;
    p.data = bytes.data();
    p.length = static_cast<std::uint32_t>(bytes.size());
    p.family = Family::V4;
    return p;
  }
  std::optional<shm::Captured> next() {
    std::optional<shm::Captured> c;
    (void)reader.consume([&](const shm::Captured& slot) { c = slot; });
    return c;
  }
  static shm::Path path(const shm::Captured& c) {
    shm::Path p;
    std::memcpy(static_cast<void*>(&p), c.data.data(), sizeof p);
    return p;
  }
};
std::vector<StepKind> kinds(const shm::Path& p) {
  std::vector<StepKind> out;
  for (std::uint32_t i = 0; i < p.count; ++i) out.push_back(p.steps[i].kind);
  return out;
}
const NextHop kHop{.kind = HopKind::OnLink, .port = 1};
const std::uint64_t kKnown = Neighbor::encode(NeighborState::Reachable, {2, 0, 0, 0, 0, 9});
}  // namespace

TEST_CASE("a packet that leaves under an SA, one that is dropped, and one that nobody follows", "[path_log]") {
  Rig rig;
  Packet a = rig.packet(), b = rig.packet(), c = rig.packet();
  OutboundSa other;
  a.outbound = b.outbound = rig.out.get();
  c.outbound = &other;
  for (const Packet* p : {&a, &b, &c}) rig.log.decided(*p, OutboundAction::Protect, kHop);
  rig.log.dropped(b, Drop::TooBig);
  rig.log.dropped(c, Drop::TooBig);
  rig.log.leaves(a, kHop, IpAddress::v4(0x0a090002), kKnown);
  rig.log.leaves(c, kHop, IpAddress::v4(0x0a090002), kKnown);
  const auto first = rig.next(), second = rig.next();
  REQUIRE(first);
  REQUIRE(second);
  CHECK_FALSE(rig.next());
  CHECK(first->what == shm::Capture::kPath);
  CHECK(first->capture == 7);
  CHECK(first->worker == 3);
  CHECK(first->time_ns == 5);
  CHECK(first->spi == Spi{0x2222});
  CHECK(Rig::path(*first).dropped == Drop::TooBig);
  const shm::Path way = Rig::path(*second);
  CHECK(way.dropped == Drop::Count_);
  CHECK(kinds(way) == std::vector<StepKind>{StepKind::Arrives, StepKind::TimeToLive, StepKind::Route, StepKind::OutboundPolicy,
                                            StepKind::LeavesUnderSa, StepKind::Neighbor, StepKind::Leaves});
  rig.log.end_pass();
  CHECK_FALSE(rig.next());
}

TEST_CASE("what arrives under an SA is followed from there on; a way without an end is told when the pass is over", "[path_log]") {
  Rig rig;
  Packet a = rig.packet(), b = rig.packet();
  a.inbound = b.inbound = rig.in.get();
  Burst burst;
  burst.push_back(&a);
  burst.push_back(&b);
  rig.log.arrive(burst);
  rig.log.stays(a, {.kind = StepKind::IsForUs});
  CHECK(Rig::path(rig.next().value()).answered == 1);
  CHECK_FALSE(rig.next());
  rig.log.end_pass();
  CHECK(kinds(Rig::path(rig.next().value())) == std::vector<StepKind>{StepKind::ArrivesUnderSa});
  // The views of the next pass are the same objects, and other packets.
  rig.log.begin_pass();
  rig.log.dropped(a, Drop::EspAuth);
  CHECK_FALSE(rig.next());
  rig.what.id = 0;
  rig.log.begin_pass();
  CHECK_FALSE(rig.log.on());
}

TEST_CASE("more packets than can be followed, and a ring without room, lose the rest and count it", "[path_log]") {
  Rig rig;
  std::vector<Packet> many(kBurstMax + 5, rig.packet());
  for (unsigned round = 0; round < 20; ++round) {
    rig.log.begin_pass();
    for (Packet& p : many) {
      p.outbound = rig.out.get();
      rig.log.decided(p, OutboundAction::Protect, kHop);
    }
    for (Packet& p : many) rig.log.done(p);
    rig.log.end_pass();
  }
  std::size_t told = 0;
  while (rig.next()) ++told;
  CHECK(told == shm::kCaptureSlots);
  CHECK(rig.memory->full.load() == 20 * kBurstMax - shm::kCaptureSlots);
}

TEST_CASE("the way of a packet whose crypto others do goes on when it is back", "[path_log][spread]") {
  Rig rig;
  Packet a = rig.packet(), b = rig.packet(), c = rig.packet();
  for (Packet* p : {&a, &b, &c}) {
    p->outbound = rig.out.get();
    rig.log.decided(*p, OutboundAction::Protect, kHop);
  }
  std::array<Packet, 3> views{a, b, c};
  rig.log.moved(a, views[0]);
  rig.log.moved(b, views[1]);
  rig.log.moved(c, views[2]);
  rig.log.dropped(views[2], Drop::EspReplay);  // by the first look, before it is away
  CHECK(Rig::path(rig.next().value()).dropped == Drop::EspReplay);
  const std::uint16_t first = rig.log.park(views[0]), second = rig.log.park(views[1]);
  CHECK((first != 0 && second != 0 && rig.log.park(views[2]) == 0));
  rig.log.end_pass();
  CHECK_FALSE(rig.next());

  rig.log.begin_pass();
  rig.log.resume(views[0], first);
  rig.log.resume(views[1], second);
  rig.log.resume(views[2], 0);
  rig.log.dropped(views[1], Drop::EspAuth);
  CHECK(Rig::path(rig.next().value()).dropped == Drop::EspAuth);
  rig.log.leaves(views[0], kHop, IpAddress::v4(0x0a090002), kKnown);
  CHECK(kinds(Rig::path(rig.next().value())) == std::vector<StepKind>{StepKind::Arrives, StepKind::TimeToLive, StepKind::Route,
                                                                      StepKind::OutboundPolicy, StepKind::LeavesUnderSa, StepKind::Neighbor,
                                                                      StepKind::Leaves});
  rig.log.end_pass();
  CHECK_FALSE(rig.next());
}

TEST_CASE("what waits for its packet is bounded, and of no other capture", "[path_log][spread]") {
  Rig rig;
  std::vector<Packet> many(PathLog::kParked + 3, rig.packet());
  std::vector<std::uint16_t> parked;
  const auto park_all = [&] {
    parked.clear();
    for (Packet& p : many) {
      rig.log.begin_pass();
      p.outbound = rig.out.get();
      rig.log.decided(p, OutboundAction::Protect, kHop);
      parked.push_back(rig.log.park(p));
      rig.log.end_pass();
    }
  };
  const auto told = [&] {
    std::size_t n = 0;
    while (rig.next()) ++n;
    return n;
  };
  for (const bool same : {true, false, true}) {
    park_all();
    CHECK(told() == 3);  // those that no place was left for, as far as they were known
    CHECK(std::ranges::count(parked, 0) == 3);
    if (!same) rig.what.id = rig.what.id + 1;
    rig.log.begin_pass();
    for (std::size_t i = 0; i < many.size(); ++i) rig.log.resume(many[i], parked[i]);
    rig.log.end_pass();
    CHECK(told() == (same ? PathLog::kParked : 0));
  }
  park_all();
  (void)told();
  rig.what.id = 0;  // over meanwhile
  rig.log.begin_pass();
  for (std::size_t i = 0; i < many.size(); ++i) rig.log.resume(many[i], parked[i]);
  CHECK(told() == 0);
  rig.what.id = 9;
  park_all();
  CHECK(std::ranges::count(parked, 0) == 3);  // all places are free again
}
