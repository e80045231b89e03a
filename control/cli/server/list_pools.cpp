// The list-pools command: virtual addresses, and who has them.
#include "control/cli/server/commands.hpp"

namespace culvert::control::cli {

Result list_pools(Gateway& gateway, const Args& args, ike::TimePoint) {
  const bool leases = args.flag("leases");
  json::array pools;
  for (const ike::PoolInfo& p : gateway.pools()) {
    json::object pool{{"pool", p.name}, {"size", p.size}, {"online", p.online}, {"offline", p.leases.size() - p.online}};
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
