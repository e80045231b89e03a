// CREATE_CHILD_SA, our requests: CHILD SAs, and what those for an IKE SA (exchange_rekey_ike.cpp) have in common with them.
#include "control/ikev2/exchange_create_child.hpp"

#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev2/configuration.hpp"
#include "control/ikev2/exchange_followup.hpp"
#include "control/ikev2/exchange_informational.hpp"
#include "control/ikev2/exchange_rekey_ike.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/narrowing.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/shares.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

Bytes spi_bytes(Spi spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}
std::uint8_t protocol_of(const Child& c) { return c.suite.protocol == SaProtocol::Ah ? kProtoAh : kProtoEsp; }

/// The group that goes with the first suite, or that of the pair which is rekeyed: the peer has taken it before.
DhGroup first_group(const std::vector<EspSuite>& suites, const Child* rekeyed) {
  const DhGroup before = rekeyed ? rekeyed->suite.pfs : DhGroup::None;
  const bool known = before != DhGroup::None && std::ranges::find(suites, before, &EspSuite::pfs) != suites.end();
  return known ? before : suites.front().pfs;
}

void send_child_request(Core& core, TimePoint now, IkeSa& sa, Request& request, const Bytes& public_value) {
  auto& make = std::get<MakeChild>(request.make);
  Builder b;
  if (const Child* old = sa.find(make.rekeyed)) b.add(Notify{protocol_of(*old), NotifyType::RekeySa, spi_bytes(old->spi_in), {}});
  if (make.transport) b.notify(NotifyType::UseTransportMode);
  if (core.child(sa, make.child).per_cpu.sas) b.notify(NotifyType::SaResourceInfo, resource_of(make.share));
  b.add(build_child_offer(make.suites, make.spi_in, true)).add(Nonce{make.nonce});
  if (make.group != DhGroup::None) b.add(Ke{make.group, public_value});
  add_selectors(make, b);
  request.id = sa.next_request;
  request.state = RequestSent{send_request(core, now, sa, ike::kExchangeCreateChildSa, b)};
}

/// It has failed for good: the child waits its turn, a pair that is in use is tried again.
void child_request_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause = {}) {
  const Request request = *sa.request;
  const auto& make = std::get<MakeChild>(request.make);
  abandon_request(core, sa);
  const Exchange exchange = request.auth ? Exchange::IkeAuth : request.more ? Exchange::IkeFollowupKe : Exchange::CreateChildSa;
  core.ended(now, sa, exchange, Role::Initiator, reason, text, make.child, std::move(cause));
  if (Child* old = sa.find(make.rekeyed)) {
    old->due = false;
    old->rekey_at = now + backoff(core, ++old->failures);
    return replaced_by_heir(core, now, sa, make.rekeyed);
  }
  if (make.share.own()) return share_failed(core, now, sa, make.child);
  child_failed(core, now, sa.connection, make.child);
}

void try_again_soon(Core& core, TimePoint now, IkeSa& sa) {
  const Request request = *sa.request;
  abandon_request(core, sa);
  core.say(sa, Severity::Debug, Exchange::CreateChildSa, Reason::PeerRefused, "The peer is busy (TEMPORARY_FAILURE): we try again.");
  // Both may have been refused for what the other one does: they must not meet again.
  const TimePoint again = now + ike::jitter(core.services, seconds{sa.first_role == Role::Initiator ? 1 : 3});
  if (const auto* make = std::get_if<MakeChild>(&request.make)) {
    if (Child* old = sa.find(make->rekeyed)) {
      old->due = false;
      old->rekey_at = again;
      replaced_by_heir(core, now, sa, make->rekeyed);
    } else if (make->share.own()) {
      sa.shares[make->child].retry_at = again;
    } else {
      core.run(sa.connection).children.at(make->child).retry_at = again;
    }
  } else if (Established* est = sa.established()) {
    est->rekey_at = again;
    yield_to_successor(core, now, sa);
  }
}

/// The group of the KE payload is not the peer's (RFC 7296 §1.3): once more with its own, if that is one of ours.
bool other_group(Core& core, IkeSa& sa, const Notify& n) {
  Request& request = *sa.request;
  Reader r(n.data);
  const auto group = static_cast<DhGroup>(r.be<std::uint16_t>());
  if (!r.ok() || ++request.retries > kMaxInitTries) return false;
  if (auto* make = std::get_if<MakeChild>(&request.make)) {
    if (group == make->group || std::ranges::find(make->suites, group, &EspSuite::pfs) == make->suites.end()) return false;
    make->group = group;
    make->nonce = core.shared.random(kNonceBytes);
  } else {
    auto& ike = std::get<MakeIke>(request.make);
    const auto& ours = core.connection(sa).proposals;
    if (group == ike.group || std::ranges::find(ours, group, &IkeSuite::group) == ours.end()) return false;
    ike.group = group;
    ike.nonce = core.shared.random(kNonceBytes);
  }
  make_request_key(core, sa, request, group);
  return true;
}

/// Why a pair cannot be as the peer's answer has it.
struct Disagreement {
  std::string text;
  Reason reason = Reason::NoProposalChosen;
  SaProtocol protocol{};  ///< where it is about selectors: of what the peer has made of it
};

/// The pair as the peer's answer has it.
std::expected<NewPair, Disagreement> agreed(const MakeChild& make, bool pfs, const Message& m) {
  const auto no = [](std::string text) { return std::unexpected(Disagreement{std::move(text)}); };
  const auto choice = accept_child(make.suites, pfs, *m.find<Sa>());
  if (!choice) return no("The peer chose what we did not offer: " + choice.error().difference + ".");
  auto selectors = narrowed(make, m);
  if (!selectors) return std::unexpected(Disagreement{std::move(selectors.error()), Reason::SelectorMismatch, choice->suite.protocol});
  const Ke* ke = m.find<Ke>();
  if (pfs && choice->suite.pfs != (ke ? ke->group : DhGroup::None)) return no("The peer's key exchange is not of the group that it chose.");
  if (choice->suite.pfs != DhGroup::None && choice->suite.pfs != make.group) return no("The peer chose another group than ours.");
  NewPair out;
  out.pair = make.pair;
  out.child = make.child;
  out.spi_in = make.spi_in;
  out.spi_out = choice->spi;
  out.suite = choice->suite;
  out.mode = make.transport && m.notify(NotifyType::UseTransportMode) ? SaMode::Transport : SaMode::Tunnel;
  out.selectors = std::move(*selectors);
  out.rekeyed = make.rekeyed;
  out.share = make.share;
  out.unpadded = m.notify(NotifyType::EspTfcPaddingNotSupported) != nullptr;
  if (out.share.own() && out.rekeyed == 0 && out.selectors != make.asked)
    return std::unexpected(Disagreement{"The peer has made other traffic selectors of what is for one worker alone: " +
                                            out.selectors.to_string() + " instead of " + make.asked.to_string() + ".",
                                        Reason::SelectorMismatch, choice->suite.protocol});
  return out;
}

/// The peer has its half of the pair already: where that is of no use to us, it is told so.
void disagreed(Core& core, TimePoint now, IkeSa& sa, const Disagreement& why, unsigned message) {
  const MakeChild make = std::get<MakeChild>(sa.request->make);
  Cause cause{.number = message};
  if (why.reason == Reason::SelectorMismatch) {
    auto evidence = ikev1::selector_evidence(core.connection(sa), selectors_text(make.asked.local), selectors_text(make.asked.remote));
    evidence.answered = true;
    cause.evidence = std::move(evidence);
  }
  child_request_failed(core, now, sa, why.reason, why.text, std::move(cause));
  if (why.reason == Reason::SelectorMismatch) say_deleted(core, sa, make.spi_in, why.protocol);
}

void install_agreed(Core& core, IkeSa& sa, NewPair pair, ByteView nonce_i, ByteView nonce_r, const SecretBytes* shared,
                    ByteView more = {}) {
  if (const auto& make = std::get<MakeChild>(sa.request->make); make.grouped) stand_beside(core, sa, pair);
  derive_pair(sa, pair, Role::Initiator, nonce_i, nonce_r, shared, more);
  const JobId job = install_inbound(core, sa, pair);
  sa.request->state = RequestInstalling{job, std::move(pair)};
}

constexpr const char* kDeletedMeanwhile = "The peer deleted the CHILD SA before its answer came.";
bool deleted_meanwhile(const MakeChild& make, Spi theirs) { return std::ranges::find(make.deleted, theirs) != make.deleted.end(); }

void on_child_answer(Core& core, TimePoint now, IkeSa& sa, const Message& m) {
  auto& make = std::get<MakeChild>(sa.request->make);
  if (const auto fault = check(MessageKind::NewChildReply, m))
    return child_request_failed(core, now, sa, Reason::BadPayloads, "The answer to CREATE_CHILD_SA: " + *fault, {.number = 2});
  auto pair = agreed(make, true, m);
  if (!pair) return disagreed(core, now, sa, pair.error(), 2);
  if (deleted_meanwhile(make, pair->spi_out))
    return child_request_failed(core, now, sa, Reason::DeletedByPeer, kDeletedMeanwhile, {.number = 2, .by = ike::RefusedBy::Peer});
  if (!expect_followups(*sa.request, pair->suite.more, m))
    return child_request_failed(core, now, sa, Reason::BadPayloads, kNoLink, {.number = 2});
  make.grouped = core.child(sa, make.child).per_cpu.sas && m.notify(NotifyType::SaResourceInfo) != nullptr;
  const Bytes nonce_r = m.find<Nonce>()->data;
  pair->lowest_nonce = std::min(make.nonce, nonce_r);
  if (pair->suite.pfs == DhGroup::None) return install_agreed(core, sa, std::move(*pair), make.nonce, nonce_r, nullptr);
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, make.group, make.key, m.find<Ke>()->data});
  RequestDeriving next;
  next.job = job;
  next.nonce_r = nonce_r;
  next.pair = std::move(*pair);
  sa.request->state = std::move(next);
}

}  // namespace

void add_child_wish(Core& core, const IkeSa& sa, const MakeChild& make, bool pfs, Builder& out) {
  if (core.child(sa, make.child).mode == SaMode::Transport) out.notify(NotifyType::UseTransportMode);
  if (core.child(sa, make.child).per_cpu.sas) out.notify(NotifyType::SaResourceInfo);
  out.add(build_child_offer(make.suites, make.spi_in, pfs));
  add_selectors(make, out);
}

namespace {
void judge_child_answer(Core& core, TimePoint now, IkeSa& sa, const Message& m) {
  const auto& asked = std::get<MakeChild>(sa.request->make);
  const Notify* error = m.error();
  if (error && (error->type != NotifyType::TsUnacceptable || addresses_known(core, sa, asked.child)))
    return child_refused(core, now, sa, asked, *error);
  if (!addresses_known(core, sa, asked.child))
    return child_request_failed(
        core, now, sa, Reason::NoAddress,
        "The gateway gives us no virtual address" + std::string(has_addresses(core, sa) ? " of the family that the child is of." : "."),
        {.number = 4, .evidence = ike::PoolEvidence{"", "the gateway gives no address"}, .by = ike::RefusedBy::Peer});
  if (!m.find<Sa>() || !m.find<TsI>() || !m.find<TsR>())
    return child_request_failed(core, now, sa, Reason::BadPayloads, "The answer to IKE_AUTH says nothing of the CHILD SA.", {.number = 4});
  auto pair = agreed(asked, false, m);
  if (!pair) return disagreed(core, now, sa, pair.error(), 4);
  // Of any address, as which a virtual one is asked for, ours is that which we have got.
  SelectorLists ours = paired({narrow(pair->selectors.local, selectors_of(core, sa, asked.child).local), pair->selectors.remote});
  if (ours.empty())
    return disagreed(core, now, sa,
                     {"The peer's traffic selector " + selectors_text(pair->selectors.local) + " is not about our virtual address.",
                      Reason::SelectorMismatch, pair->suite.protocol},
                     4);
  if (auto why = no_room(ours)) return disagreed(core, now, sa, {std::move(*why), Reason::SelectorMismatch, pair->suite.protocol}, 4);
  pair->selectors = std::move(ours);
  pair->lowest_nonce = std::min(sa.nonce_i, sa.nonce_r);
  install_agreed(core, sa, std::move(*pair), sa.nonce_i, sa.nonce_r, nullptr);
}
}  // namespace

void take_child_answer(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const Message& m) {
  make.transport = core.child(sa, make.child).mode == SaMode::Transport;
  const Task task{.kind = Task::Kind::NewChild, .child = make.child};
  sa.request = Request{.task = task, .id = 1, .begun = now, .make = std::move(make), .state = RequestMakingKey{}, .auth = true};
  if (!core.connection(sa).vips.empty()) take_address(core, sa, m);
  judge_child_answer(core, now, sa, m);
  if (!has_addresses(core, sa)) close_sa(core, now, sa, Reason::NoAddress, "The IKE SA has no virtual address, and is of no use without.");
}

void begin_new_child(Core& core, TimePoint now, IkeSa& sa, const Task& task) {
  MakeChild make;
  const Child* old = sa.find(task.pair);
  make.child = old ? old->child : task.child;
  make.rekeyed = old ? old->pair : 0;
  make.pair = core.shared.new_pair();
  if (old) make.share = old->share;
  make.suites = usable_suites(sa, core.child(sa, make.child));
  if (old)
    make.asked = old->selectors;  // RFC 7296 §2.9.2
  else
    ask_for_all(core, sa, make);
  make.transport = old ? old->mode == SaMode::Transport : core.child(sa, make.child).mode == SaMode::Transport;
  if (task.worker && !make_share(core, now, sa, *task.worker, make)) return;
  make.nonce = core.shared.random(kNonceBytes);
  make.group = first_group(make.suites, old);
  const auto spi = core.allocate_spi(sa.id, make.pair);
  make.spi_in = spi.value_or(Spi{});
  const DhGroup group = make.group;
  sa.request = Request{task, 0, now, std::move(make), RequestMakingKey{}};
  if (!spi) return child_request_failed(core, now, sa, Reason::Limit, "There is no SPI left.");
  if (!old && !addresses_known(core, sa, task.child))
    return child_request_failed(
        core, now, sa, Reason::NoAddress,
        "The child is about a virtual address of its family, and " +
            std::string(core.connection(sa).vips.empty() ? "the peer has asked for none." : "the gateway gave us none."));
  if (group != DhGroup::None) return make_request_key(core, sa, *sa.request, group);
  send_child_request(core, now, sa, *sa.request, {});
}

namespace {
/// The peer has the pair no more that we rekey: its own rekeying of it is there, or another one is made.
void child_not_found(Core& core, TimePoint now, IkeSa& sa, std::uint64_t gone, std::size_t index) {
  abandon_request(core, sa);
  if (Child* heir = heir_of(sa, gone)) {
    release_outbound(core, now, sa, *heir);
    if (Child* old = sa.find(gone)) end_child(core, now, sa, *old);
    return;
  }
  remove_child(core, sa, gone);
  if (newest_live(sa, index)) return;
  core.run(sa.connection).children.at(index).requested = true;
  core.say(sa, Severity::Info, Exchange::CreateChildSa, Reason::PeerRefused,
           "The peer does not have the CHILD SA any more that we rekey: another one is made.", index);
}
}  // namespace

void on_create_child_response(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  Request& request = *sa.request;
  if (!std::holds_alternative<RequestSent>(request.state)) return;
  const TimePoint now = in.now;
  const auto* child = std::get_if<MakeChild>(&request.make);
  if (const Notify* error = m.error()) {
    if (error->type == NotifyType::InvalidKePayload && other_group(core, sa, *error)) return;
    if (error->type == NotifyType::TemporaryFailure) return try_again_soon(core, now, sa);
    if (error->type == NotifyType::ChildSaNotFound && child && sa.find(child->rekeyed)) {
      return child_not_found(core, now, sa, child->rekeyed, child->child);
    }
    if (child) return child_refused(core, now, sa, *child, *error);
    if (error->type == NotifyType::NoAdditionalSas && ike_begins_anew(core, now, sa)) return;
    return ike_request_failed(core, now, sa, Reason::PeerRefused, "The peer refused to rekey the IKE SA with " + name(error->type) + ".",
                              {.number = 1, .said = name(error->type), .said_proven = true});
  }
  if (child) return on_child_answer(core, now, sa, m);
  on_ike_answer(core, now, sa, m);
}

void on_request_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result, JobId job) {
  Request& request = *sa.request;
  auto* child = std::get_if<MakeChild>(&request.make);
  auto* ike = std::get_if<MakeIke>(&request.make);
  const auto failed = [&](Reason reason, const char* text) {
    child ? child_request_failed(core, now, sa, reason, text) : ike_request_failed(core, now, sa, reason, text);
  };
  if (auto* making = std::get_if<RequestMakingKey>(&request.state); making && making->job == job) {
    if (!result.ok) return failed(Reason::Internal, "A Diffie-Hellman key pair could not be made.");
    if (request.more) return send_followup(core, now, sa, result);
    (child ? child->key : ike->key) = result.key;
    return child ? send_child_request(core, now, sa, request, result.public_value)
                 : send_ike_request(core, now, sa, request, result.public_value);
  }
  auto* deriving = std::get_if<RequestDeriving>(&request.state);
  if (!deriving || deriving->job != job) return;
  if (!result.ok) return failed(Reason::BadKe, "The peer's key exchange value is invalid for its group.");
  if (go_on_with_followups(core, sa, result.shared)) return;
  const FollowUpKeys keys = request.more ? request.more->keys : FollowUpKeys{.methods = {}, .first = result.shared, .more = {}};
  if (ike) return ike_rekeyed(core, now, sa, RequestDeriving(*deriving), keys);
  const Bytes nonce_r = deriving->nonce_r;
  NewPair pair = std::move(*deriving->pair);
  install_agreed(core, sa, std::move(pair), child->nonce, nonce_r, &keys.first, keys.more.view());
}

void on_request_installed(Core& core, TimePoint now, IkeSa& sa, JobId job, bool ok, const std::string& error) {
  auto* state = std::get_if<RequestInstalling>(&sa.request->state);
  if (!state || state->job != job) return;
  NewPair pair = std::move(state->pair);
  if (!ok) {
    // The peer has its half.
    sa.request->state = RequestMakingKey{};
    child_request_failed(core, now, sa, Reason::InstallFailed, "The data plane refused the inbound SA: " + error + ".");
    return say_deleted(core, sa, pair.spi_in, pair.suite.protocol);
  }
  if (const auto& make = std::get<MakeChild>(sa.request->make); deleted_meanwhile(make, pair.spi_out))
    return child_request_failed(core, now, sa, Reason::DeletedByPeer, kDeletedMeanwhile, {.number = 2, .by = ike::RefusedBy::Peer});
  const Request done = *std::exchange(sa.request, {});
  const auto& asked = std::get<MakeChild>(done.make);
  const Child* theirs = heir_of(sa, pair.rekeyed);
  const bool lost = pair.lowest_nonce < (theirs ? theirs->lowest_nonce : asked.rival_nonce);
  const std::uint64_t rekeyed = pair.rekeyed, rival = theirs ? theirs->pair : 0;
  Child& made = pair_up(core, now, sa, std::move(pair), Role::Initiator, done.auth ? Exchange::IkeAuth : Exchange::CreateChildSa,
                        lost || rekeyed == 0);
  if (asked.ended) return delete_child(core, sa, made, Reason::DeletedByOperator);
  // What was for all has gone meanwhile, and this is beside nothing.
  if (made.share.own() && made.rekeyed == 0 && !newest_live(sa, made.child)) return delete_child(core, sa, made, Reason::DeletedByPeer);
  if (lost) {
    // Both have rekeyed the same pair, which goes on until the peer deletes it.
    delete_child(core, sa, made, Reason::Replaced);
    return replaced_by_heir(core, now, sa, rekeyed);
  }
  if (Child* other = sa.find(rival)) leave_to_peer(core, now, sa, *other);
  if (Child* before = sa.find(rekeyed)) return delete_child(core, sa, *before, Reason::Replaced);
  const Child* other = rival_of(sa, made);
  // One that is to go in favour of what is sent by already is not sent by at all: the data plane sends by what was installed last.
  if (!other || other->outbound || other->lowest_nonce < made.lowest_nonce) release_outbound(core, now, sa, made);
  if (made.share.own()) show_that_made(core, sa, made.child);
  if (other) settle_rivals(core, now, sa, made.pair, other->pair);
}

void request_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause) {
  if (std::holds_alternative<MakeChild>(sa.request->make)) return child_request_failed(core, now, sa, reason, text, std::move(cause));
  ike_request_failed(core, now, sa, reason, text, std::move(cause));
}

void request_put_off(Core& core, TimePoint now, IkeSa& sa) { try_again_soon(core, now, sa); }

void make_request_key(Core& core, IkeSa& sa, Request& request, DhGroup group) {
  const JobId job = core.add_job({sa.id});
  request.state = RequestMakingKey{job};
  core.shared.actions.emplace_back(ike::ComputeDh{job, group, nullptr, std::nullopt});
}

void abandon_request(Core& core, IkeSa& sa) {
  if (!sa.request) return;
  if (const auto* installing = std::get_if<RequestInstalling>(&sa.request->state)) {
    forget_pair(core, installing->pair, true);
  } else if (const auto* make = std::get_if<MakeChild>(&sa.request->make); make && make->spi_in) {
    core.release_spi(make->spi_in);
  }
  sa.request.reset();
  core.touch(sa);
  core.touch(sa.connection);
}

}  // namespace culvert::ikev2
