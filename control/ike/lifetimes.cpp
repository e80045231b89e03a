#include "control/ike/lifetimes.hpp"

#include <algorithm>

#include "control/ike/retransmit.hpp"

namespace culvert::ike {

Schedule schedule(Services& services, TimePoint now, const Lifetimes3& own, std::uint64_t peer_seconds) {
  const std::uint64_t ours = static_cast<std::uint64_t>(std::max<std::int64_t>(1, own.life.count()));
  const std::uint64_t life = peer_seconds == 0 ? ours : std::min(ours, std::max(peer_seconds, kMinLife));
  const std::chrono::nanoseconds total = std::chrono::seconds{static_cast<std::int64_t>(life)};
  std::chrono::nanoseconds rekey = std::chrono::nanoseconds(own.rekey) - random_part(services, own.rand);
  // A lifetime that leaves no room behind our own rekeying time: begin at 80 to 90 % of it.
  if (rekey > total / 10 * 9 || rekey.count() <= 0) rekey = total / 10 * 9 - random_part(services, total / 10);
  return {now + rekey, now + total};
}

}  // namespace culvert::ike
