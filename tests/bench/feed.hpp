// Packets that lie in a port's receive queues when a round begins, as a NIC puts them there: filled outside of the measured time. The
// port's device is net_null; of its burst functions the one that receives is replaced, so that what it costs is to hand over pointers. Owns
// a copy of the packets of each queue.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "common/bytes.hpp"
#include "dataplane/io/buffers.hpp"

struct rte_mbuf;

namespace culvert::bench {

class Feed {
 public:
  static constexpr std::size_t kMost = 1024;  ///< packets of a queue at once

  /// For the started device; the frames of a pcap file for each of its queues; "": none. Throws std::runtime_error.
  Feed(const std::string& device, const std::vector<std::string>& files);
  /// Puts `n` packets, from number `first` on, or as many as there are, into a queue that is empty. On the thread that will receive them.
  /// Throws where there is no buffer.
  void fill(dp::BufferPool& pool, unsigned queue, std::size_t first, std::size_t n);

 private:
  struct Queue {
    std::array<rte_mbuf*, kMost> waiting;
    std::size_t next = 0, end = 0;
    std::vector<Bytes> frames;
  };
  static std::uint16_t receive(void* queue, rte_mbuf** to, std::uint16_t most);

  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<void*> pointers_;  // DPDK's
};

}  // namespace culvert::bench
