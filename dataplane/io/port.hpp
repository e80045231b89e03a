// One port: a NIC or any DPDK virtual device, with a receive and a transmit queue per worker.
// Owns the device's configuration and its statistics. Its burst functions are for one thread per queue, and for none while it is parked.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "common/config/config.hpp"
#include "common/shm/segment.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/flow_rules.hpp"

namespace culvert::dp {

using MacAddress = std::array<std::uint8_t, 6>;

/// The device string as DPDK shall see it. For net_af_packet: `qpairs=` for several workers and a larger ring than its default of
/// 512 frames, which a gateway that naps would overflow, unless the string says otherwise.
std::string device_arguments(const std::string& device, unsigned queues, unsigned mtu);
/// The largest IP packet that buffers must have room for, so that the device takes them: af_packet's driver asks for as much as a frame of
/// its ring holds, which for jumbo frames is more than the MTU.
unsigned buffer_mtu(const std::string& device, unsigned mtu);

class Port {
 public:
  /// Opens, configures and starts the device. `index`: its place among the ports; `workers`: how many threads will use it; `groups`: it
  /// shall hear Ethernet's groups, by which neighbours ask for IPv6 addresses.
  static std::expected<std::unique_ptr<Port>, std::string> open(const config::Port& config, std::uint16_t index, unsigned workers,
                                                                BufferPool& pool, bool groups = false);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /// Whether the driver copies frames, whose bytes are then in the cache: they are best taken few at a time. What another one brings is
  /// loaded while other frames are looked at.
  [[nodiscard]] bool copies() const { return copies_; }
  /// Receives up to `views.size()` frames; views are at the Ethernet header.
  std::size_t receive(unsigned queue, std::span<Packet> views);
  /// Whether the device looks at the checksums of IPv4 headers: receive() then says of each packet what it found (Packet::kSummed).
  [[nodiscard]] bool sums() const { return sums_; }
  /// Sends frames in order; returns how many were taken. Those left stay the caller's.
  std::size_t transmit(unsigned queue, std::span<void*> handles);

  /// 0 while it is parked: no worker touches the device then.
  [[nodiscard]] unsigned queues() const { return open_queues_.load(std::memory_order_relaxed); }
  [[nodiscard]] const MacAddress& mac() const { return mac_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// Whether frames may be sent; the manager's word, false while the link is down.
  [[nodiscard]] bool usable() const { return usable_.load(std::memory_order_relaxed); }
  void set_usable(bool usable) { usable_.store(usable, std::memory_order_relaxed); }
  // A device that must be reset (its driver says so, as a VF's does when the host has reset the NIC) is parked, reset once no worker can
  // be in its burst functions any more, and opened again.
  [[nodiscard]] bool reset_wanted() const { return reset_wanted_.load(std::memory_order_relaxed); }
  void want_reset() { reset_wanted_.store(true, std::memory_order_relaxed); }
  void park() {
    open_queues_.store(0, std::memory_order_relaxed);
    rules_.suspend();
  }
  /// Only while it is parked and all workers have been quiescent since. The error says what failed; it may be tried again.
  std::expected<void, std::string> reset();
  /// Asks the device to bring an SA's ESP to its queue, where there are several; until unsteer(). Not for workers.
  void steer(const SteeredSa& sa);
  void unsteer(Spi spi) { rules_.remove(spi); }
  /// Reads the device's counters into the segment. Not for workers.
  void read_counters(shm::PortCounters& out) const;
  /// Asks the device, or the kernel's interface beneath it, which drivers such as af_packet's do not watch. Not for workers.
  [[nodiscard]] PortState state() const;

 private:
  Port(const config::Port& config, std::uint16_t id, std::uint16_t index, BufferPool& pool, bool groups)
      : config_(config), pool_(pool), name_(config.name), id_(id), index_(index), groups_(groups), rules_(id, config.name) {}
  std::expected<void, std::string> configure(unsigned queues);

  config::Port config_;
  BufferPool& pool_;
  std::string name_;
  std::string device_;   // of a hot-plugged virtual device
  std::uint16_t id_;     // DPDK's
  std::uint16_t index_;  // ours
  bool groups_;
  std::atomic<std::uint16_t> open_queues_{0};
  std::uint16_t queues_ = 1;
  bool sums_ = false, copies_ = false;
  std::atomic<bool> usable_{true}, reset_wanted_{false};
  FlowRules rules_;
  unsigned interface_ = 0;  // the kernel's index of the interface beneath; 0: there is none
  MacAddress mac_{};
};

}  // namespace culvert::dp
