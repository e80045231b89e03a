// Quick Mode, initiator: messages 1 and 3 out; 2 in. The ladder is in exchange_quick_mode.hpp.
#include <algorithm>

#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/nat_payloads.hpp"

namespace culvert::ikev1 {

namespace {
/// The child's groups in order; the one that its latest pair has agreed goes first: the peer has it.
std::vector<DhGroup> groups_to_try(const ChildRun& run, std::span<const EspSuite> suites) {
  std::vector<DhGroup> groups = pfs_groups(suites);
  if (run.pairs.empty()) return groups;
  const auto known = std::ranges::find(groups, run.pairs.back().suite.pfs);
  if (known != groups.end()) std::rotate(groups.begin(), known, known + 1);
  return groups;
}
}  // namespace

bool start_quick_mode(Core& core, TimePoint now, IsakmpSa& sa, std::size_t child, const Selectors& wanted,
                      std::vector<std::uint64_t> replaces, std::vector<DhGroup> groups) {
  const config::Child& c = core.connection(sa).children.at(child);
  const MessageId id = core.new_message_id(sa);
  const std::uint64_t pair = core.new_pair();
  const auto fail = [&](Reason reason, const char* text) {
    core.ended(now, sa, Exchange::QuickMode, Role::Initiator, reason, text, child);
    child_failed(core, now, sa.connection, child);
    return false;
  };
  if (!to_proxy_id(wanted.local) || !to_proxy_id(wanted.remote))
    return fail(Reason::SelectorMismatch, "The child's selectors have a range of ports, which IKEv1 cannot express (RFC 2407 §4.6.2).");
  const std::vector<EspSuite> suites = usable_suites(sa, c);
  if (suites.empty())
    return fail(Reason::NoProposalChosen, "There is a NAT between, which AH cannot cross, and the child has no ESP suite.");
  if (!make_room(sa)) return fail(Reason::Limit, "Too many Quick Modes are under way on this ISAKMP SA.");
  const auto spi = core.allocate_spi({sa.connection, pair, sa.id, id});
  if (!spi) return fail(Reason::Limit, "There is no room for another SA in the data plane.");

  sa.used_ids.add(id);
  QuickMode& qm = sa.quick_modes[id];
  qm.id = id;
  qm.role = Role::Initiator;
  qm.child = child;
  qm.pair = pair;
  qm.local_ts = wanted.local;
  qm.remote_ts = wanted.remote;
  qm.begun = now;
  qm.give_up_at = now + kQuickModeLimit;
  qm.replaces = std::move(replaces);
  qm.spi_in = *spi;
  core.touch(sa);
  qm.groups = groups.empty() ? groups_to_try(core.run(sa.connection).children.at(child), suites) : std::move(groups);
  const DhGroup pfs = qm.groups.front();
  if (pfs == DhGroup::None) {
    send_quick_message_1(core, now, sa, qm, nullptr, {});
    return true;
  }
  const JobId job = core.add_job({.sa = sa.id, .quick_mode = id});
  qm.state = QmMakingKey{job, pfs};
  core.actions.emplace_back(ike::ComputeDh{job, pfs, nullptr, std::nullopt});
  return true;
}

void send_quick_message_1(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, std::shared_ptr<crypto::KeyExchange> key,
                          const Bytes& ke) {
  MmEstablished* est = sa.established();
  if (!est) return quick_mode_failed(core, now, sa, qm, Reason::Replaced, "Its ISAKMP SA ended.");
  const config::Child& c = core.connection(sa).children.at(qm.child);
  QmAwaitReply next{with_pfs(usable_suites(sa, c), qm.groups.front()),
                    {},
                    core.random(kNonceBytes),
                    std::move(key),
                    Outstanding(now, {}, core.config.ike, core.services)};
  next.offer =
      build_esp_offer({next.suites, qm.spi_in, encapsulation_of(c.mode, sa.nat.encapsulate()),
                       static_cast<std::uint32_t>(c.life_time.count()), c.life_bytes / 1024, sa.nat.dialect != ike::NatDialect::Rfc3947});
  Builder b;
  b.add(next.offer).add(Nonce{next.nonce_i});
  if (!ke.empty()) b.add(Ke{ke});
  b.add(*to_proxy_id(qm.local_ts)).add(*to_proxy_id(qm.remote_ts));
  if (c.mode == SaMode::Transport && sa.nat.encapsulate()) add_nat_oa(sa, Role::Initiator, b);
  b.prepend_hash(quick_hash_1(est->keys.secrets, qm.id, b.chain()));
  qm.iv = est->keys.exchange_iv(qm.id);
  const Bytes message = sealed_message(sa, est->keys.cipher, qm.iv, ike::kExchangeQuickMode, qm.id, b);
  next.tx = Outstanding(now, message, core.config.ike, core.services);
  qm.state = std::move(next);
  core.send(now, sa, message);
}

void try_next_group(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm) {
  std::vector<DhGroup> groups(qm.groups.begin() + 1, qm.groups.end());
  std::vector<std::uint64_t> replaces = std::move(qm.replaces);
  const std::size_t child = qm.child;
  const Selectors wanted{qm.local_ts, qm.remote_ts};
  const auto text = [](DhGroup g) { return g == DhGroup::None ? std::string("no PFS") : "PFS by " + std::string(find_dh(g)->name); };
  core.say(sa, Severity::Info, Exchange::QuickMode, Reason::PeerNoProposal,
           "The peer takes none of our proposals with " + text(qm.groups.front()) + "; next: " + text(groups.front()) + ".",
           core.connection(sa).children.at(child).name);
  abandon_quick_mode(core, sa, qm);
  start_quick_mode(core, now, sa, child, wanted, std::move(replaces), std::move(groups));
}

namespace {

/// The selectors of message 2. RFC 2409 §5.5 wants ours back; less than ours is taken, more is not. A responder outside of our NAT may
/// name the address that it knows.
std::optional<Selectors> agreed_selectors(const IsakmpSa& sa, const QuickMode& qm, SaMode mode, const Message& message) {
  const Selectors ours{qm.local_ts, qm.remote_ts};
  const Id* local = message.find<Id>(0);
  const Id* remote = message.find<Id>(1);
  if (!local || !remote) return ours;
  const auto l = from_proxy_id(*local), r = from_proxy_id(*remote);
  if (!l || !r) return std::nullopt;
  const Selectors named{*l, *r};
  if (ours.contains(named)) return named;
  const Selectors meant = through_nat(sa, {qm.original_local, qm.original_remote}, named);
  return mode == SaMode::Transport && ours.contains(meant) ? std::optional(meant) : std::nullopt;
}

/// Lifetimes that the peer states: in its choice, or in a notification (RFC 2407 §4.6.3.1).
Life stated_life(const EspChoice& choice, const Message& message) {
  Life life{choice.life_seconds.value_or(0), choice.life_kbytes.value_or(0)};
  for (const Notify* n : message.all<Notify>()) {
    if (n->type != NotifyType::ResponderLifetime) continue;
    const auto stated = parse_responder_lifetime(n->data);
    if (!stated) continue;
    if (stated->seconds && *stated->seconds > 0 && (life.seconds == 0 || *stated->seconds < life.seconds)) life.seconds = *stated->seconds;
    if (stated->kbytes && *stated->kbytes > 0 && (life.kbytes == 0 || *stated->kbytes < life.kbytes)) life.kbytes = *stated->kbytes;
  }
  return life;
}

}  // namespace

void on_quick_message_2(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm, QmAwaitReply& state) {
  MmEstablished& est = *sa.established();
  const auto opened = open_sealed(in, MessageKind::QuickMode2, est.keys.cipher, qm.iv);
  if (!opened) return drop_unproven(core, in, sa, opened.error().reason, opened.error().text);
  const Message& message = opened->message;
  if (!equal_constant_time(quick_hash_2(est.keys.secrets, qm.id, state.nonce_i, message.behind(0)), message.find<Hash>()->data))
    return drop_unproven(core, in, sa, Reason::BadHash, "HASH(2) of a Quick Mode is wrong.");
  heard_from(core, in, sa);
  qm.replies.accept(in.framed.message);
  qm.iv = opened->next;
  qm.commit = (in.header().flags & ike::kFlagCommit) != 0;

  const auto fail = [&](Reason reason, NotifyType notify, const std::string& text, ike::Evidence found = {}) {
    core.send(in.now, sa,
              informational(core, sa, est.keys,
                            refusal(sa, notify, {qm.spi_in, static_cast<SaProtocol>(state.offer.proposals.front().protocol)})));
    quick_mode_failed(core, in.now, sa, qm, reason, text, {.number = 2, .evidence = std::move(found), .by = ike::RefusedBy::Us});
  };
  if (!nonce_ok(message))
    return fail(Reason::BadNonce, NotifyType::PayloadMalformed, "The peer's nonce is not 8 to 256 bytes long (RFC 2409 §5).");
  const auto choice = accept_esp(state.offer, *message.find<Sa>());
  if (!choice)
    return fail(Reason::NoProposalChosen, NotifyType::BadProposalSyntax, "The peer chose none of our proposals: " + choice.error().text(),
                evidence(choice.error()));
  const bool pfs = choice->suite.pfs != DhGroup::None;
  const Ke* ke = message.find<Ke>();
  if (pfs != (ke != nullptr))
    return fail(Reason::BadPayloads, NotifyType::InvalidKeyInformation, "Message 2 has a KE payload without PFS, or lacks it with PFS.");
  const OriginalAddresses original = read_nat_oa(sa, Role::Initiator, message);
  qm.original_local = original.local;
  qm.original_remote = original.remote;
  const auto selectors = agreed_selectors(sa, qm, choice->mode, message);
  if (!selectors)
    return fail(Reason::PeerSelectorMismatch, NotifyType::InvalidIdInformation,
                "The peer answers with proxy identities " + to_text(*message.find<Id>(0)) + " - " + to_text(*message.find<Id>(1)) +
                    " that are not inside ours (" + qm.local_ts.to_string() + " - " + qm.remote_ts.to_string() + ").",
                selector_evidence(core.connection(sa), to_text(*message.find<Id>(0)), to_text(*message.find<Id>(1))));

  QmDeriving next{*choice, stated_life(*choice, message), selectors->local, selectors->remote, state.nonce_i, message.find<Nonce>()->data,
                  0};
  if (!pfs) return install_initiators_inbound(core, in.now, sa, qm, next, {});
  next.job = core.add_job({.sa = sa.id, .quick_mode = qm.id});
  core.actions.emplace_back(ike::ComputeDh{next.job, choice->suite.pfs, state.key, ke->data});
  qm.state = std::move(next);
}

void install_initiators_inbound(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmDeriving& state, const SecretBytes& g_xy) {
  const MmEstablished* est = sa.established();
  if (!est) return quick_mode_failed(core, now, sa, qm, Reason::Replaced, "Its ISAKMP SA ended.");
  const bool pfs = state.choice.suite.pfs != DhGroup::None;
  PendingPair pending = make_pair(*est, state.choice, qm.spi_in, state.nonce_i, state.nonce_r, pfs ? &g_xy : nullptr);
  pending.local_ts = state.local_ts;
  pending.remote_ts = state.remote_ts;
  pending.life = state.life;
  settle_life(core, sa, qm.child, pending.life);
  Builder b;
  b.prepend_hash(quick_hash_3(est->keys.secrets, qm.id, state.nonce_i, state.nonce_r));
  Bytes message3 = sealed_message(sa, est->keys.cipher, qm.iv, ike::kExchangeQuickMode, qm.id, b);
  const JobId job = install(core, sa, qm, Direction::Inbound, pending);
  qm.state = QmInstalling{std::move(pending), std::move(message3), job};
}

}  // namespace culvert::ikev1
