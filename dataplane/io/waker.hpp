// Waking the manager from a worker without a system call per packet: only a manager that said it will sleep is woken.
// Owns an eventfd.
#pragma once

#include <atomic>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

namespace culvert::dp {

class Waker {
 public:
  Waker() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Waker() {
    if (fd_ >= 0) ::close(fd_);
  }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  /// Any thread, after the work is visible.
  void wake() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!sleeping_.load(std::memory_order_relaxed) || !sleeping_.exchange(false)) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(fd_, &one, sizeof one);  // full means: it is awake already
  }
  /// The sleeper: says that it will sleep; it must look for work once more before it does.
  void prepare_sleep() { sleeping_.store(true, std::memory_order_seq_cst); }
  void awake() {
    sleeping_.store(false, std::memory_order_relaxed);
    std::uint64_t count;
    [[maybe_unused]] const ssize_t n = ::read(fd_, &count, sizeof count);  // empty is fine
  }

 private:
  int fd_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace culvert::dp
