#include "control/ikev2/exchange_informational.hpp"

#include <algorithm>

#include "control/ikev2/children.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/counter_sync.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_rekey_ike.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/shares.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint8_t kInformational = ike::kExchangeInformationalV2;

std::uint8_t protocol_of(SaProtocol p) { return p == SaProtocol::Ah ? kProtoAh : kProtoEsp; }

/// The peer deletes a pair; what of it is ours goes along, and is named in the answer (RFC 7296 §1.4.1). Both at once: each names nothing.
void peer_deletes(Core& core, TimePoint now, IkeSa& sa, Child& child, std::vector<Spi>& named) {
  const bool ours_too = child.life == Life::Deleting;
  if (!ours_too) named.push_back(child.spi_in);
  const std::size_t index = child.child;
  const bool replaced = child.life == Life::Replaced || ours_too || sa.redirecting.to;
  // Whoever deletes the old pair is ready for the new one.
  if (Child* heir = heir_of(sa, child.pair)) release_outbound(core, now, sa, *heir);
  end_child(core, now, sa, child);
  if (!replaced && child.share.own()) share_deleted(core, now, sa, child);
  if (replaced || newest_live(sa, index)) return;
  const std::string text = "The peer deleted the CHILD SA.";
  core.say(sa, Severity::Warn, Exchange::Informational, Reason::DeletedByPeer, text, index);
  core.shared.lost(now, {core.connection(sa).name, core.child(sa, index).name, sa.remote, Exchange::Informational, {}},
                   Reason::DeletedByPeer, text);
  core.run(sa.connection).children.at(index).retry_at = now + backoff(core, 1);
}

/// Who has a CHILD SA that was this SA's when a Delete went out: it may have been inherited meanwhile (RFC 7296 §2.25.2).
template <class Has>
IkeSa& holder_of(Core& core, IkeSa& sa, Has&& has) {
  IkeSa* one = &sa;
  for (int generation = 0; generation < 4 && !has(*one) && one->heir; ++generation) {
    IkeSa* heir = core.find(*one->heir);
    if (!heir) break;
    one = heir;
  }
  return *one;
}

/// The answer to what we have asked for may still be on its way, and this may be about what it made.
void note_early_delete(IkeSa& sa, Spi spi) {
  auto* make = sa.request ? std::get_if<MakeChild>(&sa.request->make) : nullptr;
  if (make && make->deleted.size() < kMaxTasks) make->deleted.push_back(spi);
}

void enter_closing(Core& core, TimePoint now, IkeSa& sa) {
  sa.state = Closing{now + kClosingMemory};
  if (!sa.lease.empty()) core.leases_in_doubt.insert(sa.connection);
  core.touch(sa.connection);
}

void peer_deletes_sa(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id) {
  answer(core, now, sa, kInformational, id, {});
  // It has rekeyed the SA, and does not know that we have begun to do so, too.
  if (IkeSa* heir = sa.successor ? core.find(*sa.successor) : nullptr) inherit(core, now, sa, *heir);
  confirm_heir(core, sa);
  const bool expected = !sa.established() || sa.established()->replaced || sa.redirecting.to;
  if (!expected && has_twin(core, sa)) {
    core.say(sa, Severity::Info, Exchange::Informational, Reason::Replaced,
             "The peer deleted the IKE SA: both sides had begun at once, and the other one stays.");
  } else if (!expected) {
    core.quiet_run(sa.connection).pass.reset();
    const std::string text = "The peer deleted the IKE SA.";
    core.say(sa, Severity::Warn, Exchange::Informational, Reason::DeletedByPeer, text);
    core.shared.lost(now, {core.connection(sa).name, {}, sa.remote, Exchange::Informational, {}}, Reason::DeletedByPeer, text);
    Run& run = core.run(sa.connection);
    run.retry_at = std::max(run.retry_at, now + backoff(core, 1));
  }
  // The peer may ask again, since our answer may be lost.
  abandon_request(core, sa);
  abandon_answering(core, sa);
  release_loser(core, now, sa);
  go_on_without(core, now, sa);
  remove_children(core, sa);
  sa.tasks.clear();
  enter_closing(core, now, sa);
}

}  // namespace

void on_informational_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const std::uint32_t id = in.header().message_id.value;
  if (const Notify* failed = m.notify(NotifyType::AuthenticationFailed); failed && sa.established()) {
    // The initiator does not take our proof (RFC 7296 §2.21.2).
    answer(core, in.now, sa, kInformational, id, {});
    ike::Evidence evidence;
    if (core.connection(sa).local_auth.auth == config::Proof::Pubkey)
      evidence = ike::IdentityEvidence{.expected = {}, .received = sa.local_id, .ours = true, .proven = false};
    core.ended(in.now, sa, Exchange::IkeAuth, Role::Responder, Reason::AuthFailed,
               "The peer refuses our authentication (AUTHENTICATION_FAILED).", {},
               {.number = 4, .evidence = std::move(evidence), .said = name(failed->type), .said_proven = true, .by = ike::RefusedBy::Peer});
    return discard(core, in.now, sa);
  }
  note_token(core, sa, m);
  note_auth_lifetime(core, in.now, sa, m);
  note_replay_sync(core, in, sa, m);
  const auto deletes = m.all<Delete>();
  if (m.notify(NotifyType::UpdateSaAddresses) || std::ranges::any_of(deletes, [](const Delete* d) { return d->protocol != kProtoIke; }))
    take_place(core, in.now, sa);
  Builder b;
  if (!on_mobility_request(core, in, sa, m, b)) return answer(core, in.now, sa, kInformational, id, b);
  std::vector<Spi> esp, ah;
  for (const Delete* d : deletes) {
    if (d->protocol == kProtoIke) return peer_deletes_sa(core, in.now, sa, id);
    for (const Spi spi : d->spis) {
      IkeSa& holder = holder_of(core, sa, [&](IkeSa& one) { return one.find_outbound(spi) != nullptr; });
      Child* child = holder.find_outbound(spi);
      if (child && protocol_of(child->suite.protocol) == d->protocol)
        peer_deletes(core, in.now, holder, *child, d->protocol == kProtoAh ? ah : esp);
      else
        note_early_delete(sa, spi);
    }
  }
  if (!esp.empty()) b.add(Delete{kProtoEsp, std::move(esp)});
  if (!ah.empty()) b.add(Delete{kProtoAh, std::move(ah)});
  if (const Cp* asked = m.find<Cp>(); asked && asked->type == ConfigType::Request) b.add(tell(core, sa, *asked));
  answer(core, in.now, sa, kInformational, id, b);
  on_redirect_request(core, in.now, sa, m);
}

void begin_informational(Core& core, TimePoint now, IkeSa& sa, const Task& task) {
  Builder b;
  if (task.kind == Task::Kind::DeleteIke) {
    b.add(Delete{kProtoIke, {}});
    enter_closing(core, now, sa);
  } else if (task.kind == Task::Kind::DeleteChild) {
    const Child* child = sa.find(task.pair);
    if (child) b.add(Delete{protocol_of(child->suite.protocol), {child->spi_in}});
    if (!child && task.spi) b.add(Delete{protocol_of(task.protocol), {task.spi}});
    if (b.empty()) return;
  } else if (task.kind == Task::Kind::CrashToken) {
    add_token(core, sa, b);
  } else if (task.kind == Task::Kind::Redirect) {
    add_redirect(sa, b);
  } else {
    add_mobility(core, sa, task, b);
  }
  const std::uint32_t id = sa.next_request;
  sa.request = Request{task, id, now, {}, RequestSent{send_request(core, now, sa, kInformational, b)}};
}

void on_informational_response(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const Task task = sa.request->task;
  sa.request.reset();
  core.touch(sa);
  if (task.kind == Task::Kind::DeleteIke) return discard(core, in.now, sa);
  if (task.kind != Task::Kind::DeleteChild) return on_mobility_response(core, in.now, sa, task, m);
  IkeSa& holder = holder_of(core, sa, [&](IkeSa& one) { return one.find(task.pair) != nullptr; });
  if (Child* child = holder.find(task.pair)) end_child(core, in.now, holder, *child);
}

void say_deleted(Core& core, IkeSa& sa, Spi spi_in, SaProtocol protocol) {
  add_task(core, sa, {.kind = Task::Kind::DeleteChild, .reason = Reason::InstallFailed, .spi = spi_in, .protocol = protocol});
}

}  // namespace culvert::ikev2
