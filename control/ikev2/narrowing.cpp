#include "control/ikev2/narrowing.hpp"

#include <algorithm>
#include <array>
#include <utility>

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

SelectorLists paired(SelectorLists both) {
  const auto lone = [](const TrafficSelector& one, const std::vector<TrafficSelector>& others, bool local) {
    return std::ranges::none_of(others, [&](const TrafficSelector& o) { return local ? can_pair(one, o) : can_pair(o, one); });
  };
  std::erase_if(both.local, [&](const TrafficSelector& s) { return lone(s, both.remote, true); });
  std::erase_if(both.remote, [&](const TrafficSelector& s) { return lone(s, both.local, false); });
  if (both.empty()) return {};
  const auto partner = std::ranges::find_if(both.remote, [&](const TrafficSelector& s) { return can_pair(both.local.front(), s); });
  std::rotate(both.remote.begin(), partner, partner + 1);
  return both;
}

std::size_t cut(SelectorLists& both, const TrafficSelector& first_local, const TrafficSelector& first_remote) {
  const std::size_t before = both.size();
  if (before <= kMaxPairSelectors) return 0;
  const auto in_front = [](std::vector<TrafficSelector>& list, const TrafficSelector& first) {
    std::ranges::stable_partition(list, [&](const TrafficSelector& s) { return s.meets(first); });
  };
  in_front(both.local, first_local);
  in_front(both.remote, first_remote);
  both = paired(std::move(both));  // two that go with each other in front, where they stay
  while (both.size() > kMaxPairSelectors) (both.local.size() > both.remote.size() ? both.local : both.remote).pop_back();
  both = paired(std::move(both));
  return before - both.size();
}

bool operator==(const SelectorLists& a, const SelectorLists& b) {
  return std::ranges::is_permutation(a.local, b.local) && std::ranges::is_permutation(a.remote, b.remote);
}

bool SelectorLists::intersects(const SelectorLists& o) const {
  const auto meet = [](const std::vector<TrafficSelector>& a, const std::vector<TrafficSelector>& b, Family family) {
    return std::ranges::any_of(a, [&](const TrafficSelector& one) {
      return one.first.family == family && std::ranges::any_of(b, [&](const TrafficSelector& other) { return one.meets(other); });
    });
  };
  // Peers differ in what is behind them.
  return std::ranges::any_of(std::array{Family::V4, Family::V6},
                             [&](Family family) { return meet(remote, o.remote, family) && meet(local, o.local, family); });
}

MoreSelectors SelectorLists::more() const { return MoreSelectors::behind_first(local, remote).value_or(MoreSelectors{}); }

std::string selectors_text(const std::vector<TrafficSelector>& selectors) {
  return selectors.empty() ? std::string{} : to_string(selectors.front(), std::span(selectors).subspan(1));
}

std::string SelectorLists::to_string() const { return selectors_text(local) + " - " + selectors_text(remote); }

}  // namespace culvert::ikev2
