#include "dataplane/manager/books.hpp"

#include <spdlog/fmt/fmt.h>

namespace culvert::dp {

namespace {
std::uint64_t drops(const std::array<shm::Counter, kDropReasons>& by_reason) {
  std::uint64_t n = 0;
  for (const shm::Counter& c : by_reason) n += c.get();
  return n;
}
}  // namespace

Books Books::of(const shm::Segment& segment, std::size_t under_way) {
  const shm::ManagerCounters& manager = segment.manager();
  Books b{.made = manager.generated.get(), .dropped = drops(manager.drops), .used_up = manager.consumed.get(), .under_way = under_way};
  for (const shm::WorkerCounters& w : segment.workers()) {
    b.received += w.rx_packets.get();
    b.made += w.generated.get();
    b.sent += w.tx_packets.get();
    b.dropped += drops(w.drops);
    b.used_up += w.consumed.get();
  }
  return b;
}

std::string Books::text() const {
  return fmt::format("packets: {} received + {} made = {} sent + {} dropped + {} used up + {} under way", received, made, sent, dropped,
                     used_up, under_way);
}

}  // namespace culvert::dp
