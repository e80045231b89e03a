// Several pairs of one child: which of them has an heir, which is in the place of another, and which of those that stand for the same thing
// goes. Pairs that are for one worker each (shares.hpp) stand beside each other, and are never in each other's place.
#include <algorithm>
#include <set>

#include "control/ikev2/children.hpp"
#include "control/ikev2/lifecycle.hpp"

namespace culvert::ikev2 {

namespace {
/// Made anew by both sides at once: settle_rivals sees to it that one of them goes.
bool made_at_once(const Child& a, const Child& b) {
  return a.role != b.role && a.rekeyed == 0 && b.rekeyed == 0 && std::chrono::abs(a.established - b.established) < kSimultaneous;
}

/// The lines of the same traffic that one side has begun.
std::size_t lines(const IkeSa& sa, const Child& like, Role began) {
  std::set<std::uint64_t> out;
  for (const Child& c : sa.children)
    if (c.began == began && c.life == Life::Live && (c.pair == like.pair || c.doubles(like))) out.insert(c.line);
  return out.size();
}

/// Whether there should be one of the two: they are of one line, or each side has begun one. What one side alone has begun several times,
/// it wants to have several times (RFC 7296 §2.8): that stays.
bool should_be_one(const IkeSa& sa, const Child& a, const Child& b) {
  if (a.line == b.line || a.line == 0 || b.line == 0) return true;
  return a.began != b.began && lines(sa, a, a.began) == 1 && lines(sa, b, b.began) == 1;
}
}  // namespace

/// More than one pair of the same traffic, that no rule of collisions has made an end of: a rekeying makes one of them the newest on both
/// sides, and the others end when it is their turn (outlived).
void hasten_doubles(TimePoint now, IkeSa& sa, Child& made) {
  for (Child& other : sa.children) {
    if (other.pair == made.pair || other.pair == made.rekeyed || !made.doubles(other)) continue;
    const bool anew = made.rekeyed == 0 && other.rekeyed == 0;
    if (other.life != Life::Live || (anew ? made_at_once(made, other) : other.rekeyed == made.rekeyed)) continue;
    if (!should_be_one(sa, made, other)) continue;
    made.rekey_at = std::min<TimePoint>(made.rekey_at, now + kDoubleRekeyed * (made.role == Role::Initiator ? 1 : 2));
    other.rekey_at = std::min<TimePoint>(other.rekey_at, now + kDoubleRekeyed * 4);
  }
}

Child* rival_of(IkeSa& sa, const Child& child) {
  const auto it = std::ranges::find_if(sa.children, [&](const Child& c) {
    return child.doubles(c) && made_at_once(c, child) && c.life == Life::Live && !c.redundant && !c.due;
  });
  return it == sa.children.end() ? nullptr : &*it;
}

void settle_rivals(Core& core, TimePoint now, IkeSa& sa, std::uint64_t ours, std::uint64_t theirs) {
  Child &own = *sa.find(ours), &other = *sa.find(theirs);
  if (own.lowest_nonce < other.lowest_nonce) {
    // Ours carries the traffic until the peer has shown that it has our answer: by a packet, or by its next request.
    own.redundant = own.due = true;
    other.rekeyed = own.pair;
    other.ready_at = now + kOverdue;
    if (!other.outbound) delete_child(core, sa, own, Reason::Replaced);
  } else {
    leave_to_peer(core, now, sa, other);
  }
  core.touch(sa);
}

namespace {
/// Whether packets leave by it.
bool sent_by(const Child& child) { return !child.outbound && child.life != Life::Ended; }

/// `goes(sa, child)`: what is no longer sent by from now on.
template <class Goes>
void go_on_without(Core& core, TimePoint now, const IkeSa& sa, Goes&& goes) {
  const auto all = core.sas_with(sa, sa.remote_id);
  const auto any_other = [&](const Child& gone, auto&& visit) {
    for (IkeSa* one : all)
      for (Child& c : one->children)
        if (one->peer == sa.peer && !goes(*one, c) && c.child == gone.child && !c.share.own() && c.selectors.intersects(gone.selectors) &&
            visit(*one, c))
          return true;
    return false;
  };
  for (const Child& gone : sa.children) {
    if (!goes(sa, gone) || gone.share.own() || !sent_by(gone)) continue;
    if (any_other(gone, [](const IkeSa&, const Child& c) { return sent_by(c); })) continue;
    any_other(gone, [&](IkeSa& one, Child& c) {
      if (c.life == Life::Live && !c.ended) release_outbound(core, now, one, c);
      return false;
    });
  }
}
}  // namespace

void go_on_without(Core& core, TimePoint now, const IkeSa& sa) {
  if (sa.children.empty()) return;
  go_on_without(core, now, sa, [&](const IkeSa& one, const Child&) { return one.id == sa.id; });
}

void go_on_without(Core& core, TimePoint now, const IkeSa& sa, const Child& child) {
  go_on_without(core, now, sa, [&](const IkeSa&, const Child& c) { return c.pair == child.pair; });
}

Child* heir_of(IkeSa& sa, std::uint64_t pair) {
  const auto it =
      std::ranges::find_if(sa.children, [&](const Child& c) { return c.rekeyed == pair && c.life == Life::Live && !c.redundant; });
  return pair == 0 || it == sa.children.end() ? nullptr : &*it;
}

void replaced_by_heir(Core& core, TimePoint now, IkeSa& sa, std::uint64_t pair) {
  Child* old = sa.find(pair);
  if (!old || old->life != Life::Live || !heir_of(sa, pair)) return;
  old->life = Life::Replaced;
  old->until = now + kOverdue;
  core.touch(sa);
}

bool carried_by_another(Core& core, const IkeSa& sa, const NewPair& pair) {
  if (pair.share.own()) return true;  // that which is for all
  const PeerKey whose = sa.peer.value_or(PeerKey{});
  const auto carries = [&](const Child& c) {
    return c.child == pair.child && c.life == Life::Live && !c.ended && c.selectors.intersects(pair.selectors);
  };
  const auto all = core.sas_with(sa, sa.remote_id);
  return std::ranges::any_of(core.run(sa.connection).children.at(pair.child).orphans,
                             [&](const ike::OrphanSa& o) { return o.direction == Direction::Outbound && o.peer == whose; }) ||
         std::ranges::any_of(all, [&](const IkeSa* one) {
           return one->peer == sa.peer && (std::ranges::any_of(one->children, carries) || makes(*one, pair.child));
         });
}

const Child* newest_live(const IkeSa& sa, std::size_t index) {
  for (auto it = sa.children.rbegin(); it != sa.children.rend(); ++it)
    if (it->child == index && it->life == Life::Live && !it->ended && !it->share.own()) return &*it;
  return nullptr;
}

/// A pair of the same traffic is there that both sides have sent by for longer than one message takes: this one carries nothing any more.
bool outlived(const IkeSa& sa, const Child& child) {
  return std::ranges::any_of(sa.children, [&](const Child& c) {
    return c.pair != child.pair && child.doubles(c) && c.life == Life::Live && !c.outbound && !c.redundant &&
           c.sending_since > child.sending_since + kSimultaneous && should_be_one(sa, child, c);
  });
}

/// The peer has not shown that it has the pair. As long as another one carries the traffic there is no hurry.
void send_or_wait(Core& core, TimePoint now, IkeSa& sa, Child& child) {
  if (child.redundant) return delete_child(core, sa, child, Reason::Replaced);
  const auto all = core.sas_with(sa, sa.remote_id);
  const auto sends = [&](const Child& c) {
    return c.child == child.child && c.share == child.share && c.life <= Life::Replaced && !c.outbound && !c.redundant &&
           c.selectors.intersects(child.selectors);
  };
  const bool carried = child.share.own() || std::ranges::any_of(all, [&](const IkeSa* one) {
                         return one->peer == sa.peer && !one->never_was() && std::ranges::any_of(one->children, sends);
                       });
  // With `unique: never` nobody says that the other one is gone.
  const bool alone = child.rekeyed == 0 && core.connection(sa).unique == config::Unique::Never;
  if (!sa.leaving() && (!carried || alone || now >= child.established + kOverdue)) release_outbound(core, now, sa, child);
  if (!child.outbound) return;
  child.ready_at = now + kRivalWait;
  core.touch(sa);
}

}  // namespace culvert::ikev2
