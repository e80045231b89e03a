#include "control/ikev2/commands.hpp"

#include <algorithm>
#include <array>

#include "common/config/selectors.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// Indices of the children that a name means; empty: all.
std::vector<std::size_t> children_named(const config::Connection& c, const std::string& child) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < c.children.size(); ++i)
    if (child.empty() || config::is_child(c.children[i].name, child)) out.push_back(i);
  return out;
}

ike::CommandResult no_child(const config::Connection& c, const std::string& child) {
  return {false, "There is no child \"" + child + "\" of a connection \"" + c.name + "\"."};
}

std::string plural(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

}  // namespace

std::vector<IkeSa*> sas_of_peer(Core& core, std::size_t connection, const std::string& peer) {
  std::vector<IkeSa*> out = core.sas_of(connection);
  std::erase_if(out, [&](const IkeSa* sa) {
    return !peer.empty() && sa->remote_id != peer && sa->remote.address.to_string() != peer && sa->remote.to_string() != peer;
  });
  return out;
}

void begin(Core& core, TimePoint, std::vector<ike::OrphanSa> orphans) {
  for (const auto& [index, run] : core.runs())
    for (std::size_t i = 0; i < run.children.size(); ++i)
      core.run(index).children[i].persistent = core.config.connections[index].children[i].start_action == config::StartAction::Start;
  for (ike::OrphanSa& orphan : orphans) {
    const auto c = std::ranges::find(core.config.connections, orphan.connection, &config::Connection::name);
    const auto child = std::ranges::find(c->children, orphan.child, &config::Child::name);
    if (child == c->children.end()) {
      core.shared.actions.emplace_back(ike::RemoveSa{orphan.pair, orphan.direction, orphan.spi});
      continue;
    }
    const auto index = static_cast<std::size_t>(c - core.config.connections.begin());
    ChildRun& run = core.run(index).children[static_cast<std::size_t>(child - c->children.begin())];
    // Somebody wanted this pair, whatever start_action says: without keys it cannot be rekeyed, so a successor is made now.
    run.requested = true;
    reserve_lease(core, index, orphan);
    run.orphans.push_back(std::move(orphan));
  }
}

ike::CommandResult initiate(Core& core, TimePoint now, std::size_t connection, const std::string& child) {
  const config::Connection& c = core.config.connections[connection];
  const auto named = children_named(c, child);
  if (named.empty()) return no_child(c, child);
  if (core.shared.shutting_down) return {false, "The gateway is shutting down."};
  if (!can_initiate(c) && !current_sa(core, connection))
    return {false, "\"" + c.name + "\" has no single address of its peer (remote_addrs), so it can only respond."};
  Run& run = core.run(connection);
  run.retry_at = now;
  std::size_t missing = 0;
  for (const std::size_t i : named) {
    ChildRun& wanted = run.children[i];
    wanted.persistent = c.children[i].start_action == config::StartAction::Start;
    wanted.retry_at = now;
    const auto all = core.sas_of(connection);
    if (std::ranges::any_of(all, [&](const IkeSa* sa) { return newest_live(*sa, i) != nullptr; })) continue;
    wanted.requested = true;
    ++missing;
  }
  if (missing == 0) return {true, "Already up."};
  return {true, "Initiating " + plural(missing, "child SA") + " of \"" + c.name + "\"."};
}

namespace {
/// What is on its way to be one of these CHILD SAs is deleted when it is there; what the peer may not have yet, when it has shown that it
/// does.
void end_children(Core& core, IkeSa& sa, const std::vector<std::size_t>& named) {
  const auto meant = [&](std::size_t child) { return std::ranges::find(named, child) != named.end(); };
  std::erase_if(sa.tasks, [&](const Task& t) { return t.kind == Task::Kind::NewChild && meant(t.child); });
  auto* theirs = sa.their_child();
  if (theirs && meant(theirs->pair.child)) theirs->ended = true;
  auto* ours = sa.request ? std::get_if<MakeChild>(&sa.request->make) : sa.half_made();
  if (ours && meant(ours->child)) ours->ended = true;
  for (Child& one : sa.children) {
    if (!meant(one.child) || one.life == Life::Ended) continue;
    if (one.outbound && one.life == Life::Live && one.role == Role::Responder)
      one.ended = true;
    else
      delete_child(core, sa, one, Reason::DeletedByOperator);
  }
}
}  // namespace

ike::CommandResult terminate(Core& core, TimePoint now, std::size_t connection, const std::string& child, const std::string& peer) {
  const config::Connection& c = core.config.connections[connection];
  const auto named = children_named(c, child);
  if (named.empty()) return no_child(c, child);
  const auto all = sas_of_peer(core, connection, peer);
  if (child.empty()) core.quiet_run(connection).pass.reset();
  if (all.empty() && !peer.empty()) return {false, "\"" + c.name + "\" has no peer \"" + peer + "\"."};
  for (const std::size_t i : named) {
    ChildRun& run = core.run(connection).children[i];
    run.persistent = run.requested = run.trapped = false;
  }
  std::size_t ike = 0, pairs = 0;
  bool revoked = false;
  for (IkeSa* sa : all) {
    const auto live = static_cast<std::size_t>(std::ranges::count_if(
        sa->children, [&](const Child& one) { return one.life == Life::Live && std::ranges::find(named, one.child) != named.end(); }));
    pairs += live;
    if (child.empty()) {
      ike += std::holds_alternative<Closing>(sa->state) ? 0 : 1;
      revoked = revoke_ticket(core, *sa) || revoked;
      close_sa(core, now, *sa, Reason::DeletedByOperator, "An operator ended the IKE SA.");
      continue;
    }
    end_children(core, *sa, named);
    if (live > 0) core.say(*sa, Severity::Info, {}, Reason::DeletedByOperator, "An operator ended the CHILD SA.", named.front());
  }
  if (revoked) core.services.retire_ticket_keys();
  if (ike + pairs == 0) return {true, "Nothing was up."};
  return {true, "Ended " + plural(ike, "IKE SA") + " and " + plural(pairs, "CHILD SA") + "."};
}

ike::CommandResult rekey(Core& core, TimePoint, std::size_t connection, const std::string& child, bool ike, const std::string& peer) {
  const config::Connection& c = core.config.connections[connection];
  const auto named = children_named(c, child);
  if (named.empty()) return no_child(c, child);
  if (core.shared.shutting_down) return {false, "The gateway is shutting down."};
  std::size_t count = 0;
  for (IkeSa* sa : sas_of_peer(core, connection, peer)) {
    Established* est = sa->established();
    if (!est || est->replaced) continue;
    if (ike) {
      add_task(core, *sa, {.kind = Task::Kind::RekeyIke});
      ++count;
      continue;
    }
    for (Child& one : sa->children) {
      if (one.life != Life::Live || one.ended || std::ranges::find(named, one.child) == named.end()) continue;
      one.due = true;
      add_task(core, *sa, {.kind = Task::Kind::RekeyChild, .pair = one.pair});
      ++count;
    }
  }
  if (count == 0) return {false, ike ? "\"" + c.name + "\" has no IKE SA." : "There is no CHILD SA to rekey."};
  return {true, "Rekeying " + plural(count, ike ? "IKE SA" : "CHILD SA") + "."};
}

void shutdown(Core& core, TimePoint now) {
  for (const auto& [index, run] : core.runs())
    for (ChildRun& child : core.run(index).children) child.persistent = child.requested = child.trapped = false;
  std::vector<SaId> all;
  for (const auto& [id, sa] : core.sas()) all.push_back(id);
  for (const SaId id : all)
    if (IkeSa* sa = core.find(id)) close_sa(core, now, *sa, Reason::Shutdown, "This gateway is shutting down.");
}

namespace {
/// RFC 7296 §2.9: the packet's own selectors.
ike::Selectors selectors_of(const ike::Flow& packet) {
  constexpr std::array<std::uint8_t, 5> kWithPorts{6, 17, 33, 132, 136};  // TCP, UDP, DCCP, SCTP, UDP-Lite
  const bool ports = std::ranges::find(kWithPorts, packet.protocol) != kWithPorts.end();
  const auto one = [&](const IpAddress& a, std::uint16_t port) {
    return TrafficSelector::from({a, static_cast<std::uint8_t>(8 * a.size())}, packet.protocol, ports ? port : std::uint16_t{0});
  };
  return {one(packet.source, packet.source_port), one(packet.destination, packet.destination_port)};
}
}  // namespace

void acquire(Core& core, TimePoint now, std::size_t connection, const std::string& child, const std::optional<ike::Flow>& packet) {
  if (core.shared.shutting_down) return;
  const config::Connection& c = core.config.connections[connection];
  Run& run = core.run(connection);
  for (const std::size_t i : children_named(c, child)) {
    ChildRun& one = run.children[i];
    // Ended by an operator: its packets still ask, and do not undo that (a `trap` child has no other way to come up).
    const config::StartAction action = c.children[i].start_action;
    if (!one.trapped && (action == config::StartAction::None || (action == config::StartAction::Start && !one.persistent))) continue;
    // Packets ask again every second: after a failure the next attempt still waits its turn.
    if (packet) one.packet = selectors_of(*packet);
    if (now < one.retry_at || now < run.retry_at) continue;
    one.requested = true;
  }
}

void expired(Core& core, TimePoint now, const ike::SaExpired& what) {
  for (const auto& [id, shared] : core.sas()) {
    IkeSa& sa = *shared;
    Child* child = sa.dead ? nullptr : sa.find(what.pair);
    if (!child || (what.direction == Direction::Inbound ? child->spi_in : child->spi_out) != what.spi) continue;
    if (what.hard && child->life == Life::Replaced) go_on_without(core, now, sa, *child);  // nothing more leaves by it
    if (child->life != Life::Live) return;
    if (!what.hard) {
      child->due = true;
      return add_task(core, sa, {.kind = Task::Kind::RekeyChild, .pair = child->pair});
    }
    const std::string text = "The data plane ended the CHILD SA at its hard limit, before it was replaced.";
    core.say(sa, Severity::Warn, {}, Reason::Expired, text, child->child);
    if (child->share.own()) return delete_child(core, sa, *child, Reason::Expired);
    core.shared.lost(now, {core.connection(sa).name, core.child(sa, child->child).name, sa.remote, Exchange::CreateChildSa, {}},
                     Reason::Expired, text);
    core.run(sa.connection).children.at(child->child).requested = true;  // it was in use until now
    return delete_child(core, sa, *child, Reason::Expired);
  }
}

void pair_moved(Core& core, const ike::PairMoved& moved) {
  const auto owner = core.owner_of(moved.inbound);
  if (IkeSa* sa = owner ? core.find(owner->first) : nullptr; sa && sa->nat.remote) move_peer(core, *sa, moved.remote);
}

void traffic(Core& core, TimePoint now, Spi inbound, TimePoint last_used) {
  const auto owner = core.owner_of(inbound);
  IkeSa* sa = owner ? core.find(owner->first) : nullptr;
  if (!sa) return;
  sa->last_heard = std::max(sa->last_heard, last_used);
  if (Child* child = sa->find(owner->second); child && child->life == Life::Live) release_outbound(core, now, *sa, *child);
}

void dataplane_lost(Core& core, TimePoint now) {
  core.forget_installs();
  for (const auto& [index, run] : core.runs()) {
    core.leases_in_doubt.insert(index);
    for (ChildRun& child : core.run(index).children) {
      child.ending.insert(child.ending.end(), child.orphans.begin(), child.orphans.end());
      child.orphans.clear();
      end_orphans(core, child);
    }
  }
  std::vector<SaId> all;
  for (const auto& [id, sa] : core.sas()) all.push_back(id);
  for (const SaId id : all) {
    IkeSa* sa = core.find(id);
    if (!sa || !sa->established()) continue;
    // What was being installed is gone, too; an answer that waits for it says so.
    if (sa->answering && std::holds_alternative<AnsweringChild>(sa->answering->what)) {
      const auto& what = std::get<AnsweringChild>(sa->answering->what);
      const std::uint8_t exchange = what.auth ? ike::kExchangeAuth : what.last ? ike::kExchangeFollowupKe : ike::kExchangeCreateChildSa;
      const std::uint32_t message = sa->answering->id;
      abandon_answering(core, *sa);
      answer_error(core, now, *sa, exchange, message, NotifyType::TemporaryFailure);
    }
    if (sa->request && std::holds_alternative<RequestInstalling>(sa->request->state)) abandon_request(core, *sa);
    for (Child& child : sa->children) {
      if (child.life == Life::Ended) continue;
      ChildRun& run = core.run(sa->connection).children.at(child.child);
      if (child.life == Life::Live) {
        run.requested = true;
        run.retry_at = {};
        core.shared.lost(now, {core.connection(*sa).name, core.child(*sa, child.child).name, sa->remote, {}, {}}, Reason::DataplaneLost,
                         "The data plane lost its SAs; the CHILD SA is negotiated again.");
        core.say(*sa, Severity::Warn, {}, Reason::DataplaneLost, "The data plane lost its SAs; the CHILD SA is negotiated again.",
                 child.child);
      }
      delete_child(core, *sa, child, Reason::DataplaneLost);
    }
  }
}

}  // namespace culvert::ikev2
