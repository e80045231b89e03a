// Packets that lie in a receive queue when a round begins, as a NIC puts them there: net_ring's rings, filled outside of the measured time.
// Owns a copy of the packets of one queue.
#pragma once

#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "dataplane/io/buffers.hpp"

struct rte_ring;

namespace culvert::bench {

class Feed {
 public:
  static constexpr std::size_t kMost = 1023;  ///< packets: what net_ring's rings hold

  /// For `queue` of the open net_ring device; the frames of a pcap file. Throws std::runtime_error.
  Feed(const std::string& device, unsigned queue, const std::string& file);
  /// Puts all of them into the queue. On the thread that will receive them. Throws where there is no buffer.
  void fill(dp::BufferPool& pool) const;

 private:
  rte_ring* ring_;
  std::vector<Bytes> frames_;
};

}  // namespace culvert::bench
