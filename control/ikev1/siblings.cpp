#include "control/ikev1/siblings.hpp"

#include <algorithm>

#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/times.hpp"

namespace culvert::ikev1 {

namespace {

std::chrono::nanoseconds apart(TimePoint a, TimePoint b) { return a > b ? a - b : b - a; }

/// An SA is created with message 3: the peer has begun it before, and not longer before than this.
constexpr auto kBegun = seconds{5};

/// Whether the peer made both, and had the old one when it began the new one. strongSwan, told to replace all that it has of a connection,
/// begins the successors of two ISAKMP SAs at once, and counts its pairs to one of them.
bool made_knowing(const IsakmpSa& heir, const IsakmpSa& old) {
  return heir.role == Role::Responder && old.role == Role::Responder && heir.created >= old.established()->established + kBegun;
}

}  // namespace

std::optional<TimePoint> collision_end(Core& core, const IsakmpSa& sa, const MmEstablished& est) {
  if (sa.role != Role::Initiator) return std::nullopt;
  std::optional<TimePoint> out;
  any_sibling(core, sa, [&](const IsakmpSa& other, const MmEstablished& theirs) {
    const bool knew = theirs.remove_at || theirs.established <= sa.created;  // this one was made to take its place
    if (knew) return false;
    if (other.role == Role::Responder && other.spi_i < sa.spi_i && apart(est.established, theirs.established) < kSimultaneous)
      out = std::max(est.established, theirs.established) + kSettle;
    return false;
  });
  return out;
}

std::optional<TimePoint> forgotten_at(Core& core, const IsakmpSa& sa) {
  std::optional<TimePoint> out;
  // Where the peer has several for different things, a new one has to show which of them it goes on for.
  const bool one_of_several =
      any_sibling(core, sa, [&](const IsakmpSa& other, const MmEstablished&) { return stand_beside(core, other, sa); });
  any_sibling(core, sa, [&](const IsakmpSa& other, const MmEstablished& est) {
    const bool known = made_knowing(other, sa) && !(one_of_several && other.line == 0);
    if (newer(other, sa) && !stand_beside(core, other, sa))
      out = earliest(out, est.established + (known ? std::chrono::nanoseconds(kOverdue) : kForgotten));
    return false;
  });
  return out;
}

namespace {

/// `f` of each latest pair with the peer of `ending` that was made under another ISAKMP SA than the one that stays, if one does. What
/// serves a child of its own stays, too (stand_beside); and a peer that has made both knows what it does.
template <class F>
void each_to_renew(Core& core, const IsakmpSa& ending, F&& f) {
  const IsakmpSa* heir = current_sa(core, ending.connection);
  if (heir && heir->id != ending.id && made_knowing(*heir, ending)) return;
  for (ChildRun& child : core.run(ending.connection).children)
    for (ChildSa& pair : child.pairs) {
      if (!is_latest(child, pair) || pair.peer_id != ending.established()->remote_id) continue;
      if (heir && heir->id != ending.id && pair.made_by == heir->id) continue;
      const IsakmpSa* maker = core.find(pair.made_by);
      if (heir && maker && maker->established() && maker->id != ending.id && stand_beside(core, *maker, *heir)) continue;
      f(std::get<ChildLive>(pair.life));
    }
}

}  // namespace

bool has_heir(Core& core, const IsakmpSa& sa) {
  return any_sibling(core, sa, [&](const IsakmpSa& other, const MmEstablished& est) { return !est.remove_at || newer(other, sa); });
}

void renew_pairs(Core& core, const IsakmpSa& ending) {
  each_to_renew(core, ending, [](ChildLive& life) { life.due = true; });
  core.touch(ending.connection);
}

bool pairs_renewed(Core& core, const IsakmpSa& ending) {
  bool done = true;
  each_to_renew(core, ending, [&](const ChildLive&) { done = false; });
  return done;
}

}  // namespace culvert::ikev1
