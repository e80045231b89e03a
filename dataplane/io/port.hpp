// One port: a NIC or any DPDK virtual device, with a receive and a transmit queue per worker.
// Owns the device's configuration and its statistics. Its burst functions are for one thread per queue.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "common/config/config.hpp"
#include "common/shm/segment.hpp"
#include "dataplane/io/buffers.hpp"

namespace culvert::dp {

using MacAddress = std::array<std::uint8_t, 6>;

/// The device string as DPDK shall see it. For net_af_packet: `qpairs=` for several workers and a larger ring than its default of
/// 512 frames, which a gateway that naps would overflow, unless the string says otherwise.
std::string device_arguments(const std::string& device, unsigned queues, unsigned mtu);

class Port {
 public:
  /// Opens, configures and starts the device. `index`: its place among the ports; `workers`: how many threads will use it.
  static std::expected<std::unique_ptr<Port>, std::string> open(const config::Port& config, std::uint16_t index, unsigned workers,
                                                                BufferPool& pool);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /// Receives up to `views.size()` frames; views are at the Ethernet header.
  std::size_t receive(unsigned queue, std::span<Packet> views);
  /// Sends frames in order; returns how many were taken. Those left stay the caller's.
  std::size_t transmit(unsigned queue, std::span<void*> handles);

  [[nodiscard]] unsigned queues() const { return queues_; }
  [[nodiscard]] const MacAddress& mac() const { return mac_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// Reads the device's counters and link state into the segment. Not for workers.
  void read_counters(shm::PortCounters& out) const;

 private:
  Port(std::string name, std::uint16_t id, std::uint16_t index) : name_(std::move(name)), id_(id), index_(index) {}
  std::expected<void, std::string> configure(const config::Port& config, unsigned workers, BufferPool& pool);

  std::string name_;
  std::string device_;   // of a hot-plugged virtual device
  std::uint16_t id_;     // DPDK's
  std::uint16_t index_;  // ours
  std::uint16_t queues_ = 1;
  MacAddress mac_{};
};

}  // namespace culvert::dp
