// The crypto pool: every job is answered exactly once, off the caller's thread, and a full queue says so.
#include "control/crypto/pool.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::control;

TEST_CASE("each job is answered once, on a thread of the pool", "[pool]") {
  std::mutex mutex;
  std::condition_variable changed;
  std::multiset<ike::JobId> done;
  bool same_thread = false;
  const auto caller = std::this_thread::get_id();
  DhPool pool(
      3, [](const ike::ComputeDh& job) { return ike::DhResult{.job = job.job, .ok = true}; },
      [&](ike::DhResult r) {
        const std::lock_guard lock(mutex);
        same_thread = same_thread || std::this_thread::get_id() == caller;
        done.insert(r.job);
        changed.notify_one();
      });
  for (ike::JobId i = 1; i <= 500; ++i) pool.submit({.job = i});
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done.size() == 500; });
  CHECK_FALSE(same_thread);
  for (ike::JobId i = 1; i <= 500; ++i) CHECK(done.count(i) == 1);
}

TEST_CASE("a full queue refuses at once, and ending does not wait for what waits", "[pool]") {
  std::mutex gate;
  std::atomic<int> refused = 0;
  gate.lock();
  {
    DhPool pool(
        1,
        [&gate](const ike::ComputeDh& job) {
          const std::lock_guard wait(gate);
          return ike::DhResult{.job = job.job, .ok = true};
        },
        [&refused](const ike::DhResult& r) { refused += !r.ok; });
    for (std::size_t i = 0; i < DhPool::kMaxWaiting + 10; ++i) pool.submit({.job = i + 1});
    CHECK(refused >= 9);  // one may be running already
    gate.unlock();
  }
  CHECK(refused <= 10);
}
