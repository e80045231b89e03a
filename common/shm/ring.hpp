// A bounded single-producer single-consumer ring in memory that two processes share.
// Owns index arithmetic and its distrust: the other side's index is checked before use, so that a hostile or crashed peer
// process can make messages wrong or missing, but can never cause an access outside of the ring.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "common/secret.hpp"

namespace culvert::shm {

/// As it stands in the segment; all-zero memory is an empty ring.
template <class T, std::uint32_t Capacity>
struct RingMemory {
  static_assert(std::has_single_bit(Capacity) && std::is_trivially_copyable_v<T>);
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
  alignas(64) std::atomic<std::uint32_t> head;  ///< written by the producer: slots ever filled
  alignas(64) std::atomic<std::uint32_t> tail;  ///< written by the consumer: slots ever emptied
  alignas(64) std::atomic<std::uint64_t> full;  ///< written by the producer: refused pushes
  alignas(64) T slots[Capacity];
};

/// The producer's end. Not thread-safe; one per ring.
template <class T, std::uint32_t Capacity>
class RingProducer {
 public:
  using Memory = RingMemory<T, Capacity>;
  explicit RingProducer(Memory& m) : m_(&m), head_(m.head.load(std::memory_order_relaxed)) {}

  /// Lets `fill(T&)` write the next slot in place. False, counted, if the ring is full or the consumer's index is invalid.
  template <class Fill>
  bool produce(Fill&& fill) {
    if (head_ - m_->tail.load(std::memory_order_acquire) >= Capacity) {
      m_->full.store(m_->full.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return false;
    }
    fill(m_->slots[head_ & (Capacity - 1)]);
    m_->head.store(++head_, std::memory_order_release);
    return true;
  }
  /// Slots that are free, 0..Capacity; 0 also if the consumer's index is invalid.
  [[nodiscard]] std::uint32_t room() const {
    const std::uint32_t filled = head_ - m_->tail.load(std::memory_order_acquire);
    return filled <= Capacity ? Capacity - filled : 0;
  }
  bool push(const T& value) {
    return produce([&](T& slot) { slot = value; });
  }

 private:
  Memory* m_;
  std::uint32_t head_;  // our own index is kept here and never read back
};

enum class RingStatus : std::uint8_t { Item, Empty, Corrupt };

/// The consumer's end. Not thread-safe; one per ring.
template <class T, std::uint32_t Capacity>
class RingConsumer {
 public:
  using Memory = RingMemory<T, Capacity>;
  explicit RingConsumer(Memory& m) : m_(&m), tail_(m.tail.load(std::memory_order_relaxed)) {}

  /// Lets `use(T&)` read the oldest slot in place, then wipes the slot if `Wipe`. Corrupt: the producer's index is
  /// impossible; nothing was read. The producer may scribble on the slot meanwhile: copy, then check, then use the copy.
  template <bool Wipe = false, class Use>
  RingStatus consume(Use&& use) {
    const std::uint32_t filled = m_->head.load(std::memory_order_acquire) - tail_;
    if (filled == 0) return RingStatus::Empty;
    if (filled > Capacity) return RingStatus::Corrupt;
    T& slot = m_->slots[tail_ & (Capacity - 1)];
    use(slot);
    if constexpr (Wipe) wipe_object(slot);
    m_->tail.store(++tail_, std::memory_order_release);
    return RingStatus::Item;
  }
  /// How many slots wait; more than Capacity: the producer's index is impossible, as consume() will say. What the producer has put into
  /// other rings before them is seen from now on.
  [[nodiscard]] std::uint32_t fill() const { return m_->head.load(std::memory_order_acquire) - tail_; }

 private:
  Memory* m_;
  std::uint32_t tail_;
};

}  // namespace culvert::shm
