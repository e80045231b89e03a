#include "control/ikev2/exchange_rekey_ike.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_followup.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

void begin_rekey_ike(Core& core, TimePoint now, IkeSa& sa, const Task& task) {
  const DhGroup group = sa.suite.group;  // the peer has taken it before
  sa.request = Request{task, 0, now, MakeIke{core.shared.new_spi(), group, core.shared.random(kNonceBytes), nullptr}, RequestMakingKey{}};
  make_request_key(core, sa, *sa.request, group);
}

void send_ike_request(Core& core, TimePoint now, IkeSa& sa, Request& request, const Bytes& public_value) {
  auto& make = std::get<MakeIke>(request.make);
  Builder b;
  b.add(build_ike_offer(core.connection(sa).proposals, make.spi)).add(Nonce{make.nonce}).add(Ke{make.group, public_value});
  add_window(core, sa, b);
  request.id = sa.next_request;
  request.state = RequestSent{send_request(core, now, sa, ike::kExchangeCreateChildSa, b)};
}

void yield_to_successor(Core& core, TimePoint now, IkeSa& sa) {
  if (IkeSa* successor = sa.successor ? core.find(*sa.successor) : nullptr) take_place(core, now, *successor);
}

void ike_request_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause) {
  const Exchange exchange = sa.request->more ? Exchange::IkeFollowupKe : Exchange::CreateChildSa;
  abandon_request(core, sa);
  core.ended(now, sa, exchange, Role::Initiator, reason, text, {}, std::move(cause));
  if (sa.established()) sa.established()->rekey_at = now + backoff(core, ++sa.established()->rekey_failures);
  yield_to_successor(core, now, sa);
}

void on_ike_answer(Core& core, TimePoint now, IkeSa& sa, const Message& m) {
  auto& make = std::get<MakeIke>(sa.request->make);
  if (const auto fault = check(MessageKind::NewIkeReply, m))
    return ike_request_failed(core, now, sa, Reason::BadPayloads, "The answer to the rekeying of the IKE SA: " + *fault, {.number = 2});
  const auto choice = accept_ike(core.connection(sa).proposals, *m.find<Sa>());
  const Ke& ke = *m.find<Ke>();
  if (!choice || !choice->spi || choice->suite.group != make.group || ke.group != make.group)
    return ike_request_failed(core, now, sa, Reason::NoProposalChosen, "The peer chose what we did not offer for the new IKE SA.",
                              {.number = 2});
  if (!expect_followups(*sa.request, choice->suite.more, m))
    return ike_request_failed(core, now, sa, Reason::BadPayloads, kNoLink, {.number = 2});
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, make.group, make.key, ke.data});
  RequestDeriving next;
  next.job = job;
  next.nonce_r = m.find<Nonce>()->data;
  next.suite = choice->suite;
  next.spi_r = *choice->spi;
  next.token = token_in(m);  // RFC 6290 §4.3
  sa.request->state = std::move(next);
}

void release_loser(Core& core, TimePoint now, IkeSa& sa) {
  IkeSa* loser = sa.loser ? core.find(*std::exchange(sa.loser, {})) : nullptr;
  Established* est = loser ? loser->established() : nullptr;
  if (!est || loser->confirmed || !est->until) return;
  est->unclaimed = true;
  est->until = std::min(*est->until, now + kLastClaim);
  core.touch(*loser);
}

void ike_rekeyed(Core& core, TimePoint now, IkeSa& sa, const RequestDeriving& state, const FollowUpKeys& keys) {
  const auto make = std::get<MakeIke>(sa.request->make);
  IkeSa& ours = succeed(core, now, sa, Role::Initiator, state.suite, make.spi, state.spi_r, make.nonce, state.nonce_r, keys);
  ours.crash_token = state.token;
  ours.established()->lowest_nonce = std::min(make.nonce, state.nonce_r);
  sa.request.reset();
  IkeSa* theirs = sa.successor ? core.find(*sa.successor) : nullptr;
  sa.successor.reset();
  if (theirs && theirs->established() && ours.established()->lowest_nonce < theirs->established()->lowest_nonce) {
    inherit(core, now, sa, *theirs);
    sa.established()->until = now + kOverdue;
    core.ended(now, *theirs, Exchange::CreateChildSa, Role::Responder, Reason::Ok,
               "IKE SA rekeyed with " + theirs->suite.to_string() + ".");
    ours.established()->replaced = true;
    ours.tasks.push_back({.kind = Task::Kind::DeleteIke, .reason = Reason::Replaced});
    core.touch(ours);
    return;
  }
  inherit(core, now, sa, ours);
  tell_token(core, sa, ours);
  sa.tasks.assign(1, {.kind = Task::Kind::DeleteIke, .reason = Reason::Replaced});
  if (theirs && theirs->established()) {
    theirs->established()->replaced = true;  // the peer deletes it (RFC 7296 §2.8.2)
    theirs->established()->until = now + kOverdue;
    sa.loser = theirs->id;
  }
  core.ended(now, ours, Exchange::CreateChildSa, Role::Initiator, Reason::Ok, "IKE SA rekeyed with " + ours.suite.to_string() + ".");
}

}  // namespace culvert::ikev2
