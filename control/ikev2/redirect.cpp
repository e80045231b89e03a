// Redirects, client.
#include "control/ikev2/redirect.hpp"

#include <algorithm>

#include "control/ikev2/children.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/redirect_data.hpp"

namespace culvert::ikev2 {

namespace {

using config::GatewayName;
using Follow = config::Redirection::Follow;

constexpr auto kNamePatience = seconds{10};  ///< until then no other attempt is begun

/// Why we do not go there.
struct Objection {
  Reason reason{};
  std::string text;
};

Journey journey_of(const IkeSa& sa) {
  return {
      .connection = sa.connection, .child = sa.first_child, .local = sa.local.address, .from = sa.remote.address, .replaces = sa.replaces};
}

/// Our address to go there from: the one in use, if it is of the family.
std::optional<IpAddress> source(const config::Connection& c, const Journey& journey, Family family) {
  if (journey.local.family == family) return journey.local;
  const auto own = std::ranges::find(c.local_addrs, family, &IpAddress::family);
  return own == c.local_addrs.end() ? std::nullopt : std::optional(*own);
}

std::optional<Objection> set_out(Core& core, TimePoint now, const Journey& journey, const IpAddress& to) {
  const config::Connection& c = core.config.connections[journey.connection];
  if (to == journey.from) return Objection{Reason::RedirectLoop, "it sends us to itself"};
  const auto local = source(c, journey, to.family);
  if (!local) return Objection{Reason::RedirectRefused, "we have no address of the family of " + to.to_string()};
  const Start start{.connection = journey.connection,
                    .child = journey.child,
                    .local = {*local, ike::kIkePort, c.vrf.id},
                    .remote = {to, ike::kIkePort, c.vrf.id},
                    .replaces = journey.replaces,
                    .redirected_from = journey.from};
  if (!start_sa(core, now, start)) return Objection{Reason::Limit, "there are too many IKE SAs"};
  return std::nullopt;
}

/// Goes there, if it may: not in circles (RFC 5685 §10).
std::optional<Objection> go(Core& core, TimePoint now, Journey journey, const GatewayName& to) {
  Run& run = core.run(journey.connection);
  std::erase_if(run.redirects, [&](TimePoint t) { return now - t >= kRedirectLoopTime; });
  if (run.redirects.size() >= kMaxRedirects)
    return Objection{Reason::RedirectLoop, "we have been sent elsewhere " + std::to_string(kMaxRedirects) + " times within " +
                                               std::to_string(kRedirectLoopTime.count()) + " seconds"};
  run.redirects.push_back(now);
  if (to.address) return set_out(core, now, journey, *to.address);
  const JobId job = core.add_job({});
  core.shared.actions.emplace_back(ike::FindName{job, to.name});
  journey.name = to.name;
  if (journey.replaces.empty()) run.retry_at = std::max(run.retry_at, now + kNamePatience);
  core.journeys.emplace(job, std::move(journey));
  return std::nullopt;
}

void tell(Core& core, const IkeSa& sa, Exchange exchange, const GatewayName& to) {
  core.shared.redirected({core.connection(sa).name, {}, sa.remote, exchange, Role::Initiator},
                         "The gateway sends us to " + to.to_string() + ".");
}

std::string sentence(const GatewayName& to, const Objection& why) {
  return "The gateway sends us to " + to.to_string() + ", and we do not go there: " + why.text + ".";
}

/// The responder takes the SA for established: it is told that it ends.
void leave(Core& core, TimePoint now, IkeSa& sa) {
  core.table.promote(sa.id);
  sa.init_request.clear();
  sa.state = Established{.since = now, .rekey_at = now + kLeaveTime, .expires_at = now + kLeaveTime};
  close_sa(core, now, sa, Reason::Redirected, "The gateway has sent us to another one: the IKE SA with it ends.");
}

/// The SA that has what was this one's: the gateway may have said it before it knew of the rekeying (RFC 7296 §2.25.2).
IkeSa& present_form(Core& core, IkeSa& sa) {
  IkeSa* one = &sa;
  while (one->established() && one->established()->replaced && one->heir) {
    IkeSa* heir = core.find(*one->heir);
    if (!heir) break;
    one = heir;
  }
  return *one;
}

bool on_its_way(Core& core, std::size_t connection) {
  return std::ranges::any_of(core.sas_of(connection), [](const IkeSa* sa) {
    return sa->role == Role::Initiator && !sa->established() && !std::holds_alternative<Closing>(sa->state);
  });
}

}  // namespace

void offer_redirect(const Core& core, const IkeSa& sa, Builder& out) {
  if (core.connection(sa).redirection.follow == Follow::No) return;
  out.notify(NotifyType::RedirectSupported);
  if (const auto& from = sa.redirecting.from) out.notify(NotifyType::RedirectedFrom, encode_redirect({{from, {}}}));
}

std::optional<std::string> on_redirect_at_once(Core& core, const Incoming& in, IkeSa& sa, const Notify& notify) {
  const auto said = read_redirect(notify.data);
  if (!said || said->nonce != sa.nonce_i) {  // RFC 5685 §3: of somebody who does not see what we send
    core.shared.junk(in.now, in.datagram.remote, Exchange::IkeSaInit, Reason::BadNonce,
                     "A redirect does not have our nonce, or no gateway.");
    return std::nullopt;
  }
  const Follow follow = core.connection(sa).redirection.follow;
  if (follow != Follow::Yes)
    return "The peer sends us to " + said->gateway.to_string() +
           " before it has proved itself, and the connection has redirect: " + (follow == Follow::No ? "no" : "authenticated") + ".";
  tell(core, sa, Exchange::IkeSaInit, said->gateway);
  if (const auto why = go(core, in.now, journey_of(sa), said->gateway))
    connecting_failed(core, in.now, sa, Exchange::IkeSaInit, why->reason, sentence(said->gateway, *why), {.number = 2});
  else
    core.drop(sa);
  return std::nullopt;
}

bool sent_elsewhere(Core& core, TimePoint now, IkeSa& sa, const std::string& identity, const Message& reply) {
  const Notify* notify = reply.notify(NotifyType::Redirect);
  if (!notify) return false;
  core.identify(sa, identity);
  Journey journey = journey_of(sa);
  const auto said = read_redirect(notify->data);
  std::optional<Objection> why;
  if (!said)
    why = Objection{Reason::BadPayloads, "The redirect of the gateway does not parse."};
  else if (core.connection(sa).redirection.follow == Follow::No)
    why = Objection{Reason::RedirectRefused, sentence(said->gateway, {{}, "the connection has redirect: no"})};
  if (!why) {
    tell(core, sa, Exchange::IkeAuth, said->gateway);
    why = go(core, now, std::move(journey), said->gateway);
    if (why) why->text = sentence(said->gateway, *why);
  }
  if (why) attempt_failed(core, now, sa, Exchange::IkeAuth, why->reason, why->text, {.number = 4});
  leave(core, now, sa);
  return true;
}

void on_redirect_request(Core& core, TimePoint now, IkeSa& asked, const Message& m) {
  const Notify* notify = m.notify(NotifyType::Redirect);
  IkeSa& sa = present_form(core, asked);
  if (!notify || !sa.established() || sa.established()->replaced || sa.established()->leaving) return;
  const auto refused = [&](Reason reason, const std::string& text) {
    core.ended(now, sa, Exchange::Informational, Role::Initiator, reason, text, {}, {.number = 1});
  };
  if (sa.first_role != Role::Initiator) return refused(Reason::Unexpected, "A peer that has begun the IKE SA wants to send us elsewhere.");
  const auto said = read_redirect(notify->data);
  if (!said) return refused(Reason::BadPayloads, "The redirect of the gateway does not parse.");
  if (core.connection(sa).redirection.follow == Follow::No)
    return refused(Reason::RedirectRefused, sentence(said->gateway, {{}, "the connection has redirect: no"}));
  if (on_the_way(core, sa)) return;
  const auto live = std::ranges::find_if(sa.children, [](const Child& c) { return c.life == Life::Live && !c.ended; });
  tell(core, sa, Exchange::Informational, said->gateway);
  if (live == sa.children.end()) return close_sa(core, now, sa, Reason::Redirected, "Nothing is under the IKE SA that could move.");
  Journey journey = journey_of(sa);
  journey.child = live->child;
  journey.replaces = {sa.id};
  if (const auto why = go(core, now, std::move(journey), said->gateway)) refused(why->reason, sentence(said->gateway, *why));
}

void on_name(Core& core, TimePoint now, const ike::NameFound& result) {
  const auto found = core.journeys.find(result.job);
  if (found == core.journeys.end()) return;
  const Journey journey = std::move(found->second);
  core.journeys.erase(found);
  core.take_job(result.job);
  if (core.shared.shutting_down || on_its_way(core, journey.connection)) return;
  Run& run = core.run(journey.connection);
  const config::Connection& c = core.config.connections[journey.connection];
  std::optional<Objection> why = Objection{Reason::RedirectRefused, result.error.empty() ? "its name has no address for us" : result.error};
  for (const IpAddress& address : result.addresses) {
    if (!config::parse_gateway(address.to_string()) || !source(c, journey, address.family)) continue;
    why = set_out(core, now, journey, address);
    break;
  }
  if (!why) return;
  core.shared.failed(now, {c.name, {}, {}, Exchange::IkeSaInit, Role::Initiator}, why->reason, sentence({{}, journey.name}, *why),
                     {.number = 1});
  if (!journey.replaces.empty()) return;
  ++run.failures;
  run.retry_at = now + backoff(core, run.failures);
}

bool on_the_way(Core& core, const IkeSa& sa) {
  const auto instead = [&](const auto& one) { return std::ranges::find(one.replaces, sa.id) != one.replaces.end(); };
  return std::ranges::any_of(core.sas_of(sa.connection), [&](const IkeSa* one) { return instead(*one); }) ||
         std::ranges::any_of(core.journeys, [&](const auto& one) { return instead(one.second); });
}

void hand_over(Core& core, TimePoint now, IkeSa& old, IkeSa& heir) {
  old.redirecting.left_for = heir.id;
  old.redirecting.why = heir.redirecting.from ? Reason::Redirected : Reason::Replaced;
  old.redirecting.stay_until = now + kLeaveTime;
  old.established()->replaced = true;
  old.established()->until = now + kGrace;
  for (const Child& child : old.children)
    if (child.life == Life::Live && !child.ended && !child.share.own() && (heir.childless || child.child != heir.first_child))
      add_task(core, heir, {.kind = Task::Kind::NewChild, .child = child.child});
  for (ChildRun& child : core.run(old.connection).children) child.retry_at = {};  // what was refused there
  core.touch(old);
}

namespace {
/// Whether what this SA carries goes by the other one; nullopt: that one is gone.
std::optional<bool> carried_over(Core& core, const IkeSa& sa) {
  const IkeSa* other = core.find(*sa.redirecting.left_for);
  if (!other || !other->established() || other->established()->replaced) return std::nullopt;
  return std::ranges::all_of(sa.children, [&](const Child& child) {
    const Child* there = newest_live(*other, child.child);
    return child.life != Life::Live || child.share.own() || (there && !there->outbound);
  });
}
}  // namespace

bool stays(Core& core, TimePoint now, IkeSa& sa) {
  if (!sa.redirecting.left_for) return false;
  sa.established()->until = now + kSettle;
  core.touch(sa);
  const bool carries = std::ranges::any_of(sa.children, [](const Child& c) { return c.life == Life::Live; });
  const auto over = carries ? carried_over(core, sa) : std::optional(true);
  const bool anew = sa.redirecting.why == Reason::Replaced;
  if (!carries && sa.children.empty()) {
    close_sa(core, now, sa, sa.redirecting.why,
             anew ? "Another IKE SA, for which both sides have proved themselves anew, carries all by now."
                  : "All that the IKE SA carried is at the other gateway by now.");
  } else if (over && (*over || now >= sa.redirecting.stay_until)) {
    // One after the other, so that what the gateway still sends by them finds them.
    for (Child& child : sa.children)
      if (child.life == Life::Live) delete_child(core, sa, child, sa.redirecting.why);
  } else if (!over) {
    core.say(sa, Severity::Warn, {}, anew ? Reason::DeletedByPeer : Reason::RedirectRefused,
             anew ? "The IKE SA that was to take this one's place is gone again: this one stays."
                  : "The gateway that we were sent to is gone again: the IKE SA with this one stays.");
    if (anew) sa.reauth.at = now + kMaxRetryDelay;
    sa.established()->replaced = false;
    sa.established()->until.reset();
    sa.redirecting.left_for.reset();
    core.touch(sa.connection);
  }
  return true;
}

void inherit_redirect(Core& core, TimePoint now, const IkeSa& old, IkeSa& heir) {
  heir.redirecting = old.redirecting;
  if (old.first_role != Role::Initiator && !can_initiate(core.connection(old))) return;
  for (IkeSa* one : core.sas_of(old.connection)) {
    std::ranges::replace(one->replaces, old.id, heir.id);
    if (one->redirecting.left_for == old.id) one->redirecting.left_for = heir.id;
  }
  for (auto& [job, journey] : core.journeys) std::ranges::replace(journey.replaces, old.id, heir.id);
  if (!heir.redirecting.left_for || !heir.established()) return;
  heir.established()->replaced = true;
  heir.established()->until = now + kGrace;
}

}  // namespace culvert::ikev2
