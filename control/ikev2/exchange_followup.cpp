#include "control/ikev2/exchange_followup.hpp"

#include <algorithm>
#include <utility>

#include "control/ikev2/children.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/message_rules.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint8_t kFollowupKe = ike::kExchangeFollowupKe;
constexpr std::size_t kLinkBytes = 16;                 // nobody but the peer sees it
constexpr std::size_t kMaxLinkBytes = 1024;            // of the peer's, which we send back
constexpr auto kPatience = std::chrono::seconds{120};  // for the peer's next one

void append_secret(SecretBytes& to, const SecretBytes& more) {
  SecretBytes both(to.size() + more.size());
  std::ranges::copy(to.view(), both.mutable_view().begin());
  std::ranges::copy(more.view(), both.mutable_view().begin() + static_cast<std::ptrdiff_t>(to.size()));
  to = std::move(both);
}
void add_secret(FollowUpKeys& keys, const SecretBytes& shared) {
  if (keys.first.empty()) {
    keys.first = shared;
    return;
  }
  append_secret(keys.more, shared);
  ++keys.done;
}
/// "additional key exchange 2 of 3 (ecp384)"
std::string which_followup(const FollowUpKeys& keys) {
  const DhInfo* info = keys.due() == DhGroup::None ? nullptr : find_ke(keys.due());
  return "additional key exchange " + std::to_string(keys.done + 1) + " of " + std::to_string(keys.methods.size()) +
         (info ? " (" + std::string(info->name) + ")" : "");
}
/// What links the next one, if it can be that.
const Bytes* link_of(const Message& m) {
  const Notify* n = m.notify(NotifyType::AdditionalKeyExchange);
  return n && !n->data.empty() && n->data.size() <= kMaxLinkBytes ? &n->data : nullptr;
}

std::optional<std::size_t> pending_child(const Pending& p) {
  const auto* child = std::get_if<AnsweringChild>(&p.what);
  return child ? std::optional(child->pair.child) : std::nullopt;
}

/// The peer's CREATE_CHILD_SA comes to nothing.
void refuse_followup(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, Reason reason, const std::string& text, NotifyType type) {
  const auto child = sa.pending ? pending_child(*sa.pending) : std::nullopt;
  abandon_followups(core, sa);
  answer_error(core, now, sa, kFollowupKe, id, type);
  if (reason == Reason::Ok) return;  // it asks again
  core.ended(now, sa, Exchange::IkeFollowupKe, Role::Responder, reason, text, child, {.number = 1});
}

/// Whether the CHILD SA may still be made: what it is in the place of may have gone meanwhile, or be about to (RFC 7296 §2.25.1).
bool still_wanted(IkeSa& sa, const AnsweringChild& what) {
  if (what.pair.rekeyed == 0) return true;
  const Child* old = sa.find(what.pair.rekeyed);
  return old && (old->life == Life::Live || old->life == Life::Replaced);
}

}  // namespace

bool expect_followups(Request& request, const AdditionalKes& more, const Message& answer) {
  const auto methods = in_order(more);
  if (methods.empty()) return true;
  const Bytes* link = link_of(answer);
  if (!link) return false;
  request.more = FollowUps{.keys = {.methods = methods}, .agreed = {}, .link = *link, .key = nullptr};
  return true;
}

bool go_on_with_followups(Core& core, IkeSa& sa, const SecretBytes& shared) {
  Request& request = *sa.request;
  if (!request.more) return false;
  FollowUps& more = *request.more;
  add_secret(more.keys, shared);
  const DhGroup next = more.keys.due();
  if (next == DhGroup::None) return false;
  more.agreed = std::move(std::get<RequestDeriving>(request.state));
  make_request_key(core, sa, request, next);
  return true;
}

void send_followup(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result) {
  Request& request = *sa.request;
  FollowUps& more = *request.more;
  more.key = result.key;
  Builder b;
  b.add(Ke{more.keys.due(), result.public_value}).notify(NotifyType::AdditionalKeyExchange, more.link);
  request.id = sa.next_request;
  request.rounds = 0;
  request.state = RequestSent{send_request(core, now, sa, kFollowupKe, b)};
}

void on_followup_response(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  Request& request = *sa.request;
  FollowUps& more = *request.more;
  const std::string what = which_followup(more.keys);
  const auto fails = [&](Reason reason, const std::string& text, Cause cause = {.number = 2}) {
    request_failed(core, in.now, sa, reason, text, std::move(cause));
  };
  if (const Notify* error = m.error()) {
    if (error->type == NotifyType::TemporaryFailure) return request_put_off(core, in.now, sa);
    return fails(Reason::PeerRefused, "The peer refused " + what + " with " + name(error->type) + ".",
                 {.number = 1, .said = name(error->type), .said_proven = true});
  }
  if (const auto fault = check(MessageKind::KeyExchange, m)) return fails(Reason::BadPayloads, "The answer to IKE_FOLLOWUP_KE: " + *fault);
  const Ke& ke = *m.find<Ke>();
  if (ke.group != more.keys.due()) return fails(Reason::BadKe, "The peer's value in " + what + " is of another method.");
  const bool last = more.keys.done + 1 == more.keys.methods.size();
  const Bytes* link = link_of(m);
  if (!last && !link) return fails(Reason::BadPayloads, "The answer to " + what + " lacks what links the next one (RFC 9370 §2.2.4).");
  if (link) more.link = *link;
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, ke.group, more.key, ke.data});
  RequestDeriving next = std::move(more.agreed);
  next.job = job;
  request.state = std::move(next);
}

void await_followups(Core& core, TimePoint now, IkeSa& sa, std::variant<AnsweringChild, AnsweringIke> what, const SecretBytes& first,
                     Builder& answer) {
  abandon_followups(core, sa);
  const auto* child = std::get_if<AnsweringChild>(&what);
  const AdditionalKes& more = child ? child->pair.suite.more : std::get<AnsweringIke>(what).suite.more;
  Pending next{
      .what = std::move(what), .keys = {.methods = in_order(more)}, .link = core.shared.random(kLinkBytes), .until = now + kPatience};
  add_secret(next.keys, first);
  answer.notify(NotifyType::AdditionalKeyExchange, next.link);
  sa.pending = std::move(next);
  core.touch(sa);
}

void on_followup_request(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  const std::uint32_t id = in.header().message_id.value;
  const auto fails = [&](Reason reason, const std::string& text, NotifyType type = NotifyType::InvalidSyntax) {
    refuse_followup(core, in.now, sa, id, reason, text, type);
  };
  if (const auto fault = check(MessageKind::KeyExchange, m)) return fails(Reason::BadPayloads, "IKE_FOLLOWUP_KE: " + *fault);
  const Bytes* link = link_of(m);
  if (!link) return fails(Reason::BadPayloads, "IKE_FOLLOWUP_KE does not say what it goes on with (RFC 9370 §2.2.4).");
  if (!sa.pending || *link != sa.pending->link) {
    // What is waited for is another one, which stays.
    answer_error(core, in.now, sa, kFollowupKe, id, NotifyType::StateNotFound);
    return core.ended(in.now, sa, Exchange::IkeFollowupKe, Role::Responder, Reason::Unexpected,
                      "IKE_FOLLOWUP_KE goes on with what nobody here knows, or knows no more (STATE_NOT_FOUND).", {}, {.number = 1});
  }
  // RFC 7296 §2.25.2: nothing new under an SA that is on its way out.
  if (sa.established()->replaced || sa.established()->leaving) return fails(Reason::Ok, {}, NotifyType::TemporaryFailure);
  const Ke& ke = *m.find<Ke>();
  const DhGroup method = sa.pending->keys.due();
  if (ke.group != method) return fails(Reason::BadKe, "The peer's value in " + which_followup(sa.pending->keys) + " is of another method.");
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, method, nullptr, ke.data});
  sa.answering = Answering{id, job, AnsweringFollowUp{}};
}

void on_followup_key(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result) {
  const std::uint32_t id = sa.answering->id;
  if (!sa.pending || !sa.established() || sa.established()->replaced)
    return refuse_followup(core, now, sa, id, Reason::Ok, {}, NotifyType::TemporaryFailure);
  if (!result.ok)
    return refuse_followup(core, now, sa, id, Reason::BadKe, "The peer's value in " + which_followup(sa.pending->keys) + " is invalid.",
                           NotifyType::InvalidSyntax);
  Pending& pending = *sa.pending;
  const Ke ke{pending.keys.due(), result.public_value};
  add_secret(pending.keys, result.shared);
  if (pending.keys.due() != DhGroup::None) {
    pending.link = core.shared.random(kLinkBytes);
    pending.until = now + kPatience;
    core.touch(sa);
    return answer(core, now, sa, kFollowupKe, id, Builder().add(ke).notify(NotifyType::AdditionalKeyExchange, pending.link));
  }
  Pending done = std::move(*std::exchange(sa.pending, std::nullopt));
  if (auto* ike = std::get_if<AnsweringIke>(&done.what)) {
    // A CHILD SA that we make under this one meanwhile would belong to neither (RFC 7296 §2.25.2).
    if (core.table.size() >= ike::kMaxIkeSas || sa.successor || (sa.request && std::holds_alternative<MakeChild>(sa.request->make)))
      return answer_error(core, now, sa, kFollowupKe, id, NotifyType::TemporaryFailure);
    return answer_ike(core, now, sa, std::move(*ike), id, done.keys, Builder().add(ke), kFollowupKe);
  }
  auto& child = std::get<AnsweringChild>(done.what);
  if (!still_wanted(sa, child)) {
    forget_pair(core, child.pair, false);
    return answer_error(core, now, sa, kFollowupKe, id, NotifyType::TemporaryFailure);
  }
  child.last = ke;
  derive_pair(sa, child.pair, Role::Responder, child.nonce_i, child.nonce_r, &done.keys.first, done.keys.more.view());
  const JobId job = install_inbound(core, sa, child.pair);
  sa.answering = Answering{id, job, std::move(child)};
}

void abandon_followups(Core& core, IkeSa& sa) {
  if (!sa.pending) return;
  if (const auto* child = std::get_if<AnsweringChild>(&sa.pending->what)) core.release_spi(child->pair.spi_in);
  sa.pending.reset();
}

}  // namespace culvert::ikev2
