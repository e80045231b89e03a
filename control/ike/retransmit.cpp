#include "control/ike/retransmit.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>

namespace culvert::ike {

namespace {
double random_unit(Services& services) {
  std::array<std::uint8_t, 4> raw{};
  services.random(raw);
  const std::uint32_t v = static_cast<std::uint32_t>(raw[0]) << 24 | static_cast<std::uint32_t>(raw[1]) << 16 |
                          static_cast<std::uint32_t>(raw[2]) << 8 | raw[3];
  return static_cast<double>(v) / 4294967296.0;
}
std::chrono::nanoseconds scaled(std::chrono::nanoseconds value, double factor) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(value.count()) * factor));
}
}  // namespace

std::chrono::nanoseconds jitter(Services& services, std::chrono::nanoseconds value) {
  return scaled(value, 0.9 + 0.2 * random_unit(services));
}

std::chrono::nanoseconds random_part(Services& services, std::chrono::nanoseconds limit) {
  return limit.count() <= 0 ? std::chrono::nanoseconds{0} : scaled(limit, random_unit(services));
}

Outstanding::Outstanding(TimePoint now, Bytes message, const config::Ike& settings, Services& services)
    : message_(std::move(message)), wait_(settings.retransmit_timeout) {
  next_ = now + jitter(services, wait_);
}

Due Outstanding::poll(TimePoint now, const config::Ike& settings, Services& services) {
  if (limit_ && now >= *limit_) return Due::GiveUp;
  if (now < next_) return Due::Nothing;
  if (sent_ > settings.retransmit_tries) return Due::GiveUp;
  ++sent_;
  wait_ = scaled(wait_, std::max(1.0, settings.retransmit_base));
  next_ = now + jitter(services, wait_);
  return Due::SendAgain;
}

void Outstanding::hurry(TimePoint limit) {
  if (!limit_ || limit < *limit_) limit_ = limit;
}

std::size_t fingerprint(ByteView bytes) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Duplicate ReplyCache::check(ByteView request, unsigned limit) {
  const std::size_t print = fingerprint(request);
  const auto it = std::find(seen_.begin(), seen_.end(), print);
  if (it == seen_.end()) return Duplicate::New;
  if (it + 1 != seen_.end() || reply_.empty() || repeats_ >= limit) return Duplicate::Ignore;
  ++repeats_;
  return Duplicate::Answer;
}

void ReplyCache::accept(ByteView request) {
  if (seen_.size() >= kMaxSeen) seen_.erase(seen_.begin());
  seen_.push_back(fingerprint(request));
  reply_.clear();
  repeats_ = 0;
}

}  // namespace culvert::ike
