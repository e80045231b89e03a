#include "dataplane/fib/fib.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <set>

#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>

namespace culvert::dp {

namespace {
// RFC 6890: never a destination on our wires. Of IPv6: unspecified and loopback, what maps IPv4, link-local, multicast.
constexpr std::array kMartians{"0.0.0.0/8", "127.0.0.0/8",   "224.0.0.0/4", "240.0.0.0/4",
                               "::/127",    "::ffff:0:0/96", "fe80::/10",   "ff00::/8"};
constexpr std::size_t kMaxBurst = 64;

/// Prefix -> hop of one VRF, the later wins: collected before DPDK's table is sized. Hops are numbered across VRFs.
class Plan {
 public:
  explicit Plan(std::vector<NextHop>& hops) : hops_(hops) {}
  HopId add(const NextHop& hop) {
    auto same = std::find_if(hops_.begin() + 1, hops_.end(), [&](const NextHop& h) {
      return h.kind == hop.kind && h.port == hop.port && h.gateway == hop.gateway && h.one_of == hop.one_of;
    });
    if (same == hops_.end()) same = hops_.insert(hops_.end(), hop);
    return static_cast<HopId>(same - hops_.begin());
  }
  void add(const Prefix& to, const NextHop& hop) { add(to, add(hop)); }
  void add(const Prefix& to, HopId hop) { routes_[Prefix{to.first(), to.length}] = hop; }
  [[nodiscard]] std::map<Prefix, HopId> routes(Family family) const {
    std::map<Prefix, HopId> out;
    for (const auto& [to, hop] : routes_)
      if (to.address.family == family) out.emplace(to, hop);
    return out;
  }

 private:
  std::vector<NextHop>& hops_;
  std::map<Prefix, HopId> routes_;
};

Prefix host(const IpAddress& a) { return {a, static_cast<std::uint8_t>(8 * a.size())}; }
NextHop into(std::size_t tunnel) { return {HopKind::Tunnel, static_cast<std::uint16_t>(tunnel), {}, nullptr}; }

bool is_link_local(const IpAddress& a) { return a.family == Family::V6 && a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80; }

std::string next_name(const char* what) {
  static std::atomic<unsigned> serial{0};
  return what + std::to_string(serial++);
}
std::unexpected<std::string> no_memory() {
  return std::unexpected(std::string("no memory for the forwarding table (") + rte_strerror(rte_errno) + "); raise memory.size");
}

/// Where a route leads that has one next hop, or none: `via` may be nullptr.
std::expected<NextHop, std::string> resolve(const config::Route& route, const IpAddress* via, std::span<const Interface> interfaces,
                                            std::span<const Interface> tunnels, NeighborTable& neighbors) {
  const std::string what = "route to " + route.to.to_string() + ": ";
  if (!route.tunnel.empty()) {
    const auto named = std::ranges::find(tunnels, route.tunnel, &Interface::name);
    if (named == tunnels.end()) return std::unexpected(what + "there is no tunnel " + route.tunnel);
    return into(static_cast<std::size_t>(named - tunnels.begin()));
  }
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    if (interfaces[i].vrf != route.vrf.id) continue;
    const bool named = interfaces[i].name == route.port;
    if (!route.port.empty() && !named) continue;
    const auto port = static_cast<std::uint16_t>(i);
    if (via == nullptr && named) return NextHop{HopKind::OnLink, port, {}, nullptr};
    const bool link_local = via != nullptr && is_link_local(*via);
    if (via == nullptr || (!named && (link_local || interfaces[i].network_of(*via) == nullptr))) continue;
    Neighbor* neighbor = neighbors.add({*via, port}, true);
    if (neighbor == nullptr) return std::unexpected(what + "too many next hops");
    return NextHop{HopKind::Gateway, port, *via, neighbor};
  }
  if (via != nullptr) return std::unexpected(what + "no port of its VRF has a network with the next hop " + via->to_string());
  return std::unexpected(what + "needs `via` or the name of a port of its VRF");
}

/// What `interfaces`, `tunnels` and martians say in one VRF before its routes: `links` by interface.
void plan_networks(Plan& plan, VrfId vrf, std::span<const Interface> interfaces, std::span<const Interface> tunnels,
                   std::span<const HopId> links) {
  for (const char* martian : kMartians) plan.add(*Prefix::parse(martian), {HopKind::Martian, 0, {}, nullptr});
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    for (const Prefix& p : interfaces[i].addresses)
      if (interfaces[i].vrf == vrf && !is_link_local(p.address)) plan.add(p, links[i]);
  for (std::size_t i = 0; i < tunnels.size(); ++i)
    for (const Prefix& p : tunnels[i].addresses)
      if (tunnels[i].vrf == vrf) plan.add(p, into(i));  // one peer, no broadcast
}

/// ... and behind them: what no route takes away.
void plan_own(Plan& plan, VrfId vrf, std::span<const Interface> interfaces, std::span<const Interface> tunnels) {
  for (const Interface& i : interfaces)
    for (const Prefix& p : i.addresses) {
      if (i.vrf != vrf || p.address.family != Family::V4) continue;
      if (p.length < 31) {  // RFC 3021: no broadcast on a /31
        plan.add({p.first(), 32}, {HopKind::Martian, 0, {}, nullptr});
        plan.add({p.last(), 32}, {HopKind::Martian, 0, {}, nullptr});
      }
    }
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    for (const Prefix& p : interfaces[i].addresses)
      if (interfaces[i].vrf == vrf) plan.add(host(p.address), {HopKind::Local, static_cast<std::uint16_t>(i), {}, nullptr});
  for (const Interface& tunnel : tunnels)
    for (const Prefix& p : tunnel.addresses)
      if (tunnel.vrf == vrf) plan.add(host(p.address), {HopKind::Local, 0, {}, nullptr});
}
}  // namespace

std::expected<std::unique_ptr<Fib>, std::string> Fib::build(std::span<const Interface> interfaces, std::span<const config::Route> routes,
                                                            NeighborTable& neighbors, std::span<const Interface> tunnels,
                                                            std::size_t vrfs) {
  std::unique_ptr<Fib> fib(new Fib);
  if (!interfaces.empty()) fib->seed_ = load_mac(interfaces[0].mac.data()) * 0x165667b19e3779f9U;
  std::vector<Plan> plans(vrfs, Plan(fib->hops_));
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    fib->links_.push_back(plans[0].add(NextHop{HopKind::OnLink, static_cast<std::uint16_t>(i), {}, nullptr}));
  for (std::size_t vrf = 0; vrf < vrfs; ++vrf) plan_networks(plans[vrf], static_cast<VrfId>(vrf), interfaces, tunnels, fib->links_);
  for (const config::Route& route : routes) {
    std::vector<HopId> ways;
    std::vector<std::uint8_t> weights;
    Plan& plan = plans[route.vrf.id];
    for (std::size_t i = 0; i < std::max<std::size_t>(route.via.size(), 1); ++i) {
      auto hop = resolve(route, route.via.empty() ? nullptr : &route.via[i].address, interfaces, tunnels, neighbors);
      if (!hop) return std::unexpected(hop.error());
      if (route.via.size() > 1) hop->one_of = static_cast<std::uint8_t>(route.via.size());
      ways.push_back(plan.add(*hop));
      weights.push_back(route.via.empty() ? std::uint8_t{1} : route.via[i].weight);
    }
    plan.add(route.to, ways.size() == 1 ? ways[0] : fib->add_group(ways, weights));
  }
  for (std::size_t vrf = 0; vrf < vrfs; ++vrf) plan_own(plans[vrf], static_cast<VrfId>(vrf), interfaces, tunnels);
  fib->tables_.resize(vrfs);
  for (std::size_t vrf = 0; vrf < vrfs; ++vrf) {
    if (auto made = fib->make_v4(fib->tables_[vrf], plans[vrf].routes(Family::V4)); !made) return std::unexpected(made.error());
    const bool v6 = std::ranges::any_of(interfaces, [&](const Interface& i) { return i.vrf == vrf && i.has(Family::V6); });
    if (!v6) continue;
    if (auto made = fib->make_v6(fib->tables_[vrf], plans[vrf].routes(Family::V6)); !made) return std::unexpected(made.error());
  }
  return fib;
}

std::expected<void, std::string> Fib::make_v4(Table& table, const Routes& routes) const {
  std::set<std::uint32_t> long_prefixes;
  for (const auto& [to, hop] : routes)
    if (to.length > 24) long_prefixes.insert(to.address.v4_host() >> 8);
  rte_fib_conf conf{};
  conf.type = RTE_FIB_DIR24_8;
  conf.max_routes = static_cast<int>(routes.size() + 64);
  // One byte an entry (16 MB) while next hops and second-level tables can be told apart by seven bits, else two.
  const bool small = hops_.size() < 120 && long_prefixes.size() < 120;
  conf.dir24_8.nh_sz = small ? RTE_FIB_DIR24_8_1B : RTE_FIB_DIR24_8_2B;
  conf.dir24_8.num_tbl8 = small ? 127 : 32767;
  table.v4 = rte_fib_create(next_name("fib").c_str(), SOCKET_ID_ANY, &conf);
  if (table.v4 == nullptr) return no_memory();
  for (const auto& [to, hop] : routes)
    if (const int rc = rte_fib_add(table.v4, to.address.v4_host(), to.length, hop); rc != 0)
      return std::unexpected("route to " + to.to_string() + ": " + rte_strerror(-rc));
  return {};
}

std::expected<void, std::string> Fib::make_v6(Table& table, const Routes& routes) const {
  rte_fib6_conf conf{};
  conf.type = RTE_FIB6_TRIE;
  conf.max_routes = static_cast<int>(routes.size() + 64);
  conf.trie.nh_sz = RTE_FIB6_TRIE_2B;
  // A prefix needs a second-level table for each byte beyond the first three.
  std::size_t tables = 64;
  for (const auto& [to, hop] : routes) tables += to.length > 24 ? (to.length - 24U + 7U) / 8U : 0U;
  conf.trie.num_tbl8 = static_cast<std::uint32_t>(std::min<std::size_t>(tables, 32767));
  table.v6 = rte_fib6_create(next_name("fib6_").c_str(), SOCKET_ID_ANY, &conf);
  if (table.v6 == nullptr) return no_memory();
  for (const auto& [to, hop] : routes)
    if (const int rc = rte_fib6_add(table.v6, to.address.bytes.data(), to.length, hop); rc != 0)
      return std::unexpected("route to " + to.to_string() + ": " + rte_strerror(-rc));
  return {};
}

Fib::~Fib() {
  for (const Table& t : tables_) {
    rte_fib_free(t.v4);
    rte_fib6_free(t.v6);
  }
}

void Fib::lookup_v4(VrfId vrf, std::span<const std::uint32_t> addresses, std::span<HopId> out) const {
  std::array<std::uint64_t, kMaxBurst> hops;
  const auto n = static_cast<unsigned>(std::min(addresses.size(), kMaxBurst));
  // The API takes a non-const pointer and reads only.
  rte_fib_lookup_bulk(tables_[vrf].v4, const_cast<std::uint32_t*>(addresses.data()), hops.data(), static_cast<int>(n));
  for (unsigned i = 0; i < n; ++i) out[i] = static_cast<HopId>(hops[i]);
}

void Fib::lookup_v6(VrfId vrf, std::span<const V6Bytes> addresses, std::span<HopId> out) const {
  rte_fib6* const v6 = tables_[vrf].v6;
  if (v6 == nullptr) {
    std::fill(out.begin(), out.end(), HopId{0});
    return;
  }
  std::array<std::uint64_t, kMaxBurst> hops;
  const auto n = static_cast<unsigned>(std::min(addresses.size(), kMaxBurst));
  static_assert(sizeof(V6Bytes) == 16);
  // The API takes a non-const pointer and reads only.
  auto* ips = reinterpret_cast<std::uint8_t(*)[16]>(const_cast<V6Bytes*>(addresses.data()));
  rte_fib6_lookup_bulk(v6, ips, hops.data(), static_cast<int>(n));
  for (unsigned i = 0; i < n; ++i) out[i] = static_cast<HopId>(hops[i]);
}

HopId Fib::way_to(VrfId vrf, const IpAddress& address, std::uint64_t flow) const {
  HopId id = 0;
  if (address.family == Family::V4) {
    const std::uint32_t a = address.v4_host();
    lookup_v4(vrf, std::span(&a, 1), std::span(&id, 1));
  } else if (address.family == Family::V6) {
    lookup_v6(vrf, std::span(&address.bytes, 1), std::span(&id, 1));
  }
  if (!has_groups()) [[likely]]
    return id;
  std::array<std::uint64_t, 2> words{};
  std::memcpy(words.data(), address.bytes.data(), sizeof words);
  return choose(id, words[0] ^ std::rotl(words[1], 32) ^ flow);
}

HopId Fib::add_group(std::vector<HopId> members, std::vector<std::uint8_t> weights) {
  for (std::size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i]->members == members && groups_[i]->weights == weights) return hop_of_group_[i];
  auto group = std::make_unique<Group>();
  group->used.assign(members.size(), true);
  group->members = std::move(members);
  group->weights = std::move(weights);
  group->fill();
  hops_.push_back({HopKind::Several, static_cast<std::uint16_t>(groups_.size()), {}, nullptr});
  groups_.push_back(std::move(group));
  hop_of_group_.push_back(static_cast<HopId>(hops_.size() - 1));
  return hop_of_group_.back();
}

namespace {
/// Members in turn, each as often as its weight says, and as evenly as can be (smooth weighted round robin).
class Turns {
 public:
  void add(std::size_t member, int weight) {
    all_.push_back({member, weight, 0});
    total_ += weight;
  }
  std::size_t next() {
    for (One& one : all_) one.credit += one.weight;
    One& first = *std::ranges::max_element(all_, {}, &One::credit);
    first.credit -= total_;
    return first.member;
  }

 private:
  struct One {
    std::size_t member;
    int weight, credit;
  };
  std::vector<One> all_;
  int total_ = 0;
};
}  // namespace

/// Each slot has a member of its own, and another one only while that is not used.
void Fib::Group::fill() {
  Turns own, instead;
  for (std::size_t i = 0; i < members.size(); ++i) {
    own.add(i, weights[i]);
    if (used[i]) instead.add(i, weights[i]);
  }
  for (auto& slot : slots) {
    const std::size_t member = own.next();
    slot.store(members[used[member] ? member : instead.next()], std::memory_order_relaxed);
  }
}

bool Fib::refresh(const std::function<bool(const NextHop&)>& usable) {
  bool changed = false;
  for (const auto& group : groups_) {
    std::vector<bool> used;
    for (const HopId id : group->members) used.push_back(usable(hops_[id]));
    if (std::ranges::find(used, true) == used.end()) used.assign(used.size(), true);
    if (used == group->used) continue;
    group->used = std::move(used);
    group->fill();
    changed = true;
  }
  if (changed) epoch_.fetch_add(1, std::memory_order_release);
  return changed;
}

void Fib::for_each_member(const std::function<void(const NextHop&)>& visit) const {
  std::set<HopId> seen;
  for (const auto& group : groups_)
    for (const HopId id : group->members)
      if (seen.insert(id).second) visit(hops_[id]);
}

HopId Fib::member(std::uint16_t port, const IpAddress& gateway) const {
  for (const auto& group : groups_)
    for (const HopId id : group->members)
      if (hops_[id].port == port && hops_[id].gateway == gateway) return id;
  return 0;
}

}  // namespace culvert::dp
