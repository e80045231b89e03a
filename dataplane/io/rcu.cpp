#include "dataplane/io/rcu.hpp"

#include <cstdlib>

#include <rte_rcu_qsbr.h>

namespace culvert::dp {

std::expected<std::unique_ptr<Rcu>, std::string> Rcu::create(unsigned threads) {
  const std::size_t bytes = rte_rcu_qsbr_get_memsize(threads);
  auto* qsbr = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  if (qsbr == nullptr || rte_rcu_qsbr_init(qsbr, threads) != 0) {
    std::free(qsbr);
    return std::unexpected("no memory for RCU");
  }
  return std::unique_ptr<Rcu>(new Rcu(qsbr));
}

Rcu::~Rcu() {
  for (auto& d : deferred_) d.destroy();
  std::free(qsbr_);
}

void Rcu::online(unsigned thread) {
  rte_rcu_qsbr_thread_register(qsbr_, thread);
  rte_rcu_qsbr_thread_online(qsbr_, thread);
}
void Rcu::offline(unsigned thread) {
  rte_rcu_qsbr_thread_offline(qsbr_, thread);
  rte_rcu_qsbr_thread_unregister(qsbr_, thread);
}
void Rcu::quiescent(unsigned thread) { rte_rcu_qsbr_quiescent(qsbr_, thread); }

// rte_rcu_qsbr_quiescent() in its two steps.
std::uint64_t Rcu::moment() const { return __atomic_load_n(&qsbr_->token, __ATOMIC_ACQUIRE); }
void Rcu::quiescent(unsigned thread, std::uint64_t moment) { __atomic_store_n(&qsbr_->qsbr_cnt[thread].cnt, moment, __ATOMIC_RELEASE); }

void Rcu::defer_call(std::function<void()> destroy) { deferred_.push_back({rte_rcu_qsbr_start(qsbr_), std::move(destroy)}); }

std::size_t Rcu::reclaim() {
  while (!deferred_.empty() && rte_rcu_qsbr_check(qsbr_, deferred_.front().token, false) == 1) {
    deferred_.front().destroy();
    deferred_.pop_front();
  }
  return deferred_.size();
}

}  // namespace culvert::dp
