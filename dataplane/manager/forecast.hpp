// What the plane would do with a packet: the answer to TracePacket. Asks what a worker asks, in its order, by the same functions.
// Owns a packet that is never sent and a flow cache of its own. Changes nothing: no counter, no sequence number, no neighbour is asked.
// Runs on the manager's thread, which is the one that changes the tables.
#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "common/shm/messages.hpp"
#include "dataplane/sad/sa_table.hpp"
#include "dataplane/spd/flow_cache.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

class Forecast {
 public:
  explicit Forecast(const WorkerEnvironment& environment)
      : env_(environment), flows_(*environment.fib, 0, kFew), flows_v6_(*environment.fib, 0, kFew) {}

  /// Errors: as TracePacket says.
  std::expected<shm::Path, shm::AckResult> of(const shm::TracePacket& question);

 private:
  bool compose(const shm::TracePacket& question);
  bool arrives(const shm::TracePacket& question);
  bool came_in();
  bool stays_here(const NextHop& hop);
  void goes_out(const NextHop& hop);
  void leaves_in_clear(const NextHop& hop);
  void leaves_protected(const SpdEntry& entry);
  bool fits(std::uint32_t mtu, const OutboundSa* sa);
  void sends(const NextHop& hop, const IpAddress& to);
  void route(const NextHop& hop);
  void drop(Drop reason) { path_.dropped = reason; }

  const WorkerEnvironment& env_;
  static constexpr unsigned kFew = 4;  // one packet at a time
  FlowCache<> flows_;
  FlowCache<FlowKeyV6> flows_v6_;
  shm::Path path_;
  Packet packet_;
  std::array<std::uint8_t, 128> bytes_{};  // its headers; nothing looks behind them
  bool by_bypass_ = false;
};

}  // namespace culvert::dp
