// What a former culvertd left in the data plane: it carries packets until a successor does, and takes in what is on its way for a while
// longer.
#include <algorithm>
#include <iterator>

#include "control/ikev2/lifecycle.hpp"

namespace culvert::ikev2 {

void forget_orphans(Core& core, TimePoint now, const IkeSa& sa, std::size_t child) {
  ChildRun& run = core.run(sa.connection).children.at(child);
  const PeerKey whose = sa.peer.value_or(PeerKey{});
  const auto of_others = std::ranges::partition(run.orphans, [&](const ike::OrphanSa& o) { return o.peer == whose; });
  for (auto it = run.orphans.begin(); it != of_others.begin(); ++it) {
    if (it->direction == Direction::Inbound)
      run.ending.push_back(std::move(*it));
    else
      core.shared.actions.emplace_back(ike::RemoveSa{it->pair, it->direction, it->spi});
  }
  if (of_others.begin() != run.orphans.begin()) core.leases_in_doubt.insert(sa.connection);
  run.orphans.erase(run.orphans.begin(), of_others.begin());
  run.end_at = now + kGrace;
}

void end_orphans(Core& core, ChildRun& child) {
  for (const ike::OrphanSa& orphan : std::exchange(child.ending, {})) {
    core.shared.actions.emplace_back(ike::RemoveSa{orphan.pair, orphan.direction, orphan.spi});
    if (orphan.direction == Direction::Inbound) core.services.release_spi(orphan.spi);
  }
}

}  // namespace culvert::ikev2
