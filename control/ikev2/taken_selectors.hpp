// Which CHILD SAs there are for a peer's addresses: so that a new peer is compared with those that it may be in the way of, and not with
// ten thousand others. Owns an order of ranges by VRF, width and first address; of a CHILD SA only its inbound SPI, by which it is found
// wherever it has moved to.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "common/ipsec/selector.hpp"
#include "common/types.hpp"

namespace culvert::ikev2 {

class TakenSelectors {
 public:
  /// A CHILD SA with the peer's side of its selectors; more than once is as good as once.
  void add(VrfId vrf, const std::vector<TrafficSelector>& remote, Spi spi);
  /// As it was added.
  void remove(VrfId vrf, const std::vector<TrafficSelector>& remote, Spi spi);
  /// Whether test(spi) says so of one of those that have an address of these.
  template <class Test>
  [[nodiscard]] bool any(VrfId vrf, const std::vector<TrafficSelector>& remote, Test&& test) const {
    for (const TrafficSelector& ts : remote) {
      const Range wanted(ts);
      const Group group{vrf, ts.first.family, 0};
      for (auto g = groups_.lower_bound(group); g != groups_.end() && g->first.vrf == vrf && g->first.family == ts.first.family; ++g)
        for (auto at = places_.lower_bound({g->first, wanted.reached_from(g->first.width), {}});
             at != places_.end() && at->group == g->first && at->first <= wanted.last; ++at)
          if (test(at->spi)) return true;
    }
    return false;
  }
  [[nodiscard]] std::size_t size() const { return places_.size(); }

 private:
  __extension__ using U128 = unsigned __int128;
  struct Range {
    U128 first, last;
    explicit Range(const TrafficSelector& ts);
    /// 0: one address; n: 2^(n-1)+1 to 2^n of them.
    [[nodiscard]] std::uint8_t width() const;
    /// Where the first range of this width that leads to here could begin.
    [[nodiscard]] U128 reached_from(std::uint8_t width) const;
  };
  struct Group {
    VrfId vrf;
    Family family;
    std::uint8_t width;
    friend auto operator<=>(const Group&, const Group&) = default;
  };
  struct Place {
    Group group;
    U128 first;
    Spi spi;
    friend bool operator<(const Place& a, const Place& b) { return std::tie(a.group, a.first, a.spi) < std::tie(b.group, b.first, b.spi); }
  };
  std::set<Place> places_;
  std::map<Group, std::size_t> groups_;  ///< how many places of each there are
};

}  // namespace culvert::ikev2
