// The slots of a table that are in use, side by side: the manager looks at each of ten thousand SAs many times a second. Owns the numbers
// only; in no order.
#pragma once

#include <cstdint>
#include <vector>

namespace culvert::dp {

class SlotSet {
 public:
  void insert(std::uint32_t slot) {
    if (contains(slot)) return;
    if (slot >= where_.size()) where_.resize(slot + 1, kNowhere);
    where_[slot] = static_cast<std::uint32_t>(slots_.size());
    slots_.push_back(slot);
  }
  void erase(std::uint32_t slot) {
    if (!contains(slot)) return;
    const std::uint32_t at = where_[slot];
    slots_[at] = slots_.back();
    where_[slots_[at]] = at;
    where_[slot] = kNowhere;
    slots_.pop_back();
  }
  [[nodiscard]] bool contains(std::uint32_t slot) const { return slot < where_.size() && where_[slot] != kNowhere; }
  [[nodiscard]] std::size_t size() const { return slots_.size(); }
  [[nodiscard]] auto begin() const { return slots_.begin(); }
  [[nodiscard]] auto end() const { return slots_.end(); }

 private:
  static constexpr std::uint32_t kNowhere = 0xffffffff;
  std::vector<std::uint32_t> slots_, where_;
};

}  // namespace culvert::dp
