#include "control/ikev2/narrowing.hpp"

#include <algorithm>

#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

namespace {
/// Ports without a protocol are none that traffic could have (RFC 7296 §3.13.1).
bool sound(const TrafficSelector& s) { return s.protocol != 0 || s.any_port(); }
}  // namespace

std::vector<TrafficSelector> narrow(std::span<const TrafficSelector> offered, std::span<const TrafficSelector> ours) {
  std::vector<TrafficSelector> out;
  for (const TrafficSelector& mine : ours)
    for (const TrafficSelector& theirs : offered) {
      const auto both = sound(theirs) ? mine.intersect(theirs) : std::nullopt;
      if (!both || std::ranges::any_of(out, [&](const TrafficSelector& s) { return s.contains(*both); })) continue;
      std::erase_if(out, [&](const TrafficSelector& s) { return both->contains(s); });
      if (out.size() < kMaxSelectors) out.push_back(*both);
    }
  return out;
}

bool within(std::span<const TrafficSelector> reply, std::span<const TrafficSelector> offered) {
  return !reply.empty() && std::ranges::all_of(reply, [&](const TrafficSelector& one) {
    return sound(one) && one.first <= one.last && one.port_first <= one.port_last && one.first.family == one.last.family &&
           std::ranges::any_of(offered, [&](const TrafficSelector& s) { return s.contains(one); });
  });
}

}  // namespace culvert::ikev2
