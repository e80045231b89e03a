// Threads that do what takes too long for the event loop: Diffie-Hellman, signatures, certificates.
// Owns the threads and a bounded queue; knows nothing of the work: each piece is a function that also delivers its own result.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace culvert::control {

class CryptoPool {
 public:
  using Work = std::function<void()>;  ///< called once, in a thread of the pool
  /// Hears what a piece of work has thrown (memory ran out), in the pool's thread; must not throw. Its result will never come.
  using Failed = std::function<void(std::exception_ptr)>;

  /// `threads` at least 1. Without `failed`, what work throws ends the process.
  explicit CryptoPool(std::uint32_t threads, Failed failed = {});
  ~CryptoPool();  ///< waits for the work that runs; drops what waits
  CryptoPool(const CryptoPool&) = delete;
  CryptoPool& operator=(const CryptoPool&) = delete;

  /// False: the queue is full, and the work will not be done.
  [[nodiscard]] bool submit(Work work);
  [[nodiscard]] std::size_t waiting() const;

  static constexpr std::size_t kMaxWaiting = 4096;  ///< over half_open_limit's default, with rekeys: only a flood fills it

 private:
  void run();
  Failed failed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> queue_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace culvert::control
