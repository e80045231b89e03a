// When memory that workers may still read can be freed: DPDK's quiescent-state RCU, and the list of what waits for it.
// Owns what is deferred. Workers report between passes and hold nothing across that point.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>

struct rte_rcu_qsbr;

namespace culvert::dp {

class Rcu {
 public:
  static std::expected<std::unique_ptr<Rcu>, std::string> create(unsigned threads);
  ~Rcu();  ///< frees all that waits: no reader may run any more
  Rcu(const Rcu&) = delete;
  Rcu& operator=(const Rcu&) = delete;

  // A reader thread, 0..threads-1.
  void online(unsigned thread);
  void offline(unsigned thread);
  void quiescent(unsigned thread);
  /// For who holds on to something longer: the moment that it is now, and the report that it has held nothing of before `moment` since it
  /// let go. Moments must be reported in their order.
  [[nodiscard]] std::uint64_t moment() const;
  void quiescent(unsigned thread, std::uint64_t moment);

  // The writer's thread.
  /// Destroys `object` once every reader that was online at this moment has been quiescent.
  template <class Owner>
  void defer(Owner object) {
    defer_call([held = std::make_shared<Owner>(std::move(object))]() mutable { held.reset(); });
  }
  /// Destroys what can be by now; returns how many still wait.
  std::size_t reclaim();

 private:
  struct Deferred {
    std::uint64_t token;
    std::function<void()> destroy;
  };
  explicit Rcu(rte_rcu_qsbr* qsbr) : qsbr_(qsbr) {}
  void defer_call(std::function<void()> destroy);

  rte_rcu_qsbr* qsbr_;
  std::deque<Deferred> deferred_;
};

}  // namespace culvert::dp
