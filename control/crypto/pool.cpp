#include "control/crypto/pool.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {

CryptoPool::CryptoPool(std::uint32_t threads, Failed failed) : failed_(std::move(failed)) {
  for (std::uint32_t i = 0; i < std::max(threads, 1U); ++i) threads_.emplace_back([this] { run(); });
}

CryptoPool::~CryptoPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
}

bool CryptoPool::submit(Work work) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kMaxWaiting) return false;
  queue_.push_back(std::move(work));
  wake_.notify_one();
  return true;
}

std::size_t CryptoPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void CryptoPool::run() {
  for (;;) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      work();
    } catch (...) {
      if (!failed_) throw;
      failed_(std::current_exception());
    }
  }
}

}  // namespace culvert::control
