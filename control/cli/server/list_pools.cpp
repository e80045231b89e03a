// The list-pools command: virtual addresses, and who has them.
#include <algorithm>

#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result list_pools(Gateway& gateway, const Args& args, ike::TimePoint) {
  const bool leases = args.flag("leases");
  json::array pools;
  for (const ike::PoolInfo& p : gateway.pools()) {
    const auto& configured = gateway.config().pools;
    const auto of = std::ranges::find(configured, p.name, &config::Pool::name);
    const VrfId vrf = of != configured.end() ? of->vrf.id : kDefaultVrf;
    json::object pool{{"pool", p.name},
                      {"vrf", config::vrf_name(gateway.config(), vrf)},
                      {"size", p.size},
                      {"online", p.online},
                      {"offline", p.leases.size() - p.online}};
    if (leases) {
      json::array all;
      for (const ike::LeaseInfo& l : p.leases)
        all.push_back(json::object{{"address", l.address.to_string()}, {"identity", l.identity}, {"online", l.online}});
      pool["leases"] = std::move(all);
    }
    pools.push_back(std::move(pool));
  }
  return json::object{{"pools", std::move(pools)}};
}

}  // namespace culvert::control::cli
