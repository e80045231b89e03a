// One worker with everything that it needs, between a device that brings packets and one that takes what it is given. The path under test
// is Worker::poll(), the function that culvert-dataplane's workers run.
//
//     Way::Out:   plain packets -> port "lan" -> worker -> port "wan" (net_null)
//     Way::In:    ESP packets   -> port "wan" -> worker -> port "lan" (net_null)
//     Way::Both:  both at once, by two devices that bring packets, which send nowhere
//
// What brings packets is net_pcap, replaying a file without end: it copies each, and that is measured with it (Brings::Copies). Or they lie
// in its queues already, as a NIC puts them there without any doing of this CPU (Brings::Queues, feed.hpp).
//
// On the same devices: the bound (bound.hpp), and the devices alone. Beside them, over buffers of the same pool: IPsec-MB and OpenSSL.
//
// A file of ESP packets comes again and again, and an anti-replay window refuses what it has seen. So a slice consists of whole rounds
// of the file, and the SAs get fresh windows between rounds, outside of the measured time. Within a round the window is checked and
// moved as ever.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/worker.hpp"
#include "tests/bench/bound.hpp"
#include "tests/bench/evp.hpp"
#include "tests/bench/feed.hpp"

namespace culvert::bench {

/// What takes turns.
enum class Kind : std::uint8_t { Worker, Bound, Raw, Evp, Devices };
inline constexpr std::size_t kKinds = 5;

/// How packets come to a port.
enum class Brings : std::uint8_t { Copies, Queues };

/// Who does the work where two workers are held against one: one; two, each with a queue and an SA of its own; or two that share the crypto
/// of one SA, which comes by one queue to the first. Packets lie in the queues when a round begins (feed.hpp). None: all other
/// measurements.
enum class Crew : std::uint8_t { None, One, Two, Fat };

class Path {
 public:
  /// `folder`: for the pcap files. Throws std::runtime_error, also where worker, IPsec-MB and OpenSSL do not agree on a packet.
  /// A crew, of Way::Out or Way::In and with Brings::Queues, of two needs EAL's lcore of worker 0 for the second one, and is measured by
  /// crew_slice() alone.
  Path(const Case& c, dp::BufferPool& pool, const std::string& folder, Brings brings, Crew crew = Crew::None);
  ~Path();
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  /// TSC cycles per packet over some rounds; nothing for what this case does not have. Throws if a packet was dropped.
  double slice(Kind kind);
  /// TSC cycles that pass per packet over `rounds` rounds, of the whole crew. A round ends when all of its packets are sent. Where the
  /// second worker's CPU was taken away in the middle, so that packets were refused, that is tried again a few times.
  double crew_slice(unsigned rounds);
  [[nodiscard]] bool has(Kind kind) const { return kind != Kind::Evp || evp_ != nullptr; }
  /// Buffers that a case needs.
  static std::size_t buffers(const Case& c);

 private:
  void make_tables();
  void make_sas();
  void open_ports(dp::BufferPool& pool, const std::string& folder);
  void make_raw(dp::BufferPool& pool);
  void cross_check();
  void reset();
  std::uint64_t round(Kind kind);
  void polls(Kind kind, std::size_t n);
  void crypto_alone(Kind kind);
  void check(Kind kind, unsigned rounds);
  void make_workers();
  double try_crew_slice(unsigned rounds);
  void make_ready();
  void crew_round();
  void second_worker();
  [[nodiscard]] std::size_t queues() const { return crew_ == Crew::Two ? 2 : 1; }
  [[nodiscard]] unsigned workers() const { return crew_ < Crew::Two ? 1 : 2; }

  const Case case_;
  const Brings brings_;
  const Crew crew_;
  dp::BufferPool& pool_;
  std::vector<Feed> feeds_;
  const std::size_t polls_, packets_;  // of a round; both directions
  std::unique_ptr<std::array<shm::WorkerCounters, 2>> counters_ = std::make_unique<std::array<shm::WorkerCounters, 2>>();
  std::vector<shm::SaCounters> sa_counters_;
  std::vector<std::unique_ptr<dp::Port>> ports_;
  std::vector<dp::Interface> interfaces_;
  std::unique_ptr<dp::OwnAddresses> own_;
  dp::NeighborTable neighbors_;
  std::unique_ptr<dp::Fib> fib_;
  std::unique_ptr<dp::Spd> spd_;
  std::atomic<const dp::Spd*> current_spd_{nullptr};
  std::unique_ptr<dp::PolicyState[]> policies_;
  std::unique_ptr<dp::InboundTable> inbound_;
  std::vector<dp::SaPtr<dp::OutboundSa>> outbound_;
  dp::WorkerEnvironment environment_;
  std::vector<std::unique_ptr<dp::BufferRing>> handoff_;
  std::unique_ptr<dp::ParcelBoards> boards_;
  std::vector<std::unique_ptr<dp::Worker>> workers_;
  // Rounds that the first worker has asked for (~0: the end), begun and finished; that the second one is ready for, and has finished.
  alignas(64) std::atomic<std::uint64_t> wanted_{0}, begun_{0}, finished_{0};
  alignas(64) std::atomic<std::uint64_t> second_ready_{0}, second_finished_{0};
  std::unique_ptr<RawCrypto> raw_;
  std::unique_ptr<EvpCrypto> evp_;
  std::unique_ptr<Bound> bound_;
  std::vector<RawCrypto::Op> raw_ops_;
  std::vector<void*> raw_buffers_;
};

}  // namespace culvert::bench
