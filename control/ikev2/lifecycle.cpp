#include "control/ikev2/lifecycle.hpp"

#include <algorithm>
#include <ranges>

#include "control/ike/lifetimes.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_followup.hpp"
#include "control/ikev2/exchange_informational.hpp"
#include "control/ikev2/exchange_rekey_ike.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/shares.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

std::chrono::nanoseconds backoff(Core& core, unsigned failures) {
  std::chrono::nanoseconds wait = core.config.ike.retry_delay;
  for (unsigned i = 1; i < failures && wait < kMaxRetryDelay; ++i) wait *= 2;
  return ike::jitter(core.services, std::min<std::chrono::nanoseconds>(
                                        wait, std::max<std::chrono::nanoseconds>(kMaxRetryDelay, core.config.ike.retry_delay)));
}

// ---------------------------------------------------------------------------------------------------------------- IKE SAs

namespace {
/// The peer was faster: an attempt of ours that it knows nothing of yet but a first message is not worth a second SA.
void give_up_own_attempts(Core& core, const IkeSa& sa) {
  for (IkeSa* own : core.sas_with(sa, sa.remote_id)) {
    const bool early = std::holds_alternative<MakingKey>(own->state) || std::holds_alternative<InitSent>(own->state);
    if (early && own->role == Role::Initiator && own->replaces.empty() && own->remote.address == sa.remote.address) core.drop(*own);
  }
}
}  // namespace

void established(Core& core, TimePoint now, IkeSa& sa, std::string identity, std::optional<PeerKey> key) {
  const config::Connection& c = core.connection(sa);
  core.identify(sa, std::move(identity));
  sa.peer = key;
  const ike::Schedule when = ike::schedule(core.services, now, {c.rekey_time, c.rand_time, c.rekey_time + c.over_time}, 0);
  sa.state = Established{.since = now, .rekey_at = when.rekey_at, .expires_at = when.expires_at};
  open_window(core, sa);
  plan_reauth(core, now, sa);
  core.table.promote(sa.id);
  if (core.contacted.size() < kMaxContacted) core.contacted.emplace(sa.remote.vrf, sa.remote.address);
  sa.init_request.clear(), sa.rounds = {};
  Run& run = core.run(sa.connection);
  run.failures = 0;
  run.retry_at = {};
  core.ended(now, sa, Exchange::IkeAuth, sa.role, Reason::Ok,
             "IKE SA established with " + sa.remote_id + " (" + sa.suite.to_string() + "; " + sa.nat.to_string() + ").");
  displace_others(core, now, sa);
  if (sa.role == Role::Responder) give_up_own_attempts(core, sa);
  for (const SaId old : std::exchange(sa.replaces, {}))
    if (IkeSa* before = core.find(old); before && before->established()) hand_over(core, now, *before, sa);
  note_twins(core, now, sa);
  core.touch(sa);
}

void discard(Core& core, TimePoint now, IkeSa& sa) {
  abandon_request(core, sa);
  abandon_answering(core, sa);
  release_loser(core, now, sa);
  go_on_without(core, now, sa);
  remove_children(core, sa);
  if (const MakeChild* made = sa.half_made(); made && made->spi_in) core.release_spi(made->spi_in);
  core.drop(sa);
}

namespace {
/// What is under way is not worth having, but one that has gone out must be answered before the peer takes another (RFC 7296 §2.3).
void drop_request(Core& core, IkeSa& sa) {
  if (!sa.request || !std::holds_alternative<RequestSent>(sa.request->state)) return abandon_request(core, sa);
  if (auto* make = std::get_if<MakeChild>(&sa.request->make); make && make->spi_in) core.release_spi(std::exchange(make->spi_in, Spi{}));
  sa.request->moot = true;
}
}  // namespace

void close_sa(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text) {
  if (std::holds_alternative<Closing>(sa.state)) return;
  core.say(sa, Severity::Info, Exchange::Informational, reason, text);
  if (!sa.established()) return discard(core, now, sa);
  abandon_answering(core, sa);
  reason == Reason::Replaced ? stop_sending(core, now, sa) : remove_children(core, sa);
  sa.established()->replaced = true;
  sa.established()->until.reset();
  sa.confirmed = true;  // known or not, it goes
  sa.tasks.assign(1, {.kind = Task::Kind::DeleteIke, .reason = reason});
  drop_request(core, sa);
  advance(core, now, sa);
}

void lose_peer(Core& core, TimePoint now, IkeSa& sa, Loss loss) {
  const config::Connection& c = core.connection(sa);
  const bool replaced = !sa.established() || sa.established()->replaced;
  Run& run = core.run(sa.connection);
  if (!replaced) {
    core.ended(now, sa, loss.exchange, Role::Initiator, loss.reason, loss.text, loss.child, std::move(loss.cause));
    for (std::size_t i = 0; i < c.children.size(); ++i) {
      if (!newest_live(sa, i)) continue;
      ChildRun& child = run.children[i];
      const config::DpdAction action = c.children[i].dpd_action;
      child.persistent = action == config::DpdAction::Restart || (action == config::DpdAction::None && child.persistent);
      child.trapped = action == config::DpdAction::Trap;
      child.retry_at = {};  // its silence was pause enough
      core.shared.lost(now, {c.name, c.children[i].name, sa.remote, loss.exchange, {}},
                       loss.reason == Reason::PeerRestarted ? loss.reason : Reason::DpdTimeout, loss.child_text);
    }
  }
  confirm_heir(core, sa);
  discard(core, now, sa);
  // If nothing of ours is left that the peer is at the other end of, it is told so when we begin anew (RFC 7296 §2.4): it may still have
  // this. What it says ends all that our identity has with the peer's, wherever: not where others of that are to live.
  const auto with_it = [&](const auto& one) {
    const IkeSa& other = *one.second;
    const bool same_place = other.remote.vrf == sa.remote.vrf && other.remote.address == sa.remote.address;
    return !other.dead && other.established() &&
           (same_place || (other.remote_id == sa.remote_id && core.connection(other).local_id == c.local_id));
  };
  if (!replaced && c.unique < config::Unique::Never && can_initiate(c) && std::ranges::none_of(core.sas(), with_it))
    core.contacted.erase({sa.remote.vrf, sa.remote.address});
}

namespace {

/// Nothing that we ask is answered (RFC 7296 §2.4).
void peer_is_dead(Core& core, TimePoint now, IkeSa& sa, const Request& request) {
  const auto* make = std::get_if<MakeChild>(&request.make);
  const Exchange exchange = request.task.kind == Task::Kind::Liveness ? Exchange::Dpd
                            : request.make.index() == 0               ? Exchange::Informational
                                                                      : Exchange::CreateChildSa;
  lose_peer(core, now, sa,
            {.exchange = exchange,
             .reason = exchange == Exchange::Dpd ? Reason::DpdTimeout : Reason::Timeout,
             .text = "The peer does not answer any more: the IKE SA ends, and all that is under it.",
             .child_text = "The peer is dead, and the CHILD SA with it.",
             .child = make ? std::optional(make->child) : std::nullopt,
             .cause = {.number = 1, .by = ike::RefusedBy::Nobody}});
}

/// The peer may have rekeyed this SA without knowing it, since it has not got our answer: as long as it has not shown that it has, it may
/// ask again, and only this SA can answer. What we have asked under this one is for the new one, then.
bool still_to_answer(Core& core, IkeSa& sa) {
  IkeSa* heir = sa.heir ? core.find(*sa.heir) : nullptr;
  if (!heir || heir->confirmed || !sa.established() || !sa.established()->replaced) return false;
  if (sa.request->task.kind == Task::Kind::DeleteChild) add_task(core, *heir, sa.request->task);
  abandon_request(core, sa);
  return true;
}

void poll_request(Core& core, TimePoint now, IkeSa& sa) {
  auto* sent = sa.request ? std::get_if<RequestSent>(&sa.request->state) : nullptr;
  if (!sent) return;
  switch (sent->tx.poll(now, core.config.ike, core.services)) {
    case ike::Due::Nothing:
      return;
    case ike::Due::SendAgain:
      core.send(now, sa, sa.last_request);
      sync_in_doubt(core, now, sa);
      return send_astray(core, now, sa, sent->tx.sent());
    case ike::Due::GiveUp:
      break;
  }
  Request& request = *sa.request;
  // Messages or packets have come from it meanwhile: the line is bad, not the peer dead.
  if (sa.established() && now - last_sign_of_peer(core, sa) < kHeardLately && request.rounds < kMaxRounds) {
    ++request.rounds;
    core.send(now, sa, sa.last_request);
    sent->tx = Outstanding(now, {}, core.config.ike, core.services);
    return;
  }
  if (!still_to_answer(core, sa)) peer_is_dead(core, now, sa, Request(request));
}

void child_expired(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  const std::string text = "The lifetime of the CHILD SA ended before it was replaced.";
  core.say(sa, Severity::Warn, {}, Reason::Expired, text, child.child);
  if (!child.share.own()) {
    core.shared.lost(now, {core.connection(sa).name, core.child(sa, child.child).name, sa.remote, Exchange::CreateChildSa, {}},
                     Reason::Expired, text);
    core.run(sa.connection).children.at(child.child).requested = true;  // it was in use until now
  }
  delete_child(core, sa, child, Reason::Expired);
}

void poll_children(Core& core, TimePoint now, IkeSa& sa) {
  std::vector<std::uint64_t> gone;
  for (Child& child : sa.children) {
    switch (child.life) {
      case Life::Ended:
        if (now >= child.until) gone.push_back(child.pair);
        break;
      case Life::Replaced:
        if (now >= child.until) delete_child(core, sa, child, Reason::Replaced);
        break;
      case Life::Deleting:
        break;
      case Life::Live:
        if (child.outbound && now >= child.ready_at) send_or_wait(core, now, sa, child);
        if (now >= child.expires_at) {
          child_expired(core, now, sa, child);
        } else if (now >= child.rekey_at && !child.due && !child.outbound) {
          child.due = true;
          if (outlived(sa, child))
            delete_child(core, sa, child, Reason::Replaced);
          else
            add_task(core, sa, {.kind = Task::Kind::RekeyChild, .pair = child.pair});
        }
        break;
    }
  }
  for (const std::uint64_t pair : gone) remove_child(core, sa, pair);
}

/// RFC 3948 §4: what keeps the NAT in front of us open.
void keep_alive(Core& core, TimePoint now, IkeSa& sa) {
  const seconds interval = core.config.ike.keepalive;
  if (!sa.nat.local || interval.count() == 0 || now < sa.last_sent + interval) return;
  sa.last_sent = now;
  core.shared.actions.emplace_back(ike::SendDatagram{{sa.local, sa.remote, {ike::kNatKeepalive}}});
}

std::optional<TimePoint> next_probe(const Core& core, const IkeSa& sa) {
  const seconds delay = core.connection(sa).dpd_delay;
  if (delay.count() == 0 || sa.request || !sa.tasks.empty()) return std::nullopt;
  return sa.last_heard + delay;
}

}  // namespace

void on_established_timer(Core& core, TimePoint now, IkeSa& sa) {
  poll_request(core, now, sa);
  if (sa.dead) return;
  if (sa.pending && now >= sa.pending->until) abandon_followups(core, sa);
  if (auto* closing = std::get_if<Closing>(&sa.state)) {
    if (now >= closing->forget_at) discard(core, now, sa);
    return;
  }
  Established* est = sa.established();
  if (!est) return;
  poll_children(core, now, sa);
  if (est->replaced) {
    if (const auto probe = next_probe_of_replaced(core, sa); probe && now >= *probe) add_task(core, sa, {.kind = Task::Kind::Liveness});
    if (!est->until || now < *est->until) return;
    if (est->forgotten || (est->unclaimed && !sa.confirmed)) return discard(core, now, sa);
    if (stays(core, now, sa)) return;
    confirm_heir(core, sa);
    return close_sa(core, now, sa, Reason::Replaced, "The peer does not delete the IKE SA that it has replaced: we do.");
  }
  if (est->look_at && now >= *est->look_at) resolve_twins(core, now, sa);
  poll_reauth(core, now, sa);
  if (sa.dead || !sa.established()) return;
  if (sa.session_end && now >= *sa.session_end)
    return close_sa(core, now, sa, Reason::Expired,
                    "The time that the RADIUS server has given user \"" + sa.user + "\" is over (Session-Timeout).");
  if (now >= est->expires_at) {
    const std::string text = "The lifetime of the IKE SA ended before it was replaced.";
    core.shared.lost(now, {core.connection(sa).name, {}, sa.remote, {}, {}}, Reason::Expired, text);
    for (std::size_t i = 0; i < core.connection(sa).children.size(); ++i)
      if (newest_live(sa, i)) core.run(sa.connection).children[i].requested = true;
    return close_sa(core, now, sa, Reason::Expired, text);
  }
  if (now >= est->rekey_at) {
    est->rekey_at = TimePoint::max();  // set anew when the attempt fails
    add_task(core, sa, {.kind = Task::Kind::RekeyIke});
  }
  keep_alive(core, now, sa);
  if (const auto probe = next_probe(core, sa); probe && now >= *probe) add_task(core, sa, {.kind = Task::Kind::Liveness});
}

std::optional<TimePoint> established_deadline(const Core& core, const IkeSa& sa) {
  std::optional<TimePoint> out;
  if (sa.request)
    if (const auto* sent = std::get_if<RequestSent>(&sa.request->state)) out = sent->tx.deadline();
  if (const auto* closing = std::get_if<Closing>(&sa.state)) return earliest(out, closing->forget_at);
  const Established* est = sa.established();
  if (!est) return out;
  if (sa.pending) out = earliest(out, sa.pending->until);
  for (const Child& child : sa.children) {
    if (child.life == Life::Ended || child.life == Life::Replaced) out = earliest(out, child.until);
    if (child.life != Life::Live) continue;
    out = earliest(out, child.expires_at);
    // What the peer may not have yet cannot be rekeyed.
    if (child.outbound)
      out = earliest(out, child.ready_at);
    else if (!child.due)
      out = earliest(out, child.rekey_at);
  }
  if (est->replaced) return earliest(earliest(out, est->until), next_probe_of_replaced(core, sa));
  out = earliest(earliest(earliest(earliest(out, est->expires_at), est->rekey_at), est->look_at), sa.session_end);
  if (sa.nat.local && core.config.ike.keepalive.count() != 0) out = earliest(out, sa.last_sent + core.config.ike.keepalive);
  out = earliest(earliest(out, sa.reauth.at), shares_deadline(core, sa));
  return earliest(out, next_probe(core, sa));
}

IkeSa* current_sa(Core& core, std::size_t connection) {
  IkeSa* best = nullptr;
  for (IkeSa* sa : core.sas_of(connection))
    if (const Established* est = sa->established();
        est && !est->replaced && !est->leaving && (!best || est->since > best->established()->since))
      best = sa;
  return best ? core.find(best->id) : nullptr;
}

void confirm_heir(Core& core, IkeSa& sa) {
  IkeSa* heir = sa.heir ? core.find(*sa.heir) : nullptr;
  if (!heir) return;
  heir->confirmed = true;
  resume_mobility(core, *heir);
  if (!sa.request || sa.request->task.kind != Task::Kind::DeleteChild) return;
  while (IkeSa* next = heir->heir ? core.find(*heir->heir) : nullptr) heir = next;  // it may have been rekeyed once more
  add_task(core, *heir, sa.request->task);
  sa.request.reset();
}

// ---------------------------------------------------------------------------------------------------------------- requests

void add_task(Core& core, IkeSa& sa, const Task& task) {
  if (sa.tasks.size() >= kMaxTasks || std::ranges::find(sa.tasks, task) != sa.tasks.end()) return;
  sa.tasks.push_back(task);
  core.touch(sa);
}

namespace {
/// The peer may not have it yet: the timer asks again when it has shown that it has, whoever wanted it.
void hold_rekeying(TimePoint now, Child& child) {
  child.due = false;
  child.rekey_at = std::min(child.rekey_at, now);
}

/// The peer rekeys the IKE SA: what we want is for the new one, and would only be refused under this one (RFC 7296 §2.25.2).
bool being_rekeyed(const IkeSa& sa) { return sa.answering && std::holds_alternative<AnsweringIke>(sa.answering->what); }
}  // namespace

namespace {
/// Under an SA that is about to go nothing is made or rekeyed.
bool put_off(TimePoint now, IkeSa& sa, const Task& task) {
  if (task.kind == Task::Kind::RekeyIke) sa.established()->rekey_at = now + kMaxRetryDelay;
  if (Child* child = task.kind == Task::Kind::RekeyChild ? sa.find(task.pair) : nullptr) {
    child->due = false;
    child->rekey_at = now + kMaxRetryDelay;
  }
  return task.kind == Task::Kind::RekeyIke || task.kind == Task::Kind::RekeyChild || task.kind == Task::Kind::NewChild;
}
}  // namespace

void advance(Core& core, TimePoint now, IkeSa& sa) {
  want_shares(core, now, sa);
  ask_stray(core, sa);
  while (!sa.dead && sa.confirmed && sa.established() && !sa.request && !being_rekeyed(sa) && !sa.tasks.empty()) {
    const Task task = sa.tasks.front();
    sa.tasks.pop_front();
    Child* child = sa.find(task.pair);
    if (sa.established()->leaving && put_off(now, sa, task)) continue;
    switch (task.kind) {
      case Task::Kind::NewChild:
        begin_new_child(core, now, sa, task);
        break;
      case Task::Kind::RekeyChild:
        if (child && child->life == Life::Live) child->outbound ? hold_rekeying(now, *child) : begin_new_child(core, now, sa, task);
        break;
      case Task::Kind::RekeyIke:
        if (!sa.established()->replaced && !sa.answering && !sa.pending)
          begin_rekey_ike(core, now, sa, task);
        else if (!sa.established()->replaced)
          sa.established()->rekey_at = now + seconds{2};
        break;
      case Task::Kind::DeleteChild:
        if (task.spi || (child && child->life == Life::Deleting)) begin_informational(core, now, sa, task);
        break;
      case Task::Kind::DeleteIke:
      case Task::Kind::Liveness:
      case Task::Kind::UpdateAddresses:
      case Task::Kind::CheckAddress:
      case Task::Kind::Redirect:
      case Task::Kind::CrashToken:
        begin_informational(core, now, sa, task);
        break;
    }
  }
}

void delete_child(Core& core, IkeSa& sa, Child& child, Reason reason) {
  if (child.life == Life::Deleting || child.life == Life::Ended) return;
  child.life = Life::Deleting;
  add_task(core, sa, {.kind = Task::Kind::DeleteChild, .pair = child.pair, .reason = reason});
}

}  // namespace culvert::ikev2
