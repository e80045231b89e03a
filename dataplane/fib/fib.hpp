// The forwarding table: which way a destination address lies. Built once from addresses and routes, then only read.
// Owns DPDK's fib and fib6 behind an interface that knows families. The table of IPv6 is made only where a port has such an address.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"

struct rte_fib;
struct rte_fib6;

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
using V6Bytes = std::array<std::uint8_t, 16>;  ///< an address in network order

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
  /// The same; link-local addresses but our own are Martian: they mean something with a port only (see link()).
  void lookup_v6(std::span<const V6Bytes> addresses, std::span<HopId> out) const;
  /// The way to neighbours on the link of `port`.
  [[nodiscard]] HopId link(std::uint16_t port) const { return links_[port]; }
  [[nodiscard]] HopId way_to(const IpAddress& address) const;
  [[nodiscard]] const NextHop& lookup(const IpAddress& address) const { return hops_[way_to(address)]; }
  [[nodiscard]] const NextHop& hop(HopId id) const { return hops_[id]; }

 private:
  using Routes = std::map<Prefix, HopId>;
  Fib() = default;
  std::expected<void, std::string> make_v4(const Routes& routes);
  std::expected<void, std::string> make_v6(const Routes& routes);
  rte_fib* v4_ = nullptr;
  rte_fib6* v6_ = nullptr;
  std::vector<HopId> links_;
  std::vector<NextHop> hops_{NextHop{}};
};

}  // namespace culvert::dp
