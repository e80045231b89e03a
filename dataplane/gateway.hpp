// The data plane put together: environment, ports, tables, workers, manager. Owns all of them and the order in which they start
// and end. No packet logic.
#pragma once

#include <atomic>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "dataplane/io/eal.hpp"
#include "dataplane/manager/books.hpp"
#include "dataplane/manager/manager.hpp"
#include "dataplane/manager/steering.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

class Gateway {
 public:
  /// Starts everything but the threads' work. `config` must outlive the gateway. The error says what failed and what to do.
  static std::expected<std::unique_ptr<Gateway>, std::string> start(const config::GatewayConfig& config, int signal_fd);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Launches the workers and drops rights; then the gateway forwards.
  std::expected<void, std::string> launch();
  /// The manager's work, until the signal.
  void run() { manager_->run(); }
  /// Ends the threads; what has become of every packet. Last.
  Books finish();

 private:
  Gateway(const config::GatewayConfig& config, Eal eal) : config_(config), eal_(std::move(eal)) {}
  std::expected<void, std::string> open_ports();
  std::expected<void, std::string> make_tables();
  std::expected<void, std::string> make_workers();
  std::expected<void, std::string> make_manager(int signal_fd);
  void stop_workers();

  const config::GatewayConfig& config_;
  // In order of construction; destroyed the other way round.
  Eal eal_;
  std::unique_ptr<BufferPool> pool_, whole_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<Interface> interfaces_, tunnels_;
  std::vector<VlanTraffic> vlan_traffic_;
  std::vector<OwnAddresses> own_;  // by VRF
  NeighborTable neighbors_;
  std::unique_ptr<Fib> fib_;
  std::atomic<const Spd*> spd_{nullptr};
  std::unique_ptr<PolicyState[]> policies_;
  std::unique_ptr<shm::Segment> segment_;
  std::unique_ptr<InboundTable> inbound_;
  std::unique_ptr<OutboundTable> outbound_;
  std::vector<std::unique_ptr<BufferRing>> handoff_;
  std::unique_ptr<ParcelBoards> boards_;
  std::unique_ptr<BufferRing> ike_, slow_;
  std::unique_ptr<IkeTalks> talks_;
  Waker waker_;
  std::unique_ptr<Rcu> rcu_;
  CaptureSwitch capture_;
  std::unique_ptr<CryptoEngine> manager_crypto_;
  WorkerEnvironment environment_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Steering> steering_;
  std::unique_ptr<Manager> manager_;
  std::atomic<bool> stop_{false};
};

}  // namespace culvert::dp
