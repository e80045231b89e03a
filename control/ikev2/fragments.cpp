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

}  // namespace culvert::ikev2
