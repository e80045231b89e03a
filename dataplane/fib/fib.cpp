#include "dataplane/fib/fib.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <set>

#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_memory.h>

namespace culvert::dp {

namespace {
// RFC 6890: never a destination on our wires.
constexpr std::array<std::pair<std::uint32_t, std::uint8_t>, 4> kMartians{
    {{0x00000000, 8}, {0x7f000000, 8}, {0xe0000000, 4}, {0xf0000000, 4}}};
constexpr std::size_t kMaxBurst = 64;

/// Prefix -> hop, the later wins: collected before DPDK's table is sized.
class Plan {
 public:
  explicit Plan(std::vector<NextHop>& hops) : hops_(hops) {}
  void add(const Prefix& to, const NextHop& hop) {
    auto same = std::find_if(hops_.begin() + 1, hops_.end(),
                             [&](const NextHop& h) { return h.kind == hop.kind && h.port == hop.port && h.gateway == hop.gateway; });
    if (same == hops_.end()) same = hops_.insert(hops_.end(), hop);
    routes_[Prefix{to.first(), to.length}] = static_cast<HopId>(same - hops_.begin());
  }
  [[nodiscard]] const std::map<Prefix, HopId>& routes() const { return routes_; }

 private:
  std::vector<NextHop>& hops_;
  std::map<Prefix, HopId> routes_;
};

NextHop into(std::size_t tunnel) { return {HopKind::Tunnel, static_cast<std::uint16_t>(tunnel), {}, nullptr}; }

std::expected<NextHop, std::string> resolve(const config::Route& route, std::span<const Interface> interfaces,
                                            std::span<const Interface> tunnels, NeighborTable& neighbors) {
  const std::string what = "route to " + route.to.to_string() + ": ";
  if (!route.tunnel.empty()) {
    const auto named = std::ranges::find(tunnels, route.tunnel, &Interface::name);
    if (named == tunnels.end()) return std::unexpected(what + "there is no tunnel " + route.tunnel);
    return into(static_cast<std::size_t>(named - tunnels.begin()));
  }
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    const bool named = interfaces[i].name == route.port;
    if (!route.port.empty() && !named) continue;
    const auto port = static_cast<std::uint16_t>(i);
    if (!route.via && named) return NextHop{HopKind::OnLink, port, {}, nullptr};
    if (!route.via || (!named && interfaces[i].network_of(*route.via) == nullptr)) continue;
    Neighbor* neighbor = neighbors.add({*route.via, port}, true);
    if (neighbor == nullptr) return std::unexpected(what + "too many next hops");
    return NextHop{HopKind::Gateway, port, *route.via, neighbor};
  }
  if (route.via) return std::unexpected(what + "no port has a network with the next hop " + route.via->to_string());
  return std::unexpected(what + "needs `via` or the name of a port");
}
}  // namespace

std::expected<std::unique_ptr<Fib>, std::string> Fib::build(std::span<const Interface> interfaces, std::span<const config::Route> routes,
                                                            NeighborTable& neighbors, std::span<const Interface> tunnels) {
  std::unique_ptr<Fib> fib(new Fib);
  Plan plan(fib->hops_);
  for (const auto& [address, length] : kMartians) plan.add({IpAddress::v4(address), length}, {HopKind::Martian, 0, {}, nullptr});
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    for (const Prefix& p : interfaces[i].addresses)
      if (p.address.family == Family::V4) plan.add(p, {HopKind::OnLink, static_cast<std::uint16_t>(i), {}, nullptr});
  for (std::size_t i = 0; i < tunnels.size(); ++i)
    for (const Prefix& p : tunnels[i].addresses) plan.add(p, into(i));  // one peer, no broadcast
  for (const config::Route& route : routes) {
    if (route.to.address.family != Family::V4) return std::unexpected("route to " + route.to.to_string() + ": IPv6 is not carried");
    auto hop = resolve(route, interfaces, tunnels, neighbors);
    if (!hop) return std::unexpected(hop.error());
    plan.add(route.to, *hop);
  }
  for (const Interface& i : interfaces)
    for (const Prefix& p : i.addresses) {
      if (p.address.family != Family::V4) continue;
      if (p.length < 31) {  // RFC 3021: no broadcast on a /31
        plan.add({p.first(), 32}, {HopKind::Martian, 0, {}, nullptr});
        plan.add({p.last(), 32}, {HopKind::Martian, 0, {}, nullptr});
      }
    }
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    for (const Prefix& p : interfaces[i].addresses)
      if (p.address.family == Family::V4) plan.add({p.address, 32}, {HopKind::Local, static_cast<std::uint16_t>(i), {}, nullptr});
  for (const Interface& tunnel : tunnels)
    for (const Prefix& p : tunnel.addresses) plan.add({p.address, 32}, {HopKind::Local, 0, {}, nullptr});

  std::set<std::uint32_t> long_prefixes;
  for (const auto& [to, hop] : plan.routes())
    if (to.length > 24) long_prefixes.insert(to.address.v4_host() >> 8);
  rte_fib_conf conf{};
  conf.type = RTE_FIB_DIR24_8;
  conf.max_routes = static_cast<int>(plan.routes().size() + 64);
  // One byte an entry (16 MB) while next hops and second-level tables can be told apart by seven bits, else two.
  const bool small = fib->hops_.size() < 120 && long_prefixes.size() < 120;
  conf.dir24_8.nh_sz = small ? RTE_FIB_DIR24_8_1B : RTE_FIB_DIR24_8_2B;
  conf.dir24_8.num_tbl8 = small ? 127 : 32767;
  static std::atomic<unsigned> serial{0};
  const std::string name = "fib" + std::to_string(serial++);
  fib->v4_ = rte_fib_create(name.c_str(), SOCKET_ID_ANY, &conf);
  if (fib->v4_ == nullptr)
    return std::unexpected(std::string("no memory for the forwarding table (") + rte_strerror(rte_errno) + "); raise memory.size");
  for (const auto& [to, hop] : plan.routes())
    if (const int rc = rte_fib_add(fib->v4_, to.address.v4_host(), to.length, hop); rc != 0)
      return std::unexpected("route to " + to.to_string() + ": " + rte_strerror(-rc));
  return fib;
}

Fib::~Fib() { rte_fib_free(v4_); }

void Fib::lookup_v4(std::span<const std::uint32_t> addresses, std::span<HopId> out) const {
  std::array<std::uint64_t, kMaxBurst> hops;
  const auto n = static_cast<unsigned>(std::min(addresses.size(), kMaxBurst));
  // The API takes a non-const pointer and reads only.
  rte_fib_lookup_bulk(v4_, const_cast<std::uint32_t*>(addresses.data()), hops.data(), static_cast<int>(n));
  for (unsigned i = 0; i < n; ++i) out[i] = static_cast<HopId>(hops[i]);
}

const NextHop& Fib::lookup(const IpAddress& address) const {
  if (address.family != Family::V4) return hops_[0];
  const std::uint32_t a = address.v4_host();
  HopId id = 0;
  lookup_v4(std::span(&a, 1), std::span(&id, 1));
  return hops_[id];
}

}  // namespace culvert::dp
