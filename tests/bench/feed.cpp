#include "tests/bench/feed.hpp"

#include <algorithm>
#include <ranges>
#include <stdexcept>

#include <rte_ethdev.h>

#include "tests/bench/frames.hpp"

namespace culvert::bench {

Feed::Feed(const std::string& device, const std::vector<std::string>& files) {
  std::uint16_t id = 0;
  if (rte_eth_dev_get_port_by_name(device.c_str(), &id) != 0) throw std::runtime_error("no device " + device);
  for (const std::string& file : files) {
    queues_.push_back(std::make_unique<Queue>());
    queues_.back()->frames = frames_of(file);
    pointers_.push_back(queues_.back().get());
  }
  rte_eth_fp_ops[id].rx_pkt_burst = receive;
  rte_eth_fp_ops[id].rxq.data = pointers_.data();
}

std::uint16_t Feed::receive(void* queue, rte_mbuf** to, std::uint16_t most) {
  Queue& q = *static_cast<Queue*>(queue);
  const auto n = static_cast<std::uint16_t>(std::min<std::size_t>(q.end - q.next, most));
  std::copy_n(q.waiting.data() + q.next, n, to);
  q.next += n;
  return n;
}

void Feed::fill(dp::BufferPool& pool, unsigned queue, std::size_t first, std::size_t n) {
  Queue& q = *queues_[queue];
  q.next = q.end = 0;
  for (const Bytes& frame : q.frames | std::views::drop(first) | std::views::take(n)) {
    dp::Packet p;
    if (q.end == kMost || !pool.allocate(p)) throw std::runtime_error("no buffers");
    p.resize(static_cast<std::uint32_t>(frame.size()));
    std::ranges::copy(frame, p.data);
    dp::store_view(p);
    q.waiting[q.end++] = static_cast<rte_mbuf*>(p.handle);
  }
}

}  // namespace culvert::bench
