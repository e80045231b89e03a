// DPDK's environment: started once a process, from the configuration.
// Owns the EAL arguments and EAL's log, which goes to ours. Must never be started twice: DPDK keeps global state.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "common/config/config.hpp"

namespace culvert::dp {

/// The arguments for rte_eal_init, without a program name. lcore 0 is the manager's, lcore 1 + w is worker w's; several lcores
/// may share a CPU. No PCI device is probed unless a port names one.
std::vector<std::string> eal_arguments(const config::GatewayConfig& config);

/// Whether `device` names a PCI function ("0000:3b:00.0" or "3b:00.0") and not a virtual device.
bool is_pci_device(const std::string& device);

/// After EAL could not be started: what to do if it was hugepages that were missing, to be put behind the error; empty when it was
/// something else.
std::string memory_hint(const config::GatewayConfig& config);

class Eal {
 public:
  /// Starts EAL. The error carries what EAL said last.
  static std::expected<Eal, std::string> start(const std::string& program, const std::vector<std::string>& arguments);
  Eal(Eal&& other) noexcept;
  Eal& operator=(Eal&&) = delete;
  Eal(const Eal&) = delete;
  ~Eal();

  /// Runs `call(context, worker)` on the lcore of `worker` (from 0). False: there is no such lcore, or it is busy.
  static bool launch(unsigned worker, void (*call)(void* context, unsigned worker), void* context);
  /// Waits for all that were launched.
  static void join();
  /// Runs `call` once on EAL's interrupt thread, and waits for it. False: it could not be scheduled within a second.
  static bool run_on_interrupt_thread(void (*call)());
  /// The latest few lines that DPDK logged as a notice or worse, oldest first; for an error message.
  static std::string last_log();

 private:
  explicit Eal(bool running) : running_(running) {}
  bool running_;
};

}  // namespace culvert::dp
