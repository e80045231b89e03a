#include "control/ike/newcomers.hpp"

namespace culvert::ike {

std::size_t Newcomers::add(Newcomer newcomer) {
  std::size_t forgotten = 0;
  const std::size_t more = newcomer.message.size();
  while (!order_.empty() && (order_.size() >= kMaxNewcomers || bytes_ + more > kMaxNewcomerBytes)) {
    take(order_.begin());
    ++forgotten;
  }
  if (const auto it = index_.find({newcomer.spi_i, newcomer.remote}); it != index_.end()) take(it->second);
  bytes_ += more;
  order_.push_back(std::move(newcomer));
  index_[{order_.back().spi_i, order_.back().remote}] = std::prev(order_.end());
  return forgotten;
}

Newcomer* Newcomers::find(IkeSpi spi_i, const Endpoint& remote) {
  const auto it = index_.find({spi_i, remote});
  return it == index_.end() ? nullptr : &*it->second;
}

bool Newcomers::knows(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote) const {
  const auto it = index_.find({spi_i, remote});
  return it != index_.end() && it->second->spi_r == spi_r && it->second->local == local;
}

std::optional<Newcomer> Newcomers::take(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote) {
  if (!knows(spi_i, spi_r, local, remote)) return std::nullopt;
  return take(index_.find({spi_i, remote})->second);
}

std::optional<Newcomer> Newcomers::take_older(TimePoint limit) {
  if (order_.empty() || order_.front().since > limit) return std::nullopt;
  return take(order_.begin());
}

std::optional<TimePoint> Newcomers::deadline(std::chrono::nanoseconds patience) const {
  if (order_.empty()) return std::nullopt;
  return std::chrono::ceil<std::chrono::seconds>(order_.front().since + patience);
}

Newcomer Newcomers::take(Order::iterator it) {
  Newcomer out = std::move(*it);
  bytes_ -= out.message.size();
  index_.erase({out.spi_i, out.remote});
  order_.erase(it);
  return out;
}

}  // namespace culvert::ike
