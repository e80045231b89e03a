// The books of the data plane: in = out + drops by reason, exactly. Owns the sums over all threads at one moment, and what makes them
// right. Must be asked at rest only: while threads work, their counters are of different moments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/shm/segment.hpp"

namespace culvert::dp {

/// Packets. What a port's device has refused before a worker saw it is not in here: PortCounters::rx_missed and the like.
struct Books {
  std::uint64_t received = 0;   ///< by workers
  std::uint64_t made = 0;       ///< answers, errors, requests, fragments, datagrams of culvertd
  std::uint64_t sent = 0;       ///< that devices have taken
  std::uint64_t dropped = 0;    ///< for all reasons together
  std::uint64_t used_up = 0;    ///< that have done their work here
  std::uint64_t under_way = 0;  ///< between two threads, or waiting

  /// Of a segment whose threads are at rest.
  static Books of(const shm::Segment& segment, std::size_t under_way);
  [[nodiscard]] bool balanced() const { return received + made == sent + dropped + used_up + under_way; }
  [[nodiscard]] std::string text() const;
};

}  // namespace culvert::dp
