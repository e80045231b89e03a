#include "dataplane/manager/next_hops.hpp"

#include <spdlog/spdlog.h>

namespace culvert::dp {

NextHops::NextHops(Fib& fib, std::span<const Interface> interfaces, std::span<const std::unique_ptr<Port>> ports, Resolver& resolver)
    : fib_(fib), interfaces_(interfaces), ports_(ports) {
  fib_.for_each_member([&](const NextHop& hop) {
    resolver.watch(*hop.neighbor);
    answers_[hop.neighbor] = true;
  });
}

void NextHops::look() {
  if (!fib_.has_groups()) return;
  for (auto& [neighbor, answers] : answers_) {
    const NeighborState state = neighbor->state();
    const bool now = state == NeighborState::Reachable || (answers && state == NeighborState::Incomplete);
    if (now == answers) continue;
    answers = now;
    const std::string what = "next hop " + neighbor->key.address.to_string() + " by " + interfaces_[neighbor->key.port].name;
    if (now)
      spdlog::info("{} answers again: its flows return to it", what);
    else
      spdlog::warn("{} does not answer: its flows go by the others of its routes", what);
  }
  fib_.refresh([this](const NextHop& hop) { return usable(hop); });
}

bool NextHops::usable(const NextHop& hop) {
  const Interface& interface = interfaces_[hop.port];
  const std::uint16_t port = interface.vlan != 0 ? interface.port : hop.port;
  return answers_[hop.neighbor] && ports_[port]->usable();
}

}  // namespace culvert::dp
