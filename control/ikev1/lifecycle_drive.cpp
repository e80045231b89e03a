// What is wanted, and when the next step towards it can be made.
#include <algorithm>

#include "control/ikev1/access.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/peers.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

const ChildSa* newest_live(const ChildRun& run) {
  for (auto it = run.pairs.rbegin(); it != run.pairs.rend(); ++it)
    if (live(*it)) return &*it;
  return nullptr;
}

/// The one of the latest pairs that has been due for the longest time.
const ChildSa* due_pair(const ChildRun& run) {
  const auto it = std::ranges::find_if(run.pairs, [&](const ChildSa& p) { return is_latest(run, p) && std::get<ChildLive>(p.life).due; });
  return it == run.pairs.end() ? nullptr : &*it;
}

const ChildSa* an_orphan(const ChildRun& run) {
  const auto it = std::ranges::find_if(run.pairs, [](const ChildSa& pair) { return std::holds_alternative<ChildOrphan>(pair.life); });
  return it == run.pairs.end() ? nullptr : &*it;
}

std::size_t own_unfinished(const IsakmpSa& sa) {
  return static_cast<std::size_t>(
      std::ranges::count_if(sa.quick_modes, [](const auto& q) { return q.second.role == Role::Initiator && !finished(q.second); }));
}

/// Whether the peer is likely to begin the Quick Modes: it initiated this ISAKMP SA, or another one that will win over ours.
bool peer_goes_first(Core& core, const IsakmpSa& sa) {
  if (sa.role == Role::Responder) return true;
  return std::ranges::any_of(core.sas_of(sa.connection), [&](const IsakmpSa* other) {
    if (other->role != Role::Responder || other->spi_i > sa.spi_i || std::holds_alternative<MmClosing>(other->state)) return false;
    const MmEstablished* est = other->established();
    return !est || est->established + kSimultaneous > sa.established()->established;
  });
}

bool connecting(Core& core, std::size_t connection) {
  return std::ranges::any_of(core.sas_of(connection), [](const IsakmpSa* sa) {
    if (sa->established()) return !is_open(*sa);
    return sa->role == Role::Initiator && !std::holds_alternative<MmClosing>(sa->state);
  });
}

void connect(Core& core, TimePoint now, std::size_t index) {
  const config::Connection& c = core.connection(index);
  ConnectionRun& run = core.quiet_run(index);
  // A peer that has come to us, where others may, too, comes again by itself.
  if (!core.own_run(index) || !can_initiate(c) || connecting(core, index)) return;
  if (now < run.retry_at) {
    run.wake_at = earliest(run.wake_at, run.retry_at);
    return;
  }
  const IpAddress& remote = c.remote_addrs[run.failures % c.remote_addrs.size()];  // each attempt tries the next one
  const auto local = std::ranges::find(c.local_addrs, remote.family, &IpAddress::family);
  if (local == c.local_addrs.end()) return;  // the configuration is checked for it
  start_phase1(core, now, {index, {*local, ike::kIkePort, c.vrf.id}, {remote, ike::kIkePort, c.vrf.id}, {}});
}

/// Begins one child's Quick Mode if it is time. False: there is no ISAKMP SA for it.
bool drive_child(Core& core, TimePoint now, std::size_t index, std::size_t child) {
  ConnectionRun& run = core.quiet_run(index);
  ChildRun& state = run.children[child];
  const ChildSa* newest = newest_live(state);
  const ChildSa* due = due_pair(state);
  const bool wanted = !newest && (state.persistent || state.requested);
  if ((!due && !wanted) || negotiating(core, index, child)) return true;
  const auto wait_until = [&](TimePoint t) {
    run.wake_at = earliest(run.wake_at, t);
    return true;
  };
  if (wanted && now < state.retry_at) return wait_until(state.retry_at);
  const ChildSa* before = due ? due : an_orphan(state);
  IsakmpSa* sa = sa_for(core, index, before ? before->line : 0);
  if (!sa) return false;
  const TimePoint turn = sa->established()->established + kResponderPause;
  if (wanted && now < turn && peer_goes_first(core, *sa)) return wait_until(turn);
  if (own_unfinished(*sa) >= kMaxOwnQuickModes) return true;  // the end of one of them brings us here again
  // What is replaced keeps its selectors: a peer may have asked for a part of the child's.
  const Selectors asked = before ? Selectors{before->local_ts, before->remote_ts} : selectors_of(core, *sa, child);
  std::vector<std::uint64_t> replaces;
  for (const ChildSa& pair : state.pairs)
    if (!std::holds_alternative<ChildSuperseded>(pair.life) && asked.contains({pair.local_ts, pair.remote_ts}))
      replaces.push_back(pair.pair);
  start_quick_mode(core, now, *sa, child, asked, std::move(replaces));
  return true;
}

std::pair<std::uint32_t, std::uint32_t> rank(const ChildSa& pair) {
  return {std::min(pair.spi_in.value, pair.spi_out.value), std::max(pair.spi_in.value, pair.spi_out.value)};
}

/// Two pairs that both sides made at the same time: when we replace both by a third. The maker of the lower one goes first. Where that
/// has failed it is tried again as any rekeying is.
std::optional<TimePoint> collision_end(const ChildRun& run, const ChildSa& latest) {
  if (!is_latest(run, latest)) return std::nullopt;
  const auto& life = std::get<ChildLive>(latest.life);
  if (life.due || life.failures > 0) return std::nullopt;
  for (const ChildSa& other : run.pairs) {
    if (&other == &latest || !live(other) || other.role == latest.role || !same_selectors(other, latest)) continue;
    if (latest.established - other.established >= kSimultaneous) continue;
    const ChildSa& lower = rank(other) < rank(latest) ? other : latest;
    return latest.established + (lower.role == Role::Initiator ? kSettle : 5 * kSettle);
  }
  return std::nullopt;
}

/// When a pair that the peer replaced, and whose Delete is lost, is removed all the same. That the peer knew it when it began the
/// replacement is sure if the peer had made it, too, or if it is much older.
std::optional<TimePoint> forgotten_at(const ChildRun& run, const ChildSa& pair) {
  const auto newest =
      std::find_if(run.pairs.rbegin(), run.pairs.rend(), [&](const ChildSa& p) { return live(p) && same_selectors(p, pair); });
  if (newest == run.pairs.rend() || &*newest == &pair || !live(pair) || newest->role != Role::Responder) return std::nullopt;
  const bool known = pair.role == Role::Responder || newest->established - pair.established >= kSimultaneous;
  return known ? std::optional(newest->established + kOverdue) : std::nullopt;
}

enum class Fate : std::uint8_t { Stay, RemoveQuietly, Remove, Expire };

Fate fate(const ChildRun& run, const ChildSa& pair, TimePoint now) {
  if (const auto* s = std::get_if<ChildSuperseded>(&pair.life))
    return now < s->remove_at ? Fate::Stay : s->tell_peer ? Fate::Remove : Fate::RemoveQuietly;
  if (const auto* s = std::get_if<ChildDoubted>(&pair.life)) return now < s->remove_at ? Fate::Stay : Fate::RemoveQuietly;
  if (std::holds_alternative<ChildOrphan>(pair.life)) return Fate::Stay;
  if (now >= pair.expires_at) return Fate::Expire;
  const auto forgotten = forgotten_at(run, pair);
  return forgotten && now >= *forgotten ? Fate::Remove : Fate::Stay;
}

}  // namespace

namespace {
template <class F>
IsakmpSa* newest_where(Core& core, std::size_t connection, F&& test) {
  IsakmpSa* best = nullptr;
  for (IsakmpSa* sa : core.sas_of(connection)) {
    if (!is_open(*sa) || !test(*sa)) continue;
    const auto key = [](const IsakmpSa& s) {
      return std::tuple(!s.established()->remove_at.has_value(), s.established()->established, s.id);
    };
    if (!best || key(*sa) > key(*best)) best = sa;
  }
  return best ? core.find(best->id) : nullptr;
}
}  // namespace

IsakmpSa* current_sa(Core& core, std::size_t connection) {
  return newest_where(core, connection, [](const IsakmpSa&) { return true; });
}

IsakmpSa* sa_for(Core& core, std::size_t connection, SaId line) {
  IsakmpSa* newest = current_sa(core, connection);
  if (!newest || line == 0 || newest->line == 0 || newest->line == line || newest->role == Role::Initiator) return newest;
  IsakmpSa* own = newest_where(core, connection, [line](const IsakmpSa& sa) {
    return sa.line == line && sa.role == Role::Responder && !sa.established()->remove_at;
  });
  return own ? own : newest;
}

void drive(Core& core, TimePoint now, std::size_t index) {
  core.quiet_run(index).wake_at.reset();
  if (core.shutting_down) return;
  bool need = false;
  for (std::size_t i = 0; i < core.quiet_run(index).children.size(); ++i) need = !drive_child(core, now, index, i) || need;
  // Pairs without an ISAKMP SA (it expired, or the peer forgot it) would have neither rekeying nor dead-peer detection.
  const bool bare = std::ranges::any_of(core.quiet_run(index).children, [](const ChildRun& c) { return newest_live(c) != nullptr; });
  if (need || (bare && !current_sa(core, index))) connect(core, now, index);
}

namespace {
void replace_doubted(Core& core, std::size_t index, ChildRun& child, const ChildSa& pair, ChildLive& life) {
  life.doubt_at.reset();
  life.due = true;
  ++child.doubts;
  core.actions.emplace_back(ike::Report{Severity::Info, core.connection(index).name, core.connection(index).children.at(pair.child).name,
                                        pair.remote, Exchange::QuickMode, Role::Initiator, Reason::Ok, false,
                                        "The peer has asked for message 3 again and not used the pair since: another one is made."});
}
}  // namespace

void on_connection_timer(Core& core, TimePoint now, std::size_t index) {
  ConnectionRun& run = core.run(index);
  tell_deleted_again(core, now, index);
  for (std::size_t i = 0; i < run.children.size(); ++i) {
    ChildRun& child = run.children[i];
    std::vector<std::pair<std::uint64_t, Fate>> gone;
    for (const ChildSa& pair : child.pairs)
      if (const Fate f = fate(child, pair, now); f != Fate::Stay) gone.emplace_back(pair.pair, f);
    for (const auto& [id, f] : gone) {
      const ChildSa pair = *core.find_pair(index, id);
      const bool last = is_latest(child, pair);
      remove_pair(core, index, i, id);
      if (f != Fate::RemoveQuietly) tell_deleted(core, now, index, {inbound_name(pair)});
      if (f != Fate::Expire || !last) continue;
      const std::string text = "The lifetime of the pair of IPsec SAs ended before it was replaced.";
      core.lost(now, index, i, Exchange::QuickMode, Reason::Expired, text, pair.remote);
      core.actions.emplace_back(ike::Report{Severity::Warn,
                                            core.connection(index).name,
                                            core.connection(index).children[i].name,
                                            pair.remote,
                                            {},
                                            {},
                                            Reason::Expired,
                                            false,
                                            text});
    }
    for (ChildSa& pair : child.pairs) {
      if (!is_latest(child, pair)) continue;
      const auto collision = collision_end(child, pair);
      auto& life = std::get<ChildLive>(pair.life);
      if (collision && now >= *collision) life.due = true;
      if (life.doubt_at && now >= *life.doubt_at) replace_doubted(core, index, child, pair, life);
      if (now < life.rekey_at) continue;
      life.due = true;
      life.rekey_at = now + kQuickModeLimit;  // moved again when the attempt fails
    }
  }
}

std::optional<TimePoint> connection_deadline(const Core& core, std::size_t index) {
  const ConnectionRun& run = core.runs().at(index);
  if (core.shutting_down) return std::nullopt;
  std::optional<TimePoint> out = earliest(run.wake_at, told_deadline(run));
  for (const ChildRun& child : run.children) {
    for (const ChildSa& pair : child.pairs) {
      if (const auto* s = std::get_if<ChildSuperseded>(&pair.life))
        out = earliest(out, s->remove_at);
      else if (const auto* d = std::get_if<ChildDoubted>(&pair.life))
        out = earliest(out, d->remove_at);
      else if (live(pair) && is_latest(child, pair))
        out = earliest(earliest(earliest(out, pair.expires_at), std::get<ChildLive>(pair.life).doubt_at),
                       earliest(std::get<ChildLive>(pair.life).rekey_at, collision_end(child, pair)));
      else if (live(pair))
        out = earliest(earliest(out, pair.expires_at), forgotten_at(child, pair));
    }
  }
  return out;
}

std::string suites_text(const config::Connection& c) {
  std::string out;
  for (const IkeSuite& s : c.proposals) out += (out.empty() ? "" : ", ") + s.to_string();
  return out;
}

}  // namespace culvert::ikev1
