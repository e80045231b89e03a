// What is wanted, and when the next step towards it can be made.
#include <algorithm>

#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"

namespace culvert::ikev2 {

bool makes(const IkeSa& sa, std::size_t child) {
  if (sa.role == Role::Initiator && !sa.established() && !std::holds_alternative<Closing>(sa.state))
    return !sa.childless && sa.first_child == child;
  const auto* own = sa.request ? std::get_if<MakeChild>(&sa.request->make) : nullptr;
  const auto* theirs = sa.answering ? std::get_if<AnsweringChild>(&sa.answering->what) : nullptr;
  if ((own && own->child == child && !own->share.own()) || (theirs && theirs->pair.child == child && !theirs->pair.share.own()))
    return true;
  return std::ranges::any_of(sa.tasks, [&](const Task& t) { return t.kind == Task::Kind::NewChild && t.child == child && !t.worker; });
}

namespace {

bool is_live(Core& core, std::size_t connection, std::size_t child) {
  return std::ranges::any_of(core.sas_of(connection), [&](const IkeSa* sa) { return newest_live(*sa, child) != nullptr; });
}

/// Of a child with a pair for each two addresses: a packet of others waits.
bool wants_another(Core& core, std::size_t connection, std::size_t index, const ChildRun& child) {
  if (!child.single || !child.packet) return false;
  std::size_t pairs = 0;
  for (const IkeSa* sa : core.sas_of(connection))
    for (const Child& c : sa->children) {
      if (c.child != index || c.life != Life::Live || c.ended) continue;
      ++pairs;
      if (c.selectors.intersects({{child.packet->local}, {child.packet->remote}})) return false;
    }
  return pairs < kMaxSinglePairs;
}

bool being_made(Core& core, std::size_t connection, std::size_t child) {
  return std::ranges::any_of(core.sas_of(connection), [&](const IkeSa* sa) { return makes(*sa, child); });
}

bool connecting(Core& core, std::size_t connection) {
  return std::ranges::any_of(core.sas_of(connection), [](const IkeSa* sa) {
    return sa->role == Role::Initiator && !sa->established() && !std::holds_alternative<Closing>(sa->state);
  });
}

void connect(Core& core, TimePoint now, std::size_t index, std::size_t child) {
  const config::Connection& c = core.config.connections[index];
  Run& run = core.quiet_run(index);
  if (!can_initiate(c) || connecting(core, index)) return;
  if (now < run.retry_at) {
    run.wake_at = earliest(run.wake_at, run.retry_at);
    return;
  }
  const IpAddress& remote = c.remote_addrs[run.failures % c.remote_addrs.size()];  // each attempt tries the next one
  const auto local = std::ranges::find(c.local_addrs, remote.family, &IpAddress::family);
  if (local == c.local_addrs.end()) return;  // the configuration is checked for it
  start_sa(core, now, {index, child, {*local, ike::kIkePort, c.vrf.id}, {remote, ike::kIkePort, c.vrf.id}, {}});
}

}  // namespace

void drive(Core& core, TimePoint now, std::size_t index) {
  Run& run = core.quiet_run(index);
  run.wake_at.reset();
  if (core.shared.shutting_down) return;
  for (std::size_t i = 0; i < run.children.size(); ++i) {
    ChildRun& child = run.children[i];
    if (now >= child.end_at) end_orphans(core, child);
    if (!child.ending.empty()) run.wake_at = earliest(run.wake_at, child.end_at);
    if (!(child.persistent || child.requested) || being_made(core, index, i)) continue;
    if (is_live(core, index, i) && !wants_another(core, index, i, child)) continue;
    if (now < child.retry_at) {
      run.wake_at = earliest(run.wake_at, child.retry_at);
      continue;
    }
    if (IkeSa* sa = current_sa(core, index); sa && has_addresses(core, *sa)) {
      const TimePoint turn = sa->established()->since + kResponderPause;
      if (sa->role == Role::Responder && now < turn)
        run.wake_at = earliest(run.wake_at, turn);
      else
        add_task(core, *sa, {.kind = Task::Kind::NewChild, .child = i});
    } else {
      connect(core, now, index, i);
    }
  }
}

std::optional<TimePoint> run_deadline(const Core& core, std::size_t index) {
  return core.shared.shutting_down ? std::nullopt : core.runs().at(index).wake_at;
}

}  // namespace culvert::ikev2
