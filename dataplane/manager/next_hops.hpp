// Which of a route's several next hops can be used: those that answer, by ports whose link is up. Owns what was last said of each. Looks,
// and tells the Fib, which gives flows another one; asks no neighbour itself (the Resolver does). Runs on the manager's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "dataplane/fib/fib.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/manager/resolver.hpp"

namespace culvert::dp {

class NextHops {
 public:
  NextHops(Fib& fib, std::span<const Interface> interfaces, std::span<const std::unique_ptr<Port>> ports, Resolver& resolver);
  /// Costs nothing where no route has several.
  void look();

 private:
  bool usable(const NextHop& hop);

  Fib& fib_;
  std::span<const Interface> interfaces_;
  std::span<const std::unique_ptr<Port>> ports_;
  std::unordered_map<const Neighbor*, bool> answers_;  // until it has failed it does; then not, until it is heard again
};

}  // namespace culvert::dp
