#include "control/ikev1/lease_holders.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev1/access.hpp"

namespace culvert::ikev1 {

namespace {

/// In front of what stands for a peer of before a restart, whose name nobody knows yet. No connection's name begins so.
constexpr std::string_view kUnnamed = "(before the restart) ";

std::string at(const Endpoint& place) { return "@" + place.to_string(); }

/// Who a lease belongs to: the connection's peer, and behind a group's secret the user.
std::string holder(const Core& core, const IsakmpSa& sa) {
  const MmEstablished& est = *sa.established();
  const config::Connection& c = core.connection(sa);
  const std::string who = c.name + "/" + (est.access.user.empty() ? est.remote_id : est.access.user);
  return c.unique == config::Unique::Never ? who + at(sa.remote) : who;
}

/// False: the new name has an address already.
bool rename(Core& core, std::size_t run, const std::string& from, const std::string& to) {
  auto& holders = core.lease_holders[run];
  if (!core.leases.rename(from, to)) return false;
  auto node = holders.extract(from);
  node.key() = to;
  holders.insert(std::move(node));
  return true;
}

/// What was reserved for the peer of this run is `who`'s.
void claim_reserved(Core& core, std::size_t run, const std::string& who) {
  const auto& holders = core.lease_holders[run];
  if (holders.contains(who)) return;
  const auto unnamed = std::ranges::find_if(holders, [](const auto& h) { return h.first.starts_with(kUnnamed); });
  if (unnamed != holders.end()) rename(core, run, std::string(unnamed->first), who);
}

}  // namespace

std::optional<ike::Leases::Granted> lease_address(Core& core, IsakmpSa& sa, const std::optional<IpAddress>& wanted) {
  const std::string who = holder(core, sa);
  claim_reserved(core, sa.connection, who);
  const auto granted = core.leases.acquire(core.connection(sa).pools, who, wanted);
  if (!granted) return granted;
  sa.established()->access.lease = who;
  core.lease_holders[sa.connection][who];
  set_virtual_address(core, sa, granted->address);
  return granted;
}

bool keep_lease(Core& core, IsakmpSa& sa) {
  const auto known = core.lease_holders.find(sa.connection);
  return known != core.lease_holders.end() && known->second.contains(holder(core, sa)) && lease_address(core, sa, std::nullopt);
}

void holders_moved(Core& core, std::size_t run, const Endpoint& old, const Endpoint& now_at) {
  const auto known = core.lease_holders.find(run);
  if (known == core.lease_holders.end() || core.connection(run).unique != config::Unique::Never) return;
  std::vector<std::string> moved;
  for (const auto& [who, pairs] : known->second)
    if (who.ends_with(at(old))) moved.push_back(who);
  for (const std::string& before : moved) {
    const std::string who = before.substr(0, before.size() - at(old).size()) + at(now_at);
    if (!rename(core, run, before, who)) continue;
    for (IsakmpSa* sa : core.sas_of(run))
      if (MmEstablished* est = sa->established(); est && est->access.lease == before) est->access.lease = who;
  }
}

void note_leased_pair(Core& core, const IsakmpSa& sa, std::uint64_t pair) {
  const MmEstablished* est = sa.established();
  if (est && !est->access.lease.empty()) core.lease_holders[sa.connection][est->access.lease].insert(pair);
}

void reserve_leased_pair(Core& core, std::size_t run, const ChildSa& pair) {
  const config::Connection& c = core.connection(run);
  if (!c.children.at(pair.child).remote_dynamic || pair.remote_ts.first != pair.remote_ts.last) return;
  const std::string who = std::string(kUnnamed) + pair.remote_ts.first.to_string();
  if (core.leases.reserve(c.pools, who, pair.remote_ts.first)) core.lease_holders[run][who].insert(pair.pair);
}

void release_leases(Core& core, std::size_t run) {
  const auto known = core.lease_holders.find(run);
  if (known == core.lease_holders.end()) return;
  std::set<std::string> here;
  for (const IsakmpSa* sa : core.sas_of(run))
    if (const MmEstablished* est = sa->established()) here.insert(est->access.lease);
  for (auto& [holder, pairs] : known->second)
    std::erase_if(pairs, [&](std::uint64_t pair) { return core.find_pair(run, pair) == nullptr; });
  std::erase_if(known->second, [&](const auto& holder) {
    if (here.contains(holder.first) || !holder.second.empty()) return false;
    core.leases.release(holder.first);
    return true;
  });
  if (!known->second.empty()) return;
  core.lease_holders.erase(known);
  core.quiet_run(run).inner_remote.reset();
}

}  // namespace culvert::ikev1
