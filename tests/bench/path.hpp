// One worker with everything that it needs, between two devices that cost next to nothing: net_pcap replaying a file without end,
// and one that takes what it is given. The path under test is Worker::poll(), the function that culvert-dataplane's workers run.
//
//     Way::Out:   pcap(plain packets) -> port "lan" -> worker -> port "wan" (net_null)
//     Way::In:    pcap(ESP packets)   -> port "wan" -> worker -> port "lan" (net_null)
//     Way::Both:  both at once, by two pcap devices, which send nowhere
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

namespace culvert::bench {

/// What takes turns.
enum class Kind : std::uint8_t { Worker, Bound, Raw, Evp, Devices };
inline constexpr std::size_t kKinds = 5;

class Path {
 public:
  /// `folder`: for the pcap files. Throws std::runtime_error, also where worker, IPsec-MB and OpenSSL do not agree on a packet.
  Path(const Case& c, dp::BufferPool& pool, const std::string& folder);
  ~Path();
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  /// TSC cycles per packet over some rounds; nothing for what this case does not have. Throws if a packet was dropped.
  double slice(Kind kind);
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
  void round(Kind kind);
  void check(Kind kind, unsigned rounds);

  const Case case_;
  const std::size_t polls_, packets_;  // of a round; both directions
  std::unique_ptr<shm::WorkerCounters> counters_ = std::make_unique<shm::WorkerCounters>();
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
  std::unique_ptr<dp::Worker> worker_;
  std::unique_ptr<RawCrypto> raw_;
  std::unique_ptr<EvpCrypto> evp_;
  std::unique_ptr<Bound> bound_;
  std::vector<RawCrypto::Op> raw_ops_;
  std::vector<void*> raw_buffers_;
};

}  // namespace culvert::bench
