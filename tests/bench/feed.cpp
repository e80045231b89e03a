#include "tests/bench/feed.hpp"

#include <array>
#include <stdexcept>

#include <pcap/pcap.h>
#include <rte_ring.h>

namespace culvert::bench {

Feed::Feed(const std::string& device, unsigned queue, const std::string& file)
    : ring_(rte_ring_lookup(("ETH_RXTX" + std::to_string(queue) + "_" + device).c_str())) {
  if (ring_ == nullptr) throw std::runtime_error("net_ring has no ring for queue " + std::to_string(queue));
  std::array<char, PCAP_ERRBUF_SIZE> why{};
  pcap_t* in = pcap_open_offline(file.c_str(), why.data());
  if (in == nullptr) throw std::runtime_error(why.data());
  pcap_pkthdr* header = nullptr;
  const std::uint8_t* data = nullptr;
  while (pcap_next_ex(in, &header, &data) == 1) frames_.emplace_back(data, data + header->caplen);
  pcap_close(in);
  if (frames_.size() > kMost) throw std::runtime_error("more packets than a ring holds");
}

void Feed::fill(dp::BufferPool& pool) const {
  for (const Bytes& frame : frames_) {
    dp::Packet p;
    if (!pool.allocate(p)) throw std::runtime_error("no buffers");
    p.resize(static_cast<std::uint32_t>(frame.size()));
    std::ranges::copy(frame, p.data);
    dp::store_view(p);
    if (rte_ring_enqueue(ring_, p.handle) != 0) throw std::runtime_error("a ring is full");
  }
}

}  // namespace culvert::bench
