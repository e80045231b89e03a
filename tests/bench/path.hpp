// One worker with everything that it needs, between two devices that cost next to nothing: net_pcap replaying a file without end,
// and net_null. The path under test is Worker::poll(), the function that culvert-dataplane's workers run.
//
//     encapsulate:  pcap(plain packets) -> port "lan" -> worker -> port "wan" (null)
//     decapsulate:  pcap(ESP packets)   -> port "wan" -> worker -> port "lan" (null)
//
// A file of ESP packets comes again and again, and an anti-replay window refuses what it has seen. So a slice is exactly one
// round of the file, and reset() gives the SA a fresh window before the next, outside of the measured time. Within a slice the
// window is checked and moved as ever.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/worker.hpp"
#include "tests/bench/raw.hpp"

namespace culvert::bench {

/// Packets of one slice: whole bursts, and whole rounds of the IMIX pattern.
inline constexpr std::size_t kSlicePackets = 192;

struct Case {
  EspSuite suite;
  bool encapsulate = true;
  std::vector<std::uint32_t> sizes;  ///< of the inner packets, kSlicePackets of them
};

class Path {
 public:
  /// `folder`: for the pcap file. Throws std::runtime_error.
  Path(const Case& c, dp::BufferPool& pool, const std::string& folder);
  ~Path();
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  /// Between slices: a fresh anti-replay window.
  void reset();
  // Each handles kSlicePackets packets; TSC cycles that it took.
  std::uint64_t worker_slice();  ///< the worker's whole path; throws if a packet was dropped
  std::uint64_t raw_slice();     ///< IPsec-MB alone, over buffers of the same pool and the same lengths
  std::uint64_t device_slice();  ///< receive and transmit alone

 private:
  void make_tables(const Case& c);
  void make_sas(const Case& c);
  void write_capture(const Case& c, const std::string& file);
  void make_raw(const Case& c, dp::BufferPool& pool);

  std::unique_ptr<shm::WorkerCounters> counters_ = std::make_unique<shm::WorkerCounters>();
  std::unique_ptr<shm::SaCounters> sa_counters_ = std::make_unique<shm::SaCounters>();
  std::vector<std::unique_ptr<dp::Port>> ports_;
  std::vector<dp::Interface> interfaces_;
  std::unique_ptr<dp::OwnAddresses> own_;
  dp::NeighborTable neighbors_;
  std::unique_ptr<dp::Fib> fib_;
  std::unique_ptr<dp::Spd> spd_;
  std::atomic<const dp::Spd*> current_spd_{nullptr};
  std::unique_ptr<dp::PolicyState[]> policies_;
  std::unique_ptr<dp::InboundTable> inbound_;
  dp::SaPtr<dp::OutboundSa> outbound_;
  dp::InboundSa* opened_ = nullptr;
  dp::WorkerEnvironment environment_;
  std::unique_ptr<dp::Worker> worker_;
  std::unique_ptr<RawCrypto> raw_;
  bool encapsulate_;
  std::vector<RawCrypto::Op> raw_ops_;
  std::vector<void*> raw_buffers_;
};

}  // namespace culvert::bench
