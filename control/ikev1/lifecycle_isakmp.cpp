// The life of ISAKMP SAs after Main Mode: replacement, collision, expiry, deletion.
#include <algorithm>
#include <utility>

#include "control/ikev1/access.hpp"
#include "control/ikev1/dpd.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/notifications.hpp"
#include "control/ikev1/peers.hpp"
#include "control/ikev1/siblings.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

/// The last ISAKMP SA is gone, but the peer said nothing of its pairs (RFC 2408 §3.15: a Delete is of what it names). They stay while
/// traffic shows that the peer has them, and a successor is negotiated where the configuration lets us begin.
void doubt_pairs(Core& core, TimePoint now, std::size_t index, const std::string& peer_id) {
  ConnectionRun& run = core.run(index);
  for (std::size_t i = 0; i < run.children.size(); ++i)
    for (ChildSa& pair : run.children[i].pairs) {
      if (!std::holds_alternative<ChildLive>(pair.life) || pair.peer_id != peer_id) continue;
      pair.life = ChildDoubted{now, now + kDoubt};
      run.children[i].requested = core.connection(index).children[i].start_action != config::StartAction::None;
    }
}

/// An ISAKMP SA without pairs, made or wanted, is not replaced: it ends with its lifetime.
bool worth_replacing(const Core& core, const IsakmpSa& sa) {
  return !core.shutting_down && is_open(sa) && !serves_client(core, sa) &&
         std::ranges::any_of(core.runs().at(sa.connection).children, [](const ChildRun& c) { return c.persistent || !c.pairs.empty(); });
}

/// Whether a Quick Mode may still need its ISAKMP SA. One that is over for us is not for a peer that waits for message 3.
bool busy(const IsakmpSa& sa, TimePoint now) {
  return std::ranges::any_of(sa.quick_modes, [&](const auto& q) {
    const auto* done = std::get_if<QmDone>(&q.second.state);
    return !done || now < done->forget_at - kQuickModeMemory + 3 * kGrace;
  });
}

/// Whoever begins an ISAKMP SA and deletes it before any Quick Mode has, as a rule, not liked our last message of phase 1: it holds
/// our identity and our proof, and most peers say nothing else (strongSwan). Recorded, and no more: phase 1 was counted as done.
void note_walkout(Core& core, TimePoint now, const IsakmpSa& sa) {
  const MmEstablished& est = *sa.established();
  const bool began = sa.refused_quick_mode || !sa.quick_modes.empty() || !est.access.transactions.empty();
  if (sa.role != Role::Responder || began || now - est.established > kSettle) return;
  const config::Connection& c = core.connection(sa);
  const bool made_pairs = std::ranges::any_of(core.runs().at(sa.connection).children, [&](const ChildRun& child) {
    return std::ranges::any_of(child.pairs, [&](const ChildSa& pair) { return pair.made_by == sa.id; });
  });
  if (made_pairs) return;
  ike::Failure f;
  f.when = now;
  f.exchange = sa.mode;
  f.role = sa.role;
  f.reason = Reason::DeletedByPeer;
  f.by = ike::RefusedBy::Peer;
  f.message = "The peer deleted the ISAKMP SA as soon as it was there: it does not accept message 6, in which we call ourselves " +
              est.local_id + ".";
  f.peer = sa.remote;
  f.cause = {.number = 6, .evidence = ike::IdentityEvidence{{}, est.local_id, true, est.negotiated.auth.psk()}};
  core.failures.add(c.name, std::move(f));
}

/// The peer deletes what it has replaced: the SA that it made last, and that has not shown yet what it is for, goes on for this one.
void hand_over_line(Core& core, const IsakmpSa& gone) {
  IsakmpSa* last = nullptr;
  for (IsakmpSa* sa : core.sas_of(gone.connection))
    if (is_open(*sa) && sa->established()->remote_id == gone.established()->remote_id && newer(*sa, last ? *last : gone)) last = sa;
  if (last && last->line == 0 && last->role == gone.role) last->line = gone.line;
}

}  // namespace

bool stand_beside(const Core& core, const IsakmpSa& a, const IsakmpSa& b) {
  const auto serves = [&](const IsakmpSa& sa) {
    return sa.line != 0 && std::ranges::any_of(core.runs().at(sa.connection).children, [&](const ChildRun& child) {
             return std::ranges::any_of(child.pairs, [&](const ChildSa& pair) { return pair.line == sa.line && live(pair); });
           });
  };
  return a.role == Role::Responder && b.role == Role::Responder && a.line != b.line && serves(a) && serves(b);
}

bool newer_isakmp(Core& core, const IsakmpSa& sa) {
  return any_sibling(core, sa,
                     [&](const IsakmpSa& other, const MmEstablished&) { return newer(other, sa) && !stand_beside(core, other, sa); });
}

void main_mode_established(Core& core, TimePoint now, IsakmpSa& sa) {
  MmEstablished& est = *sa.established();
  start_dpd(core, now, sa, est);
  begin_access(core, now, sa);
}

void access_opened(Core& core, TimePoint now, IsakmpSa& sa) {
  ConnectionRun& run = core.run(sa.connection);
  run.failures = 0;
  run.retry_at = {};
  for (const IsakmpSa* sibling : core.sas_of(sa.connection)) core.touch(*sibling);
  tell_isakmp_lifetime(core, now, sa);
  for (const SaId id : sa.replaces)
    if (IsakmpSa* old = core.find(id))
      if (MmEstablished* e = old->established()) e->remove_at = now + kGrace;
  displace_others(core, now, sa);
}

void connecting_failed(Core& core, TimePoint now, std::size_t index, const std::vector<SaId>& replaces) {
  ConnectionRun& run = core.run(index);
  for (const SaId id : replaces)
    if (IsakmpSa* old = core.find(id))
      if (MmEstablished* est = old->established()) est->rekey_at = now + backoff(core, ++est->rekey_failures);
  ++run.failures;
  run.retry_at = now + backoff(core, run.failures);
  for (ChildRun& child : run.children) child.requested = has_orphan(child);
}

namespace {
/// The peer's NAT has given it another address: what else led to the old one leads to the new one, in the data plane, too.
void follow_peer(Core& core, std::size_t index, const std::string& peer_id, const Endpoint& old, const Endpoint& now_at) {
  peer_moved(core, index, now_at);
  holders_moved(core, index, old, now_at);
  core.actions.emplace_back(
      ike::Report{Severity::Info,
                  core.connection(index).name,
                  {},
                  now_at,
                  {},
                  {},
                  Reason::Ok,
                  false,
                  "The peer's NAT has given it another address: " + now_at.to_string() + " instead of " + old.to_string() + "."});
  for (IsakmpSa* sa : core.sas_of(index)) {
    const MmEstablished* est = sa->established();
    if (!est || est->remote_id != peer_id || !sa->nat.remote) continue;
    if (sa->remote == old) core.find(sa->id)->remote = now_at;
    if (sa->remote != now_at) continue;
    for (const auto& [id, qm] : sa->quick_modes)
      if (qm.early_out && !finished(qm)) core.actions.emplace_back(ike::MoveSa{qm.pair, qm.early_out, now_at});
  }
  for (ChildRun& child : core.run(index).children)
    for (ChildSa& pair : child.pairs) {
      if (!pair.udp_encap || pair.remote != old || (pair.peer_id != peer_id && !std::holds_alternative<ChildOrphan>(pair.life))) continue;
      pair.remote = now_at;
      if (pair.outbound) core.actions.emplace_back(ike::MoveSa{pair.pair, pair.spi_out, now_at});
    }
}
}  // namespace

void heard_from(Core& core, const Incoming& in, IsakmpSa& sa) {
  MmEstablished* est = sa.established();
  if (!est) return;
  est->dpd.last_message = in.now;
  sa.sealed_bytes += in.framed.message.size();
  est->unconfirmed.reset();
  peer_lives(core, *est, core.connection(sa), in.now);
  if (in.datagram.remote == sa.remote) return;
  // Only a peer behind a NAT may turn up elsewhere (RFC 3947 §4), and not by the port 500 that it has left.
  if (!sa.nat.remote || in.datagram.local != sa.local) return;
  const Endpoint old = std::exchange(sa.remote, in.datagram.remote);
  follow_peer(core, sa.connection, est->remote_id, old, sa.remote);
}

void pair_moved(Core& core, const ike::PairMoved& moved) {
  const SpiOwner* owner = core.owner_of(moved.inbound);
  ChildSa* pair = owner ? core.find_pair(owner->connection, owner->pair) : nullptr;
  if (!pair || pair->remote == moved.remote) return;
  const Endpoint old = std::exchange(pair->remote, moved.remote);
  follow_peer(core, owner->connection, std::string(pair->peer_id), old, moved.remote);
}

void peer_deleted_isakmp(Core& core, TimePoint now, IsakmpSa& sa) {
  const Access& access = sa.established()->access;
  if (!access.proved() || std::holds_alternative<ConfigAwaitSet>(access.state) || std::holds_alternative<ConfigAwaitReply>(access.state))
    return access_ended_by_peer(core, now, sa);
  const bool sibling = any_sibling(core, sa, [](const IsakmpSa&, const MmEstablished&) { return true; }) ||
                       std::ranges::any_of(core.sas_of(sa.connection), [](const IsakmpSa* s) {
                         return std::holds_alternative<MmAwaitAuth>(s->state) || std::holds_alternative<MmVerifying>(s->state);
                       });
  core.say(sa, Severity::Info, Exchange::Informational, sibling ? Reason::Replaced : Reason::DeletedByPeer,
           sibling ? "The peer deleted an ISAKMP SA that has a successor." : "The peer deleted the ISAKMP SA.");
  if (!sibling) note_walkout(core, now, sa);
  const std::string peer_id = sa.established()->remote_id;
  const std::size_t index = sa.connection;
  hand_over_line(core, sa);
  const std::vector<SaName> unconfirmed = abandon_quick_modes(core, sa);
  core.farewells.add(sa.spi_i, sa.spi_r);
  core.drop(sa);
  tell_deleted(core, now, index, unconfirmed);
  if (!sibling) doubt_pairs(core, now, index, peer_id);
}

void peer_is_dead(Core& core, TimePoint now, IsakmpSa& sa) {
  const auto silence = std::chrono::duration_cast<seconds>(now - sa.established()->dpd.last_heard);
  core.ended(now, sa, Exchange::Dpd, Role::Initiator, Reason::DpdTimeout,
             "Nothing was heard of " + sa.remote.to_string() + " for " + std::to_string(silence.count()) + " s: it is dead.");
  const std::string peer_id = sa.established()->remote_id;
  const std::size_t index = sa.connection;
  if (std::ranges::all_of(core.connection(sa).children, [](const config::Child& c) { return c.dpd_action == config::DpdAction::None; })) {
    sa.established()->dpd.given_up = true;
    return;
  }
  abandon_quick_modes(core, sa);
  core.drop(sa);
  // A dead peer is dead on all its ISAKMP SAs that are no newer than this one; one that is newer was heard of since.
  std::vector<IsakmpSa*> others;
  bool newer_left = false;
  for (IsakmpSa* other : core.sas_of(index)) {
    const MmEstablished* est = other->established();
    if (!est || est->remote_id != peer_id) continue;
    if (now - est->dpd.last_heard < silence)
      newer_left = true;
    else
      others.push_back(other);
  }
  for (IsakmpSa* other : others) {
    abandon_quick_modes(core, *other);
    core.drop(*other);
  }
  if (!newer_left) pairs_of_dead_peer(core, now, index, peer_id);
}

void peer_restarted(Core& core, TimePoint now, IsakmpSa& sa) {
  MmEstablished& own = *sa.established();
  own.access.initial_contact = !own.access.proved();  // of whom, XAuth will tell
  if (own.access.initial_contact) return;
  core.say(sa, Severity::Debug, Exchange::Informational, Reason::Ok,
           "The peer says that this is its first contact with us: what we had with it before ends.");
  for (IsakmpSa* other : core.sas_of(sa.connection)) {
    const MmEstablished* est = other->established();
    if (other->id == sa.id || !est || est->remote_id != own.remote_id || est->local_id != own.local_id) continue;
    if (est->established > sa.created) continue;  // the peer may have said so before it was there
    close_isakmp(core, now, *other, Reason::Replaced, "An ISAKMP SA of before the peer's restart ends.");
  }
  for (ChildRun& child : core.run(sa.connection).children)
    for (ChildSa& pair : child.pairs)
      if (std::holds_alternative<ChildLive>(pair.life) && pair.made_by != sa.id && pair.peer_id == own.remote_id &&
          pair.established <= sa.created)
        pair.life = ChildDoubted{now, now + kGrace};
}

void close_isakmp(Core& core, TimePoint now, IsakmpSa& sa, Reason reason, const std::string& message, const std::vector<SaName>& pairs) {
  MmEstablished* est = sa.established();
  if (!est) return core.drop(sa);
  core.say(sa, reason == Reason::Expired ? Severity::Warn : Severity::Info, Exchange::Informational, reason, message);
  const std::vector<SaName> unconfirmed = abandon_quick_modes(core, sa);
  Builder b;
  b.add(delete_isakmp(sa));
  add_deletes(b, pairs);
  const bool proved = est->access.proved();
  MmClosing next{std::move(est->negotiated), std::move(est->keys), {}, 0, now + kClosingMemory};
  next.deletes.push_back(informational(core, sa, next.keys, std::move(b)));
  core.send(now, sa, next.deletes.back());
  // Nobody acknowledges it, and a peer that misses it keeps an SA that nobody else has, for as long as it lives.
  if (proved) {
    next.insisting.emplace(now, next.deletes.back(), core.config.ike, core.services);
    next.insisting->hurry(now + kGrace);
  }
  sa.state = std::move(next);
  core.touch(sa.connection);
  tell_deleted(core, now, sa.connection, unconfirmed);
}

void repeat_delete(Core& core, TimePoint now, IsakmpSa& sa) {
  auto* closing = std::get_if<MmClosing>(&sa.state);
  if (!closing || closing->repeats >= kMaxDeleteRepeats) return;
  ++closing->repeats;
  for (const Bytes& message : closing->deletes) core.send(now, sa, message);
}

namespace {
/// Both sides have made an ISAKMP SA at once, and ours goes. A peer that does not learn of it takes ours for the successor of its own,
/// and gives up the one that stays (forgotten_at): the Delete goes as often as a request would.
void close_loser(Core& core, TimePoint now, IsakmpSa& sa) {
  close_isakmp(core, now, sa, Reason::Replaced, "An ISAKMP SA ends: the peer made another one at the same time, which stays.");
  auto* closing = std::get_if<MmClosing>(&sa.state);
  if (!closing) return;
  closing->insisting.emplace(now, closing->deletes.front(), core.config.ike, core.services);
  closing->forget_at = now + kForgotten;
}

void on_closing_timer(Core& core, TimePoint now, IsakmpSa& sa, MmClosing& closing) {
  if (now >= closing.forget_at) return core.drop(sa);
  if (!closing.insisting) return;
  const ike::Due due = closing.insisting->poll(now, core.config.ike, core.services);
  if (due == ike::Due::SendAgain) core.send(now, sa, closing.deletes.front());
  if (due == ike::Due::GiveUp) closing.insisting.reset();
}
}  // namespace

namespace {
bool reached(std::uint64_t limit, const IsakmpSa& sa) { return limit != 0 && sa.sealed_bytes >= limit; }

/// Lifetimes in kilobytes, once each: the time has come to replace it, or to end it.
void note_volume(TimePoint now, const IsakmpSa& sa, MmEstablished& est) {
  if (reached(est.rekey_bytes, sa)) {
    est.rekey_bytes = 0;
    est.rekey_at = std::min(est.rekey_at, now);
  }
  if (!reached(est.life_bytes, sa)) return;
  est.life_bytes = 0;
  est.expires_at = std::min(est.expires_at, now);
}
}  // namespace

void on_established_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  if (auto* closing = std::get_if<MmClosing>(&sa.state)) return on_closing_timer(core, now, sa, *closing);
  MmEstablished* est = sa.established();
  if (!est) return;
  note_volume(now, sa, *est);
  const auto collision = collision_end(core, sa, *est);
  const auto unasked = earliest(collision, forgotten_at(core, sa));
  if (!est->remove_at && unasked && now >= *unasked) {
    est->remove_at = now;
    renew_pairs(core, sa);
  }
  if (est->remove_at && now >= *est->remove_at && !has_heir(core, sa)) {  // the peer has deleted what was to take its place
    est->remove_at.reset();
    if (core.connection(sa).dpd_delay.count() > 0 && est->negotiated.dpd) est->dpd.next_probe = now;
  }
  if (est->remove_at && now >= *est->remove_at) {
    const bool renewing = unasked && now >= *unasked && now < *unasked + kRenewal && !pairs_renewed(core, sa);
    if ((busy(sa, now) || renewing) && now < est->expires_at)
      est->remove_at = now + kGrace;
    else if (collision && now >= *collision)
      return close_loser(core, now, sa);
    else
      return close_isakmp(core, now, sa, Reason::Replaced, "An ISAKMP SA that has a successor ends.");
  }
  if (now >= est->expires_at && (est->remove_at || newer_isakmp(core, sa)))
    return close_isakmp(core, now, sa, Reason::Replaced, "An ISAKMP SA that has a successor ends with its lifetime.");
  if (now >= est->expires_at) {
    renew_pairs(core, sa);
    return close_isakmp(core, now, sa, Reason::Expired, "The lifetime of the ISAKMP SA ended before it was replaced.");
  }
  if (now >= est->rekey_at && !est->remove_at && !newer_isakmp(core, sa) && worth_replacing(core, sa)) {
    est->rekey_at = now + kQuickModeLimit;  // moved again when the attempt ends
    start_phase1(core, now, {sa.connection, sa.local, sa.remote, {sa.id}});
    est = sa.established();
  }
  if (!sa.dead && est) on_dpd_timer(core, now, sa);
  if (!sa.dead) on_keepalive_timer(core, now, sa);
}

std::optional<TimePoint> established_deadline(Core& core, const IsakmpSa& sa) {
  if (const auto* closing = std::get_if<MmClosing>(&sa.state))
    return closing->insisting ? std::min(closing->forget_at, closing->insisting->deadline()) : closing->forget_at;
  const MmEstablished* est = sa.established();
  if (!est) return std::nullopt;
  if (reached(est->rekey_bytes, sa) || reached(est->life_bytes, sa)) return est->established;
  std::optional<TimePoint> out = est->expires_at;
  if (est->remove_at) return earliest(earliest(out, est->remove_at), keepalive_deadline(core, sa));
  if (!newer_isakmp(core, sa) && worth_replacing(core, sa)) out = earliest(out, est->rekey_at);
  out = earliest(out, collision_end(core, sa, *est));
  out = earliest(out, forgotten_at(core, sa));
  out = earliest(out, est->dpd.next_probe);
  return earliest(out, keepalive_deadline(core, sa));
}

}  // namespace culvert::ikev1
