// The life of the ports while the gateway runs: counters, links, MTUs, and resets. Owns what each port is in the middle of. Runs on the
// manager's thread, twice a second; never waits, neither for a worker nor for a device.
//
//     reset wanted -> parked -> every worker quiescent since (RCU) -> Port::reset -> its neighbours are asked anew
//                       ^------------------- failed: tried again, said once -+
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/shm/segment.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/io/rcu.hpp"
#include "dataplane/manager/port_watch.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

class PortKeeper {
 public:
  /// `interfaces`: those that workers read; `traffic`: what workers say of VLANs.
  PortKeeper(std::span<const std::unique_ptr<Port>> ports, std::span<Interface> interfaces, std::span<const VlanTraffic> traffic, Rcu& rcu);

  /// Fills the counters, logs what is new, and returns the interfaces behind which somebody else may be now.
  std::vector<std::uint16_t> look(std::span<shm::PortCounters> counters, std::uint64_t now);

  static constexpr std::uint64_t kTryAgain = 1'000'000'000;  ///< after a reset that failed

 private:
  struct Reset {
    std::shared_ptr<std::atomic<bool>> alone;  ///< once true, no worker is in the device; null: none is under way
    std::uint64_t not_before = 0;
    std::string failed_with;
  };
  bool reset(std::size_t index, std::uint64_t now);
  void follow(std::size_t vlan_interface, std::span<shm::PortCounters> counters);

  std::span<const std::unique_ptr<Port>> ports_;
  std::span<Interface> interfaces_;
  std::span<const VlanTraffic> traffic_;
  std::vector<std::uint16_t> configured_mtus_;  // of interfaces
  Rcu& rcu_;
  PortWatch watch_;
  std::vector<Reset> resets_;
};

}  // namespace culvert::dp
