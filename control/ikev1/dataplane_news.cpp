// What a start finds, and what the data plane tells: a packet that wants an SA, the end of one, traffic, its own loss.
#include <algorithm>

#include "control/ikev1/commands.hpp"
#include "control/ikev1/dpd.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/notifications.hpp"
#include "control/ikev1/peers.hpp"
#include "control/ikev1/targets.hpp"

namespace culvert::ikev1 {

void begin(Core& core, TimePoint now, std::vector<ike::OrphanSa> orphans) {
  static_cast<void>(now);
  for (std::size_t i = 0; i < core.config.connections.size(); ++i)
    for (std::size_t k = 0; k < core.connection(i).children.size(); ++k)
      core.run(i).children[k].persistent =
          core.connection(i).version == 1 && core.connection(i).children[k].start_action == config::StartAction::Start;

  for (const ike::OrphanSa& orphan : orphans) {
    const auto target = locate(core, orphan.connection, orphan.child);
    if (!target || orphan.child.empty()) {
      core.actions.emplace_back(ike::Report{Severity::Info,
                                            {},
                                            {},
                                            {},
                                            {},
                                            {},
                                            Reason::Expired,
                                            false,
                                            "An IPsec SA of a connection that is no longer configured is removed."});
      core.actions.emplace_back(ike::RemoveSa{orphan.pair, orphan.direction, orphan.spi});
      continue;
    }
    // Where its peer has a run of its own, that one waits for the peer to prove itself again.
    const auto index = orphan.peer == PeerKey{} ? target->connection : run_for(core, target->connection, {orphan.peer, {}, {}});
    if (!index) {
      core.actions.emplace_back(ike::RemoveSa{orphan.pair, orphan.direction, orphan.spi});
      continue;
    }
    note_contact(core, orphan.remote);
    ChildRun& run = core.run(*index).children[target->children.front()];
    auto it = std::ranges::find(run.pairs, orphan.pair, &ChildSa::pair);
    if (it == run.pairs.end()) {
      ChildSa pair;
      pair.pair = orphan.pair;
      pair.child = target->children.front();
      pair.local = orphan.local;
      pair.remote = orphan.remote;
      pair.udp_encap = orphan.local.port != 0;
      pair.suite.protocol = orphan.protocol;
      pair.mode = orphan.mode;
      pair.local_ts = orphan.local_ts;
      pair.remote_ts = orphan.remote_ts;
      pair.adopted = true;
      pair.life = ChildOrphan{};
      run.pairs.push_back(std::move(pair));
      it = run.pairs.end() - 1;
    }
    if (orphan.direction == Direction::Inbound) {
      it->spi_in = orphan.spi;
      core.adopt_spi(orphan.spi, {*index, orphan.pair, 0, {}});
    } else {
      it->spi_out = orphan.spi;
    }
    reserve_leased_pair(core, *index, *it);
    // Somebody wanted this pair, whatever start_action says: without keys it cannot be rekeyed, so a successor is made now.
    run.requested = true;
  }
}

void acquire(Core& core, TimePoint now, const std::string& connection, const std::string& child) {
  const auto target = locate(core, connection, child);
  if (!target || core.shutting_down) return;
  ConnectionRun& run = core.run(target->connection);
  for (const std::size_t i : target->children) {
    ChildRun& c = run.children[i];
    if (std::ranges::any_of(c.pairs, live)) continue;
    // Ended by an operator: its packets still ask, and do not undo that (a `trap` child has no other way to come up).
    const config::StartAction action = core.connection(target->connection).children[i].start_action;
    if (!c.trapped && (action == config::StartAction::None || (action == config::StartAction::Start && !c.persistent))) continue;
    // Packets ask again every second: after a failure the next attempt still waits its turn.
    if (now < c.retry_at || now < run.retry_at) continue;
    c.requested = true;
  }
}

void expired(Core& core, TimePoint now, const ike::SaExpired& what) {
  for (const std::size_t i : all_runs(core)) {
    const ChildSa* pair = core.find_pair(i, what.pair);
    if (!pair || (what.direction == Direction::Inbound ? pair->spi_in : pair->spi_out) != what.spi) continue;
    const std::size_t child = pair->child;
    ChildRun& run = core.run(i).children[child];
    const bool latest = is_latest(run, *pair);
    if (!what.hard) {
      if (latest) std::get<ChildLive>(core.find_pair(i, what.pair)->life).due = true;
      if (std::holds_alternative<ChildOrphan>(pair->life)) run.requested = true;  // it cannot be rekeyed: a successor is made
      return;
    }
    const SaName ours = inbound_name(*pair);
    const bool orphan = std::holds_alternative<ChildOrphan>(pair->life);
    const Endpoint peer = pair->remote;
    remove_pair(core, i, child, what.pair);
    tell_deleted(core, now, i, {ours});
    if (!latest && !orphan) return;
    const std::string text = "The data plane ended the pair of IPsec SAs at its hard limit, before it was replaced.";
    core.lost(now, i, child, Exchange::QuickMode, Reason::Expired, text, peer);
    core.actions.emplace_back(ike::Report{
        Severity::Warn, core.connection(i).name, core.connection(i).children[child].name, peer, {}, {}, Reason::Expired, false, text});
    run.requested = !orphan;  // it was in use until now
    return;
  }
}

void traffic(Core& core, TimePoint now, Spi inbound, TimePoint last_used) {
  const SpiOwner* owner = core.owner_of(inbound);
  if (!owner) return;
  if (IsakmpSa* sa = owner->sa ? core.find(owner->sa) : nullptr)
    if (const auto qm = sa->quick_modes.find(owner->quick_mode); qm != sa->quick_modes.end() && qm->second.spi_in == inbound) {
      on_quick_mode_traffic(core, now, *sa, qm->second);
      owner = core.owner_of(inbound);
    }
  ChildSa* pair = owner ? core.find_pair(owner->connection, owner->pair) : nullptr;
  if (!pair) return;
  if (const auto* doubted = std::get_if<ChildDoubted>(&pair->life); doubted && last_used > doubted->since) {
    pair->life = ChildLive{now + kMaxRetryDelay, 0};
    core.touch(owner->connection);
  }
  core.quiet_run(owner->connection).children.at(pair->child).doubts = 0;
  if (auto* life = std::get_if<ChildLive>(&pair->life)) life->doubt_at.reset();
  for (IsakmpSa* sa : core.sas_of(owner->connection))
    if (MmEstablished* est = sa->established(); est && est->remote_id == pair->peer_id) {
      peer_lives(core, *est, core.connection(owner->connection), last_used);
      core.touch(*sa);
    }
}

void dataplane_lost(Core& core, TimePoint now) {
  core.forget_installs();
  for (const std::size_t i : all_runs(core)) {
    ConnectionRun& run = core.run(i);
    std::vector<SaName> names;
    for (std::size_t k = 0; k < run.children.size(); ++k) {
      ChildRun& child = run.children[k];
      abandon_child(core, i, k, names);
      if (child.pairs.empty()) continue;
      for (const ChildSa& pair : child.pairs) {
        names.push_back(inbound_name(pair));
        core.release_spi(pair.spi_in);
      }
      child.pairs.clear();
      child.requested = true;
      child.retry_at = {};
      const std::string text = "The data plane lost its SAs; the pair is negotiated again.";
      core.lost(now, i, k, {}, Reason::DataplaneLost, text);
      core.actions.emplace_back(ike::Report{
          Severity::Warn, core.connection(i).name, core.connection(i).children[k].name, {}, {}, {}, Reason::DataplaneLost, false, text});
    }
    std::erase_if(names, [](const SaName& s) { return !s.spi; });
    tell_deleted(core, now, i, names);
  }
}

}  // namespace culvert::ikev1
