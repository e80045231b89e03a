// Rings, segment and handshake: order, back-pressure, and distrust of the other side.
#include <memory>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/shm/handshake.hpp"
#include "common/shm/segment.hpp"

using namespace culvert;
using namespace culvert::shm;

namespace {
using SmallRing = RingMemory<std::uint64_t, 8>;
}

TEST_CASE("a ring keeps order, refuses when full and counts it", "[ring][attack-O4]") {
  auto memory = std::make_unique<SmallRing>();
  RingProducer<std::uint64_t, 8> producer(*memory);
  RingConsumer<std::uint64_t, 8> consumer(*memory);
  for (std::uint64_t i = 0; i < 8; ++i) {
    CHECK(producer.room() == 8 - i);
    CHECK(producer.push(i));
  }
  CHECK(producer.room() == 0);
  CHECK_FALSE(producer.push(8));
  CHECK(memory->full.load() == 1);
  CHECK(consumer.fill() == 8);
  for (std::uint64_t i = 0; i < 8; ++i) CHECK(consumer.consume<true>([&](std::uint64_t v) { CHECK(v == i); }) == RingStatus::Item);
  CHECK(consumer.consume([](std::uint64_t) {}) == RingStatus::Empty);
  for (const std::uint64_t slot : memory->slots) CHECK(slot == 0);  // wiped
}

TEST_CASE("an impossible index of the other side is noticed", "[ring]") {
  auto memory = std::make_unique<SmallRing>();
  RingProducer<std::uint64_t, 8> producer(*memory);
  RingConsumer<std::uint64_t, 8> consumer(*memory);
  memory->head.store(9);
  CHECK(consumer.consume([](std::uint64_t) { FAIL("read"); }) == RingStatus::Corrupt);
  memory->head.store(0);
  memory->tail.store(5);  // claims to have read what was never written: looks full
  CHECK(producer.room() == 0);
  CHECK_FALSE(producer.push(1));
}

TEST_CASE("a ring carries a million items between two threads", "[ring]") {
  auto memory = std::make_unique<SmallRing>();
  constexpr std::uint64_t kItems = 1'000'000;
  std::jthread writer([&] {
    RingProducer<std::uint64_t, 8> producer(*memory);
    for (std::uint64_t i = 0; i < kItems;) {
      if (producer.push(i)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  RingConsumer<std::uint64_t, 8> consumer(*memory);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < kItems;) {
    if (consumer.consume([&](std::uint64_t v) { wrong += v != i; }) == RingStatus::Item) {
      ++i;
    } else {
      std::this_thread::yield();
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a segment is attached through a socket, and both sides see the same memory", "[segment]") {
  auto made = Segment::create(2, 3, 64);
  REQUIRE(made);
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
  Welcome welcome;
  welcome.boot_id = made->header().boot_id;
  const int fds[] = {made->fd()};
  REQUIRE(send_with_fds(pair[0], std::as_bytes(std::span(&welcome, 1)), fds));
  Welcome got;
  std::array<int, 3> got_fds{};
  REQUIRE(receive_with_fds(pair[1], std::as_writable_bytes(std::span(&got, 1)), got_fds));
  CHECK(got.boot_id == made->header().boot_id);
  CHECK(got_fds[1] == -1);
  auto attached = Segment::attach(got_fds[0]);
  REQUIRE(attached);
  CHECK(attached->header().sa_capacity == 64);
  CHECK(attached->workers().size() == 2);

  SaSnapshot sa;
  sa.spi = Spi{0x12345};
  sa.name = Name("site/net");
  write_record(made->records(Direction::Outbound)[5], sa);
  made->workers()[1].drops[static_cast<std::size_t>(Drop::EspAuth)].add(7);
  SaSnapshot seen;
  REQUIRE(read_record(attached->records(Direction::Outbound)[5], seen));
  CHECK(seen.spi == sa.spi);
  CHECK(seen.name.view() == "site/net");
  CHECK_FALSE(read_record(attached->records(Direction::Inbound)[5], seen));
  CHECK(attached->workers()[1].drops[static_cast<std::size_t>(Drop::EspAuth)].get() == 7);

  RingProducer<Message, kCommandSlots> commands(attached->rings().command);
  REQUIRE(commands.push(Message::of(RemovePolicy{PolicyId{9}}, 42)));
  RingConsumer<Message, kCommandSlots> reader(made->rings().command);
  CHECK(reader.consume<true>([](const Message& m) {
    CHECK(m.transaction == 42);
    CHECK(m.as<RemovePolicy>().policy.value == 9);
  }) == RingStatus::Item);
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST_CASE("a segment that is not one of ours is refused", "[segment]") {
  const int fd = ::memfd_create("other", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  REQUIRE(::ftruncate(fd, 1 << 16) == 0);
  const auto attached = Segment::attach(fd);
  REQUIRE_FALSE(attached);
  CHECK(attached.error().find("not sealed") != std::string::npos);
}
