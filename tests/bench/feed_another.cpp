// A library for DPDK's ipsec-secgw (LD_PRELOAD), which does there what feed.hpp does here: of one started device, the burst function that
// receives is replaced by one that hands over packets which lie in a queue. The queue is filled when it is empty, on the same thread; how
// long that takes is told, so that it can be left out, as it is here. Changes nothing else of the program. The environment says:
//   CULVERT_FEED       a pcap file, whose packets come again and again
//   CULVERT_FEED_PORT  the number of the device
//   CULVERT_FEED_TOLD  a file of 16 bytes: ns spent on filling, packets handed over
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include <dlfcn.h>
#include <fcntl.h>
#include <rte_ethdev.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/frames.hpp"

namespace {
constexpr std::size_t kAtOnce = 384;  // as Path has it

struct Told {
  std::atomic<std::uint64_t> filling_ns, packets;
};

struct Queue {
  std::array<rte_mbuf*, kAtOnce> waiting{};
  std::size_t next = kAtOnce, frame = 0;
  std::vector<std::vector<std::uint8_t>> frames;
  rte_mempool* pool = nullptr;
  Told* told = nullptr;
};

// Of the process: there is one thread that receives.
Queue queue;
std::array<void*, RTE_MAX_QUEUES_PER_PORT> pointers;

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "feed_another: %s\n", why);
  std::_Exit(1);
}

int port() {
  const char* number = std::getenv("CULVERT_FEED_PORT");
  return number == nullptr ? -1 : std::atoi(number);
}

void fill(Queue& q) {
  const auto start = std::chrono::steady_clock::now();
  if (rte_pktmbuf_alloc_bulk(q.pool, q.waiting.data(), kAtOnce) != 0) return;
  for (rte_mbuf* m : q.waiting) {
    const auto& frame = q.frames[q.frame];
    q.frame = q.frame + 1 == q.frames.size() ? 0 : q.frame + 1;
    m->data_len = static_cast<std::uint16_t>(frame.size());
    m->pkt_len = m->data_len;
    std::ranges::copy(frame, rte_pktmbuf_mtod(m, std::uint8_t*));
  }
  q.next = 0;
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
  q.told->filling_ns.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
}

std::uint16_t receive(void* of, rte_mbuf** to, std::uint16_t most) {
  Queue& q = *static_cast<Queue*>(of);
  if (q.next == kAtOnce) {
    fill(q);
    if (q.next == kAtOnce) return 0;  // all buffers are under way
  }
  const auto n = static_cast<std::uint16_t>(std::min<std::size_t>(kAtOnce - q.next, most));
  std::copy_n(q.waiting.data() + q.next, n, to);
  q.next += n;
  q.told->packets.store(q.told->packets.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  return n;
}

Told* map_told() {
  const char* name = std::getenv("CULVERT_FEED_TOLD");
  const int fd = name == nullptr ? -1 : ::open(name, O_RDWR | O_CLOEXEC);
  if (fd < 0) give_up("CULVERT_FEED_TOLD names no file");
  void* at = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) give_up("CULVERT_FEED_TOLD cannot be mapped");
  return static_cast<Told*>(at);
}

template <class Function>
Function* real(const char* name) {
  auto* const found = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
  if (found == nullptr) give_up(name);
  return found;
}
}  // namespace

extern "C" {
[[gnu::visibility("default")]] int rte_eth_rx_queue_setup(std::uint16_t id, std::uint16_t number, std::uint16_t descriptors,
                                                          unsigned socket, const rte_eth_rxconf* how, rte_mempool* pool) {
  if (id == port()) queue.pool = pool;
  return real<decltype(rte_eth_rx_queue_setup)>("rte_eth_rx_queue_setup")(id, number, descriptors, socket, how, pool);
}

[[gnu::visibility("default")]] int rte_eth_dev_start(std::uint16_t id) {
  const int result = real<decltype(rte_eth_dev_start)>("rte_eth_dev_start")(id);
  const char* file = std::getenv("CULVERT_FEED");
  if (result != 0 || file == nullptr || id != port()) return result;
  try {
    queue.frames = culvert::bench::frames_of(file);
  } catch (const std::exception& e) {
    give_up(e.what());
  }
  if (queue.frames.empty() || queue.pool == nullptr) give_up("no packets, or no buffers");
  queue.told = map_told();
  pointers.fill(&queue);
  rte_eth_fp_ops[id].rxq.data = pointers.data();
  rte_eth_fp_ops[id].rx_pkt_burst = receive;
  return result;
}
}
