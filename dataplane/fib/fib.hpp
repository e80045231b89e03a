// The forwarding tables, one of each VRF: which way a destination address lies. Built once from addresses and routes, then only read, but
// for which of several next hops a flow has (RFC 2992: by a hash of the flow, so that its packets stay in order). That is chosen before
// anybody else sees a hop: none outside is ever Several. Owns DPDK's fib and fib6 behind an interface that knows families. The table of
// IPv6 is made only where a port has such an address.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/spd/flow_key.hpp"

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
  Several,  ///< one of several gateways; inside of the Fib only
};
struct NextHop {
  HopKind kind{};
  std::uint16_t port = 0;        ///< of Tunnel: which one of the tunnels; of Several: which group
  IpAddress gateway;             ///< of Gateway
  Neighbor* neighbor = nullptr;  ///< of Gateway: its entry, which lives as long as the table
  std::uint8_t one_of = 0;       ///< of a Gateway beside others for a route: so many there are

  [[nodiscard]] bool leads_out() const { return kind == HopKind::OnLink || kind == HopKind::Gateway; }
};
using HopId = std::uint16_t;

class Fib {
 public:
  /// Routes: own addresses, networks of ours, `routes`, and what is no destination, each in its VRF. Fails on a route that leads nowhere.
  static std::expected<std::unique_ptr<Fib>, std::string> build(std::span<const Interface> interfaces,
                                                                std::span<const config::Route> routes, NeighborTable& neighbors,
                                                                std::span<const Interface> tunnels = {}, std::size_t vrfs = 1);
  ~Fib();
  Fib(const Fib&) = delete;
  Fib& operator=(const Fib&) = delete;

  /// Addresses in host order. `out` is as long as `addresses`, at most 64. What they say is for choose().
  void lookup_v4(VrfId vrf, std::span<const std::uint32_t> addresses, std::span<HopId> out) const;
  /// The same; link-local addresses but our own are Martian: they mean something with a port only (see link()).
  void lookup_v6(VrfId vrf, std::span<const V6Bytes> addresses, std::span<HopId> out) const;
  /// The way to neighbours on the link of `port`.
  [[nodiscard]] HopId link(std::uint16_t port) const { return links_[port]; }
  /// `flow` tells apart what goes to one address, where it has several next hops.
  [[nodiscard]] HopId way_to(VrfId vrf, const IpAddress& address, std::uint64_t flow = 0) const;
  [[nodiscard]] const NextHop& lookup(VrfId vrf, const IpAddress& address, std::uint64_t flow = 0) const {
    return hops_[way_to(vrf, address, flow)];
  }
  [[nodiscard]] bool has_vrfs() const { return tables_.size() > 1; }
  [[nodiscard]] const NextHop& hop(HopId id) const { return hops_[id]; }

  /// Whether a route has several next hops.
  [[nodiscard]] bool has_groups() const { return !groups_.empty(); }
  /// The next hop of a flow.
  [[nodiscard]] HopId choose(HopId id, std::uint64_t flow) const {
    const NextHop& hop = hops_[id];
    if (hop.kind != HopKind::Several) return id;
    const std::uint64_t mixed = (flow ^ seed_) * 0x9e3779b97f4a7c15U;
    return groups_[hop.port]->slots[((mixed ^ mixed >> 32) * 0xc2b2ae3d27d4eb4fU) >> (64 - kSlotBits)].load(std::memory_order_relaxed);
  }
  /// The member of a group that is this gateway; 0: none is.
  [[nodiscard]] HopId member(std::uint16_t port, const IpAddress& gateway) const;
  /// Counts how often flows have been given other next hops: what was chosen before may be chosen anew.
  [[nodiscard]] std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  /// Manager: leaves out the next hops of which `usable` is false; of a route that has no other none is left out. Flows whose next hop
  /// stays in use keep it, and those of one that returns go back to it. True: something has changed.
  bool refresh(const std::function<bool(const NextHop&)>& usable);
  /// Manager: all that may be left out.
  void for_each_member(const std::function<void(const NextHop&)>& visit) const;

 private:
  using Routes = std::map<Prefix, HopId>;
  static constexpr unsigned kSlotBits = 8;  ///< by hash of the flow: shares are right to within one of 256
  static constexpr std::size_t kSlots = std::size_t{1} << kSlotBits;
  struct Group {
    std::vector<HopId> members;
    std::vector<std::uint8_t> weights;
    std::vector<bool> used;
    std::array<std::atomic<HopId>, kSlots> slots{};
    void fill();
  };
  Fib() = default;
  HopId add_group(std::vector<HopId> members, std::vector<std::uint8_t> weights);
  struct Table {
    rte_fib* v4 = nullptr;
    rte_fib6* v6 = nullptr;  ///< nullptr: no port of the VRF has such an address
  };
  std::expected<void, std::string> make_v4(Table& table, const Routes& routes) const;
  std::expected<void, std::string> make_v6(Table& table, const Routes& routes) const;
  std::vector<Table> tables_;  // by VRF
  std::vector<HopId> links_;
  std::vector<NextHop> hops_{NextHop{}};
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<HopId> hop_of_group_;
  std::uint64_t seed_ = 0;  // another one on each gateway, so that routers in a row do not all split alike; the same after a restart
  std::atomic<std::uint64_t> epoch_{0};
};

}  // namespace culvert::dp
