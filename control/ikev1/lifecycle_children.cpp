// The life of pairs: installation, succession, expiry, deletion by either side.
#include <algorithm>
#include <ranges>
#include <utility>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

std::string describe(const ChildSa& pair) {
  return std::string(pair.suite.protocol == SaProtocol::Ah ? "AH " : "ESP ") + pair.suite.to_string() +
         (pair.mode == SaMode::Transport ? ", transport mode, " : ", ") + pair.local_ts.to_string() + " - " + pair.remote_ts.to_string() +
         (pair.udp_encap ? ", in UDP" : "");
}

/// Whether a Quick Mode for this traffic that the peer began later than this one is over already. The peer does one after the other, so its
/// later one replaces this one, whose message 3 was on its way for longer.
bool overtaken(const ChildRun& run, const QuickMode& qm, const PendingPair& pending) {
  return qm.role == Role::Responder && std::ranges::any_of(run.pairs, [&](const ChildSa& p) {
           return p.role == Role::Responder && p.begun > qm.begun && live(p) && p.local_ts.contains(pending.local_ts) &&
                  p.remote_ts.contains(pending.remote_ts);
         });
}

/// Bounds what a peer that never deletes can pile up for the same traffic: beyond kMaxPairs the oldest goes, one that is superseded first.
void trim(Core& core, TimePoint now, std::size_t connection, std::size_t child, std::uint64_t newest) {
  const ChildRun& run = core.run(connection).children.at(child);
  const ChildSa& like = *core.find_pair(connection, newest);
  const auto same = [&](const ChildSa& p) { return same_selectors(p, like); };
  if (static_cast<std::size_t>(std::ranges::count_if(run.pairs, same)) <= kMaxPairs) return;
  auto oldest =
      std::ranges::find_if(run.pairs, [&](const ChildSa& p) { return same(p) && std::holds_alternative<ChildSuperseded>(p.life); });
  if (oldest == run.pairs.end()) oldest = std::ranges::find_if(run.pairs, same);
  const SaName name = inbound_name(*oldest);
  remove_pair(core, connection, child, oldest->pair);
  tell_deleted(core, now, connection, {name});
}

/// The pair goes on with what an older one did: their ISAKMP SAs are of one line (stand_beside).
void note_line(Core& core, IsakmpSa& sa, ChildSa& pair) {
  ConnectionRun& run = core.run(sa.connection);
  if (sa.line == 0) sa.line = sa.id;
  for (const ChildSa& older : run.children.at(pair.child).pairs)
    if (older.remote_ts == pair.remote_ts && older.line != 0 && older.line != sa.line) {
      const SaId gone = std::exchange(sa.line, older.line);
      for (IsakmpSa* other : core.sas_of(sa.connection))
        if (other->line == gone) other->line = sa.line;
      for (ChildRun& child : run.children)
        for (ChildSa& other : child.pairs)
          if (other.line == gone) other.line = sa.line;
    }
  pair.line = sa.line;
}

}  // namespace

void settle_life(Core& core, const IsakmpSa& sa, std::size_t child, Life& life) {
  const config::Child& c = core.connection(sa).children.at(child);
  const auto ours = static_cast<std::uint64_t>(std::max<std::int64_t>(1, c.life_time.count()));
  life.seconds = life.seconds == 0 ? ours : std::min(ours, std::max(life.seconds, kMinLife));
  if (life.kbytes != 0) life.kbytes = std::max(life.kbytes, kMinLifeKbytes);
}

void pair_ready(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, PendingPair& pending) {
  const config::Child& c = core.connection(sa).children.at(qm.child);
  const bool late = overtaken(core.run(sa.connection).children.at(qm.child), qm, pending);
  const bool outbound = !late || qm.early_out;
  if (!late && !qm.early_out) install(core, sa, qm, Direction::Outbound, pending);
  const Schedule when = schedule(core.services, now, {c.rekey_time, c.rand_time, c.life_time}, pending.life.seconds);
  ChildSa pair;
  pair.pair = qm.pair;
  pair.child = qm.child;
  pair.made_by = sa.id;
  pair.peer_id = sa.established() ? sa.established()->remote_id : std::string{};
  pair.role = qm.role;
  pair.spi_in = qm.spi_in;
  pair.spi_out = pending.spi_out;
  pair.suite = pending.suite;
  pair.mode = pending.mode;
  pair.udp_encap = sa.nat.encapsulate();
  pair.local_ts = pending.local_ts;
  pair.remote_ts = pending.remote_ts;
  pair.local = sa.local;
  pair.remote = sa.remote;
  pair.begun = qm.begun;
  pair.established = now;
  pair.outbound = outbound;
  pair.expires_at = when.expires_at;
  pair.life = ChildLive{when.rekey_at, 0};

  note_line(core, sa, pair);

  ChildRun& run = core.run(sa.connection).children.at(qm.child);
  if (late) {
    core.ended(now, sa, Exchange::QuickMode, qm.role, Reason::Ok, "A Quick Mode was confirmed after its successor: " + describe(pair) + ".",
               qm.child);
    pair.life = ChildSuperseded{now + kOverdue};
    run.pairs.insert(run.pairs.begin(), std::move(pair));
    return trim(core, now, sa.connection, qm.child, qm.pair);
  }
  const bool again = std::ranges::any_of(run.pairs, live);
  for (ChildSa& old : run.pairs) {
    const bool replaced = std::ranges::find(qm.replaces, old.pair) != qm.replaces.end();
    const bool orphan = std::holds_alternative<ChildOrphan>(old.life) || std::holds_alternative<ChildDoubted>(old.life);
    if (replaced || (orphan && covers(pair, old))) old.life = ChildSuperseded{now + kGrace};
  }
  run.requested = run.trapped = false;
  run.failures = 0;
  run.retry_at = {};
  std::string text = std::string(again ? "Pair of IPsec SAs rekeyed: " : "Pair of IPsec SAs established: ") + describe(pair) + ".";
  core.ended(now, sa, Exchange::QuickMode, qm.role, Reason::Ok, std::move(text), qm.child);
  run.pairs.push_back(std::move(pair));
  note_leased_pair(core, sa, qm.pair);
  for (const IsakmpSa* any : core.sas_of(sa.connection)) core.touch(*any);  // now worth replacing
  trim(core, now, sa.connection, qm.child, qm.pair);
}

namespace {
void early_outbound_refused(Core& core, TimePoint now, const JobOwner& owner, const std::string& error) {
  IsakmpSa* sa = core.find(owner.sa);
  const auto qm = sa && owner.quick_mode ? sa->quick_modes.find(*owner.quick_mode) : std::map<MessageId, QuickMode>::iterator{};
  if (!sa || !owner.quick_mode || qm == sa->quick_modes.end() || !std::holds_alternative<QmAwaitConfirm>(qm->second.state)) return;
  const SaName ours = inbound_name(qm->second);
  qm->second.early_out = {};
  quick_mode_failed(core, now, *sa, qm->second, Reason::InstallFailed, "The data plane refused the outbound SA: " + error + ".");
  tell_deleted(core, now, owner.connection, {ours});
}
}  // namespace

void on_outbound_installed(Core& core, TimePoint now, const JobOwner& owner, bool ok, const std::string& error) {
  if (ok) return;
  const ChildSa* pair = core.find_pair(owner.connection, owner.pair);
  if (!pair) return early_outbound_refused(core, now, owner, error);
  const std::size_t child = pair->child;
  const SaName ours = inbound_name(*pair);
  const std::string text = "The data plane refused the outbound SA: " + error + ".";
  core.lost(now, owner.connection, child, Exchange::QuickMode, Reason::InstallFailed, text, pair->remote);
  core.actions.emplace_back(ike::Report{Severity::Error, core.connection(owner.connection).name,
                                        core.connection(owner.connection).children.at(child).name, pair->remote, Exchange::QuickMode,
                                        pair->role, Reason::InstallFailed, true, text});
  remove_pair(core, owner.connection, child, owner.pair);
  tell_deleted(core, now, owner.connection, {ours});
  child_failed(core, now, owner.connection, child);
}

namespace {
/// The peer has not got message 3 the first time, and may not get it now. If it gives up it may not say so (strongSwan ends the ISAKMP SA
/// with all its pairs, in silence): unless traffic shows that it has the pair another one is made, ever more seldom on a line that stays so
/// bad.
void doubt_new_pair(Core& core, TimePoint now, const IsakmpSa& sa, const QuickMode& qm) {
  ChildSa* pair = core.find_pair(sa.connection, qm.pair);
  auto* life = pair ? std::get_if<ChildLive>(&pair->life) : nullptr;
  if (!life || now < pair->established + kAsksLate) return;
  life->doubt_at = now + kDoubt * (1U << std::min(core.run(sa.connection).children.at(qm.child).doubts, 7U));
}
}  // namespace

void linger(Core& core, TimePoint now, IsakmpSa& sa, const QuickMode& qm) {
  if (qm.role != Role::Initiator) return;
  doubt_new_pair(core, now, sa, qm);
  for (ChildSa& old : core.run(sa.connection).children.at(qm.child).pairs)
    if (auto* s = std::get_if<ChildSuperseded>(&old.life); s && std::ranges::find(qm.replaces, old.pair) != qm.replaces.end())
      s->remove_at = std::max(s->remove_at, now + kGrace);
}

bool is_latest(const ChildRun& run, const ChildSa& pair) {
  if (!live(pair)) return false;
  for (auto it = run.pairs.rbegin(); it != run.pairs.rend() && it->pair != pair.pair; ++it)
    if (live(*it) && covers(*it, pair)) return false;
  return true;
}

bool has_orphan(const ChildRun& run) {
  return std::ranges::any_of(run.pairs, [](const ChildSa& pair) { return std::holds_alternative<ChildOrphan>(pair.life); });
}

bool negotiating(Core& core, std::size_t connection, std::size_t child, const ChildSa* old) {
  const auto wanted = [&](const QuickMode& qm) {
    return qm.child == child && !finished(qm) && (!old || (qm.local_ts.contains(old->local_ts) && qm.remote_ts.contains(old->remote_ts)));
  };
  return std::ranges::any_of(core.sas_of(connection), [&](const IsakmpSa* sa) {
    return std::ranges::any_of(sa->quick_modes, [&](const auto& q) { return wanted(q.second); });
  });
}

bool too_many_parts(Core& core, std::size_t connection, std::size_t child, const Selectors& asked) {
  const std::vector<ChildSa>& pairs = core.runs().at(connection).children.at(child).pairs;
  auto count = static_cast<std::ptrdiff_t>(pairs.size());
  for (const IsakmpSa* sa : core.sas_of(connection))
    count += std::ranges::count_if(sa->quick_modes, [&](const auto& q) { return q.second.child == child && !finished(q.second); });
  return count >= static_cast<std::ptrdiff_t>(kMaxParts) &&
         std::ranges::none_of(pairs, [&](const ChildSa& p) { return Selectors{p.local_ts, p.remote_ts} == asked; });
}

void child_failed(Core& core, TimePoint now, std::size_t connection, std::size_t child) {
  ChildRun& run = core.run(connection).children.at(child);
  ++run.failures;
  run.retry_at = now + backoff(core, run.failures);
  run.requested = has_orphan(run);
  for (ChildSa& pair : run.pairs)
    if (auto* l = std::get_if<ChildLive>(&pair.life); l && l->due) {
      l->due = false;
      l->rekey_at = now + backoff(core, ++l->failures);
    }
}

void remove_pair(Core& core, std::size_t connection, std::size_t child, std::uint64_t id) {
  ChildRun& run = core.run(connection).children.at(child);
  const auto it = std::ranges::find(run.pairs, id, &ChildSa::pair);
  if (it == run.pairs.end()) return;
  core.actions.emplace_back(ike::RemoveSa{it->pair, Direction::Inbound, it->spi_in});
  if (it->outbound) core.actions.emplace_back(ike::RemoveSa{it->pair, Direction::Outbound, it->spi_out});
  core.release_spi(it->spi_in);
  run.pairs.erase(it);
}

void pairs_of_dead_peer(Core& core, TimePoint now, std::size_t connection, const std::string& peer_id) {
  constexpr Reason reason = Reason::DpdTimeout;
  const std::string text = "The peer is dead, and the pair with it.";
  ConnectionRun& run = core.run(connection);
  for (std::size_t i = 0; i < run.children.size(); ++i) {
    ChildRun& child = run.children[i];
    std::vector<std::uint64_t> gone;
    const config::DpdAction action = core.connection(connection).children[i].dpd_action;
    if (action == config::DpdAction::None) continue;
    for (const ChildSa& pair : child.pairs)
      if (!std::holds_alternative<ChildOrphan>(pair.life) && pair.peer_id == peer_id) gone.push_back(pair.pair);
    for (const std::uint64_t pair : gone) remove_pair(core, connection, i, pair);
    if (gone.empty()) continue;
    child.persistent = action == config::DpdAction::Restart;
    child.trapped = action == config::DpdAction::Trap;
    core.lost(now, connection, i, Exchange::QuickMode, reason, text);
    child.retry_at = {};  // its silence was pause enough
    core.actions.emplace_back(ike::Report{
        Severity::Warn, core.connection(connection).name, core.connection(connection).children[i].name, {}, {}, {}, reason, false, text});
  }
}

namespace {

void delete_live_pair(Core& core, TimePoint now, IsakmpSa& sa, ChildRun& run, ChildSa& pair) {
  const std::size_t index = sa.connection, child = pair.child;
  const bool latest = is_latest(run, pair);
  const bool others = std::ranges::any_of(run.pairs, [&](const ChildSa& p) { return p.pair != pair.pair && live(p) && covers(p, pair); });
  const bool coming = negotiating(core, index, child, &pair);
  const std::string& name = core.connection(sa).children.at(child).name;
  if (others || coming) {
    core.say(sa, Severity::Debug, Exchange::Informational, Reason::Replaced, "The peer deleted a pair that has a successor.", name);
    pair.life = ChildSuperseded{now + kGrace, false};
    // The data plane sends on the newest pair: if that is the one that went, there has to be a newer one.
    if (coming) return;
    for (ChildSa& other : std::views::reverse(run.pairs))
      if (latest && is_latest(run, other) && covers(other, pair)) std::get<ChildLive>(other.life).due = true;
    return;
  }
  const std::string text = "The peer deleted the pair of IPsec SAs.";
  core.say(sa, Severity::Warn, Exchange::Informational, Reason::DeletedByPeer, text, name);
  core.lost(now, index, child, Exchange::Informational, Reason::DeletedByPeer, text, pair.remote);
  run.retry_at = now + backoff(core, 1);
  remove_pair(core, index, child, pair.pair);
}

}  // namespace

void peer_deleted_pair(Core& core, TimePoint now, IsakmpSa& sa, SaName outbound) {
  const MmEstablished* est = sa.established();
  if (!est) return;
  for (auto& [id, qm] : sa.quick_modes) {
    const auto* unconfirmed = std::get_if<QmAwaitConfirm>(&qm.state);
    const auto* unconnected = std::get_if<QmAwaitConnected>(&qm.state);
    const PendingPair* pending = unconfirmed ? &unconfirmed->pending : unconnected ? &unconnected->pending : nullptr;
    if (pending && pending->spi_out == outbound.spi && pending->suite.protocol == outbound.protocol)
      return quick_mode_failed(core, now, sa, qm, Reason::DeletedByPeer, "The peer deleted the pair before it had confirmed it.");
  }
  for (ChildRun& run : core.run(sa.connection).children)
    for (ChildSa& pair : run.pairs) {
      if (pair.spi_out != outbound.spi || pair.suite.protocol != outbound.protocol ||
          (pair.peer_id != est->remote_id && !std::holds_alternative<ChildOrphan>(pair.life)))
        continue;
      if (auto* s = std::get_if<ChildSuperseded>(&pair.life)) {
        s->tell_peer = false;
        return;
      }
      if (!live(pair)) return remove_pair(core, sa.connection, pair.child, pair.pair);
      return delete_live_pair(core, now, sa, run, pair);
    }
  core.say(sa, Severity::Debug, Exchange::Informational, Reason::UnknownSa, "The peer deleted an IPsec SA that is not ours with it.");
}

bool make_room(IsakmpSa& sa) {
  if (sa.quick_modes.size() < kMaxQuickModes) return true;
  auto oldest = sa.quick_modes.end();
  for (auto it = sa.quick_modes.begin(); it != sa.quick_modes.end(); ++it)
    if (finished(it->second) && (oldest == sa.quick_modes.end() || it->second.begun < oldest->second.begun)) oldest = it;
  if (oldest == sa.quick_modes.end()) return false;
  sa.quick_modes.erase(oldest);
  return true;
}

namespace {
/// Complaints about a message, not about what it asked for. A peer that was busy sends them for late repeats of messages that
/// it has answered meanwhile.
bool about_a_message(NotifyType type) {
  switch (type) {
    case NotifyType::InvalidPayloadType:
    case NotifyType::InvalidCookie:
    case NotifyType::InvalidExchangeType:
    case NotifyType::InvalidFlags:
    case NotifyType::InvalidMessageId:
    case NotifyType::PayloadMalformed:
    case NotifyType::InvalidHashInformation:
    case NotifyType::UnequalPayloadLengths:
      return true;
    default:
      return false;
  }
}
}  // namespace

void on_quick_mode_refused(Core& core, TimePoint now, IsakmpSa& sa, const Notify& n) {
  // strongSwan writes an SPI of zero when it refuses before it has chosen a proposal: that names nothing.
  const bool names_one = n.spi.size() == 4 && n.spi != spi_bytes(Spi{});
  if (!names_one && about_a_message(n.type)) return;  // the retransmissions decide
  QuickMode* which = nullptr;
  for (auto& [id, qm] : sa.quick_modes) {
    if (!std::holds_alternative<QmAwaitReply>(qm.state)) continue;
    if (n.spi == spi_bytes(qm.spi_in)) {
      which = &qm;
      break;
    }
    if (!names_one && (!which || qm.begun < which->begun)) which = &qm;  // peers that do not say which: the oldest
  }
  if (!which) return;
  const config::Child& c = core.connection(sa).children.at(which->child);
  if (n.type == NotifyType::InvalidIdInformation)
    return quick_mode_failed(core, now, sa, *which, Reason::PeerSelectorMismatch,
                             "The peer refused our proxy identities " + which->local_ts.to_string() + " - " + which->remote_ts.to_string() +
                                 " (ours - theirs) with INVALID-ID-INFORMATION.",
                             {.number = 1,
                              .evidence = selector_evidence(core.connection(sa), which->local_ts.to_string(), which->remote_ts.to_string()),
                              .said = name(n.type),
                              .said_proven = true});
  if (n.type == NotifyType::NoProposalChosen || n.type == NotifyType::BadProposalSyntax || n.type == NotifyType::AttributesNotSupported) {
    if (which->groups.size() > 1) return try_next_group(core, now, sa, *which);
    std::string offered;
    for (const EspSuite& s : c.suites()) offered += (offered.empty() ? "" : ", ") + s.to_string();
    return quick_mode_failed(
        core, now, sa, *which, Reason::PeerNoProposal,
        "The peer accepts none of our proposals (we offered " + offered + "): " + name(n.type) + ".",
        {.number = 1, .evidence = ike::ProposalEvidence{offered, {}, {}, {}}, .said = name(n.type), .said_proven = true});
  }
  quick_mode_failed(core, now, sa, *which, Reason::PeerRefused, "The peer refused with " + name(n.type) + ".",
                    {.number = 1, .said = name(n.type), .said_proven = true});
}

}  // namespace culvert::ikev1
