// Several established ISAKMP SAs with one peer, and which of them ends when. Decides; sends nothing and changes nothing.
#pragma once

#include <optional>
#include <utility>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// Whether `test` holds of another established ISAKMP SA of the same connection and peer.
template <class F>
bool any_sibling(Core& core, const IsakmpSa& sa, F&& test) {
  const MmEstablished* own = sa.established();
  for (const IsakmpSa* other : core.sas_of(sa.connection)) {
    const MmEstablished* est = other->established();
    if (other->id != sa.id && est && est->access.open() && (!own || est->remote_id == own->remote_id) && test(*other, *est)) return true;
  }
  return false;
}

/// Both are established.
inline bool newer(const IsakmpSa& a, const IsakmpSa& b) {
  return std::pair(a.established()->established, a.id) > std::pair(b.established()->established, b.id);
}

/// When two of our making and the peer's stand side by side, and ours has the higher cookie: when we remove it.
[[nodiscard]] std::optional<TimePoint> collision_end(Core& core, const IsakmpSa& sa, const MmEstablished& est);
/// When an SA with a successor that the peer made, and never asked us to remove it, is removed all the same.
[[nodiscard]] std::optional<TimePoint> forgotten_at(Core& core, const IsakmpSa& sa);

/// Whether another one stays when this one ends, or is nearer to staying.
[[nodiscard]] bool has_heir(Core& core, const IsakmpSa& sa);
/// Before an ISAKMP SA ends that the peer did not replace itself: some peers (strongSwan) count their pairs to one of their ISAKMP SAs, do
/// not say to which, and drop them with it. Asks for new pairs, under the one that stays or comes.
void renew_pairs(Core& core, const IsakmpSa& ending);
/// Whether all pairs with the peer of the one that ends were made under the one that stays.
[[nodiscard]] bool pairs_renewed(Core& core, const IsakmpSa& ending);

}  // namespace culvert::ikev1
