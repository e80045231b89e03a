// The crypto pool: all work is done exactly once, off the caller's thread, and a full queue says so.
#include "control/crypto/pool.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

using namespace culvert::control;

TEST_CASE("all work is done once, on a thread of the pool", "[pool]") {
  std::mutex mutex;
  std::condition_variable changed;
  std::multiset<int> done;
  bool same_thread = false;
  const auto caller = std::this_thread::get_id();
  CryptoPool pool(3);
  for (int i = 1; i <= 500; ++i)
    REQUIRE(pool.submit([&, i] {
      const std::lock_guard lock(mutex);
      same_thread = same_thread || std::this_thread::get_id() == caller;
      done.insert(i);
      changed.notify_one();
    }));
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done.size() == 500; });
  CHECK_FALSE(same_thread);
  for (int i = 1; i <= 500; ++i) CHECK(done.count(i) == 1);
}

TEST_CASE("a full queue refuses at once, and ending does not wait for what waits", "[pool]") {
  std::mutex gate;
  std::atomic<std::size_t> done = 0;
  std::size_t refused = 0;
  gate.lock();
  {
    CryptoPool pool(1);
    for (std::size_t i = 0; i < CryptoPool::kMaxWaiting + 10; ++i)
      refused += pool.submit([&] {
        const std::lock_guard wait(gate);
        ++done;
      })
                     ? 0
                     : 1;
    CHECK((refused == 9 || refused == 10));  // one may be running already
    gate.unlock();
  }
  CHECK(done <= CryptoPool::kMaxWaiting + 10 - refused);
}
