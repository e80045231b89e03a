#include "control/ikev2/fragments.hpp"

#include <utility>

namespace culvert::ikev2 {

std::expected<std::optional<Opened>, std::string> Fragments::add(ike::TimePoint now, Of message, Opened part) {
  expire(now);
  const auto [number, total] = part.place;
  if (total > kMaxFragments) return std::unexpected("a message in more fragments than we put together");
  if (!parts_.empty() && message == message_ && total < total_) return std::nullopt;
  // The peer has begun anew, with smaller ones (RFC 7383 §2.5.2).
  if (message != message_ || total != total_) clear();
  if (parts_.contains(number)) return std::nullopt;
  if (bytes_ + part.chain.size() > kMaxReassembled) {
    clear();
    return std::unexpected("a message in fragments that is longer than what we put together");
  }
  if (parts_.empty()) since_ = now;
  message_ = message;
  total_ = total;
  bytes_ += part.chain.size();
  if (number == 1) first_ = part.first;
  parts_[number] = std::move(part.chain);
  if (parts_.size() != total_) return std::nullopt;
  Opened whole{first_, {}, {}};
  whole.chain.reserve(bytes_);
  for (const auto& [at, bytes] : parts_) whole.chain.insert(whole.chain.end(), bytes.begin(), bytes.end());
  clear();
  return whole;
}

std::optional<ike::TimePoint> Fragments::deadline() const { return parts_.empty() ? std::nullopt : std::optional(since_ + kFragmentLife); }

void Fragments::expire(ike::TimePoint now) {
  if (!parts_.empty() && now >= since_ + kFragmentLife) clear();
}

std::expected<std::optional<Opened>, std::string> FragmentsById::add(ike::TimePoint now, Fragments::Of message, Opened part) {
  auto out = parts_[message.id].add(now, message, std::move(part));
  std::erase_if(parts_, [](const auto& one) { return !one.second.deadline(); });
  return out;
}

std::optional<ike::TimePoint> FragmentsById::deadline() const {
  std::optional<ike::TimePoint> out;
  for (const auto& [id, parts] : parts_)
    if (const auto one = parts.deadline(); one && (!out || *one < *out)) out = one;
  return out;
}

void FragmentsById::expire(ike::TimePoint now) {
  for (auto& [id, parts] : parts_) parts.expire(now);
  std::erase_if(parts_, [](const auto& one) { return !one.second.deadline(); });
}

std::size_t FragmentsById::bytes_above(std::uint32_t id) const {
  std::size_t out = 0;
  for (auto it = parts_.upper_bound(id); it != parts_.end(); ++it) out += it->second.bytes();
  return out;
}

}  // namespace culvert::ikev2
