// Quick Mode, responder: messages 1 and 3 in; 2 out. The ladder is in exchange_quick_mode.hpp.
#include "control/ikev1/evidence.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_main_mode.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/nat_payloads.hpp"
#include "control/ikev1/notifications.hpp"

namespace culvert::ikev1 {

namespace {

struct Match {
  std::size_t child = 0;
  Selectors selectors;
  bool renamed = false;  ///< the peer names them otherwise, behind its NAT or outside of ours
};

/// The child that the peer's proxy identities mean: the one that has exactly these, else the first one that has room for them. Through a
/// NAT children in transport mode are the hosts that the peer means, not those that it names.
std::optional<Match> match_child(const Core& core, const IsakmpSa& sa, const Selectors& named, const OriginalAddresses& original = {}) {
  const auto& children = core.connection(sa).children;
  const Selectors meant = through_nat(sa, original, named);
  const auto asked = [&](std::size_t i) -> const Selectors& { return children[i].mode == SaMode::Transport ? meant : named; };
  for (std::size_t i = 0; i < children.size(); ++i)
    if (selectors_of(core, sa, i) == asked(i)) return Match{i, asked(i), asked(i) != named};
  for (std::size_t i = 0; i < children.size(); ++i)
    if (selectors_of(core, sa, i).contains(asked(i))) return Match{i, asked(i), asked(i) != named};
  // Clients with an address of ours ask for everything on our side, or for what they please: they get the child's (draft-dukes leaves what
  // is behind the gateway to the two). The identities go back unaltered (RFC 2409 §5.5), and nothing else passes.
  for (std::size_t i = 0; i < children.size() && core.runs().at(sa.connection).inner_remote; ++i)
    if (const Selectors own = selectors_of(core, sa, i); named.local.contains(own.local) && own.remote.contains(named.remote))
      return Match{i, {own.local, named.remote}};
  return std::nullopt;
}

std::string configured_selectors(const Core& core, const IsakmpSa& sa) {
  const config::Connection& c = core.connection(sa);
  std::string out;
  for (std::size_t i = 0; i < c.children.size(); ++i)
    out += (out.empty() ? "" : ", ") + c.children[i].name + ": " + selectors_of(core, sa, i).to_string();
  return out;
}

SaName offered_name(const Sa& sa) {
  if (sa.proposals.empty() || sa.proposals.front().spi.size() != 4) return {};
  Reader r(sa.proposals.front().spi);
  const bool ah = sa.proposals.front().protocol == kProtoAh;
  return {Spi{r.be<std::uint32_t>()}, ah ? SaProtocol::Ah : SaProtocol::Esp};
}

/// Without proxy identities the SA is for the two peers themselves (RFC 2409 §5.5).
std::optional<Match> match_message(const Core& core, const IsakmpSa& sa, const Message& message, const OriginalAddresses& original) {
  const Id* theirs = message.find<Id>(0);
  const Id* ours = message.find<Id>(1);
  if (!theirs || !ours) {
    const auto host = [](const IpAddress& a) { return TrafficSelector::from(Prefix{a, static_cast<std::uint8_t>(8 * a.size())}); };
    return match_child(core, sa, {host(sa.local.address), host(sa.remote.address)});
  }
  const auto remote = from_proxy_id(*theirs), local = from_proxy_id(*ours);
  return remote && local ? match_child(core, sa, {*local, *remote}, original) : std::nullopt;
}

ike::Evidence taken_evidence(const config::Connection& c, const Match& match) {
  ike::SelectorEvidence out = selector_evidence(c, match.selectors.local.to_string(), match.selectors.remote.to_string());
  out.taken = true;
  return out;
}

}  // namespace

void on_quick_message_1(Core& core, const Incoming& in, IsakmpSa& sa, MmEstablished& est) {
  const MessageId id = in.header().message_id;
  const auto opened = open_sealed(in, MessageKind::QuickMode1, est.keys.cipher, est.keys.exchange_iv(id));
  if (!opened) return drop_unproven(core, in, sa, opened.error().reason, opened.error().text);
  const Message& message = opened->message;
  if (!equal_constant_time(quick_hash_1(est.keys.secrets, id, message.behind(0)), message.find<Hash>()->data))
    return drop_unproven(core, in, sa, Reason::BadHash, "HASH(1) of a Quick Mode is wrong.");
  heard_from(core, in, sa);
  sa.used_ids.add(id);
  const config::Connection& c = core.connection(sa);
  const Sa& offered = *message.find<Sa>();
  const auto refuse = [&](Reason reason, NotifyType notify, std::string text, std::optional<std::size_t> child, ike::Evidence found = {}) {
    sa.refused_quick_mode = true;
    core.send(in.now, sa, informational(core, sa, est.keys, refusal(sa, notify, offered_name(offered))));
    core.ended(in.now, sa, Exchange::QuickMode, Role::Responder, reason, std::move(text), child,
               {.number = 1, .evidence = std::move(found)});
  };
  if (core.shutting_down) return refuse(Reason::Shutdown, NotifyType::NoProposalChosen, "This gateway is shutting down.", {});
  if (!nonce_ok(message))
    return refuse(Reason::BadNonce, NotifyType::PayloadMalformed, "The peer's nonce is not 8 to 256 bytes long (RFC 2409 §5).", {});
  const OriginalAddresses original = read_nat_oa(sa, Role::Responder, message);
  const auto match = match_message(core, sa, message, original);
  if (!match) {
    const Id *theirs = message.find<Id>(0), *ours = message.find<Id>(1);
    const std::string asked =
        theirs && ours ? to_text(*ours) + " - " + to_text(*theirs) : std::string("none, that is the two gateways themselves");
    return refuse(Reason::SelectorMismatch, NotifyType::InvalidIdInformation,
                  "The peer asks for proxy identities that no child has: " + asked +
                      " (ours - theirs). Configured: " + configured_selectors(core, sa) + ".",
                  {}, selector_evidence(c, ours ? to_text(*ours) : std::string{}, theirs ? to_text(*theirs) : std::string{}));
  }
  if (taken_by_another(core, sa, match->child, match->selectors))
    return refuse(Reason::SelectorMismatch, NotifyType::InvalidIdInformation, "Another peer has SAs for these selectors at the moment.",
                  match->child, taken_evidence(c, *match));
  if (too_many_parts(core, sa.connection, match->child, match->selectors))
    return refuse(Reason::Limit, NotifyType::NoProposalChosen,
                  "The peer has " + std::to_string(kMaxParts) + " pairs of IPsec SAs of this child, and gets none for other traffic.",
                  match->child);
  if (!make_room(sa))
    return refuse(Reason::Limit, NotifyType::NoProposalChosen, "Too many Quick Modes are under way on this ISAKMP SA.", match->child);

  const std::uint64_t pair = core.new_pair();
  const auto spi = core.allocate_spi({sa.connection, pair, sa.id, id});
  if (!spi) return refuse(Reason::Limit, NotifyType::NoProposalChosen, "There is no room for another SA in the data plane.", match->child);
  const Ke* ke = message.find<Ke>();
  const config::Child& child = c.children[match->child];
  const bool udp = sa.nat.encapsulate();
  const std::vector<EspSuite> suites = usable_suites(sa, child);
  EspWanted wanted{suites, encapsulation_of(child.mode, udp), ke != nullptr};
  if (child.mode == SaMode::Transport && !match->renamed)
    wanted.or_else = encapsulation_of(SaMode::Tunnel, udp);  // transport where both ask for it
  auto choice = select_esp(wanted, offered, *spi);
  if (!choice) {
    core.release_spi(*spi);
    return refuse(Reason::NoProposalChosen, choice.error().notify, "No proposal of the peer is acceptable: " + choice.error().text() + ".",
                  match->child, evidence(choice.error()));
  }

  QuickMode& qm = sa.quick_modes[id];
  qm.id = id;
  qm.role = Role::Responder;
  qm.child = match->child;
  qm.pair = pair;
  qm.local_ts = match->selectors.local;
  qm.remote_ts = match->selectors.remote;
  qm.begun = in.now;
  qm.give_up_at = in.now + kQuickModeLimit;
  qm.spi_in = *spi;
  qm.iv = opened->next;
  qm.commit = (in.header().flags & ike::kFlagCommit) != 0;
  qm.replies.accept(in.framed.message);
  qm.original_local = original.local;
  qm.original_remote = original.remote;
  QmAnswering next{std::move(*choice), qm.local_ts, qm.remote_ts, {}, message.find<Nonce>()->data, 0};
  for (std::size_t i = 0; i < message.count(PayloadType::Id); ++i) next.id_bodies.push_back(message.raw(PayloadType::Id, i)->body);
  if (!ke) return install_responders_inbound(core, in.now, sa, qm, next, nullptr);
  next.job = core.add_job({.sa = sa.id, .quick_mode = id});
  core.actions.emplace_back(ike::ComputeDh{next.job, next.choice.suite.pfs, nullptr, ke->data});
  qm.state = std::move(next);
}

void install_responders_inbound(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmAnswering& state, const ike::DhResult* dh) {
  const MmEstablished* est = sa.established();
  if (!est) return quick_mode_failed(core, now, sa, qm, Reason::Replaced, "Its ISAKMP SA ended.");
  Bytes nonce_i = std::move(state.nonce_i);
  Bytes nonce_r = core.random(kNonceBytes);
  PendingPair pending = make_pair(*est, state.choice, qm.spi_in, nonce_i, nonce_r, dh ? &dh->shared : nullptr);
  pending.local_ts = state.local_ts;
  pending.remote_ts = state.remote_ts;
  pending.life = {state.choice.life_seconds.value_or(0), state.choice.life_kbytes.value_or(0)};
  settle_life(core, sa, qm.child, pending.life);
  Builder b;
  b.add(state.choice.reply).add(Nonce{nonce_r});
  if (dh) b.add(Ke{dh->public_value});
  for (const Bytes& body : state.id_bodies) b.add_raw(PayloadType::Id, body);
  if (state.choice.mode == SaMode::Transport && sa.nat.encapsulate()) add_nat_oa(sa, Role::Responder, b);
  add_responder_lifetime(core.connection(sa).children.at(qm.child), state.choice, qm.spi_in, b);
  b.prepend_hash(quick_hash_2(est->keys.secrets, qm.id, nonce_i, b.chain()));
  Bytes message2 = sealed_message(sa, est->keys.cipher, qm.iv, ike::kExchangeQuickMode, qm.id, b);
  const JobId job = install(core, sa, qm, Direction::Inbound, pending);
  qm.state = QmInstallingInbound{std::move(pending), std::move(nonce_i), std::move(nonce_r), std::move(message2), job};
}

void on_quick_message_3(Core& core, const Incoming& in, IsakmpSa& sa, QuickMode& qm, QmAwaitConfirm& state) {
  const MmEstablished& est = *sa.established();
  const auto opened = open_sealed(in, MessageKind::QuickMode3, est.keys.cipher, qm.iv);
  if (!opened) return drop_unproven(core, in, sa, opened.error().reason, opened.error().text);
  const Bytes expected = quick_hash_3(est.keys.secrets, qm.id, state.nonce_i, state.nonce_r);
  if (!equal_constant_time(expected, opened->message.find<Hash>()->data))
    return drop_unproven(core, in, sa, Reason::BadHash, "HASH(3) of a Quick Mode is wrong.");
  heard_from(core, in, sa);
  qm.replies.accept(in.framed.message);
  qm.iv = opened->next;
  if ((in.header().flags & ike::kFlagCommit) != 0) qm.commit = true;
  wait_or_go_on(core, in.now, sa, qm, std::move(state.pending));
}

void confirm(Core& core, TimePoint now, IsakmpSa& sa, QuickMode& qm, QmAwaitConfirm& state) {
  PendingPair pending = std::move(state.pending);
  qm.state = QmDone{now + kQuickModeMemory};
  pair_ready(core, now, sa, qm, pending);
}

}  // namespace culvert::ikev1
