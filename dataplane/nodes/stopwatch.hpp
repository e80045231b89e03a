// Where a worker's cycles go, step by step of the path. Measured in one pass of kEvery: the others pay a branch a step.
// Owns the time since the last step; charges it to one step, so that the sums of all are the whole.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/shm/segment.hpp"

namespace culvert::dp {

class Stopwatch {
 public:
  static constexpr std::uint32_t kEvery = 64;
  explicit Stopwatch(shm::WorkerCounters& counters) : counters_(counters) {}

  /// Time that passes from here on is of the pass.
  void start() {
    if (due_) [[unlikely]]
      mark_ = __builtin_ia32_rdtsc();
  }
  /// What has passed since the last call was spent in `node`, on so many packets.
  void lap(shm::Node node, std::size_t packets) {
    if (!due_) [[likely]]
      return;
    const std::uint64_t now = __builtin_ia32_rdtsc();
    shm::NodeCounters& n = counters_.nodes[static_cast<std::size_t>(node)];
    n.cycles.add(now - mark_);
    n.packets.add(packets);
    mark_ = now;
  }
  [[nodiscard]] bool due() const { return due_; }
  void end_pass() { due_ = ++passes_ % kEvery == 0; }

 private:
  shm::WorkerCounters& counters_;
  std::uint64_t mark_ = 0;
  std::uint32_t passes_ = 0;
  bool due_ = false;
};

}  // namespace culvert::dp
