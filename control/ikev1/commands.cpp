#include "control/ikev1/commands.hpp"

#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/dpd.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lifecycle.hpp"

namespace culvert::ikev1 {

namespace {

struct Target {
  std::size_t connection = 0;
  std::vector<std::size_t> children;
};
/// Configured names into indices; an empty child means all of them.
std::optional<Target> locate(const Core& core, const std::string& connection, const std::string& child) {
  const auto& all = core.config.connections;
  const auto c = std::ranges::find(all, connection, &config::Connection::name);
  if (c == all.end()) return std::nullopt;
  Target out{static_cast<std::size_t>(c - all.begin()), {}};
  for (std::size_t i = 0; i < c->children.size(); ++i)
    if (child.empty() || c->children[i].name == child) out.children.push_back(i);
  if (out.children.empty() && !child.empty()) return std::nullopt;
  return out;
}

ike::CommandResult unknown(const std::string& connection, const std::string& child) {
  return {false, child.empty() ? "There is no connection \"" + connection + "\"."
                               : "There is no child \"" + child + "\" of a connection \"" + connection + "\"."};
}

bool live(const ChildSa& pair) { return std::holds_alternative<ChildLive>(pair.life); }

/// Takes all pairs of a child away, and tells the peer.
std::size_t remove_all(Core& core, std::size_t connection, std::size_t child, std::vector<SaName>& names) {
  std::vector<std::uint64_t> ids;
  for (const ChildSa& pair : core.run(connection).children[child].pairs) {
    ids.push_back(pair.pair);
    names.push_back(inbound_name(pair));
  }
  for (const std::uint64_t id : ids) remove_pair(core, connection, child, id);
  return ids.size();
}

void abandon_child(Core& core, std::size_t connection, std::size_t child, std::vector<SaName>& names) {
  for (IsakmpSa* sa : core.sas_of(connection)) {
    std::vector<MessageId> ids;
    for (const auto& [id, qm] : sa->quick_modes)
      if (qm.child == child && !finished(qm)) ids.push_back(id);
    for (const MessageId id : ids) {
      names.push_back(inbound_name(sa->quick_modes.at(id)));
      abandon_quick_mode(core, *sa, sa->quick_modes.at(id));
    }
  }
}

/// Ends every ISAKMP SA of a connection, finished or not.
std::size_t close_all(Core& core, TimePoint now, std::size_t connection, Reason reason, const std::string& text,
                      const std::vector<SaName>& pairs) {
  std::size_t count = 0;
  for (IsakmpSa* sa : core.sas_of(connection)) {
    if (std::holds_alternative<MmClosing>(sa->state)) continue;
    ++count;
    close_isakmp(core, now, *sa, reason, text, pairs);
  }
  return count;
}

std::string plural(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

}  // namespace

void begin(Core& core, TimePoint now, std::vector<ike::OrphanSa> orphans) {
  static_cast<void>(now);
  for (std::size_t i = 0; i < core.runs.size(); ++i)
    for (std::size_t k = 0; k < core.runs[i].children.size(); ++k)
      core.run(i).children[k].persistent = core.connection(i).children[k].start_action == config::StartAction::Start;

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
    ChildRun& run = core.run(target->connection).children[target->children.front()];
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
      pair.local_ts = core.connection(target->connection).children[pair.child].local_ts;
      pair.remote_ts = core.connection(target->connection).children[pair.child].remote_ts;
      pair.adopted = true;
      pair.life = ChildOrphan{};
      run.pairs.push_back(std::move(pair));
      it = run.pairs.end() - 1;
    }
    if (orphan.direction == Direction::Inbound) {
      it->spi_in = orphan.spi;
      core.adopt_spi(orphan.spi, {target->connection, orphan.pair, 0, {}});
    } else {
      it->spi_out = orphan.spi;
    }
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
    if (core.connection(target->connection).children[i].start_action == config::StartAction::Start && !c.persistent) continue;
    // Packets ask again every second: after a failure the next attempt still waits its turn.
    if (now < c.retry_at || now < run.retry_at) continue;
    c.requested = true;
  }
}

void expired(Core& core, TimePoint now, const ike::SaExpired& what) {
  for (std::size_t i = 0; i < core.runs.size(); ++i) {
    const ChildSa* pair = core.find_pair(i, what.pair);
    if (!pair || (what.direction == Direction::Inbound ? pair->spi_in : pair->spi_out) != what.spi) continue;
    const std::size_t child = pair->child;
    ChildRun& run = core.run(i).children[child];
    const auto last = std::find_if(run.pairs.rbegin(), run.pairs.rend(), live);
    const bool newest = last != run.pairs.rend() && last->pair == what.pair;
    if (!what.hard) {
      if (newest) run.rekey_due = true;
      if (std::holds_alternative<ChildOrphan>(pair->life)) run.requested = true;  // it cannot be rekeyed: a successor is made
      return;
    }
    const SaName ours = inbound_name(*pair);
    const bool orphan = std::holds_alternative<ChildOrphan>(pair->life);
    const Endpoint peer = pair->remote;
    remove_pair(core, i, child, what.pair);
    tell_deleted(core, now, i, {ours});
    if (!newest && !orphan) return;
    const std::string text = "The data plane ended the pair of IPsec SAs at its hard limit, before it was replaced.";
    core.lost(now, i, child, Exchange::QuickMode, Reason::Expired, text, peer);
    core.actions.emplace_back(ike::Report{
        Severity::Warn, core.connection(i).name, core.connection(i).children[child].name, peer, {}, {}, Reason::Expired, false, text});
    run.requested = !orphan;  // it was in use until now
    run.rekey_due = false;
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
  for (IsakmpSa* sa : core.sas_of(owner->connection))
    if (MmEstablished* est = sa->established(); est && est->remote_id == pair->peer_id) {
      peer_lives(core, *est, core.connection(owner->connection), last_used);
      core.touch(*sa);
    }
}

void dataplane_lost(Core& core, TimePoint now) {
  core.forget_installs();
  for (std::size_t i = 0; i < core.runs.size(); ++i) {
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
      child.rekey_due = false;
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

ike::CommandResult initiate(Core& core, TimePoint now, const std::string& connection, const std::string& child) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  if (core.shutting_down) return {false, "The gateway is shutting down."};
  if (core.connection(target->connection).remote_addrs.empty() && !current_sa(core, target->connection))
    return {false, "\"" + connection + "\" has no address of its peer (remote_addrs: %any), so it can only respond."};
  ConnectionRun& run = core.run(target->connection);
  run.retry_at = now;
  std::size_t up = 0;
  for (const std::size_t i : target->children) {
    ChildRun& c = run.children[i];
    c.persistent = core.connection(target->connection).children[i].start_action == config::StartAction::Start;
    c.retry_at = now;
    if (std::ranges::any_of(c.pairs, live))
      ++up;
    else
      c.requested = true;
  }
  if (up == target->children.size()) return {true, "Already up."};
  return {true, "Initiating " + plural(target->children.size() - up, "child SA") + " of \"" + connection + "\"."};
}

ike::CommandResult terminate(Core& core, TimePoint now, const std::string& connection, const std::string& child) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  std::size_t pairs = 0;
  std::vector<SaName> names;
  for (const std::size_t i : target->children) {
    ChildRun& c = core.run(target->connection).children[i];
    c.persistent = c.requested = c.rekey_due = false;
    const std::size_t ended = remove_all(core, target->connection, i, names);
    pairs += ended;
    abandon_child(core, target->connection, i, names);
    if (ended > 0)
      core.actions.emplace_back(ike::Report{Severity::Info,
                                            connection,
                                            core.connection(target->connection).children[i].name,
                                            {},
                                            {},
                                            {},
                                            Reason::DeletedByOperator,
                                            false,
                                            "An operator ended the pair of IPsec SAs."});
  }
  std::erase_if(names, [](const SaName& s) { return !s.spi; });
  tell_deleted(core, now, target->connection, names);
  std::size_t isakmp = 0;
  if (child.empty())
    isakmp = close_all(core, now, target->connection, Reason::DeletedByOperator, "An operator ended the ISAKMP SA.", names);
  if (pairs + isakmp == 0) return {true, "Nothing was up."};
  return {true, "Ended " + plural(isakmp, "ISAKMP SA") + " and " + plural(pairs, "pair") + " of IPsec SAs."};
}

ike::CommandResult rekey(Core& core, TimePoint now, const std::string& connection, const std::string& child, bool isakmp) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  if (core.shutting_down) return {false, "The gateway is shutting down."};
  if (isakmp) {
    IsakmpSa* sa = current_sa(core, target->connection);
    if (!sa) return {false, "\"" + connection + "\" has no ISAKMP SA."};
    if (serves_client(core, *sa)) return {false, "The peer of \"" + connection + "\" is a client: it alone can replace its ISAKMP SA."};
    if (!start_phase1(core, now, {target->connection, sa->local, sa->remote, {sa->id}}))
      return {false, "The new ISAKMP SA of \"" + connection + "\" cannot be begun; the log says why."};
    return {true, "Replacing the ISAKMP SA of \"" + connection + "\"."};
  }
  std::size_t count = 0;
  for (const std::size_t i : target->children) {
    ChildRun& c = core.run(target->connection).children[i];
    if (!std::ranges::any_of(c.pairs, live)) continue;
    c.rekey_due = true;
    ++count;
  }
  if (count == 0) return {false, "There is no pair of IPsec SAs to rekey."};
  return {true, "Rekeying " + plural(count, "pair") + " of IPsec SAs."};
}

void shutdown(Core& core, TimePoint now) {
  for (std::size_t i = 0; i < core.runs.size(); ++i) {
    std::vector<SaName> names;
    for (std::size_t k = 0; k < core.runs[i].children.size(); ++k) {
      ChildRun& c = core.run(i).children[k];
      c.persistent = c.requested = c.rekey_due = false;
      remove_all(core, i, k, names);
      abandon_child(core, i, k, names);
    }
    std::erase_if(names, [](const SaName& s) { return !s.spi; });
    tell_deleted(core, now, i, names);
    close_all(core, now, i, Reason::Shutdown, "This gateway is shutting down.", names);
  }
  core.shutting_down = true;
}

}  // namespace culvert::ikev1
