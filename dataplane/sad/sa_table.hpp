// The SA table of one direction: slots that the manager fills and workers read without a lock.
// Owns publication, not reclamation: what unpublish() returns may be destroyed only after every worker has passed a quiescent
// state (rte_rcu_qsbr, in the manager). Only the manager calls publish and unpublish.
#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <memory>

#include "common/huge_array.hpp"
#include "common/shm/messages.hpp"
#include "dataplane/sad/sa_store.hpp"

namespace culvert::dp {

template <class Sa>
class SaTable {
 public:
  /// `capacity`: a power of two.
  explicit SaTable(std::uint32_t capacity) : mask_(capacity - 1), slots_(capacity) { assert(std::has_single_bit(capacity)); }
  SaTable(const SaTable&) = delete;
  SaTable& operator=(const SaTable&) = delete;
  /// Destroys what is still published: no worker may run any more.
  ~SaTable() {
    for (std::uint32_t i = 0; i <= mask_; ++i) SaPtr<Sa>(slots_[i].load(std::memory_order_relaxed));
  }

  /// Inbound lookup: the SPI's low bits are the slot (we chose it); the whole SPI must agree. nullptr: no such SA.
  [[nodiscard]] Sa* find(Spi spi) const {
    Sa* sa = slots_[spi.value & mask_].load(std::memory_order_acquire);
    return sa != nullptr && sa->spi == spi ? sa : nullptr;
  }
  [[nodiscard]] Sa* at(std::uint32_t slot) const { return slot <= mask_ ? slots_[slot].load(std::memory_order_acquire) : nullptr; }
  [[nodiscard]] std::uint32_t capacity() const { return mask_ + 1; }
  /// Starts loading the SPI's slot.
  void prefetch_slot(Spi spi) const { __builtin_prefetch(&slots_[spi.value & mask_]); }
  /// Starts loading what stands in the SPI's slot, and tells it: find() without the comparison of the SPI.
  Sa* prefetch(Spi spi) const {
    Sa* sa = slots_[spi.value & mask_].load(std::memory_order_acquire);
    const auto start = reinterpret_cast<std::uintptr_t>(sa);  // an empty slot has no object to point into
    for (const std::uintptr_t at : Sa::kHot) __builtin_prefetch(reinterpret_cast<const void*>(start + at));
    return sa;
  }

  /// Ok, Exists (same SPI already there), Busy (another one), or BadMessage (no such slot). Takes `sa` on Ok only.
  shm::AckResult publish(std::uint32_t slot, SaPtr<Sa>& sa) {
    if (slot > mask_) return shm::AckResult::BadMessage;
    if (const Sa* there = slots_[slot].load(std::memory_order_relaxed))
      return there->spi == sa->spi ? shm::AckResult::Exists : shm::AckResult::Busy;
    slots_[slot].store(sa.release(), std::memory_order_release);
    return shm::AckResult::Ok;
  }
  /// The SA, out of the table but perhaps still in use by workers; null if `slot` does not hold `spi`.
  SaPtr<Sa> unpublish(std::uint32_t slot, Spi spi) {
    Sa* sa = at(slot);
    if (sa == nullptr || sa->spi != spi) return nullptr;
    slots_[slot].store(nullptr, std::memory_order_release);
    return SaPtr<Sa>(sa);
  }

 private:
  std::uint32_t mask_;
  HugeArray<std::atomic<Sa*>> slots_;
};

using InboundTable = SaTable<InboundSa>;
using OutboundTable = SaTable<OutboundSa>;

}  // namespace culvert::dp
