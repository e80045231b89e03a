#include "control/ikev2/reauth.hpp"

#include <algorithm>

#include "control/ike/lifetimes.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/commands.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_rekey_ike.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/redirect.hpp"

namespace culvert::ikev2 {

namespace {

/// Whether another IKE SA in the place of this one can be ours to begin. A user, or who has an address of a pool, has to come himself.
bool ours_to_begin(const Core& core, const IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  if (sa.first_role == Role::Initiator) return true;
  return can_initiate(c) && c.pools.empty() && sa.lease.empty() && sa.user.empty();
}

bool can_be_replaced(const IkeSa& sa) {
  const Established* est = sa.established();
  return est && !est->replaced && !est->leaving && !sa.redirecting.to;
}

/// What IKE_AUTH is to make: what is there does not wait for what is not.
std::optional<std::size_t> live_child(const IkeSa& sa) {
  const auto live = std::ranges::find_if(sa.children, [](const Child& c) { return c.life == Life::Live && !c.ended && !c.share.own(); });
  return live == sa.children.end() ? std::nullopt : std::optional(live->child);
}

void begin_by(Core& core, IkeSa& sa, TimePoint at) {
  sa.reauth.at = std::min(sa.reauth.at.value_or(at), at);
  core.touch(sa);
}

/// The peer rekeys the IKE SA: to some (RFC 4718 §5.11.8) that is the reason to refuse.
bool peer_rekeys(const IkeSa& sa) { return sa.successor || (sa.answering && std::holds_alternative<AnsweringIke>(sa.answering->what)); }

/// The peer takes no more under this SA. False: nothing can be done about it.
bool begin_elsewhere(Core& core, TimePoint now, IkeSa& sa, std::optional<std::size_t> child) {
  sa.reauth.full = true;
  if (on_the_way(core, sa)) return true;
  if (!reauthenticate(core, now, sa, child)) return false;
  core.say(sa, Severity::Warn, Exchange::CreateChildSa, Reason::PeerRefused,
           "The peer takes no more SAs under this IKE SA (NO_ADDITIONAL_SAS): another one, with all that is under it, takes its place.",
           child);
  return true;
}

}  // namespace

void plan_reauth(Core& core, TimePoint now, IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  const seconds after = c.renewal.reauth_time;
  if (after.count() == 0) return;
  Established& est = *sa.established();
  const ike::Schedule when = ike::schedule(core.services, now, {after, c.rand_time, after + c.over_time}, 0);
  if (sa.role == Role::Initiator) sa.reauth.at = when.rekey_at;
  sa.reauth.end = when.expires_at;
  est.expires_at = std::min(est.expires_at, when.expires_at);
}

void add_auth_lifetime(const Core& core, TimePoint now, const IkeSa& sa, Builder& out) {
  std::optional<TimePoint> until = sa.session_end;  // so that he may prove himself anew before (RFC 4478 §3)
  if (const seconds after = core.connection(sa).renewal.reauth_time; after.count() != 0) until = earliest(until, now + after);
  if (!until) return;
  Writer left;
  left.be(static_cast<std::uint32_t>(std::chrono::duration_cast<seconds>(std::max(*until - now, {})).count()));
  out.notify(NotifyType::AuthLifetime, std::move(left).take());
}

void note_auth_lifetime(Core& core, TimePoint now, IkeSa& sa, const Message& m) {
  const Notify* n = m.notify(NotifyType::AuthLifetime);
  if (!n || !sa.established() || sa.established()->replaced) return;
  Reader r(n->data);
  const seconds lifetime{r.be<std::uint32_t>()};
  if (sa.first_role != Role::Initiator || !r.ok() || !r.rest().empty())
    return core.say(sa, Severity::Warn, {}, Reason::BadPayloads,
                    sa.first_role != Role::Initiator ? "A peer that has begun the IKE SA says when we should prove ourselves anew."
                                                     : "The AUTH_LIFETIME of the gateway is no number of seconds.");
  const seconds before = std::max(lifetime / 10, std::min<seconds>(kHandOver, lifetime / 2));
  const ike::Schedule when = ike::schedule(core.services, now, {lifetime - before, lifetime / 10, lifetime}, 0);
  begin_by(core, sa, std::max<TimePoint>(when.rekey_at, now + kMinReauth));
}

void poll_reauth(Core& core, TimePoint now, IkeSa& sa) {
  if (!sa.reauth.at || now < *sa.reauth.at) return;
  sa.reauth.at = now + kMaxRetryDelay;  // unless it comes to something
  if (const auto begun = reauthenticate(core, now, sa); !begun)
    core.say(sa, Severity::Warn, Exchange::IkeAuth, Reason::Limit, "Both sides are to prove themselves anew: " + begun.error());
}

std::expected<void, std::string> reauthenticate(Core& core, TimePoint now, IkeSa& sa, std::optional<std::size_t> child) {
  if (!can_be_replaced(sa)) return std::unexpected("the IKE SA is about to end.");
  if (!ours_to_begin(core, sa)) return std::unexpected("only the peer, which has begun the IKE SA, can do that.");
  if (core.shared.shutting_down) return std::unexpected("this gateway is shutting down.");
  if (on_the_way(core, sa)) return {};
  if (const auto live = live_child(sa)) child = live;
  if (!child) return std::unexpected("nothing is under the IKE SA that could move to another one.");
  const VrfId vrf = core.connection(sa).vrf.id;
  const Start start{.connection = sa.connection,
                    .child = child,
                    .local = {sa.local.address, ike::kIkePort, vrf},
                    .remote = {sa.remote.address, ike::kIkePort, vrf},
                    .replaces = {sa.id},
                    .full = sa.reauth.full};
  if (!start_sa(core, now, start)) return std::unexpected("there are too many IKE SAs.");
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, "Both sides prove themselves anew, for another IKE SA in this one's place.");
  return {};
}

bool replacing_failed(Core& core, TimePoint now, IkeSa& sa) {
  bool any = false;
  for (const SaId id : sa.replaces) {
    IkeSa* old = core.find(id);
    if (!old || !old->established() || old->established()->replaced) continue;
    any = true;
    if (!sa.redirecting.from) old->reauth.at = now + backoff(core, ++old->reauth.failures);
    core.touch(*old);
  }
  return any || (sa.redirecting.from && !sa.replaces.empty());
}

ike::CommandResult reauthenticate_all(Core& core, TimePoint now, std::size_t connection, const std::string& peer) {
  const std::string name = '"' + core.config.connections[connection].name + '"';
  if (core.shared.shutting_down) return {false, "The gateway is shutting down."};
  std::size_t begun = 0;
  std::string why;
  for (IkeSa* sa : sas_of_peer(core, connection, peer)) {
    if (!sa->established() || sa->established()->replaced) continue;
    if (const auto result = reauthenticate(core, now, *sa))
      ++begun;
    else
      why = " " + sa->remote_id + ": " + result.error();
  }
  if (begun == 0) return {false, why.empty() ? name + " has no IKE SA." : "Nothing is authenticated anew." + why};
  return {true, "Authenticating " + std::to_string(begun) + (begun == 1 ? " IKE SA" : " IKE SAs") + " anew." + why};
}

bool child_begins_anew(Core& core, TimePoint now, IkeSa& sa, const MakeChild& refused) {
  const std::size_t child = refused.child;
  const std::uint64_t rekeyed = refused.rekeyed;
  if (peer_rekeys(sa)) return request_put_off(core, now, sa), true;
  if (!can_be_replaced(sa)) return false;
  // One more beside others, which an IKE SA that was made for that has not, either: the peer does not take so many.
  const bool too_many = rekeyed == 0 && sa.reauth.full && live_child(sa) && !on_the_way(core, sa);
  if (too_many || !ours_to_begin(core, sa) || !begin_elsewhere(core, now, sa, child)) return false;
  abandon_request(core, sa);
  if (Child* old = sa.find(rekeyed)) {
    old->due = false;
    old->rekey_at = now + kMaxRetryDelay;
    replaced_by_heir(core, now, sa, rekeyed);
  } else {
    ChildRun& run = core.run(sa.connection).children.at(child);
    run.requested = true;
    run.retry_at = now + kMaxRetryDelay;  // the other IKE SA makes an end of the waiting (hand_over)
  }
  return true;
}

bool ike_begins_anew(Core& core, TimePoint now, IkeSa& sa) {
  if (peer_rekeys(sa)) return request_put_off(core, now, sa), true;
  if (!can_be_replaced(sa) || !ours_to_begin(core, sa) || !begin_elsewhere(core, now, sa, std::nullopt)) return false;
  abandon_request(core, sa);
  sa.established()->rekey_at = now + kMaxRetryDelay;
  return true;
}

}  // namespace culvert::ikev2
