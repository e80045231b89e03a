// The command queue and the link: order, back-pressure, wiping, late answers, and a data plane that misbehaves.
#include "control/dataplane_link/link.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "tests/support/fake_dataplane.hpp"

using namespace culvert;
using namespace culvert::control;
using namespace std::chrono_literals;

namespace {
constexpr ike::TimePoint kNow{1h};
const Link::Handlers kNothing{[](const shm::Acquire&) {}, [](const shm::Expire&) {}, [](const shm::Moved&) {}, [](const ike::Datagram&) {}};

std::unique_ptr<Link> link_to(test::FakeDataplane& dp) {
  auto attachment = finish_attach(UniqueFd(dp.connect_pair()));
  REQUIRE(attachment);
  return std::make_unique<Link>(std::move(*attachment));
}
}  // namespace

TEST_CASE("commands beyond the ring wait in order, and none is lost", "[link][attack-O4]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  std::size_t acked = 0;
  for (std::uint32_t i = 1; i <= 3000; ++i)
    REQUIRE(
        link->commands().send(shm::RemovePolicy{PolicyId{i}}, kNow, [&](const Outcome& o) { acked += o.kind == Outcome::Kind::Acked; }));
  link->flush();
  CHECK(link->commands().waiting() == 3000 - shm::kCommandSlots);
  while (link->commands().unanswered() > 0) {
    dp.pump();
    REQUIRE(link->drain(kNothing));
    link->flush();
  }
  CHECK(acked == 3000);
  CHECK(dp.segment().rings().command.full.load() > 0);
}

TEST_CASE("installs beyond the bound are refused to the caller", "[link][attack-O4]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  for (std::size_t i = 0; i < CommandQueue::kMaxWaitingInstalls; ++i) REQUIRE(link->commands().send(shm::InstallSa{}, kNow, {}));
  CHECK_FALSE(link->commands().send(shm::InstallSa{}, kNow, {}));
  CHECK(link->commands().send(shm::RemoveSa{}, kNow, {}));  // a removal is never refused
  link->flush();
  CHECK(link->commands().send(shm::InstallSa{}, kNow, {}));
}

TEST_CASE("no key stays behind in the ring once it was consumed", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  shm::InstallSa sa;
  sa.spi = Spi{0x1000};
  sa.encr_key.fill(0xa5);
  REQUIRE(link->commands().send(sa, kNow, {}));
  link->flush();
  dp.pump();
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&dp.segment().rings().command);
  CHECK(std::search_n(bytes, bytes + sizeof(shm::CommandRing), 8, std::uint8_t{0xa5}) == bytes + sizeof(shm::CommandRing));
}

TEST_CASE("an answer that comes late is told apart", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  std::vector<Outcome> outcomes;
  REQUIRE(link->commands().send(shm::RemovePolicy{PolicyId{1}}, kNow, [&](const Outcome& o) { outcomes.push_back(o); }));
  link->flush();
  link->commands().on_time(kNow + 4s);
  CHECK(outcomes.empty());
  link->commands().on_time(kNow + 6s);
  link->commands().on_time(kNow + 7s);
  REQUIRE(outcomes.size() == 1);
  CHECK(outcomes[0].kind == Outcome::Kind::TimedOut);
  dp.pump();
  REQUIRE(link->drain(kNothing));
  REQUIRE(outcomes.size() == 2);
  CHECK(outcomes[1].kind == Outcome::Kind::Acked);
  CHECK(outcomes[1].late);
}

TEST_CASE("a lost link ends every command", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  int lost = 0;
  for (int i = 0; i < 5; ++i)
    REQUIRE(link->commands().send(shm::RemovePolicy{PolicyId{1}}, kNow, [&](const Outcome& o) { lost += o.kind == Outcome::Kind::Lost; }));
  link->commands().lose_all();
  CHECK(lost == 5);
  CHECK(link->commands().unanswered() == 0);
  CHECK(link->commands().waiting() == 0);
}

TEST_CASE("events and datagrams arrive; lengths beyond the slot and unknown messages are counted, not believed", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  int acquires = 0, expires = 0, moves = 0;
  std::vector<ike::Datagram> datagrams;
  const Link::Handlers handlers{[&](const shm::Acquire&) { ++acquires; }, [&](const shm::Expire&) { ++expires; },
                                [&](const shm::Moved&) { ++moves; }, [&](const ike::Datagram& d) { datagrams.push_back(d); }};
  dp.event(shm::Message::of(shm::Acquire{}));
  dp.event(shm::Message::of(shm::Expire{}));
  dp.event(shm::Message::of(shm::Moved{}));
  dp.event(shm::Message::of(shm::Ack{4711, shm::AckResult::Ok}));  // of nothing we sent
  shm::Message odd;
  odd.type = static_cast<shm::MessageType>(999);
  dp.event(odd);
  const Bytes data{1, 2, 3};
  dp.punt({IpAddress::v4(0x0a090001), 500}, {IpAddress::v4(0x0a090002), 500}, data);
  dp.punt({}, {}, Bytes(shm::kMaxDatagram + 1));
  for (const std::uint8_t heard : {std::uint8_t{1}, std::uint8_t{2}}) dp.punt({}, {}, data, heard);
  const auto more = link->drain(handlers);
  REQUIRE(more);
  CHECK_FALSE(*more);
  CHECK(acquires == 1);
  CHECK(expires == 1);
  CHECK(moves == 1);
  REQUIRE(datagrams.size() == 3);
  CHECK_FALSE(datagrams[0].heard);
  CHECK(datagrams[1].heard);
  CHECK_FALSE(datagrams[2].heard);  // nothing that the data plane writes
  CHECK(datagrams[0].data == data);
  CHECK(datagrams[0].remote.to_string() == "10.9.0.2:500");
  CHECK(link->invalid_messages() == 3);
}

TEST_CASE("a flood of datagrams is taken in portions", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  std::size_t n = 0;
  const Link::Handlers handlers{kNothing.acquire, kNothing.expire, kNothing.moved, [&](const ike::Datagram&) { ++n; }};
  for (std::size_t i = 0; i < Link::kDatagramBudget + 1; ++i) dp.punt({}, {}, Bytes{1});
  CHECK(*link->drain(handlers));
  CHECK(n == Link::kDatagramBudget);
  CHECK_FALSE(*link->drain(handlers));
  CHECK(n == Link::kDatagramBudget + 1);
}

TEST_CASE("an impossible ring index ends the link", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  SECTION("events") { dp.segment().rings().event.head.store(shm::kEventSlots + 7); }
  SECTION("punt") { dp.segment().rings().punt.head.store(shm::kDatagramSlots + 7); }
  CHECK_FALSE(link->drain(kNothing));
}

TEST_CASE("injected datagrams reach the data plane, with a wake-up; a full ring says so", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  const ike::Datagram d{{IpAddress::v4(1), 500}, {IpAddress::v4(2), 500}, {9, 8, 7}};
  CHECK(link->inject(d));
  pollfd p{dp.to_dataplane, POLLIN, 0};
  CHECK(::poll(&p, 1, 0) == 1);
  REQUIRE(dp.take_injected().size() == 1);
  for (std::uint32_t i = 0; i < shm::kDatagramSlots; ++i) CHECK(link->inject(d));
  CHECK_FALSE(link->inject(d));
  CHECK_FALSE(link->inject({{}, {}, Bytes(shm::kMaxDatagram + 1)}));
}

TEST_CASE("a datagram goes behind the commands that were queued before it", "[link]") {
  test::FakeDataplane dp;
  auto link = link_to(dp);
  REQUIRE(link->commands().send(shm::RemovePolicy{PolicyId{1}}, kNow, {}));
  CHECK(link->inject({{IpAddress::v4(1), 500}, {IpAddress::v4(2), 500}, {9, 8, 7}}));
  CHECK(link->commands().waiting() == 0);
  CHECK(dp.pump() == 1);
}

TEST_CASE("each refusal of the handshake says what to do", "[link]") {
  test::FakeDataplane dp;
  const std::string path = "/tmp/culvert-link-test-" + std::to_string(::getpid()) + ".sock";
  const auto attempt = [&](shm::WelcomeResult result) {
    auto begun = begin_attach(path);
    REQUIRE(begun);
    CHECK_FALSE(dp.accept(result));
    auto done = finish_attach(std::move(*begun));
    REQUIRE_FALSE(done);
    return done.error();
  };
  REQUIRE_FALSE(begin_attach(path));
  CHECK_THAT(begin_attach(path).error(), Catch::Contains("culvert-dataplane running"));
  dp.listen(path);
  CHECK_THAT(attempt(shm::WelcomeResult::OtherLayout), Catch::Contains("same build"));
  CHECK_THAT(attempt(shm::WelcomeResult::NotAllowed), Catch::Contains("dataplane.control_user"));
  CHECK_THAT(attempt(shm::WelcomeResult::AlreadyAttached), Catch::Contains("another culvertd"));
  CHECK_THAT(attempt(static_cast<shm::WelcomeResult>(77)), Catch::Contains("unknown"));
  auto begun = begin_attach(path);
  REQUIRE(begun);
  CHECK(dp.accept());
  CHECK(finish_attach(std::move(*begun)));
}
