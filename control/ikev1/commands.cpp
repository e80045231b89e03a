// Operators' commands.
#include "control/ikev1/commands.hpp"

#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/peers.hpp"
#include "control/ikev1/targets.hpp"

namespace culvert::ikev1 {

namespace {

ike::CommandResult unknown(const std::string& connection, const std::string& child) {
  return {false, child.empty() ? "There is no connection \"" + connection + "\"."
                               : "There is no child \"" + child + "\" of a connection \"" + connection + "\"."};
}

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

/// Whether an operator means this run: by the peer's identity, or by the address that it is at.
bool is_with(Core& core, std::size_t run, const std::string& peer) {
  if (peer.empty()) return true;
  const ConnectionRun& r = core.quiet_run(run);
  if (r.peer && r.peer->text == peer) return true;
  const auto meant = [&](const std::string& id, const Endpoint& at) {
    return id == peer || at.address.to_string() == peer || at.to_string() == peer;
  };
  for (const IsakmpSa* sa : core.sas_of(run))
    if (sa->established() && meant(sa->established()->remote_id, sa->remote)) return true;
  for (const ChildRun& child : r.children)
    for (const ChildSa& pair : child.pairs)
      if (meant(pair.peer_id, pair.remote)) return true;
  return false;
}

std::vector<std::size_t> runs_with(Core& core, std::size_t connection, const std::string& peer) {
  std::vector<std::size_t> out = core.runs_of(connection);
  std::erase_if(out, [&](std::size_t run) { return !is_with(core, run, peer); });
  return out;
}

ike::CommandResult nobody(const std::string& connection, const std::string& peer) {
  return {false, "\"" + connection + "\" has no peer \"" + peer + "\"."};
}

std::string plural(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

}  // namespace

namespace {

/// Asks for what is missing of a run. How many children are to be made.
std::size_t request(Core& core, TimePoint now, std::size_t index, const std::vector<std::size_t>& children) {
  ConnectionRun& run = core.run(index);
  run.retry_at = now;
  std::size_t missing = 0;
  for (const std::size_t i : children) {
    ChildRun& c = run.children[i];
    c.persistent = core.own_run(index) && core.connection(index).children[i].start_action == config::StartAction::Start;
    c.retry_at = now;
    if (std::ranges::any_of(c.pairs, live)) continue;
    c.requested = true;
    ++missing;
  }
  return missing;
}

/// Ends a run's children, and with all of them its ISAKMP SAs.
std::pair<std::size_t, std::size_t> end(Core& core, TimePoint now, std::size_t index, const Target& target, bool whole) {
  std::size_t pairs = 0;
  std::vector<SaName> names;
  for (const std::size_t i : target.children) {
    ChildRun& c = core.run(index).children[i];
    c.persistent = c.requested = c.trapped = false;
    const std::size_t ended = remove_all(core, index, i, names);
    pairs += ended;
    abandon_child(core, index, i, names);
    if (ended > 0)
      core.actions.emplace_back(ike::Report{Severity::Info,
                                            core.connection(index).name,
                                            core.connection(index).children[i].name,
                                            {},
                                            {},
                                            {},
                                            Reason::DeletedByOperator,
                                            false,
                                            "An operator ended the pair of IPsec SAs."});
  }
  std::erase_if(names, [](const SaName& s) { return !s.spi; });
  tell_deleted(core, now, index, names);
  const std::size_t isakmp = whole ? close_all(core, now, index, Reason::DeletedByOperator, "An operator ended the ISAKMP SA.", names) : 0;
  return {isakmp, pairs};
}

}  // namespace

ike::CommandResult initiate(Core& core, TimePoint now, const std::string& connection, const std::string& child) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  if (core.shutting_down) return {false, "The gateway is shutting down."};
  std::vector<std::size_t> runs{target->connection};
  if (!can_initiate(core.connection(target->connection))) {
    runs = core.runs_of(target->connection);
    std::erase_if(runs, [&](std::size_t run) { return current_sa(core, run) == nullptr; });
  }
  if (runs.empty()) return {false, "\"" + connection + "\" has no single address of its peer (remote_addrs), so it can only respond."};
  std::size_t missing = 0;
  for (const std::size_t run : runs) missing += request(core, now, run, target->children);
  if (missing == 0) return {true, "Already up."};
  return {true, "Initiating " + plural(missing, "child SA") + " of \"" + connection + "\"."};
}

ike::CommandResult terminate(Core& core, TimePoint now, const std::string& connection, const std::string& child, const std::string& peer) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  const auto runs = runs_with(core, target->connection, peer);
  if (runs.empty()) return nobody(connection, peer);
  std::size_t pairs = 0, isakmp = 0;
  for (const std::size_t run : runs) {
    const auto ended = end(core, now, run, *target, child.empty());
    isakmp += ended.first;
    pairs += ended.second;
  }
  if (pairs + isakmp == 0) return {true, "Nothing was up."};
  return {true, "Ended " + plural(isakmp, "ISAKMP SA") + " and " + plural(pairs, "pair") + " of IPsec SAs."};
}

namespace {
ike::CommandResult rekey_isakmp(Core& core, TimePoint now, const std::string& connection, const std::vector<std::size_t>& runs) {
  std::size_t there = 0, begun = 0;
  for (const std::size_t run : runs) {
    const IsakmpSa* sa = current_sa(core, run);
    if (!sa) continue;
    if (serves_client(core, *sa)) return {false, "The peer of \"" + connection + "\" is a client: it alone can replace its ISAKMP SA."};
    ++there;
    begun += start_phase1(core, now, {run, sa->local, sa->remote, {sa->id}});
  }
  if (there == 0) return {false, "\"" + connection + "\" has no ISAKMP SA."};
  if (begun < there)
    return {false, "The new ISAKMP SA of \"" + connection + "\" cannot be begun" +
                       (there == 1 ? "" : " for " + std::to_string(there - begun) + " of " + std::to_string(there) + " peers") +
                       "; the log says why."};
  return {true, "Replacing " + (there == 1 ? "the ISAKMP SA" : plural(there, "ISAKMP SA")) + " of \"" + connection + "\"."};
}
}  // namespace

ike::CommandResult rekey(Core& core, TimePoint now, const std::string& connection, const std::string& child, bool isakmp,
                         const std::string& peer) {
  const auto target = locate(core, connection, child);
  if (!target) return unknown(connection, child);
  if (core.shutting_down) return {false, "The gateway is shutting down."};
  const auto runs = runs_with(core, target->connection, peer);
  if (runs.empty()) return nobody(connection, peer);
  if (isakmp) return rekey_isakmp(core, now, connection, runs);
  std::size_t count = 0;
  for (const std::size_t run : runs)
    for (const std::size_t i : target->children) {
      ChildRun& c = core.run(run).children[i];
      for (ChildSa& pair : c.pairs)
        if (is_latest(c, pair)) {
          std::get<ChildLive>(pair.life).due = true;
          ++count;
        }
    }
  if (count == 0) return {false, "There is no pair of IPsec SAs to rekey."};
  return {true, "Rekeying " + plural(count, "pair") + " of IPsec SAs."};
}

void shutdown(Core& core, TimePoint now) {
  for (const std::size_t i : all_runs(core)) {
    std::vector<SaName> names;
    for (std::size_t k = 0; k < core.connection(i).children.size(); ++k) {
      ChildRun& c = core.run(i).children[k];
      c.persistent = c.requested = c.trapped = false;
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
