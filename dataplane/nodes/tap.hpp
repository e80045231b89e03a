// Copies of the packets of one tunnel, for an operator who asked for them: outer as on the wire, inner as behind it.
// Owns the sampling of one worker and the numbers that pair the two copies. While nothing is captured a burst costs one load. Never waits,
// never allocates: where the ring to culvertd has no room the copy is not made, and counted.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "common/shm/segment.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

/// What is captured now; the manager's to change, read by workers once a burst.
struct CaptureSwitch {
  std::atomic<std::uint32_t> id{0};  ///< 0: nothing. Written last
  std::atomic<std::uint32_t> every{1}, bytes{0};
  std::atomic<std::uint8_t> what{0};
};

class Tap {
 public:
  /// `now`: CLOCK_MONOTONIC of the worker's pass. Without a ring nothing is ever captured.
  Tap(const CaptureSwitch* what, shm::CaptureRing* ring, unsigned worker, const std::uint64_t& now)
      : switch_(ring != nullptr ? what : nullptr), worker_(worker), now_(now) {
    if (ring != nullptr) ring_.emplace(*ring);
  }

  [[nodiscard]] bool on() const { return switch_ != nullptr && switch_->id.load(std::memory_order_acquire) != 0; }
  [[nodiscard]] bool wants(std::uint8_t what) const { return on() && (switch_->what.load(std::memory_order_relaxed) & what) != 0; }
  /// Which one is on; 0: none.
  [[nodiscard]] std::uint32_t capture() const { return switch_ != nullptr ? switch_->id.load(std::memory_order_relaxed) : 0; }
  /// What became of a packet of the SA.
  void path(const shm::Path& path, Direction d, std::uint32_t slot, Spi spi);
  /// The first look at packets under an SA: chooses those that are captured. They are outer ones if inbound, else inner ones.
  void before(const Burst& burst, Direction d);
  // Between the looks, of packets that are elsewhere until the second one, and of views that move: the number that the first look has given
  // to a packet (0: it is not captured), and the list again of those that come back.
  [[nodiscard]] std::uint64_t number_of(const Packet& p) const {
    const auto end = chosen_.begin() + static_cast<std::ptrdiff_t>(taken_);
    const auto it = std::find_if(chosen_.begin(), end, [&p](const Chosen& c) { return c.packet == &p; });
    return it == end ? 0 : it->number;
  }
  void resume(const Packet& p, std::uint64_t number) { chosen_[taken_++] = {&p, number}; }
  void forget() { taken_ = 0; }
  /// The second look, at those that are left of the same burst, in the same order. `port_of(packet)`: where an outer one leaves.
  template <class PortOf>
  void after(const Burst& burst, Direction d, PortOf&& port_of) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < burst.size() && next < taken_; ++i) {
      const Packet& p = *burst[i];
      const auto it = std::find_if(chosen_.begin() + static_cast<std::ptrdiff_t>(next),
                                   chosen_.begin() + static_cast<std::ptrdiff_t>(taken_), [&p](const Chosen& c) { return c.packet == &p; });
      if (it == chosen_.begin() + static_cast<std::ptrdiff_t>(taken_)) continue;
      next = static_cast<std::size_t>(it - chosen_.begin()) + 1;
      copy(p, d, d == Direction::Inbound ? shm::Capture::kInner : shm::Capture::kOuter, port_of(p), it->number);
    }
    taken_ = 0;
  }

 private:
  struct Chosen {
    const Packet* packet;
    std::uint64_t number;
  };
  void copy(const Packet& p, Direction d, std::uint8_t what, std::uint16_t port, std::uint64_t number);

  const CaptureSwitch* switch_;
  std::optional<shm::RingProducer<shm::Captured, shm::kCaptureSlots>> ring_;
  unsigned worker_;
  const std::uint64_t& now_;
  std::uint32_t skipped_ = 0;
  std::uint64_t number_ = 0;
  std::array<Chosen, kBurstMax> chosen_{};
  std::size_t taken_ = 0;
};

}  // namespace culvert::dp
