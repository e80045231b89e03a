#include "control/sa/policy.hpp"

#include <algorithm>
#include <utility>

#include "common/config/selectors.hpp"

namespace culvert::control {

namespace {
constexpr std::uint32_t kLast = 1U << 31;  ///< behind all others of the same priority
}

PolicyTable::PolicyTable(const config::GatewayConfig& config) {
  std::uint32_t order = 0;
  for (const auto& connection : config.connections) {
    outer_.emplace(connection.name, connection.vrf.id);
    for (const auto& child : connection.children) {
      Configured& c = children_.emplace_back(Configured{{connection.name, child.name}, child.priority, order += 2, {}, {}});
      by_name_.emplace(connection.name + "/" + child.name, children_.size() - 1);
      c.name = shm::Name(connection.name + "/" + child.name);
      c.vrfs = {child.vrf.id, connection.vrf.id};
      const auto selectors = config::fixed_selectors(connection, child);
      if (!selectors) continue;
      shm::InstallPolicy p;
      p.policy = PolicyId{static_cast<std::uint32_t>(entries_.size()) + 1};
      p.priority = child.priority;
      // Where peers each have an entry of their own, this one only sees to it that nothing leaves in clear while they are away.
      p.order = config::waits_for_many(connection) ? kLast + order : order;
      p.action = shm::PolicyAction::Protect;
      // Also for `start`: a child that lost its SA comes back when a packet asks for it. `none` waits for the operator or the peer.
      p.acquire = child.start_action != config::StartAction::None || child.dpd_action == config::DpdAction::Trap;
      p.local_ts = selectors->first;
      p.remote_ts = selectors->second;
      p.more = config::fixed_more(connection, child);
      if (!child.tunnel.empty()) {
        p.tunnel = shm::Name(child.tunnel);
        p.local_ts = p.remote_ts = TrafficSelector::from({IpAddress::v4(0), 0});
      }
      p.name = c.name;
      p.vrf = c.vrfs.inner;
      c.policy = p.policy;
      entries_.push_back(p);
    }
  }
  for (const auto& policy : config.policies) {
    shm::InstallPolicy p;
    p.policy = PolicyId{static_cast<std::uint32_t>(entries_.size()) + 1};
    p.priority = policy.priority;
    p.order = order += 2;
    p.action = policy.action == config::PolicyAction::Bypass ? shm::PolicyAction::Bypass : shm::PolicyAction::Discard;
    p.local_ts = policy.local_ts;
    p.remote_ts = policy.remote_ts;
    p.name = shm::Name(policy.name);
    p.vrf = policy.vrf.id;
    entries_.push_back(p);
  }
  // Where what no entry names is let through, packets to the address of a client that is away would leave in clear.
  if (config.default_policy == config::PolicyAction::Bypass)
    for (const auto& pool : config.pools) {
      shm::InstallPolicy p;
      p.policy = PolicyId{static_cast<std::uint32_t>(entries_.size()) + 1};
      p.priority = config::kLowestPriority + 1;
      p.order = order += 2;
      p.action = shm::PolicyAction::Discard;
      p.local_ts = TrafficSelector::from({{{}, pool.addrs.first.family}, 0});
      p.remote_ts = pool.addrs;
      p.name = shm::Name("pool " + pool.name);
      p.vrf = pool.vrf.id;
      entries_.push_back(p);
    }
  for (std::uint32_t id = shm::kConfiguredPolicies + 1; id <= shm::kMaxPolicies; ++id) free_.push_back(id);
}

std::vector<shm::InstallPolicy> PolicyTable::entries() const {
  std::vector<shm::InstallPolicy> out = entries_;
  std::multimap<std::uint64_t, const Peers*> by_age;
  for (const auto& [id, p] : peers_) by_age.emplace(p.made, &p);
  for (const auto& [made, p] : by_age) out.push_back(p->policy);
  return out;
}

const PolicyTable::Configured* PolicyTable::configured(const ChildRef& ref) const {
  const auto it = by_name_.find(ref.connection + "/" + ref.child);
  return it == by_name_.end() ? nullptr : &children_[it->second];
}

PolicyTable::Vrfs PolicyTable::vrfs_of(const ChildRef& child) const {
  const Configured* c = configured(child);
  return c == nullptr ? Vrfs{} : c->vrfs;
}

VrfId PolicyTable::vrf_outside(const std::string& connection) const {
  const auto known = outer_.find(connection);
  return known == outer_.end() ? kDefaultVrf : known->second;
}

std::optional<PolicyId> PolicyTable::of(const std::string& connection, const std::string& child) const {
  const Configured* c = configured({connection, child});
  return c == nullptr ? std::nullopt : c->policy;
}

const ChildRef* PolicyTable::child_of(PolicyId policy) const {
  const auto it = std::ranges::find(children_, std::optional(policy), &Configured::policy);
  return it == children_.end() ? nullptr : &it->ref;
}

std::string PolicyTable::name_of(PolicyId policy) const {
  if (const auto peers = peers_.find(policy.value); peers != peers_.end()) return std::string(peers->second.policy.name.view());
  const auto it = std::ranges::find(entries_, policy, &shm::InstallPolicy::policy);
  return it == entries_.end() ? std::string{} : std::string(it->name.view());
}

VrfId PolicyTable::vrf_of(PolicyId policy) const {
  if (const auto peers = peers_.find(policy.value); peers != peers_.end()) return peers->second.policy.vrf;
  const auto it = std::ranges::find(entries_, policy, &shm::InstallPolicy::policy);
  return it == entries_.end() ? kDefaultVrf : it->vrf;
}

const ChildRef* PolicyTable::child_named(std::string_view name) const {
  const auto it = std::ranges::find_if(children_, [&](const Configured& c) { return c.name.view() == name; });
  return it == children_.end() ? nullptr : &it->ref;
}

PolicyTable::Peers& PolicyTable::add(PolicyId policy, const Configured& child, Packets packets, const shm::PeerTag& peer,
                                     std::uint64_t made) {
  shm::InstallPolicy p;
  p.policy = policy;
  p.priority = child.priority;
  p.order = child.order - 1;
  p.action = shm::PolicyAction::Protect;
  p.local_ts = std::get<2>(packets);
  p.remote_ts = std::get<3>(packets);
  p.more = std::get<4>(packets);
  p.name = child.name;
  p.vrf = child.vrfs.inner;
  by_packets_.emplace(packets, policy.value);
  Peers& out = peers_[policy.value] = Peers{p, std::move(packets), peer, made, 0, {}};
  ++held_[holder(out)];
  return out;
}

/// The youngest; nullptr: there is none, or nobody knows which one it is.
PolicyTable::Peers* PolicyTable::first_for(const Packets& packets) {
  Peers* out = nullptr;
  bool known = false;
  const auto [begin, end] = by_packets_.equal_range(packets);
  for (auto it = begin; it != end; ++it) {
    Peers& p = peers_.at(it->second);
    if (out != nullptr && p.made <= out->made) {
      known &= p.made != out->made;
    } else {
      out = &p;
      known = true;
    }
  }
  return known ? out : nullptr;
}

std::optional<PolicyTable::Taken> PolicyTable::take(const ChildRef& child, const shm::PeerTag& peer, const TrafficSelector& local,
                                                    const TrafficSelector& remote, const MoreSelectors& more) {
  Packets packets{child.connection, child.child, local, remote, more};
  if (Peers* first = first_for(packets); first != nullptr && first->peer == peer && first->refused.empty()) {
    ++first->users;
    return Taken{first->policy.policy, std::nullopt};
  }
  const Configured* c = configured(child);
  while (!free_.empty() && peers_.contains(free_.front())) free_.pop_front();  // adopted meanwhile
  const auto held = held_.find({child.connection, child.child, peer});
  if (c == nullptr || free_.empty() || (held != held_.end() && held->second >= kMaxOfPeer)) return std::nullopt;
  Peers& p = add(PolicyId{free_.front()}, *c, std::move(packets), peer, ++made_);
  free_.pop_front();
  p.users = 1;
  return Taken{p.policy.policy, p.policy};
}

bool PolicyTable::adopt(PolicyId policy, const ChildRef& child, const shm::PeerTag& peer, const TrafficSelector& local,
                        const TrafficSelector& remote, const MoreSelectors& more) {
  const Configured* c = configured(child);
  if (c == nullptr || !is_peers(policy) || policy.value > shm::kMaxPolicies) return false;
  Packets packets{child.connection, child.child, local, remote, more};
  const auto there = peers_.find(policy.value);
  if (there != peers_.end() && (there->second.packets != packets || there->second.peer != peer)) return false;
  Peers& p = there == peers_.end() ? add(policy, *c, std::move(packets), peer, 0) : there->second;
  ++p.users;
  return true;
}

bool PolicyTable::release(PolicyId policy) {
  const auto it = peers_.find(policy.value);
  if (it == peers_.end() || --it->second.users > 0) return false;
  const auto [begin, end] = by_packets_.equal_range(it->second.packets);
  by_packets_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == policy.value; }));
  if (const auto held = held_.find(holder(it->second)); --held->second == 0) held_.erase(held);
  peers_.erase(it);
  free_.push_back(policy.value);
  return true;
}

void PolicyTable::refuse(PolicyId policy, std::string why) {
  if (const auto it = peers_.find(policy.value); it != peers_.end()) it->second.refused = std::move(why);
}

const std::string* PolicyTable::refusal(PolicyId policy) const {
  const auto it = peers_.find(policy.value);
  return it == peers_.end() || it->second.refused.empty() ? nullptr : &it->second.refused;
}

void PolicyTable::lose_all() {
  for (const auto& [id, p] : peers_) free_.push_back(id);
  peers_.clear();
  by_packets_.clear();
  held_.clear();
}

}  // namespace culvert::control
