// Both ends of a CHILD SA's traffic: of IKEv2 any number of selectors a side (RFC 7296 §2.9). Owns the type and its comparisons; what of
// it a peer gets is narrowing's.
#pragma once

#include <string>
#include <vector>

#include "common/ipsec/selector.hpp"

namespace culvert::ikev2 {

/// A packet is meant if its two ends are each inside of one of their side.
struct SelectorLists {
  std::vector<TrafficSelector> local, remote;

  /// In whatever order: the two peers need not have the same.
  friend bool operator==(const SelectorLists& a, const SelectorLists& b);
  [[nodiscard]] bool empty() const { return local.empty() || remote.empty(); }
  [[nodiscard]] std::size_t size() const { return local.size() + remote.size(); }
  /// Whether some packet is meant by both.
  [[nodiscard]] bool intersects(const SelectorLists& o) const;
  /// What there is behind the first of each side, which must be there.
  [[nodiscard]] MoreSelectors more() const;
  [[nodiscard]] std::string to_string() const;  ///< "10.1.0.0/24, 10.1.1.0/24 - 10.2.0.0/24"
};
std::string selectors_text(const std::vector<TrafficSelector>& selectors);

}  // namespace culvert::ikev2
