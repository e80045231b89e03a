#include "control/ike/newcomers.hpp"

#include <algorithm>

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

void Newcomers::wait(Newcomer& newcomer, ByteView third) {
  if (!newcomer.third.empty() || bytes_ + third.size() > kMaxNewcomerBytes) return;  // it will send message 3 again
  std::deque<Key>& line = waiting_[newcomer.remote.address];
  if (line.size() >= kMaxWaiting) return;
  newcomer.third.assign(third.begin(), third.end());
  bytes_ += third.size();
  line.push_back({newcomer.spi_i, newcomer.remote});
}

const Newcomer* Newcomers::waiting(const IpAddress& source, TimePoint oldest) {
  for (auto line = waiting_.find(source); line != waiting_.end(); line = waiting_.find(source)) {
    Newcomer& first = *index_.at(line->second.front());
    if (first.since > oldest) return &first;
    wait_no_longer(first);
  }
  return nullptr;
}

void Newcomers::wait_no_longer(Newcomer& newcomer) {
  if (newcomer.third.empty()) return;
  bytes_ -= newcomer.third.size();
  newcomer.third.clear();
  const auto line = waiting_.find(newcomer.remote.address);
  std::erase(line->second, Key{newcomer.spi_i, newcomer.remote});
  if (line->second.empty()) waiting_.erase(line);
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
  wait_no_longer(*it);
  Newcomer out = std::move(*it);
  bytes_ -= out.message.size();
  index_.erase({out.spi_i, out.remote});
  order_.erase(it);
  return out;
}

}  // namespace culvert::ike
