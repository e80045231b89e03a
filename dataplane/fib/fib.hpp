// The forwarding table: which way a destination address lies. Built once from addresses and routes, then only read.
// Owns DPDK's fib behind an interface that knows families; IPv4 is what is carried today.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"

struct rte_fib;

namespace culvert::dp {

enum class HopKind : std::uint8_t {
  None,     ///< no route
  Local,    ///< an own address
  Martian,  ///< may be no destination: loopback, multicast, reserved, a network's broadcast address
  OnLink,   ///< on a network of ours: the destination itself is the neighbour
  Gateway,  ///< behind another router
  Tunnel,   ///< into a tunnel interface: under the SA that is bound to it
};
struct NextHop {
  HopKind kind{};
  std::uint16_t port = 0;        ///< of Tunnel: which one of the tunnels
  IpAddress gateway;             ///< of Gateway
  Neighbor* neighbor = nullptr;  ///< of Gateway: its entry, which lives as long as the table

  [[nodiscard]] bool leads_out() const { return kind == HopKind::OnLink || kind == HopKind::Gateway; }
};
using HopId = std::uint16_t;

class Fib {
 public:
  /// Routes: own addresses, networks of ours, `routes`, and what is no destination. Fails on a route that leads nowhere.
  static std::expected<std::unique_ptr<Fib>, std::string> build(std::span<const Interface> interfaces,
                                                                std::span<const config::Route> routes, NeighborTable& neighbors,
                                                                std::span<const Interface> tunnels = {});
  ~Fib();
  Fib(const Fib&) = delete;
  Fib& operator=(const Fib&) = delete;

  /// Addresses in host order. `out` is as long as `addresses`, at most 64.
  void lookup_v4(std::span<const std::uint32_t> addresses, std::span<HopId> out) const;
  [[nodiscard]] const NextHop& lookup(const IpAddress& address) const;
  [[nodiscard]] const NextHop& hop(HopId id) const { return hops_[id]; }

 private:
  Fib() = default;
  rte_fib* v4_ = nullptr;
  std::vector<NextHop> hops_{NextHop{}};
};

}  // namespace culvert::dp
