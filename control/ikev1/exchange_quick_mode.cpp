// Quick Mode: what both roles share. The ladder is in the header.
#include "control/ikev1/exchange_quick_mode.hpp"

#include <algorithm>

#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/selectors.hpp"

namespace culvert::ikev1 {

bool finished(const QuickMode& qm) { return std::holds_alternative<QmDone>(qm.state) || std::holds_alternative<QmDenied>(qm.state); }

SaName inbound_name(const QuickMode& qm) {
  return std::visit(
      [&](const auto& state) -> SaName {
        if constexpr (requires { state.pending; })
          return {qm.spi_in, state.pending.suite.protocol};
        else
          return {qm.spi_in};
      },
      qm.state);
}

void drop_unproven(Core& core, const Incoming& in, const IsakmpSa& sa, Reason reason, std::string text) {
  core.junk(in.now, in.datagram.remote, Exchange::QuickMode, reason, core.connection(sa).name + ": " + std::move(text));
}

void on_quick_mode(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const auto id = core.table.find(h.spi_i, h.spi_r);
  IsakmpSa* sa = id ? core.find(*id) : nullptr;
  if (!sa)
    return core.junk(in.now, in.datagram.remote, Exchange::QuickMode, Reason::UnknownSa,
                     "A Quick Mode message names cookies that nobody here has.");
  if (std::holds_alternative<MmClosing>(sa->state)) return repeat_delete(core, in.now, *sa);
  MmEstablished* est = sa->established();
  if (!est || !h.message_id || !h.encrypted())
    return drop_unproven(core, in, *sa, Reason::Unexpected,
                         "A Quick Mode message came in clear, without a message id, or before phase 1 was over.");
  if (!est->access.proved()) return drop_unproven(core, in, *sa, Reason::Unexpected, "A Quick Mode message came before XAuth was done.");

  const auto it = sa->quick_modes.find(h.message_id);
  if (it == sa->quick_modes.end()) {
    if (sa->used_ids.contains(h.message_id)) return;  // a late copy of an exchange that is over
    return on_quick_message_1(core, in, *sa, *est);
  }
  QuickMode& qm = it->second;
  switch (qm.replies.check(in.framed.message, ike::kMaxRepeatsProven)) {
    case ike::Duplicate::Answer:
      linger(core, in.now, *sa, qm);
      return core.send(in.now, *sa, Bytes(qm.replies.reply()));
    case ike::Duplicate::Ignore:
      return;
    case ike::Duplicate::New:
      break;
  }
  if (auto* s = std::get_if<QmAwaitReply>(&qm.state)) return on_quick_message_2(core, in, *sa, qm, *s);
  if (auto* s = std::get_if<QmAwaitConfirm>(&qm.state)) return on_quick_message_3(core, in, *sa, qm, *s);
  if (std::holds_alternative<QmAwaitConnected>(qm.state)) return on_quick_message_4(core, in, *sa, qm);
  drop_unproven(core, in, *sa, Reason::Unexpected, "A Quick Mode message does not fit the state of its exchange.");
}

void on_quick_mode_dh(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, const ike::DhResult& result, JobId job) {
  if (auto* s = std::get_if<QmMakingKey>(&qm.state); s && s->job == job) {
    if (!result.ok) return quick_mode_failed(core, now, sa, qm, Reason::Internal, "A Diffie-Hellman key pair could not be made.");
    return send_quick_message_1(core, now, sa, qm, result.key, result.public_value);
  }
  const char* bad = "The peer's key exchange value is invalid for its group.";
  if (auto* s = std::get_if<QmDeriving>(&qm.state); s && s->job == job) {
    if (!result.ok) return quick_mode_failed(core, now, sa, qm, Reason::BadKe, bad);
    return install_initiators_inbound(core, now, sa, qm, *s, result.shared);
  }
  if (auto* s = std::get_if<QmAnswering>(&qm.state); s && s->job == job) {
    if (!result.ok) return quick_mode_failed(core, now, sa, qm, Reason::BadKe, bad);
    return install_responders_inbound(core, now, sa, qm, *s, &result);
  }
}

namespace {
/// The peer may send under the new pair together with message 3, and its first packets are answered within microseconds: where the
/// child has no other pair, whose place an unconfirmed one must not take, the outbound SA is there before. Not where the peer has set the
/// commit bit; one that it sets in message 3 alone comes too late: the SA has sent, and its key must not begin again at sequence number 0.
void install_early(Core& core, IsakmpSa& sa, QuickMode& qm, PendingPair& pending) {
  if (qm.commit || !core.run(sa.connection).children.at(qm.child).pairs.empty()) return;
  for (const IsakmpSa* any : core.sas_of(sa.connection))
    for (const auto& [id, other] : any->quick_modes)
      if (other.child == qm.child && other.pair != qm.pair && !finished(other)) return;
  qm.early_out = pending.spi_out;
  install(core, sa, qm, Direction::Outbound, pending);
}
}  // namespace

void on_quick_mode_installed(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, JobId job, bool ok, const std::string& error) {
  const auto refused = [&] {
    quick_mode_failed(core, now, sa, qm, Reason::InstallFailed, "The data plane refused the inbound SA: " + error + ".");
  };
  if (auto* s = std::get_if<QmInstalling>(&qm.state); s && s->job == job) {
    if (!ok) return refused();
    const Bytes message3 = std::move(s->message3);
    PendingPair pending = std::move(s->pending);
    qm.replies.set_reply(message3);
    core.send(now, sa, message3);
    return wait_or_go_on(core, now, sa, qm, std::move(pending));
  }
  if (auto* s = std::get_if<QmInstallingInbound>(&qm.state); s && s->job == job) {
    if (!ok) return refused();
    QmAwaitConfirm next{std::move(s->pending), std::move(s->nonce_i), std::move(s->nonce_r),
                        Outstanding(now, s->message2, core.config.ike, core.services)};
    qm.replies.set_reply(std::move(s->message2));
    qm.state = std::move(next);
    core.send(now, sa, Bytes(qm.replies.reply()));
    install_early(core, sa, qm, std::get<QmAwaitConfirm>(qm.state).pending);
  }
}

void on_quick_mode_traffic(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm) {
  if (auto* s = std::get_if<QmAwaitConfirm>(&qm.state)) return confirm(core, now, sa, qm, *s);
  go_on(core, now, sa, qm);
}

void wait_or_go_on(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, PendingPair pending) {
  if (qm.commit && !qm.early_out && !qm.connected) {
    qm.state = QmAwaitConnected{std::move(pending), now + kConnectedWait};
    core.touch(sa);
    return;
  }
  qm.state = QmDone{now + kQuickModeMemory};
  pair_ready(core, now, sa, qm, pending);
}

void go_on(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm) {
  auto* s = std::get_if<QmAwaitConnected>(&qm.state);
  if (!s) return;
  PendingPair pending = std::move(s->pending);
  qm.state = QmDone{now + kQuickModeMemory};
  core.touch(sa);
  pair_ready(core, now, sa, qm, pending);
}

void on_quick_message_4(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm) {
  const MmEstablished& est = *sa.established();
  const auto opened = open_sealed(in, MessageKind::Informational, est.keys.cipher, qm.iv);
  if (!opened) return drop_unproven(core, in, sa, opened.error().reason, opened.error().text);
  if (!equal_constant_time(informational_hash(est.keys.secrets, qm.id, opened->message.behind(0)), opened->message.find<Hash>()->data))
    return drop_unproven(core, in, sa, Reason::BadHash, "The hash of a Quick Mode's fourth message is wrong.");
  heard_from(core, in, sa);
  qm.replies.accept(in.framed.message);
  const auto all = opened->message.all<Notify>();
  if (std::ranges::any_of(all, [](const Notify* n) { return n->type == NotifyType::Connected; })) go_on(core, in.now, sa, qm);
}

namespace {

/// Takes back what the exchange has in the data plane.
void give_back(Core& core, const QuickMode& qm) {
  const bool installed = std::holds_alternative<QmInstalling>(qm.state) || std::holds_alternative<QmInstallingInbound>(qm.state) ||
                         std::holds_alternative<QmAwaitConfirm>(qm.state) || std::holds_alternative<QmAwaitConnected>(qm.state);
  if (installed) core.actions.emplace_back(ike::RemoveSa{qm.pair, Direction::Inbound, qm.spi_in});
  if (qm.early_out) core.actions.emplace_back(ike::RemoveSa{qm.pair, Direction::Outbound, qm.early_out});
  if (qm.spi_in) core.release_spi(qm.spi_in);
}

/// Under the ISAKMP SA that the peer has now: one that has replaced its own looks for its pairs there, and nowhere else (strongSwan).
void say_denied(Core& core, TimePoint now, IsakmpSa& sa, SaName ours) {
  if (core.owner_of(ours.spi)) return;  // the number has a new meaning
  IsakmpSa* current = sa_for(core, sa.connection, sa.line);
  IsakmpSa& by = current ? *current : sa;
  Builder b;
  add_deletes(b, {ours});
  core.send(now, by, informational(core, by, by.established()->keys, std::move(b)));
}

/// Message 3 did not come.
void deny(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm) {
  give_back(core, qm);
  core.ended(now, sa, Exchange::QuickMode, qm.role, Reason::Timeout, "The peer did not confirm with message 3, nor by traffic.", qm.child,
             {.number = 3});
  const SaName ours = inbound_name(qm);
  say_denied(core, now, sa, ours);
  qm.replies.set_reply({});
  qm.state = QmDenied{ours, Outstanding(now, {}, core.config.ike, core.services)};
  core.touch(sa);
  core.touch(sa.connection);
}

/// False: the exchange is gone.
void poll(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm) {
  if (const auto* waiting = std::get_if<QmAwaitConnected>(&qm.state)) {
    if (now >= waiting->give_up_at) go_on(core, now, sa, qm);
    return;
  }
  if (const auto* done = std::get_if<QmDone>(&qm.state)) {
    if (now >= done->forget_at) sa.quick_modes.erase(qm.id);
    return;
  }
  Outstanding* tx = outstanding(qm.state);
  const ike::Due due = tx ? tx->poll(now, core.config.ike, core.services) : ike::Due::Nothing;
  if (const auto* denied = std::get_if<QmDenied>(&qm.state)) {
    if (due == ike::Due::SendAgain) say_denied(core, now, sa, denied->ours);
    if (due == ike::Due::GiveUp) sa.quick_modes.erase(qm.id);
    return;
  }
  if (due == ike::Due::SendAgain) core.send(now, sa, Bytes(tx->message()));
  if (due != ike::Due::GiveUp && now < qm.give_up_at) return;
  if (std::holds_alternative<QmAwaitConfirm>(qm.state)) return deny(core, now, sa, qm);
  const MmEstablished* est = sa.established();
  const bool mute = tx && est && est->dpd.last_message < qm.begun;
  quick_mode_failed(core, now, sa, qm, Reason::Timeout,
                    tx ? "No answer to message 1 of Quick Mode after " + std::to_string(tx->sent()) + " attempts."
                       : "The data plane or the key exchange did not finish in time.",
                    {.number = tx ? 1U : 0U, .by = tx ? ike::RefusedBy::Nobody : ike::RefusedBy::Us});
  // Traffic may show that the peer lives, yet it says nothing on this ISAKMP SA: it does not have it any more.
  if (mute)
    close_isakmp(core, now, sa, Reason::Timeout,
                 "The peer does not answer on this ISAKMP SA, which is given up; another one will be negotiated.");
}

}  // namespace

void on_quick_modes_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  std::vector<MessageId> ids;
  for (const auto& [id, qm] : sa.quick_modes) ids.push_back(id);
  for (const MessageId id : ids)
    if (const auto it = sa.quick_modes.find(id); it != sa.quick_modes.end()) poll(core, now, sa, it->second);
}

std::optional<TimePoint> quick_modes_deadline(const IsakmpSa& sa) {
  std::optional<TimePoint> out;
  const auto consider = [&](TimePoint t) { out = out ? std::min(*out, t) : t; };
  for (const auto& [id, qm] : sa.quick_modes) {
    if (const auto* s = std::get_if<QmDone>(&qm.state)) {
      consider(s->forget_at);
      continue;
    }
    if (const auto* s = std::get_if<QmDenied>(&qm.state)) {
      consider(s->tx.deadline());
      continue;
    }
    if (const auto* s = std::get_if<QmAwaitConnected>(&qm.state)) {
      consider(s->give_up_at);
      continue;
    }
    consider(qm.give_up_at);
    if (const auto* s = std::get_if<QmAwaitReply>(&qm.state)) consider(s->tx.deadline());
    if (const auto* s = std::get_if<QmAwaitConfirm>(&qm.state)) consider(s->tx.deadline());
  }
  return out;
}

void quick_mode_failed(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, Reason reason, const std::string& message,
                       ike::Cause cause) {
  give_back(core, qm);
  const std::size_t child = qm.child;
  const Role role = qm.role;
  core.ended(now, sa, Exchange::QuickMode, role, reason, message, child, std::move(cause));
  sa.quick_modes.erase(qm.id);
  if (role == Role::Initiator) child_failed(core, now, sa.connection, child);
}

void abandon_quick_mode(Core& core, IsakmpSa& sa, QuickMode& qm) {
  if (!finished(qm)) give_back(core, qm);
  core.touch(sa);
  core.touch(sa.connection);
  sa.quick_modes.erase(qm.id);
}

std::vector<SaName> abandon_quick_modes(Core& core, IsakmpSa& sa) {
  std::vector<SaName> unconfirmed;
  for (const auto& [id, qm] : sa.quick_modes) {
    if (std::holds_alternative<QmAwaitConfirm>(qm.state)) unconfirmed.push_back(inbound_name(qm));
    if (const auto* denied = std::get_if<QmDenied>(&qm.state)) unconfirmed.push_back(denied->ours);
    if (!finished(qm)) give_back(core, qm);
  }
  sa.quick_modes.clear();
  core.touch(sa.connection);
  return unconfirmed;
}

namespace {
/// Of two limits, where 0 is none.
std::uint64_t smaller(std::uint64_t a, std::uint64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }
}  // namespace

std::vector<EspSuite> usable_suites(const IsakmpSa& sa, const config::Child& child) {
  std::vector<EspSuite> suites = child.suites();
  if (sa.nat.encapsulate()) std::erase_if(suites, [](const EspSuite& s) { return s.protocol == SaProtocol::Ah; });
  return suites;
}

JobId install(Core& core, const IsakmpSa& sa, const QuickMode& qm, Direction direction, PendingPair& pair) {
  const config::Child& c = core.connection(sa).children.at(qm.child);
  const bool in = direction == Direction::Inbound;
  const JobId job = core.add_job({sa.id, qm.id, direction, qm.pair, sa.connection});
  ike::InstallSa out;
  out.job = job;
  out.pair = qm.pair;
  out.direction = direction;
  out.connection = core.connection(sa).name;
  out.child = c.name;
  const ConnectionRun& run = core.runs().at(sa.connection);
  if (run.peer) out.peer = run.peer->key;
  out.own_policy = has_own_policy(core, sa.connection, qm.child);
  out.spi = in ? qm.spi_in : pair.spi_out;
  out.local = sa.local;
  out.remote = sa.remote;
  if (!sa.nat.encapsulate()) out.local.port = out.remote.port = 0;
  out.follow = in && sa.nat.remote && out.local.port != 0;
  if (pair.mode == SaMode::Transport && out.local.port != 0) {
    out.original_local = qm.original_local;
    out.original_remote = qm.original_remote;
  }
  out.local_ts = pair.local_ts;
  out.remote_ts = pair.remote_ts;
  out.suite = pair.suite;
  out.mode = pair.mode;
  EspKeys& keys = in ? pair.inbound : pair.outbound;
  out.encr_key = std::move(keys.encr);
  out.integ_key = std::move(keys.integ);
  out.replay_window = c.replay_window;
  out.rules = c.rules;
  // The engine's own timer rekeys earlier (rand_time); the soft limit stands in where the engine does not live to do it.
  out.hard_seconds = pair.life.seconds;
  out.soft_seconds = std::min<std::uint64_t>(static_cast<std::uint64_t>(c.rekey_time.count()), pair.life.seconds);
  const std::uint64_t peer_bytes = pair.life.kbytes > UINT64_MAX / 1024 ? 0 : pair.life.kbytes * 1024;
  const SuiteLimits most = limits(pair.suite);
  out.hard_bytes = smaller(smaller(c.life_bytes, peer_bytes), most.bytes);
  out.soft_bytes = c.rekey_bytes != 0 && (out.hard_bytes == 0 || c.rekey_bytes < out.hard_bytes) ? c.rekey_bytes : out.hard_bytes / 10 * 9;
  out.hard_packets = smaller(c.life_packets, most.packets);
  out.soft_packets = smaller(c.rekey_packets, out.hard_packets / 10 * 9);
  core.actions.emplace_back(std::move(out));
  return job;
}

PendingPair make_pair(const MmEstablished& est, const EspChoice& choice, Spi spi_in, ByteView nonce_i, ByteView nonce_r,
                      const SecretBytes* shared) {
  const auto keys = [&](Spi spi) {
    KeymatInputs in{spi, nonce_i, nonce_r, std::nullopt};
    if (shared) in.g_qm_xy = shared->view();
    return esp_keys(est.keys.secrets, choice.suite, in);
  };
  PendingPair out;
  out.suite = choice.suite;
  out.mode = choice.mode;
  out.spi_out = choice.spi;
  out.inbound = keys(spi_in);
  out.outbound = keys(choice.spi);
  return out;
}

}  // namespace culvert::ikev1
