// Threads that run Diffie-Hellman jobs off the event loop.
// Owns the threads and a bounded queue; knows neither the engine nor the crypto library: both are functions it is given.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "control/ike/engine_types.hpp"

namespace culvert::control {

class DhPool {
 public:
  using Compute = std::function<ike::DhResult(const ike::ComputeDh&)>;  ///< called in a thread of the pool
  using Done = std::function<void(ike::DhResult)>;                      ///< called in a thread of the pool, or in `submit`

  /// `threads` at least 1.
  DhPool(std::uint32_t threads, Compute compute, Done done);
  ~DhPool();  ///< waits for the jobs that run; drops the ones that wait
  DhPool(const DhPool&) = delete;
  DhPool& operator=(const DhPool&) = delete;

  /// Every job is answered once; a full queue answers `ok = false` at once.
  void submit(ike::ComputeDh job);
  [[nodiscard]] std::size_t waiting() const;

  static constexpr std::size_t kMaxWaiting = 4096;  ///< over half_open_limit's default, with rekeys: only a flood fills it

 private:
  void work();
  Compute compute_;
  Done done_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<ike::ComputeDh> queue_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace culvert::control
