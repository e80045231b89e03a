#include "control/ike/repeats.hpp"

#include <algorithm>
#include <utility>

#include "control/ike/retransmit.hpp"

namespace culvert::ike {

bool Repeats::seen(TimePoint now, ByteView message) {
  auto& [current, before] = filters_;
  if (current.empty() || now - since_ >= kGeneration) {
    before = current.empty() || now - since_ >= 2 * kGeneration ? std::vector<bool>(kBits) : std::move(current);
    current = std::vector<bool>(kBits);
    since_ = now;
  }
  const std::uint64_t print = fingerprint(message);
  std::array<std::size_t, 4> bits{};
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = ((print & 0xffffffff) + i * (print >> 32 | 1)) % kBits;
  const auto all_in = [&](const std::vector<bool>& filter) {
    return std::ranges::all_of(bits, [&](std::size_t bit) { return filter[bit]; });
  };
  const bool known = all_in(current) || all_in(before);
  for (const std::size_t bit : bits) current[bit] = true;
  return known;
}

}  // namespace culvert::ike
