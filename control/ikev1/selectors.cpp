#include "control/ikev1/selectors.hpp"

#include <algorithm>

#include "common/config/selectors.hpp"

namespace culvert::ikev1 {

Selectors selectors_of(const Core& core, const IsakmpSa& sa, std::size_t index) {
  const ConnectionRun& run = core.runs().at(sa.connection);
  const config::Child& child = core.connection(sa).children.at(index);
  Selectors out{child.local_ts, child.remote_ts};
  if (child.local_dynamic) out.local = config::at_address(child.local_ts, run.inner_local.value_or(sa.local.address));
  if (child.remote_dynamic) out.remote = config::at_address(child.remote_ts, run.inner_remote.value_or(sa.remote.address));
  return out;
}

bool has_own_policy(const Core& core, std::size_t run, std::size_t index) {
  const config::Child& child = core.connection(run).children.at(index);
  return !core.own_run(run) || child.local_dynamic || child.remote_dynamic;
}

bool taken_by_another(const Core& core, const IsakmpSa& sa, std::size_t index, const Selectors& wanted) {
  if (!has_own_policy(core, sa.connection, index)) return false;
  const VrfId vrf = core.connection(sa).children.at(index).vrf.id;
  for (const auto& [id, run] : core.runs()) {
    if (id == sa.connection) continue;
    for (std::size_t k = 0; k < run.children.size(); ++k) {
      if (run.children[k].pairs.empty() || !has_own_policy(core, id, k) || core.connection(id).children.at(k).vrf.id != vrf) continue;
      for (const ChildSa& pair : run.children[k].pairs)
        if (!std::holds_alternative<ChildSuperseded>(pair.life) && pair.remote_ts.meets(wanted.remote) && pair.local_ts.meets(wanted.local))
          return true;
    }
  }
  return false;
}

}  // namespace culvert::ikev1
