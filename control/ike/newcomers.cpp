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
  if (const auto it = by_peer_.find({newcomer.spi_i, newcomer.remote}); it != by_peer_.end()) take(it->second);
  bytes_ += more;
  order_.push_back(std::move(newcomer));
  const auto last = std::prev(order_.end());
  by_peer_[{last->spi_i, last->remote}] = last;
  by_cookie_[last->spi_r] = last;
  return forgotten;
}

Newcomer* Newcomers::find(IkeSpi spi_i, const Endpoint& remote) {
  const auto it = by_peer_.find({spi_i, remote});
  return it == by_peer_.end() ? nullptr : &*it->second;
}

Newcomer* Newcomers::told(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote) {
  const auto it = by_cookie_.find(spi_r);
  if (it == by_cookie_.end() || it->second->spi_i != spi_i) return nullptr;
  Newcomer& known = *it->second;
  const bool there = known.mode == Exchange::AggressiveMode || (known.local == local && known.remote == remote);
  return there ? &known : nullptr;
}

std::optional<Newcomer> Newcomers::take(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& local, const Endpoint& remote) {
  if (!told(spi_i, spi_r, local, remote)) return std::nullopt;
  return take(by_cookie_.at(spi_r));
}

void Newcomers::wait(Newcomer& newcomer, Datagram third, const Endpoint& line) {
  if (newcomer.third && newcomer.line == line) return;
  wait_no_longer(newcomer);
  if (bytes_ + third.data.size() > kMaxNewcomerBytes) return;  // it will send message 3 again
  std::deque<IkeSpi>& all = waiting_[line];
  if (all.size() >= kMaxWaiting) return;
  bytes_ += third.data.size();
  newcomer.third = std::move(third);
  newcomer.line = line;
  all.push_back(newcomer.spi_r);
}

Newcomer* Newcomers::waiting(const Endpoint& line, TimePoint oldest) {
  for (auto all = waiting_.find(line); all != waiting_.end(); all = waiting_.find(line)) {
    Newcomer& first = *by_cookie_.at(all->second.front());
    if (first.since > oldest) return &first;
    wait_no_longer(first);
  }
  return nullptr;
}

void Newcomers::wait_no_longer(Newcomer& newcomer) {
  if (!newcomer.third) return;
  bytes_ -= newcomer.third->data.size();
  newcomer.third.reset();
  const auto line = waiting_.find(newcomer.line);
  std::erase(line->second, newcomer.spi_r);
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
  by_peer_.erase({out.spi_i, out.remote});
  by_cookie_.erase(out.spi_r);
  order_.erase(it);
  return out;
}

}  // namespace culvert::ike
