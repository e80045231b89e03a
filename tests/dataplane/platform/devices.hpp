// Ports whose devices are the test's: what comes, what is taken and what mbufs say is as the test wants it, packet by packet.
// Beneath each is net_null, of which the two burst functions are replaced; configuration, start and stop are DPDK's own. What net_null does
// not have, rules and resets, the linker puts in its place (--wrap; devices.cpp): DeviceFaker, one at a time.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mbuf.h>

#include "dataplane/io/port.hpp"
#include "tests/dataplane/platform/tables.hpp"

namespace culvert::dp {

class TestDevice {
 public:
  static constexpr unsigned kQueues = 2;
  /// Opens `port` on a device of `name`; both outlive it.
  TestDevice(const std::string& name, std::uint16_t index, BufferPool& pool, unsigned queues = 1) : pool_(pool) {
    config_.name = name;
    config_.device = "net_null_" + name;
    config_.mtu = 1500;
    auto opened = Port::open(config_, index, queues, pool);
    if (!opened) FAIL(opened.error());
    port_ = std::move(*opened);
    REQUIRE(rte_eth_dev_get_port_by_name(config_.device.c_str(), &id) == 0);
    take_over();
  }
  /// Again after each start of the device.
  void take_over() {
    auto& ops = rte_eth_fp_ops[id];
    ops.rx_pkt_burst = receive;
    ops.tx_pkt_burst = transmit;
    for (unsigned q = 0; q < kQueues; ++q) {
      queues_[q].device = this;
      pointers_[q] = &queues_[q];
    }
    ops.rxq.data = ops.txq.data = pointers_.data();
  }
  ~TestDevice() {
    for (Queue& q : queues_)
      for (rte_mbuf* m : q.waiting) rte_pktmbuf_free(m);
  }
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;

  /// A frame arrives; `flags`: what the device says of it.
  rte_mbuf* arrives(ByteView frame, unsigned queue = 0, std::uint64_t flags = 0) {
    rte_mbuf* m = rte_pktmbuf_alloc(pool_.raw());
    REQUIRE(m != nullptr);
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(), frame.size());
    m->ol_flags |= flags;
    queues_[queue].waiting.push_back(m);
    ++offered;
    return m;
  }
  [[nodiscard]] bool idle() const { return queues_[0].waiting.empty() && queues_[1].waiting.empty(); }
  std::unique_ptr<Port>& port() { return port_; }

  std::uint16_t id = 0;
  std::size_t offered = 0;
  std::size_t room = SIZE_MAX;            ///< frames that it takes yet
  std::vector<Bytes> sent;                ///< frames that it took, in order
  std::vector<std::uint64_t> sent_flags;  ///< and what was asked of it with each

 private:
  struct Queue {
    TestDevice* device = nullptr;
    std::deque<rte_mbuf*> waiting;
  };
  static std::uint16_t receive(void* queue, rte_mbuf** out, std::uint16_t most) {
    auto& waiting = static_cast<Queue*>(queue)->waiting;
    std::uint16_t n = 0;
    for (; n < most && !waiting.empty(); ++n, waiting.pop_front()) out[n] = waiting.front();
    return n;
  }
  static std::uint16_t transmit(void* queue, rte_mbuf** frames, std::uint16_t count) {
    TestDevice& d = *static_cast<Queue*>(queue)->device;
    std::uint16_t n = 0;
    for (; n < count && d.room > 0; ++n, --d.room) {
      const auto* at = rte_pktmbuf_mtod(frames[n], const std::uint8_t*);
      d.sent.emplace_back(at, at + frames[n]->data_len);
      d.sent_flags.push_back(frames[n]->ol_flags);
      rte_pktmbuf_free(frames[n]);
    }
    return n;
  }
  config::Port config_;
  BufferPool& pool_;
  std::unique_ptr<Port> port_;
  std::array<Queue, kQueues> queues_;
  std::array<void*, kQueues> pointers_{};
};

/// While it lives, every device has rules, resets, and what it wants is done.
struct DeviceFaker {
  DeviceFaker();
  ~DeviceFaker();
  DeviceFaker(const DeviceFaker&) = delete;
  DeviceFaker& operator=(const DeviceFaker&) = delete;

  struct Rule {
    std::uint16_t port;
    std::vector<rte_flow_item_type> pattern;
    std::uint32_t spi;
    std::uint16_t queue;
    std::uint16_t tag = 0, tag_mask = 0;
  };
  bool takes_udp = true;           ///< rules with UDP in them
  bool takes_tags = true;          ///< rules with tags of VLANs in them
  std::size_t room = SIZE_MAX;     ///< for rules
  std::vector<std::string> asked;  ///< of the device, in order: "validate", "create", "destroy", "reset"
  std::map<rte_flow*, Rule> rules;
  int reset_result = 0;
  std::uint64_t receives = 0;  ///< RTE_ETH_RX_OFFLOAD_... that devices offer
  [[nodiscard]] const Rule* rule(std::uint32_t spi) const;
  /// The driver of `port` says that it must be reset, in a thread of DPDK's.
  void wants_reset(std::uint16_t port) const;
  std::map<std::uint16_t, std::pair<rte_eth_dev_cb_fn, void*>> callbacks;
};

}  // namespace culvert::dp
