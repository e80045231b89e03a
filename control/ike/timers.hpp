// When somebody wants to be looked at: one time each, the earliest first. Owns the order; reads no clock.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "control/ike/reasons.hpp"

namespace culvert::ike {

template <class Key>
class Timers {
 public:
  /// In the place of its earlier time; nullopt: none any more.
  void arm(const Key& key, std::optional<TimePoint> at) {
    const auto it = armed_.find(key);
    if (it != armed_.end()) {
      if (at && it->second == *at) return;
      order_.erase({it->second, key});
      armed_.erase(it);
    }
    if (!at) return;
    order_.insert({*at, key});
    armed_[key] = *at;
  }
  [[nodiscard]] std::optional<TimePoint> deadline() const { return order_.empty() ? std::nullopt : std::optional(order_.begin()->first); }
  /// Those whose time has come, in its order; they have none any more.
  std::vector<Key> take_expired(TimePoint now) {
    std::vector<Key> out;
    while (!order_.empty() && order_.begin()->first <= now) {
      out.push_back(order_.begin()->second);
      arm(out.back(), std::nullopt);
    }
    return out;
  }

 private:
  std::set<std::pair<TimePoint, Key>> order_;
  std::map<Key, TimePoint> armed_;
};

}  // namespace culvert::ike
