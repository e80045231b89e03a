#include "control/crypto/pool.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {

DhPool::DhPool(std::uint32_t threads, Compute compute, Done done) : compute_(std::move(compute)), done_(std::move(done)) {
  for (std::uint32_t i = 0; i < std::max(threads, 1U); ++i) threads_.emplace_back([this] { work(); });
}

DhPool::~DhPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void DhPool::submit(ike::ComputeDh job) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() < kMaxWaiting) {
      queue_.push_back(std::move(job));
      wake_.notify_one();
      return;
    }
  }
  done_(ike::DhResult{.job = job.job});
}

std::size_t DhPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void DhPool::work() {
  for (;;) {
    ike::ComputeDh job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    done_(compute_(job));
  }
}

}  // namespace culvert::control
