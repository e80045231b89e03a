// IKE_SA_INIT, initiator; and what both roles have in common.
#include "control/ikev2/exchange_sa_init.hpp"

#include <algorithm>

#include "control/ikev2/certificates.hpp"
#include "control/ikev2/childless.hpp"
#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_eap.hpp"
#include "control/ikev2/exchange_intermediate.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/proposal.hpp"
#include "control/ikev2/reauth.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint32_t kMostTries = 20;
constexpr double kFiner = 0.01;  ///< steps of a factor

/// A request of an IKE SA that is to come up is sent more often than others within the same time, by waits that grow by a quarter of
/// ike.retransmit_base: over a line that loses three of ten each way two exchanges are done within 30 s but for one in thousands.
config::Ike more_often(config::Ike settings) {
  const auto all = [](double base, std::uint32_t tries) {
    double sum = 0, wait = 1;
    for (std::uint32_t k = 0; k <= tries; ++k, wait *= base) sum += wait;
    return sum;
  };
  const double limit = all(settings.retransmit_base, settings.retransmit_tries);
  config::Ike out = settings;
  out.retransmit_base = 1 + (settings.retransmit_base - 1) / 4;
  while (out.retransmit_tries < kMostTries && all(out.retransmit_base, out.retransmit_tries + 1) <= limit) ++out.retransmit_tries;
  if (out.retransmit_tries == settings.retransmit_tries) return settings;
  while (out.retransmit_tries == kMostTries && all(out.retransmit_base + kFiner, kMostTries) <= limit) out.retransmit_base += kFiner;
  return out;
}

ike::Evidence evidence(const Mismatch& m) { return ike::ProposalEvidence{m.offered, m.wanted, m.difference, m.usable}; }

void make_key(Core& core, IkeSa& sa, DhGroup group) {
  sa.group = group;
  const JobId job = core.add_job({sa.id});
  sa.state = MakingKey{job};
  core.shared.actions.emplace_back(ike::ComputeDh{job, group, nullptr, std::nullopt});
  core.touch(sa);
}

void send_init(Core& core, TimePoint now, IkeSa& sa, std::shared_ptr<crypto::KeyExchange> key, Bytes public_value) {
  Builder b;
  if (!sa.cookie.empty()) b.notify(NotifyType::Cookie, sa.cookie);
  b.add(build_ike_offer(core.connection(sa).proposals)).add(Ke{sa.group, public_value}).add(Nonce{sa.nonce_i});
  add_nat_detection(core, sa, IkeSpi{}, b);
  if (takes_fragments(core, sa)) b.notify(NotifyType::Ikev2FragmentationSupported);
  if (may_sign(core.connection(sa))) b.notify(NotifyType::SignatureHashAlgorithms, announced_hashes());
  if (!core.connection(sa).ppk.id.empty()) b.notify(NotifyType::UsePpk);
  offer_redirect(core, sa, b);
  if (asks_for_more(core.connection(sa).proposals)) b.notify(NotifyType::IntermediateExchangeSupported);
  sa.init_request = init_message(sa, IkeSpi{}, false, b);
  sa.last_request = {sa.init_request};
  core.send(now, sa, sa.last_request);
  sa.state = InitSent{std::move(key), std::move(public_value), Outstanding(now, {}, core.config.ike, core.services)};
}

/// Nothing proves who said it: it is kept for the case that nothing better comes.
void note_hint(Core& core, TimePoint now, IkeSa& sa, InitSent& state, Reason reason, std::string text, Cause cause) {
  if (!sa.hint) sa.hint = Hint{reason, std::move(text), std::move(cause)};
  state.tx.hurry(now + kHintPatience);
  core.touch(sa);
}

void on_refused(Core& core, const Incoming& in, IkeSa& sa, InitSent& state, const Notify& n) {
  const std::string said = name(n.type);
  Cause cause{.number = 1, .said = said, .own_spi = bool(in.header().spi_r)};
  if (n.type == NotifyType::NoProposalChosen) {
    std::string offered;
    for (const IkeSuite& s : core.connection(sa).proposals) offered += (offered.empty() ? "" : ", ") + s.to_string();
    cause.evidence = ike::ProposalEvidence{offered, {}, {}, {}};
    return note_hint(core, in.now, sa, state, Reason::PeerNoProposal,
                     "The peer accepts none of our proposals (we offered " + offered + "): " + said + ".", std::move(cause));
  }
  note_hint(core, in.now, sa, state, Reason::PeerRefused, "The peer refused with " + said + ".", std::move(cause));
}

std::vector<FormerInit>::iterator former_of(IkeSa& sa, DhGroup group) {
  return std::ranges::find(sa.former_inits, group, &FormerInit::group);
}

/// What went out with that group before is what goes on; what is out now is kept as it was.
InitSent& go_back(IkeSa& sa, std::vector<FormerInit>::iterator to, Outstanding tx) {
  FormerInit back = std::move(*to);
  sa.former_inits.erase(to);
  if (auto* sent = std::get_if<InitSent>(&sa.state))
    sa.former_inits.push_back({sa.group, std::move(sent->key), std::move(sent->public_value), sa.init_request});
  sa.group = back.group;
  sa.init_request = std::move(back.request);
  sa.last_request = {sa.init_request};
  return std::get<InitSent>(sa.state = InitSent{std::move(back.key), std::move(back.public_value), std::move(tx)});
}

/// The responder wants another group (RFC 7296 §1.2): one of ours, that we have not begun with, or it is no reason to compute. Nothing
/// proves that it is the responder: an answer to what we have begun with is taken, too.
void on_other_group(Core& core, const Incoming& in, IkeSa& sa, InitSent& state, const Notify& n) {
  Reader r(n.data);
  const auto group = static_cast<DhGroup>(r.be<std::uint16_t>());
  const auto& suites = core.connection(sa).proposals;
  const bool ours = std::ranges::any_of(suites, [&](const IkeSuite& s) { return s.group == group; });
  if (!r.ok() || group == sa.group) return;
  if (!ours)
    return note_hint(core, in.now, sa, state, Reason::PeerNoProposal,
                     "The peer wants Diffie-Hellman group " + std::to_string(static_cast<unsigned>(group)) + ", which is not configured.",
                     {.number = 1, .said = name(n.type)});
  if (++sa.init_tries > kMaxInitTries) return;
  if (const auto former = former_of(sa, group); former != sa.former_inits.end()) {
    const InitSent& again = go_back(sa, former, state.tx);
    return send_init(core, in.now, sa, again.key, again.public_value);
  }
  sa.former_inits.push_back({sa.group, std::move(state.key), std::move(state.public_value), sa.init_request});
  make_key(core, sa, group);
}

void on_reply(Core& core, const Incoming& in, IkeSa& sa, InitSent& state) {
  const auto parsed = Message::parse(PayloadType{in.header().next_payload}, in.framed.body);
  if (!parsed)
    return core.shared.junk(in.now, in.datagram.remote, Exchange::IkeSaInit, Reason::Malformed, "An answer to IKE_SA_INIT does not parse.");
  const Message& m = *parsed;
  if (const Notify* cookie = m.notify(NotifyType::Cookie)) {
    if (cookie->data.empty() || cookie->data.size() > 64 || cookie->data == sa.cookie || ++sa.init_tries > kMaxInitTries) return;
    sa.cookie = cookie->data;
    return send_init(core, in.now, sa, state.key, state.public_value);
  }
  if (const Notify* other = m.notify(NotifyType::InvalidKePayload)) return on_other_group(core, in, sa, state, *other);
  if (const Notify* error = m.error()) return on_refused(core, in, sa, state, *error);
  if (const Notify* elsewhere = m.notify(NotifyType::Redirect)) {
    if (auto why = on_redirect_at_once(core, in, sa, *elsewhere))
      note_hint(core, in.now, sa, state, Reason::RedirectRefused, std::move(*why), {.number = 2, .said = name(elsewhere->type)});
    return;
  }
  if (!in.header().spi_r) return;
  if (const auto fault = check(MessageKind::SaInitReply, m))
    return note_hint(core, in.now, sa, state, Reason::BadPayloads, "The answer to IKE_SA_INIT: " + *fault, {.number = 2});
  const auto choice = accept_ike(core.connection(sa).proposals, *m.find<Sa>());
  if (!choice)
    return note_hint(core, in.now, sa, state, Reason::NoProposalChosen,
                     "The peer chose what we did not offer: " + choice.error().difference + ".",
                     {.number = 2, .evidence = evidence(choice.error())});
  const Ke& ke = *m.find<Ke>();
  if (const auto former = former_of(sa, ke.group); former != sa.former_inits.end() && choice->suite.group == ke.group)
    go_back(sa, former, state.tx);
  if (ke.group != sa.group || choice->suite.group != sa.group)
    return note_hint(core, in.now, sa, state, Reason::BadKe, "The peer's key exchange is of another group than the one that it chose.",
                     {.number = 2});
  if (asks_for_more(std::span(&choice->suite, 1)) && !m.notify(NotifyType::IntermediateExchangeSupported))
    return note_hint(core, in.now, sa, state, Reason::BadPayloads,
                     "The peer chose additional key exchanges, and does not say that it has IKE_INTERMEDIATE (RFC 9370 §2.2.1).",
                     {.number = 2});
  if (auto why = settle_childless(core, sa, m))
    return note_hint(core, in.now, sa, state, Reason::PeerRefused, std::move(*why), {.number = 2});
  sa.former_inits.clear();
  core.table.complete_initiator(sa.id, sa.spi_i, in.header().spi_r);
  sa.spi_r = in.header().spi_r;
  sa.suite = choice->suite;
  sa.nonce_r = m.find<Nonce>()->data;
  sa.last_heard = in.now;
  sa.fragments = takes_fragments(core, sa) && m.notify(NotifyType::Ikev2FragmentationSupported);
  find_nats(core, sa, m);
  note_hashes(sa, m);
  sa.rounds.said = m.notify(NotifyType::MultipleAuthSupported) != nullptr;
  sa.use_ppk = !core.connection(sa).ppk.id.empty() && m.notify(NotifyType::UsePpk);
  const JobId job = core.add_job({sa.id});
  core.shared.actions.emplace_back(ike::ComputeDh{job, sa.group, state.key, ke.data});
  sa.state = Deriving{job, sa.nonce_r, Bytes(in.framed.message.begin(), in.framed.message.end())};
}

/// While the key of another group is being made: an answer to what went out before.
void on_former_reply(Core& core, const Incoming& in, IkeSa& sa) {
  const auto m = Message::parse(PayloadType{in.header().next_payload}, in.framed.body);
  if (!m || !in.header().spi_r || m->error() || check(MessageKind::SaInitReply, *m)) return;
  const auto former = former_of(sa, m->find<Ke>()->group);
  const auto choice = accept_ike(core.connection(sa).proposals, *m->find<Sa>());
  if (former == sa.former_inits.end() || !choice || choice->suite.group != former->group) return;
  InitSent& state = go_back(sa, former, Outstanding(in.now, {}, core.config.ike, core.services));
  on_reply(core, in, sa, state);
}

}  // namespace

Bytes init_message(const IkeSa& sa, IkeSpi spi_r, bool response, const Builder& payloads, std::uint8_t exchange) {
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = spi_r;
  h.major = 2;
  h.exchange = exchange;
  h.flags = response ? ike::kFlagResponse : ike::kFlagInitiator;
  h.next_payload = static_cast<std::uint8_t>(payloads.first());
  return ike::encode_message(h, payloads.chain());
}

void add_nat_detection(Core& core, const IkeSa& sa, IkeSpi spi_r, Builder& out) {
  Bytes source = nat_hash(sa.spi_i, spi_r, sa.local);
  if (sa.nat.forced) source = core.shared.random(source.size());  // the peer shall believe that there is a NAT
  out.notify(NotifyType::NatDetectionSourceIp, std::move(source));
  out.notify(NotifyType::NatDetectionDestinationIp, nat_hash(sa.spi_i, spi_r, sa.remote));
}

bool takes_fragments(const Core& core, const IkeSa& sa) { return core.connection(sa).fragmentation != config::Fragmentation::No; }

void find_nats(Core& core, IkeSa& sa, const Message& m) {
  static_cast<void>(core);
  // Of a request the responder's SPI is zero in the hashes.
  const IkeSpi spi_r = sa.role == Role::Initiator ? sa.spi_r : IkeSpi{};
  // What has not the length of a hash is none (RFC 7296 §2.23), and says of no NAT.
  const std::size_t size = nat_hash(sa.spi_i, spi_r, sa.local).size();
  std::vector<const Bytes*> received;
  const auto all = m.all<Notify>();
  for (const NotifyType type : {NotifyType::NatDetectionDestinationIp, NotifyType::NatDetectionSourceIp})
    for (const Notify* n : all) {
      const bool due = type == NotifyType::NatDetectionSourceIp ? !received.empty() : received.empty();
      if (n->type == type && n->data.size() == size && due) received.push_back(&n->data);
    }
  sa.nat.supported = received.size() >= 2;
  ike::detect_nat(sa.nat, received, sa.local, sa.remote, [&](const Endpoint& e) { return nat_hash(sa.spi_i, spi_r, e); });
}

void note_hashes(IkeSa& sa, const Message& m) {
  if (const Notify* n = m.notify(NotifyType::SignatureHashAlgorithms)) sa.hashes = read_hashes(n->data);
}

bool start_sa(Core& core, TimePoint now, const Start& what) {
  if (core.shared.shutting_down || core.table.size() >= ike::kMaxIkeSas) return false;
  auto made = std::make_unique<IkeSa>();
  made->id = core.shared.new_sa_id();
  made->connection = what.connection;
  made->role = made->first_role = Role::Initiator;
  made->spi_i = made->first_spi_i = core.shared.new_spi();
  made->local = what.local;
  made->remote = what.remote;
  made->nat.forced = core.config.connections[what.connection].encap;
  made->created = made->last_sent = now;
  made->first_child = what.child.value_or(0);
  made->childless = !what.child;
  made->replaces = what.replaces;
  made->unnamed = what.unnamed;
  made->redirecting.from = what.redirected_from;
  made->reauth.full = what.full;
  made->nonce_i = core.shared.random(kNonceBytes);
  IkeSa& sa = core.add(std::move(made));
  core.table.add_initiator(sa.id, sa.spi_i);
  if (!begin_resumption(core, now, sa)) make_key(core, sa, core.connection(sa).proposals.front().group);
  return true;
}

void on_sa_init(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  if (!in.response()) return on_sa_init_request(core, in);
  const auto id = core.table.find_initiating(h.spi_i);
  IkeSa* sa = id ? core.find(*id) : nullptr;
  auto* state = sa ? std::get_if<InitSent>(&sa->state) : nullptr;
  const bool former = sa && std::holds_alternative<MakingKey>(sa->state) && !sa->former_inits.empty();
  if ((!state && !former) || sa->pass || h.message_id || (h.flags & ike::kFlagInitiator) != 0) return;  // a late copy
  if (in.datagram.remote.address != sa->remote.address) return;
  state ? on_reply(core, in, *sa, *state) : on_former_reply(core, in, *sa);
}

void on_sa_init_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result, JobId job) {
  if (auto* s = std::get_if<MakingKey>(&sa.state); s && s->job == job) {
    if (!result.ok)
      return connecting_failed(core, now, sa, Exchange::IkeSaInit, Reason::Internal, "A Diffie-Hellman key pair could not be made.");
    return send_init(core, now, sa, result.key, result.public_value);
  }
  if (auto* s = std::get_if<Responding>(&sa.state); s && s->job == job) return on_responding_dh(core, now, sa, *s, result);
  if (on_intermediate_key(core, now, sa, result)) return;
  auto* s = std::get_if<Deriving>(&sa.state);
  if (!s || s->job != job) return;
  if (!result.ok)
    return connecting_failed(core, now, sa, Exchange::IkeSaInit, Reason::BadKe, "The peer's key exchange value is invalid for its group.",
                             {.number = 2});
  take_keys(sa, derive({sa.suite, sa.nonce_i, sa.nonce_r, result.shared.view(), sa.spi_i, sa.spi_r}));
  const Bytes reply = std::move(s->reply);
  go_to_nat_port(core, sa);
  sa.next_request = 1;
  next_key_exchange(core, now, sa, reply);
}

void go_to_nat_port(Core& core, IkeSa& sa) {
  const bool roams = core.connection(sa).mobike && sa.nat.supported;  // RFC 4555 §3.3
  if ((sa.nat.encapsulate() || roams) && sa.local.port == ike::kIkePort) {
    sa.local.port = ike::kNatPort;
    if (sa.remote.port == ike::kIkePort) sa.remote.port = ike::kNatPort;
  }
}

void take_keys(IkeSa& sa, IkeKeys keys) {
  sa.keys = std::move(keys);
  const bool first = sa.role == Role::Initiator;
  Cipher from_initiator(sa.suite, sa.keys.ei, sa.keys.ai), from_responder(sa.suite, sa.keys.er, sa.keys.ar);
  sa.seal.emplace(std::move(first ? from_initiator : from_responder));
  sa.open.emplace(std::move(first ? from_responder : from_initiator));
}

void on_connecting_timer(Core& core, TimePoint now, IkeSa& sa) {
  if (sa.established() || std::holds_alternative<Closing>(sa.state)) return;
  if (sa.role == Role::Responder) {
    if (auto* asking = std::get_if<AskingUser>(&sa.state)) return on_eap_timer(core, now, sa, *asking);
    if (now < sa.half_open_until) return;
    // Our answer to IKE_SA_INIT, or the peer's IKE_AUTH, is lost on the way, or the peer is none.
    if (std::holds_alternative<AwaitAuth>(sa.state) && sa.int_auth.exchanges < in_order(sa.suite.more).size())
      core.shared.refused(now, core.connection(sa).name, sa.remote, Exchange::IkeIntermediate, Reason::Timeout,
                          sa.remote.to_string() + " began, and did not go on with IKE_INTERMEDIATE.",
                          {.number = 1, .on_4500 = sa.nat.encapsulate() && sa.repeats == 0, .by = ike::RefusedBy::Nobody});
    else if (std::holds_alternative<AwaitAuth>(sa.state))
      core.shared.refused(
          now, core.connection(sa).name, sa.remote, Exchange::IkeAuth, Reason::Timeout,
          sa.remote.to_string() + " began, and did not go on with IKE_AUTH.",
          {.number = 3,
           .on_4500 = sa.nat.encapsulate() && sa.repeats == 0,
           .ppk = sa.lacks_ppk ? "The peer has a PPK (USE_PPK), and falls silent where we have none: it insists on one." : "",
           .by = ike::RefusedBy::Nobody});
    if (std::holds_alternative<AwaitProof>(sa.state))
      core.ended(now, sa, Exchange::IkeAuth, Role::Responder, Reason::Timeout, "The peer does not go on with its next proof.", {},
                 {.number = 3, .by = ike::RefusedBy::Nobody});
    if (std::holds_alternative<VerifyingInit>(sa.state) || std::holds_alternative<SigningReply>(sa.state) ||
        std::holds_alternative<SigningForEap>(sa.state) || std::holds_alternative<AnsweringIntermediate>(sa.state))
      core.shared.junk(now, sa.remote, Exchange::IkeAuth, Reason::Timeout,
                       core.connection(sa).name + ": keys and certificates were not done with within ike.half_open_timeout.",
                       {.number = 3});
    return core.drop(sa);
  }
  auto* init = std::get_if<InitSent>(&sa.state);
  auto* auth = std::get_if<AuthSent>(&sa.state);
  auto* proving = std::get_if<ProvingUser>(&sa.state);
  auto* more = std::get_if<Intermediate>(&sa.state);
  if (more && !more->tx) return;
  Outstanding* tx = init ? &init->tx : auth ? &auth->tx : proving ? &proving->tx : more ? &*more->tx : nullptr;
  if (!tx || (proving && proving->job != 0)) return;
  switch (tx->poll(now, init && sa.pass ? core.config.ike : more_often(core.config.ike), core.services)) {
    case ike::Due::Nothing:
      return;
    case ike::Due::SendAgain:
      if (init && sa.pass && tx->sent() > kResumeTries)
        return give_up_resumption(core, now, sa, "The gateway does not answer to our ticket");
      return core.send(now, sa, sa.last_request);
    case ike::Due::GiveUp:
      break;
  }
  const Exchange exchange = init ? Exchange::IkeSaInit : more ? Exchange::IkeIntermediate : Exchange::IkeAuth;
  if (proving && on_eap_silence(core, now, sa, *proving)) return;
  if (sa.hint) {
    const Hint hint = *sa.hint;
    return connecting_failed(core, now, sa, exchange, hint.reason, hint.text, hint.cause);
  }
  connecting_failed(core, now, sa, exchange, Reason::Timeout,
                    std::string("No answer to ") +
                        (init   ? "IKE_SA_INIT"
                         : more ? "IKE_INTERMEDIATE"
                                : "IKE_AUTH") +
                        " after " + std::to_string(tx->sent()) + " attempts.",
                    {.number = init      ? 1U
                               : proving ? 5U
                                         : 3U,
                     .on_4500 = !init && sa.nat.encapsulate(),
                     .by = ike::RefusedBy::Nobody});
}

std::optional<TimePoint> connecting_deadline(const IkeSa& sa) {
  if (sa.established() || std::holds_alternative<Closing>(sa.state)) return std::nullopt;
  if (const auto* s = std::get_if<AskingUser>(&sa.state); s && s->verdict) return std::min(s->verdict->told_at, sa.half_open_until);
  if (sa.role == Role::Responder) return sa.half_open_until;
  if (const auto* s = std::get_if<InitSent>(&sa.state)) return s->tx.deadline();
  if (const auto* s = std::get_if<AuthSent>(&sa.state)) return s->tx.deadline();
  if (const auto* s = std::get_if<Intermediate>(&sa.state); s && s->tx) return s->tx->deadline();
  if (const auto* s = std::get_if<ProvingUser>(&sa.state)) return s->job == 0 ? std::optional(s->tx.deadline()) : std::nullopt;
  return std::nullopt;
}

void attempt_failed(Core& core, TimePoint now, IkeSa& sa, Exchange exchange, Reason reason, const std::string& text, Cause cause) {
  core.ended(now, sa, exchange, Role::Initiator, reason, text, {}, std::move(cause));
  if (replacing_failed(core, now, sa)) return;
  Run& run = core.run(sa.connection);
  ++run.failures;
  run.retry_at = now + backoff(core, run.failures);
  for (ChildRun& child : run.children) child.requested = !child.orphans.empty();
}

void connecting_failed(Core& core, TimePoint now, IkeSa& sa, Exchange exchange, Reason reason, const std::string& text, Cause cause) {
  if (const MakeChild* made = sa.half_made(); made && made->spi_in) core.release_spi(made->spi_in);
  if (sa.unnamed && reason != Reason::WrongIdentity)  // the first try has said all that is known
    core.say(sa, Severity::Debug, exchange, reason, text);
  else
    attempt_failed(core, now, sa, exchange, reason, text, std::move(cause));
  core.drop(sa);
}

}  // namespace culvert::ikev2
