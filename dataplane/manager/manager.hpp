// The manager: everything that is not a packet on its way. Rings in, acks out; the attach socket; neighbours; lifetimes; statistics.
// Owns the order of this work, its pacing, and the counters of what ends here; it sleeps when there is none. Runs on the main thread. Must
// never make a worker wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dataplane/manager/attach.hpp"
#include "dataplane/manager/commands.hpp"
#include "dataplane/manager/forecast.hpp"
#include "dataplane/manager/group_reports.hpp"
#include "dataplane/manager/ike_bridge.hpp"
#include "dataplane/manager/next_hops.hpp"
#include "dataplane/manager/port_keeper.hpp"
#include "dataplane/manager/resolver.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

class Manager {
 public:
  struct Setup {
    const config::GatewayConfig& config;
    const WorkerEnvironment& environment;
    NeighborTable& neighbors;
    Fib& fib;                         ///< that of the environment
    std::span<Interface> interfaces;  ///< those of the environment, whose MTUs follow their devices
    Commands::Tables tables;
    CaptureSwitch& capture;
    int signal_fd = -1;  ///< readable when the process shall end
  };
  static std::expected<std::unique_ptr<Manager>, std::string> create(const Setup& setup);
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  ~Manager();

  /// Works until a signal arrives.
  void run();
  /// Drops what waits here; after run().
  void give_up() { resolver_.give_up(); }

 private:
  using CommandConsumer = shm::RingConsumer<shm::Message, shm::kCommandSlots>;
  using EventProducer = shm::RingProducer<shm::Message, shm::kEventSlots>;
  /// An attached culvertd's ends.
  struct Session {
    Fd to_control, to_dataplane;
    CommandConsumer commands;
    EventProducer events;
    PuntProducer punt;
    InjectConsumer inject;
  };

  explicit Manager(const Setup& setup);
  bool work();
  void wait(bool more);
  void tick(std::uint64_t now);
  bool take_commands();
  bool take_injected(std::uint32_t most);
  bool take_ike();
  bool take_slow();
  bool send_events();
  void ask_for(const NeighborKey& key);
  void send_frame(Packet& p, std::uint16_t interface, const Neighbor::Mac& to, std::uint16_t type, std::size_t worker = 0);
  void announce(std::uint16_t interface, std::uint64_t now);
  void send_own(std::uint16_t interface, const GroupReports::Write& write);
  void group_query(void* buffer, std::uint64_t now);
  /// The first worker has a queue on every port.
  void give_to_worker(const Packet& packet, HandoffNote note, std::size_t worker = 0);
  void end(void* buffer, Drop reason, bool tell);
  void pass_on(void* buffer, Handoff kind, Drop reason);
  void drop(void* buffer, Drop reason);
  void count(Drop reason, std::size_t packets);
  void report_acquire(void* buffer);
  void send_dummies(std::uint64_t now);
  void learn_path_mtu(void* buffer, std::uint64_t now);
  std::optional<Drop> punt_packet(Packet& p, const HandoffNote& note);
  shm::AckResult ask(const shm::Message& message);
  shm::AckResult trace_packet(const shm::TracePacket& question);
  shm::AckResult capture(const shm::Capture& wanted);
  void end_capture();
  void corrupt(const char* ring);
  std::array<int, shm::kHandshakeFds> attach();
  void detach();

  const WorkerEnvironment& env_;
  shm::Segment& segment_;
  Rcu& rcu_;
  Commands commands_;
  Forecast forecast_;
  CaptureSwitch& capture_;
  std::uint64_t capture_ends_ = 0;
  Resolver resolver_;
  NextHops next_hops_;
  GroupReports groups_;
  PortKeeper ports_;
  Injector injector_;
  std::unique_ptr<AttachServer> server_;
  std::optional<Session> session_;
  std::deque<shm::Message> events_;  // not yet in the ring
  bool notify_ = false;              // culvertd has news that it was not told of
  int signal_fd_;
  Fd epoll_;
  std::uint64_t next_tick_ = 0, next_statistics_ = 0, next_commands_ = 0;
  bool held_back_ = false;  // commands wait in the ring for that moment, and datagrams behind them
  bool stop_ = false;
};

}  // namespace culvert::dp
