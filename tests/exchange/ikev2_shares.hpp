// What the tests of CHILD SAs for one worker each (RFC 9611) have in common.
#pragma once

#include "tests/exchange/ikev2_sites.hpp"

namespace culvert::test {

inline void give_workers(config::GatewayConfig& c, std::size_t workers) {
  c.dataplane.workers.assign(workers, 0);
  c.connections[0].children[0].per_cpu.sas = true;
}
inline std::vector<ike::ChildSaInfo> pairs_of(const Host& h) {
  std::vector<ike::ChildSaInfo> out;
  for (const ike::IkeSaInfo& sa : h.engine->ike_sas())
    for (const ike::ChildSaInfo& c : sa.children)
      if (c.state == ike::ChildState::Installed) out.push_back(c);
  return out;
}
/// How many pairs each worker has; the one for all is counted last.
inline std::vector<std::size_t> by_worker(const Host& h) {
  std::vector<std::size_t> out(h.config.dataplane.workers.size() + 1);
  for (const ike::ChildSaInfo& c : pairs_of(h)) ++out.at(c.worker.value_or(out.size() - 1));
  return out;
}
using Counts = std::vector<std::size_t>;

}  // namespace culvert::test
