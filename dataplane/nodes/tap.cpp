#include "dataplane/nodes/tap.hpp"

#include <cstring>

namespace culvert::dp {

void Tap::before(const Burst& burst, Direction d) {
  taken_ = 0;
  const std::uint32_t every = switch_->every.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < burst.size(); ++i) {
    const Packet& p = *burst[i];
    const auto& watched = d == Direction::Inbound ? p.inbound->watched : p.outbound->watched;
    if (!watched.load(std::memory_order_relaxed) || ++skipped_ < every) continue;
    skipped_ = 0;
    chosen_[taken_++] = {&p, ++number_};
    copy(p, d, d == Direction::Inbound ? shm::Capture::kOuter : shm::Capture::kInner, p.rx_port, number_);
  }
}

void Tap::path(const shm::Path& path, Direction d, std::uint32_t slot, Spi spi) {
  (void)ring_->produce([&](shm::Captured& c) {
    c.capture = switch_->id.load(std::memory_order_relaxed);
    c.length = c.bytes = sizeof path;
    c.slot = slot;
    c.spi = spi;
    c.port = 0;
    c.worker = static_cast<std::uint16_t>(worker_);
    c.time_ns = now_;
    c.number = ++number_;
    c.direction = d;
    c.what = shm::Capture::kPath;
    std::memcpy(c.data.data(), static_cast<const void*>(&path), sizeof path);
  });
}

void Tap::copy(const Packet& p, Direction d, std::uint8_t what, std::uint16_t port, std::uint64_t number) {
  if ((switch_->what.load(std::memory_order_relaxed) & what) == 0) return;
  const std::uint32_t most = std::min(switch_->bytes.load(std::memory_order_relaxed), shm::Captured::kBytes);
  // A ring without room counts what it refuses.
  (void)ring_->produce([&](shm::Captured& c) {
    c.capture = switch_->id.load(std::memory_order_relaxed);
    c.length = p.length;
    c.bytes = std::min(p.length, most);
    c.slot = d == Direction::Inbound ? p.inbound->manager.slot : p.outbound->manager.slot;
    c.spi = d == Direction::Inbound ? p.inbound->spi : p.outbound->spi;
    c.port = port;
    c.worker = static_cast<std::uint16_t>(worker_);
    c.time_ns = now_;
    c.number = number;
    c.direction = d;
    c.what = what;
    std::memcpy(c.data.data(), p.data, std::min(p.length, most));  // never by what stands in the slot: culvertd can write there
  });
}

}  // namespace culvert::dp
