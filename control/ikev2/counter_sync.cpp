#include "control/ikev2/counter_sync.hpp"

#include <algorithm>
#include <utility>

#include "control/ike/retransmit.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/commands.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/exchange_informational.hpp"
#include "control/ikev2/exchange_rekey_ike.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/message_rules.hpp"
#include "control/ikev2/traced.hpp"
#include "control/ikev2/transport.hpp"
#include "control/ikev2/window.hpp"

namespace culvert::ikev2 {

namespace {

constexpr auto kSyncPause = seconds{5};
constexpr auto kGapPatience = seconds{10};
constexpr auto kFirstSyncWait = seconds{1};  // for an answer; twice as long each time
constexpr unsigned kSyncAttempts = 5;
/// More than a gateway sends in the time in which the knowledge of its counters can be old; one in 4,096 of what an SA has.
constexpr std::uint64_t kOwnDelta = std::uint64_t{1} << 20;

void drop_sync(Core& core, const Incoming& in, const IkeSa& sa, Reason reason, const std::string& why) {
  const char* what = in.response() ? "an answer about message IDs" : "a request to set message IDs right";
  core.shared.junk(in.now, in.datagram.remote, Exchange::CounterSync, reason,
                   core.connection(sa).name + ": " + what + " is dropped: " + why + ".");
}

/// What is in a message with ID 0, if it has to do with this. Anything else is left to those whose it is, nothing having been counted.
std::optional<Message> sync_message(Core& core, const Incoming& in, IkeSa& sa) {
  const ike::Header& h = in.header();
  const bool there = sa.established() || std::holds_alternative<Closing>(sa.state);
  if (h.exchange != ike::kExchangeInformationalV2 || h.message_id.value != 0 || !there || PayloadType{h.next_payload} != PayloadType::Sk)
    return std::nullopt;
  const auto opened = sa.open->open(in.framed.message);
  if (!opened) return std::nullopt;
  auto m = Message::parse(opened->first, opened->chain);
  if (!m || !m->notify(NotifyType::Ikev2MessageIdSync)) return std::nullopt;
  if (!core.shared.watches.empty()) trace_opened(core, in, sa, *m);
  return std::move(*m);
}

/// The one notification of a type; error: there are several.
std::expected<const Notify*, std::string> only(const Message& m, NotifyType type) {
  const Notify* out = nullptr;
  for (const Notify* n : m.all<Notify>()) {
    if (n->type != type) continue;
    if (out) return std::unexpected(name(type) + " comes twice");
    out = n;
  }
  return out;
}

/// Both notifications, as they must be.
struct SyncContent {
  SyncNumbers numbers;
  std::uint64_t delta = 0;
};
std::expected<SyncContent, std::string> content_of(const Message& m) {
  if (const auto fault = check(MessageKind::Informational, m)) return std::unexpected(*fault);
  if (std::ranges::any_of(m.payloads(), [](const Payload& p) { return p.type != PayloadType::Notify; }))
    return std::unexpected("there is something else in it");
  const auto ids = only(m, NotifyType::Ikev2MessageIdSync), replay = only(m, NotifyType::IpsecReplayCounterSync);
  if (!ids || !replay) return std::unexpected(!ids ? ids.error() : replay.error());
  const auto numbers = read_sync((*ids)->data);
  if (!numbers) return std::unexpected("its data are not a nonce and two message IDs (RFC 6311 §5.1)");
  const auto delta = *replay ? read_delta((*replay)->data) : std::optional<std::uint64_t>(0);
  if (!delta) return std::unexpected("what it adds to sequence numbers is not of 4 or 8 bytes, or more than there are");
  return SyncContent{*numbers, *delta};
}

MessageIds ids_of(const IkeSa& sa) {
  const std::uint32_t next = sa.next_expected + (sa.answering ? 1U : 0U);
  return {sa.next_request, sa.window.early.empty() ? next : highest(sa, next) + 1};
}

void skip(Core& core, const IkeSa& sa, Direction direction, std::uint64_t count) {
  const bool in = direction == Direction::Inbound;
  for (const Child& child : sa.children)
    if (count > 0 && child.life != Life::Ended && (in || !child.outbound))
      core.shared.actions.emplace_back(ike::SkipNumbers{child.pair, in ? child.spi_in : child.spi_out, direction, count});
}

/// A CREATE_CHILD_SA of ours, of which nobody knows whether whoever had it before has made something of it. What may be there is deleted,
/// and it is tried anew.
void begin_anew(Core& core, TimePoint now, IkeSa& sa) {
  const Request old = *sa.request;
  abandon_request(core, sa);
  if (const auto* make = std::get_if<MakeChild>(&old.make)) {
    if (make->spi_in && !make->suites.empty()) say_deleted(core, sa, make->spi_in, make->suites.front().protocol);
    if (Child* replaced = sa.find(make->rekeyed)) {
      replaced->due = false;
      replaced->rekey_at = now;
      return replaced_by_heir(core, now, sa, make->rekeyed);
    }
    core.run(sa.connection).children.at(make->child).retry_at = now;
    return;
  }
  if (Established* est = sa.established()) est->rekey_at = now;
  yield_to_successor(core, now, sa);
}

/// From now on the peer's requests have these; what was answered under other ones is forgotten.
void expect(Core& core, IkeSa& sa, std::uint32_t next) {
  abandon_answering(core, sa);
  go_on_to(sa, next);
  sa.last_answer.clear();
  sa.window.kept.clear();
  sa.last_print = 0;
  sa.repeats = 0;
  sa.opened_by.reset();
}

/// ... and ours these. What was asked under other ones is asked again.
void go_on_from(Core& core, TimePoint now, IkeSa& sa, std::uint32_t next) {
  sa.next_request = next;
  core.touch(sa);
  if (!sa.request || !std::holds_alternative<RequestSent>(sa.request->state)) return;
  if (sa.request->moot) return sa.request.reset();
  if (sa.request->make.index() != 0) return begin_anew(core, now, sa);
  const Task task = sa.request->task;
  sa.request.reset();
  begin_informational(core, now, sa, task);
}

std::string ids_text(const MessageIds& ids) {
  return "ours go on from " + std::to_string(ids.next_send) + ", the peer's from " + std::to_string(ids.next_expected);
}

}  // namespace

void offer_sync(const Core& core, const IkeSa& sa, Builder& out) {
  if (!core.connection(sa).counter_sync.enabled) return;
  out.notify(NotifyType::Ikev2MessageIdSyncSupported).notify(NotifyType::IpsecReplayCounterSyncSupported);
}

void note_sync(const Core& core, IkeSa& sa, const Message& m) {
  const bool ours = core.connection(sa).counter_sync.enabled;
  sa.sync.ids = ours && m.notify(NotifyType::Ikev2MessageIdSyncSupported);
  sa.sync.replay = ours && m.notify(NotifyType::IpsecReplayCounterSyncSupported);
}

void confirm_sync(const IkeSa& sa, Builder& out) {
  if (sa.sync.ids) out.notify(NotifyType::Ikev2MessageIdSyncSupported);
  if (sa.sync.replay) out.notify(NotifyType::IpsecReplayCounterSyncSupported);
}

// ---------------------------------------------------------------------------------------------------------------- the peer's

bool on_sync_request(Core& core, const Incoming& in, IkeSa& sa) {
  const auto m = sync_message(core, in, sa);
  if (!m) return false;
  const auto drop = [&](Reason reason, const std::string& why) {
    drop_sync(core, in, sa, reason, why);
    return true;
  };
  if (!sa.sync.ids) {
    drop(Reason::Unexpected, "that was not agreed on in IKE_AUTH (IKEV2_MESSAGE_ID_SYNC_SUPPORTED)");
    return sa.next_expected != 0;  // else it is an ordinary request as well, and due
  }
  const auto content = content_of(*m);
  if (!content) return drop(Reason::Malformed, content.error());
  const auto reply = answer_sync(ids_of(sa), sa.sync, content->numbers);
  if (!reply) return drop(Reason::Unexpected, reply.error());
  if (!sa.sync.budget.take(in.now)) return drop(Reason::Limit, "there were too many of late");
  heard(core, in, sa);
  sa.sync.highest_m1 = content->numbers.send;
  const std::uint64_t delta = sa.sync.replay ? content->delta : 0;
  skip(core, sa, Direction::Outbound, delta);
  abandon_answering(core, sa);
  answer(core, in.now, sa, ike::kExchangeInformationalV2, 0, Builder().notify(NotifyType::Ikev2MessageIdSync, encode_sync(*reply)));
  const MessageIds now_on{reply->send, reply->recv};
  expect(core, sa, now_on.next_expected);
  go_on_from(core, in.now, sa, now_on.next_send);
  core.ended(in.now, sa, Exchange::CounterSync, Role::Responder, Reason::Ok,
             "The peer has set message IDs right: " + ids_text(now_on) +
                 (delta > 0 ? "; our SAs leave out " + std::to_string(delta) + " sequence numbers." : "."));
  return true;
}

void note_replay_sync(Core& core, const Incoming& in, IkeSa& sa, const Message& m) {
  if (!m.notify(NotifyType::IpsecReplayCounterSync)) return;
  const auto n = only(m, NotifyType::IpsecReplayCounterSync);
  const auto delta = n ? read_delta((*n)->data) : std::nullopt;
  if (!sa.sync.replay) return drop_sync(core, in, sa, Reason::Unexpected, "IPSEC_REPLAY_COUNTER_SYNC was not agreed on in IKE_AUTH");
  if (!delta)
    return drop_sync(core, in, sa, Reason::Malformed, "what it adds to sequence numbers comes twice, or has no size that it may have");
  if (!sa.sync.budget.take(in.now)) return drop_sync(core, in, sa, Reason::Limit, "there were too many of late");
  skip(core, sa, Direction::Outbound, *delta);
  core.ended(in.now, sa, Exchange::CounterSync, Role::Responder, Reason::Ok,
             "The peer has our SAs leave out " + std::to_string(*delta) + " sequence numbers.");
}

// ---------------------------------------------------------------------------------------------------------------- ours

namespace {

void sync_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text) {
  sa.sync.own.reset();
  core.ended(now, sa, Exchange::CounterSync, Role::Initiator, reason, text, {}, {.number = 1});
}

void ask_for_sync(Core& core, TimePoint now, IkeSa& sa) {
  OwnSync& own = *sa.sync.own;
  auto numbers = propose_sync(ids_of(sa), sa.sync, own.attempts, core.shared.random(kSyncNonceBytes));
  if (!numbers)
    return sync_failed(core, now, sa, Reason::Limit, "The IKE SA has hardly any message IDs left to agree on: it must be rekeyed.");
  own.asked = std::move(*numbers);
  sa.sync.highest_own = own.asked.send;
  Builder b;
  b.notify(NotifyType::Ikev2MessageIdSync, encode_sync(own.asked));
  const auto extended = [](const Child& child) { return child.suite.esn; };
  if (own.delta > 0) b.notify(NotifyType::IpsecReplayCounterSync, encode_delta(own.delta, std::ranges::any_of(sa.children, extended)));
  send_apart(core, now, sa, ike::kExchangeInformationalV2, 0, b);
  own.next_at = now + ike::jitter(core.services, kFirstSyncWait * (1U << own.attempts));
  ++own.attempts;
  core.touch(sa);
}

/// Why it cannot begin.
std::optional<std::string> no_sync(const Core& core, TimePoint now, const IkeSa& sa) {
  const Established* est = sa.established();
  if (!est || est->replaced || est->leaving) return "it is not up";
  if (!core.connection(sa).counter_sync.enabled) return "the configuration says counter_sync: no";
  if (!sa.sync.ids) return "the peer cannot do it (no IKEV2_MESSAGE_ID_SYNC_SUPPORTED in its IKE_AUTH)";
  if (sa.sync.own && !sa.sync.in_doubt) return "it is under way";
  if (now < sa.sync.quiet_until) return "it was done a moment ago";
  return std::nullopt;
}

}  // namespace

bool on_sync_response(Core& core, const Incoming& in, IkeSa& sa) {
  if (!sa.sync.highest_own) return false;
  const auto m = sync_message(core, in, sa);
  if (!m) return false;
  const auto drop = [&](Reason reason, const std::string& why) {
    drop_sync(core, in, sa, reason, why);
    return true;
  };
  if (!sa.sync.own) return drop(Reason::Unexpected, "no request of ours waits for it");
  const auto content = content_of(*m);
  if (!content) return drop(Reason::Malformed, content.error());
  const auto ids = take_sync_answer(ids_of(sa), *sa.sync.own, content->numbers);
  if (!ids) return drop(Reason::Unexpected, ids.error());
  const std::uint64_t delta = std::exchange(sa.sync.own, std::nullopt)->delta;
  sa.sync.in_doubt.reset();
  heard(core, in, sa);
  skip(core, sa, Direction::Outbound, delta);
  skip(core, sa, Direction::Inbound, delta);
  // The peer goes on from where its answer says: what it has asked since it gave that stands.
  if (content->numbers.send > sa.next_expected) expect(core, sa, ids->next_expected);
  go_on_from(core, in.now, sa, ids->next_send);
  core.ended(in.now, sa, Exchange::CounterSync, Role::Initiator, Reason::Ok,
             "Message IDs are set right with the peer: " + ids_text(*ids) +
                 (delta > 0 ? "; the SAs of both sides leave out " + std::to_string(delta) + " sequence numbers." : "."));
  return true;
}

void sync_in_doubt(Core& core, TimePoint now, IkeSa& sa) {
  const Established* est = sa.established();
  if (!sa.sync.in_doubt || sa.sync.own || !est || est->replaced) return;
  sa.sync.own = OwnSync{.asked = {}, .delta = 0, .attempts = 0, .next_at = now};
  ask_for_sync(core, now, sa);
}

void ids_proven(IkeSa& sa) {
  if (sa.sync.in_doubt && sa.request && sa.request->begun > *sa.sync.in_doubt) sa.sync.in_doubt.reset();
}

void follow_ids(Core& core, const Incoming& in, IkeSa& sa) {
  const std::uint32_t id = in.header().message_id.value;
  if (!sa.sync.own && !sa.sync.in_doubt) return;
  const auto& early = sa.window.early;
  // One that may come early is the peer's next one, if nothing before it comes, though the peer has had the time to ask that again.
  const bool waits = !early.empty() && early.begin()->first == id && in.now >= early.begin()->second.came + kGapPatience;
  if (id <= sa.next_expected + (sa.answering ? 1U : 0U) || (may_wait(sa, id) && !waits)) return;
  if (id > kMaxSyncId || !sa.open->open(in.framed.message)) return;
  expect(core, sa, id);
}

ike::CommandResult sync_counters(Core& core, TimePoint now, std::size_t connection, const std::string& peer) {
  const std::string& name = core.config.connections[connection].name;
  if (core.shared.shutting_down) return {false, "The gateway is shutting down."};
  std::size_t begun = 0;
  std::string why;
  for (IkeSa* sa : sas_of_peer(core, connection, peer)) {
    if (const auto not_now = no_sync(core, now, *sa)) {
      if (why.empty()) why = *not_now;
      continue;
    }
    const bool replay = sa->sync.replay && !sa->children.empty();
    sa->sync.own = OwnSync{.asked = {}, .delta = replay ? kOwnDelta : 0, .attempts = 0, .next_at = now};
    sa->sync.quiet_until = now + kSyncPause;
    ask_for_sync(core, now, *sa);
    // What is under way is not to end before we know by which IDs.
    if (auto* sent = sa->request ? std::get_if<RequestSent>(&sa->request->state) : nullptr)
      sent->tx = Outstanding(now, {}, core.config.ike, core.services);
    ++begun;
  }
  if (begun > 0)
    return {true, "Setting counters right under " + std::to_string(begun) + (begun == 1 ? " IKE SA" : " IKE SAs") + " of \"" + name +
                      "\"; `culvert log` says how it ends."};
  if (why.empty()) return {false, "\"" + name + "\" has no IKE SA" + (peer.empty() ? "." : " with \"" + peer + "\".")};
  return {false, "Nothing is done under the IKE SA of \"" + name + "\": " + why + "."};
}

void on_sync_timer(Core& core, TimePoint now, IkeSa& sa) {
  if (!sa.sync.own || now < sa.sync.own->next_at) return;
  if (!sa.established() || sa.established()->replaced) return sa.sync.own.reset();
  if (sa.sync.own->attempts < kSyncAttempts) return ask_for_sync(core, now, sa);
  if (!sa.sync.in_doubt) sa.sync.in_doubt = now;
  sync_failed(core, now, sa, Reason::Timeout,
              "The peer does not answer our requests to set message IDs right, the last of which proposed " +
                  std::to_string(sa.sync.own->asked.send) + ": it has seen higher ones, has lost the IKE SA, or cannot be reached.");
}

std::optional<TimePoint> sync_deadline(const IkeSa& sa) { return sa.sync.own ? std::optional(sa.sync.own->next_at) : std::nullopt; }

}  // namespace culvert::ikev2
