// Two SAs for one thing, since both sides began at once: IKE SAs here, and when the better of two CHILD SAs is sent by.
#include <algorithm>
#include <utility>

#include "control/ikev2/children.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"

namespace culvert::ikev2 {

namespace {

bool are_twins(const IkeSa& sa, const IkeSa& other) {
  const Established* est = other.established();
  return other.id != sa.id && est && !est->replaced && other.first_role != sa.first_role && other.peer == sa.peer &&
         other.remote_id == sa.remote_id;
}

/// The one that stays, of this one and another that was made at the same time; nullptr: there is no other, or it is this one.
IkeSa* better_twin(Core& core, const IkeSa& sa) {
  for (IkeSa* other : core.sas_of(sa.connection))
    if (are_twins(sa, *other) && other->first_spi_i < sa.first_spi_i) return core.find(other->id);
  return nullptr;
}

/// Nothing is under way under it, and so nothing changes what either side sends by.
bool calm(const IkeSa& sa) {
  if (sa.request || sa.answering || !sa.window.early.empty() || !sa.tasks.empty()) return false;
  return std::ranges::all_of(sa.children, [](const Child& c) { return c.life == Life::Live || c.life == Life::Ended; });
}

/// Whether all that this SA's children carry goes by pairs of the other one that were made since: by rekeyings of ours whose old pair is
/// gone, so that both sides send by them. What does not is begun.
bool carried_over(Core& core, const IkeSa& sa, IkeSa& other) {
  if (other.request || !other.tasks.empty()) return false;
  bool all = true;
  for (const Child& child : sa.children) {
    if (child.life != Life::Live || child.share.own()) continue;
    const Child* newest = newest_live(other, child.child);
    const Child* before = newest ? other.find(newest->rekeyed) : nullptr;
    const bool ours =
        newest && newest->role == Role::Initiator && newest->rekeyed != 0 && newest->established > sa.established()->calm_since;
    if (ours && !newest->outbound && (!before || before->life == Life::Ended)) continue;
    all = false;
    if (before && before->life != Life::Ended) continue;
    if (newest)
      add_task(core, other, {.kind = Task::Kind::RekeyChild, .pair = newest->pair});
    else
      add_task(core, other, {.kind = Task::Kind::NewChild, .child = child.child});
  }
  return all;
}

}  // namespace

bool has_twin(Core& core, const IkeSa& sa) {
  if (!can_initiate(core.connection(sa))) return false;
  return std::ranges::any_of(core.sas_of(sa.connection), [&](const IkeSa* other) { return are_twins(sa, *other) && !other->unproven(); });
}

void note_twins(Core& core, TimePoint now, IkeSa& sa) {
  if (!can_initiate(core.connection(sa))) return;  // nothing of ours can be beside it; and such a connection may have thousands of peers
  for (IkeSa* one : core.sas_of(sa.connection))
    if (Established* est = one->established(); est && !est->replaced && !est->look_at && better_twin(core, *one)) {
      est->twins_since = now;
      est->look_at = now + (one->first_role == Role::Initiator ? std::chrono::nanoseconds(kSettle) : kPeersTurn);
      core.touch(*one);
    }
}

void resolve_twins(Core& core, TimePoint now, IkeSa& sa) {
  Established& est = *sa.established();
  est.look_at.reset();
  IkeSa* other = better_twin(core, sa);
  if (!other) {
    est.leaving = false;
    return;
  }
  if (other->unproven()) {  // what the peer may not have does not stay in place of what it has
    est.leaving = false;
    est.look_at = now + kPeersTurn;
    return;
  }
  const bool peer_does_it =
      std::ranges::any_of(other->children, [&](const Child& c) { return c.role == Role::Responder && c.established > est.twins_since; });
  if (sa.first_role == Role::Responder && peer_does_it) {
    est.twins_since = now;
    est.look_at = now + kPeersTurn;
    return;
  }
  est.leaving = true;
  est.look_at = now + kSettle;
  for (Child& child : sa.children)  // the peer has ended its half when it answers; what is for all carries what they did
    if (child.share.own() && child.life == Life::Live) delete_child(core, sa, child, Reason::Replaced);
  if (!calm(sa)) {
    est.calm_since = {};
    return;
  }
  if (est.calm_since == TimePoint{}) est.calm_since = now;
  if (!carried_over(core, sa, *other)) return;
  if (std::exchange(est.carried, true))
    return close_sa(core, now, sa, Reason::Replaced, "Both sides have begun at once: of the two IKE SAs the other one stays.");
  est.look_at = now + kGrace;  // what is on its way by its CHILD SAs still arrives
}

void leave_to_peer(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  child.redundant = true;
  child.ready_at = now + kRivalWait;
  core.touch(sa);
}

void release_answered(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id) {
  for (Child& child : sa.children) {
    if (!child.outbound || child.life != Life::Live || id < child.shown_by) continue;
    const Child* own = sa.find(child.rekeyed);
    const bool made_anew = child.role == Role::Responder && (child.rekeyed == 0 || child.ended);
    if (made_anew || (own && own->redundant)) release_outbound(core, now, sa, child);
  }
}

}  // namespace culvert::ikev2
