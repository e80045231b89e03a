#include "control/ikev2/taken_selectors.hpp"

namespace culvert::ikev2 {

TakenSelectors::Range::Range(const TrafficSelector& ts) : first(0), last(0) {
  for (const std::uint8_t b : ts.first.view()) first = first << 8 | b;
  for (const std::uint8_t b : ts.last.view()) last = last << 8 | b;
}

std::uint8_t TakenSelectors::Range::width() const {
  std::uint8_t out = 0;
  for (U128 more = last - first; more != 0; more >>= 1) ++out;
  return out;
}

TakenSelectors::U128 TakenSelectors::Range::reached_from(std::uint8_t width) const {
  const U128 most = width >= 128 ? ~U128{0} : (U128{1} << width) - 1;
  return first > most ? first - most : 0;
}

void TakenSelectors::add(VrfId vrf, const std::vector<TrafficSelector>& remote, Spi spi) {
  for (const TrafficSelector& ts : remote) {
    const Range range(ts);
    const Group group{vrf, ts.first.family, range.width()};
    if (places_.insert({group, range.first, spi}).second) ++groups_[group];
  }
}

void TakenSelectors::remove(VrfId vrf, const std::vector<TrafficSelector>& remote, Spi spi) {
  for (const TrafficSelector& ts : remote) {
    const Range range(ts);
    const Group group{vrf, ts.first.family, range.width()};
    if (places_.erase({group, range.first, spi}) > 0 && --groups_.at(group) == 0) groups_.erase(group);
  }
}

}  // namespace culvert::ikev2
