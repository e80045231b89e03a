// CREATE_CHILD_SA, the peer's requests; and what a rekeyed IKE SA inherits.
#include <algorithm>

#include "control/ike/lifetimes.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_followup.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/mobike.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/shares.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint8_t kExchange = ike::kExchangeCreateChildSa;

void refuse(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const ChildRefusal& r) {
  answer_error(core, now, sa, kExchange, id, r.notify, r.data);
  if (r.notify == NotifyType::InvalidKePayload || r.notify == NotifyType::TemporaryFailure) return;  // it asks again
  core.ended(now, sa, Exchange::CreateChildSa, Role::Responder, r.reason, r.text, r.child, r.cause);
}

bool busy_with_ike(const IkeSa& sa) { return sa.request && std::holds_alternative<MakeIke>(sa.request->make); }

/// The CHILD SA of REKEY_SA (RFC 7296 §3.10); nullopt: it names none.
std::optional<Spi> named_by(const Notify& n) {
  if ((n.protocol != kProtoEsp && n.protocol != kProtoAh) || n.spi.size() != sizeof(Spi)) return std::nullopt;
  Reader r(n.spi);
  return Spi{r.be<std::uint32_t>()};
}

void on_child_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const std::uint32_t id = in.header().message_id.value;
  const TimePoint now = in.now;
  // RFC 7296 §2.25.2: nothing new under an SA that is on its way out.
  if (busy_with_ike(sa) || sa.established()->replaced || sa.established()->leaving)
    return answer_error(core, now, sa, kExchange, id, NotifyType::TemporaryFailure);
  const Child* rekeyed = nullptr;
  if (const Notify* n = m.notify(NotifyType::RekeySa)) {
    const auto spi = named_by(*n);
    if (!spi) {
      answer_error(core, now, sa, kExchange, id, NotifyType::InvalidSyntax);
      return core.ended(now, sa, Exchange::CreateChildSa, Role::Responder, Reason::BadPayloads,
                        "REKEY_SA names no CHILD SA: its protocol is neither ESP nor AH, or its SPI has not 4 bytes.");
    }
    Child* old = sa.find_outbound(*spi);
    if (old && (old->suite.protocol == SaProtocol::Ah) != (n->protocol == kProtoAh)) old = nullptr;
    // It has met our Delete on the way: to the peer that is one that we are about to close (RFC 7296 §2.25.1), and not one that is to be
    // made anew.
    const bool just_deleted = std::ranges::any_of(sa.children, [&](const Child& c) { return c.life == Life::Ended && c.spi_out == *spi; });
    // Nor is the other half known of one whose answer is still on its way to us.
    const bool not_yet = sa.request && std::holds_alternative<MakeChild>(sa.request->make);
    if (!old && (just_deleted || not_yet)) return answer_error(core, now, sa, kExchange, id, NotifyType::TemporaryFailure);
    if (!old) return answer(core, now, sa, kExchange, id, Builder().add(Notify{n->protocol, NotifyType::ChildSaNotFound, n->spi, {}}));
    if (old->life == Life::Deleting) return answer_error(core, now, sa, kExchange, id, NotifyType::TemporaryFailure);
    rekeyed = old;
  }
  const Ke* ke = m.find<Ke>();
  const Notify* resource = m.notify(NotifyType::SaResourceInfo);
  auto granted = grant(core, sa,
                       {*m.find<Sa>(), *m.find<TsI>(), *m.find<TsR>(), m.notify(NotifyType::UseTransportMode) != nullptr, true,
                        ke ? ke->group : DhGroup::None, rekeyed, resource != nullptr, resource && !resource->data.empty(),
                        m.notify(NotifyType::EspTfcPaddingNotSupported) != nullptr});
  if (!granted) return refuse(core, now, sa, id, granted.error());
  AnsweringChild what;
  what.pair = std::move(granted->pair);
  what.nonce_i = m.find<Nonce>()->data;
  what.nonce_r = core.shared.random(kNonceBytes);
  what.pair.lowest_nonce = std::min(what.nonce_i, what.nonce_r);
  what.reply = std::move(granted->reply);
  what.grouped = answers_grouped(core, sa, what.pair, m);
  if (what.pair.suite.pfs != DhGroup::None) {
    const JobId job = core.add_job({sa.id});
    core.shared.actions.emplace_back(ike::ComputeDh{job, what.pair.suite.pfs, nullptr, ke->data});
    sa.answering = Answering{id, job, std::move(what)};
    return;
  }
  derive_pair(sa, what.pair, Role::Responder, what.nonce_i, what.nonce_r, nullptr);
  const JobId job = install_inbound(core, sa, what.pair);
  sa.answering = Answering{id, job, std::move(what)};
}

void on_ike_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const std::uint32_t id = in.header().message_id.value;
  const TimePoint now = in.now;
  // A CHILD SA under way would belong to neither (RFC 7296 §2.25.2); the other way round the lowest nonce decides.
  const bool child_under_way = sa.request && std::holds_alternative<MakeChild>(sa.request->make);
  if (child_under_way || sa.established()->replaced || sa.established()->leaving || sa.successor || core.table.size() >= ike::kMaxIkeSas)
    return answer_error(core, now, sa, kExchange, id, NotifyType::TemporaryFailure);
  const Ke& ke = *m.find<Ke>();
  auto choice = select_ike(core.connection(sa).proposals, *m.find<Sa>(), ke.group);
  if (!choice || !choice->spi) {
    answer_error(core, now, sa, kExchange, id, NotifyType::NoProposalChosen);
    Cause cause{.number = 1};
    if (!choice)
      cause.evidence =
          ike::ProposalEvidence{choice.error().offered, choice.error().wanted, choice.error().difference, choice.error().usable};
    return core.ended(now, sa, Exchange::CreateChildSa, Role::Responder, Reason::NoProposalChosen,
                      "No proposal for the new IKE SA is acceptable" + (choice ? std::string(".") : ": " + choice.error().difference + "."),
                      {}, std::move(cause));
  }
  if (choice->suite.group != ke.group) {
    Writer group;
    group.be(static_cast<std::uint16_t>(choice->suite.group));
    return answer_error(core, now, sa, kExchange, id, NotifyType::InvalidKePayload, std::move(group).take());
  }
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, ke.group, nullptr, ke.data});
  AnsweringIke what{choice->suite,           *choice->spi, core.shared.new_spi(), m.find<Nonce>()->data, core.shared.random(kNonceBytes),
                    std::move(choice->reply)};
  Writer spi;
  spi.be(what.spi_r.value);
  what.reply.proposals.front().spi = std::move(spi).take();
  sa.answering = Answering{id, job, std::move(what)};
}

}  // namespace

void add_child_answer(const AnsweringChild& what, Builder& out) {
  if (what.pair.mode == SaMode::Transport) out.notify(NotifyType::UseTransportMode);
  if (what.grouped) out.notify(NotifyType::SaResourceInfo, resource_of(what.pair.share));
  out.add(what.reply);
  if (!what.auth) out.add(Nonce{what.nonce_r});
  if (!what.auth && what.pair.suite.pfs != DhGroup::None) out.add(Ke{what.pair.suite.pfs, what.public_value});
  out.add(TsI{what.pair.selectors.remote, 0}).add(TsR{what.pair.selectors.local, 0});
}

void on_create_child_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const bool child = m.count(PayloadType::TsI) != 0 || m.count(PayloadType::TsR) != 0 || m.notify(NotifyType::RekeySa) != nullptr;
  if (const auto fault = check(child ? MessageKind::NewChildRequest : MessageKind::NewIkeRequest, m)) {
    answer_error(core, in.now, sa, kExchange, in.header().message_id.value, NotifyType::InvalidSyntax);
    return core.ended(in.now, sa, Exchange::CreateChildSa, Role::Responder, Reason::BadPayloads, "CREATE_CHILD_SA: " + *fault);
  }
  child ? on_child_request(core, in, sa, m) : on_ike_request(core, in, sa, m);
}

void on_answering_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result) {
  if (std::holds_alternative<AnsweringFollowUp>(sa.answering->what)) return on_followup_key(core, now, sa, result);
  Answering& a = *sa.answering;
  if (!result.ok) {
    const std::uint32_t id = a.id;
    const auto* child = std::get_if<AnsweringChild>(&a.what);
    const std::optional<std::size_t> index = child ? std::optional(child->pair.child) : std::nullopt;
    abandon_answering(core, sa);
    answer_error(core, now, sa, kExchange, id, NotifyType::InvalidSyntax);
    return core.ended(now, sa, Exchange::CreateChildSa, Role::Responder, Reason::BadKe,
                      "The peer's key exchange value is invalid for its group.", index);
  }
  if (auto* ike = std::get_if<AnsweringIke>(&a.what)) {
    // Ours is over meanwhile, and in its place.
    if (!sa.established() || sa.established()->replaced) return answer_error(core, now, sa, kExchange, a.id, NotifyType::TemporaryFailure);
    const std::uint32_t id = a.id;
    const AnsweringIke what = std::move(*ike);
    Builder b;
    b.add(what.reply).add(Nonce{what.nonce_r}).add(Ke{what.suite.group, result.public_value});
    if (in_order(what.suite.more).empty())
      return answer_ike(core, now, sa, what, id, {.methods = {}, .first = result.shared, .more = {}}, b, kExchange);
    await_followups(core, now, sa, what, result.shared, b);
    return answer(core, now, sa, kExchange, id, b);
  }
  auto& what = std::get<AnsweringChild>(a.what);
  what.public_value = result.public_value;
  if (!in_order(what.pair.suite.more).empty()) {
    const std::uint32_t id = a.id;
    Builder b;
    add_child_answer(what, b);
    await_followups(core, now, sa, std::move(what), result.shared, b);
    return answer(core, now, sa, kExchange, id, b);
  }
  derive_pair(sa, what.pair, Role::Responder, what.nonce_i, what.nonce_r, &result.shared);
  a.job = install_inbound(core, sa, what.pair);
}

void on_answering_installed(Core& core, TimePoint now, IkeSa& sa, bool ok, const std::string& error) {
  const std::uint32_t id = sa.answering->id;
  AnsweringChild what = std::move(std::get<AnsweringChild>(sa.answering->what));
  sa.answering.reset();
  const std::uint8_t exchange = what.last ? ike::kExchangeFollowupKe : kExchange;
  if (!ok) {
    forget_pair(core, what.pair, false);
    answer_error(core, now, sa, exchange, id, NotifyType::TemporaryFailure);
    return core.ended(now, sa, Exchange::CreateChildSa, Role::Responder, Reason::InstallFailed,
                      "The data plane refused the inbound SA: " + error + ".", what.pair.child);
  }
  Builder b;
  what.last ? static_cast<void>(b.add(*what.last)) : add_child_answer(what, b);
  const std::uint64_t rekeyed = what.pair.rekeyed;
  const bool wait = rekeyed != 0 || what.ended || carried_by_another(core, sa, what.pair);
  const Child* heir = heir_of(sa, rekeyed);  // of our own rekeying, which was faster
  const std::uint64_t ours = heir ? heir->pair : 0;
  Child& made = pair_up(core, now, sa, std::move(what.pair), Role::Responder, Exchange::CreateChildSa, wait);
  answer(core, now, sa, exchange, id, b);  // behind our outbound half, as in IKE_AUTH
  made.ended = what.ended;
  made.shown_by = shows_answer(sa, id);
  const Child* own = rekeyed != 0 ? sa.find(ours) : rival_of(sa, made);
  if (own && own->role == Role::Initiator) return settle_rivals(core, now, sa, own->pair, made.pair);
  Child* old = sa.find(rekeyed);
  auto* ours_too = sa.request ? std::get_if<MakeChild>(&sa.request->make) : nullptr;
  if (ours_too && ours_too->rekeyed != rekeyed) ours_too = nullptr;
  if (ours_too && rekeyed != 0) ours_too->rival_nonce = made.lowest_nonce;
  if (!old || ours_too || old->life != Life::Live) return;  // our own rekeying of it decides
  old->life = Life::Replaced;
  old->until = now + kOverdue;
}

void answer_ike(Core& core, TimePoint now, IkeSa& sa, const AnsweringIke& what, std::uint32_t id, const FollowUpKeys& keys,
                const Builder& last, std::uint8_t exchange) {
  IkeSa& heir = succeed(core, now, sa, Role::Responder, what.suite, what.spi_i, what.spi_r, what.nonce_i, what.nonce_r, keys);
  heir.established()->lowest_nonce = std::min(what.nonce_i, what.nonce_r);
  Builder b = last;
  add_token(core, heir, b);
  add_window(core, heir, b);
  answer(core, now, sa, exchange, id, b);
  if (busy_with_ike(sa)) {
    sa.successor = heir.id;  // ours is under way, too: its answer decides
    heir.predecessor = sa.id;
    return;
  }
  inherit(core, now, sa, heir);
  sa.established()->until = now + kOverdue;
  core.ended(now, heir, Exchange::CreateChildSa, Role::Responder, Reason::Ok, "IKE SA rekeyed with " + heir.suite.to_string() + ".");
}

void abandon_answering(Core& core, IkeSa& sa) {
  abandon_followups(core, sa);
  if (!sa.answering) return;
  if (const auto* child = std::get_if<AnsweringChild>(&sa.answering->what))
    forget_pair(core, child->pair, child->pair.inbound.encr.empty() && child->pair.inbound.integ.empty());
  sa.answering.reset();
}

IkeSa& succeed(Core& core, TimePoint now, IkeSa& old, Role role, const IkeSuite& suite, IkeSpi spi_i, IkeSpi spi_r, ByteView nonce_i,
               ByteView nonce_r, const FollowUpKeys& keys) {
  auto made = std::make_unique<IkeSa>();
  made->id = core.shared.new_sa_id();
  made->connection = old.connection;
  made->role = role;
  made->first_role = old.first_role;
  made->first_spi_i = old.first_spi_i;
  made->spi_i = spi_i;
  made->spi_r = spi_r;
  made->local = old.local;
  made->remote = old.remote;
  made->nat = old.nat;
  made->fragments = old.fragments;
  made->mobility.agreed = old.mobility.agreed;
  made->mobility.others = old.mobility.others;
  made->sync.ids = old.sync.ids;
  made->sync.replay = old.sync.replay;
  made->shares = old.shares;
  made->inner_local = old.inner_local;
  made->told = old.told;
  made->inner_remote = old.inner_remote;
  made->lease = old.lease;
  made->given = old.given;
  made->created = made->last_sent = made->last_heard = now;
  made->suite = suite;
  made->local_id = old.local_id;
  made->user = old.user;
  made->session_end = old.session_end;
  made->reauth = old.reauth;
  made->peer = old.peer;
  made->confirmed = role == Role::Initiator;
  take_keys(*made,
            derive_rekeyed({suite, nonce_i, nonce_r, keys.first.view(), spi_i, spi_r}, old.keys.prf, old.keys.d.view(), keys.more.view()));
  const config::Connection& c = core.connection(old);
  const ike::Schedule when = ike::schedule(core.services, now, {c.rekey_time, c.rand_time, c.rekey_time + c.over_time}, 0);
  const TimePoint expires_at = std::min(when.expires_at, made->reauth.end.value_or(when.expires_at));
  made->state = Established{.since = now, .rekey_at = when.rekey_at, .expires_at = expires_at};
  IkeSa& sa = core.add(std::move(made));
  core.identify(sa, old.remote_id);
  open_window(core, sa);
  if (role == Role::Initiator) {
    core.table.add_initiator(sa.id, spi_i);
    core.table.complete_initiator(sa.id, spi_i, spi_r);
  } else {
    core.table.add_responder(sa.id, spi_i, spi_r, sa.remote, true);
    core.table.promote(sa.id);
  }
  return sa;
}

void take_place(Core& core, TimePoint now, IkeSa& sa) {
  IkeSa* old = sa.predecessor ? core.find(*sa.predecessor) : nullptr;
  sa.predecessor.reset();
  if (!old || old->successor != sa.id || !old->established()) return;
  old->successor.reset();
  abandon_request(core, *old);
  inherit(core, now, *old, sa);
  old->established()->until = now + kOverdue;
}

void inherit(Core& core, TimePoint now, IkeSa& old, IkeSa& heir) {
  for (Child& child : old.children) {
    core.move_spi(child.spi_in, heir.id);
    child.shown_by = old.window.ours > 1 ? kShownByNone : 0;
    heir.children.push_back(std::move(child));
  }
  old.children.clear();
  for (const Task& task : old.tasks)
    if (task.kind != Task::Kind::RekeyIke && task.kind != Task::Kind::DeleteIke && task.kind != Task::Kind::Liveness)
      heir.tasks.push_back(task);
  old.tasks.clear();
  old.heir = heir.id;
  inherit_mobility(core, old, heir);
  inherit_redirect(core, now, old, heir);
  if (Established* est = old.established()) est->replaced = true;
  note_twins(core, now, heir);
  core.touch(old);
  core.touch(heir);
}

}  // namespace culvert::ikev2
