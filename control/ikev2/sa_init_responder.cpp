#include "control/ikev2/sa_init_responder.hpp"

#include <algorithm>

#include "control/ikev2/certificates.hpp"
#include "control/ikev2/childless.hpp"
#include "control/ikev2/exchange_intermediate.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/ppk.hpp"
#include "control/ikev2/proposal.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// What IKE_SA_INIT was answered with; nullptr: it is not yet, or that is over.
const Bytes* init_reply(const IkeSa& sa) {
  const auto* state = std::get_if<AwaitAuth>(&sa.state);
  return state ? &state->reply : nullptr;
}

struct Selection {
  std::size_t connection = 0;
  IkeChoice choice;
};

std::optional<Selection> select(Core& core, const Incoming& in, const Sa& offered, DhGroup ke, bool intermediate) {
  const Endpoint &here = in.datagram.local, &peer = in.datagram.remote;
  const auto options = core.shared.by_peer.candidates(here, peer.address, 2);
  std::optional<std::pair<std::size_t, Mismatch>> first;
  for (const std::size_t index : options) {
    auto choice = select_possible(core.config.connections[index].proposals, offered, ke, intermediate);
    if (choice) return Selection{index, std::move(*choice)};
    if (!first) first.emplace(index, std::move(choice.error()));
  }
  refuse_newcomer_with(core, in, NotifyType::NoProposalChosen);
  if (core.shared.refused_before(ike::fingerprint(in.framed.message))) return std::nullopt;
  if (first) {
    const Mismatch& m = first->second;
    core.shared.refused(in.now, core.config.connections[first->first].name, peer, Exchange::IkeSaInit, Reason::NoProposalChosen,
                        "No proposal of " + peer.to_string() + " is acceptable: offered " + m.offered + "; wanted " + m.wanted +
                            "; first difference: " + m.difference + ".",
                        {.number = 1, .evidence = ike::ProposalEvidence{m.offered, m.wanted, m.difference, m.usable}});
    return std::nullopt;
  }
  core.shared.junk(in.now, peer, Exchange::IkeSaInit, Reason::NoConnection,
                   "No connection is configured between " + here.address.to_string() + " and " + peer.address.to_string() +
                       (core.config.vrfs.empty() ? "." : " in VRF " + config::vrf_name(core.config, here.vrf) + "."),
                   {.number = 1, .evidence = ike::AddressEvidence{here.address.to_string(), peer.address.to_string(), {}}});
  return std::nullopt;
}

}  // namespace

void refuse_newcomer_with(Core& core, const Incoming& in, NotifyType type, Bytes data) {
  IkeSa nobody;
  nobody.spi_i = in.header().spi_i;
  const Bytes message = init_message(nobody, IkeSpi{}, true, Builder().notify(type, std::move(data)), in.header().exchange);
  if (is_worth(core, in.datagram.remote, in.framed.message.size(), message.size())) core.send_stateless(in.datagram, message);
}

bool came_before(Core& core, const Incoming& in) {
  const IkeSpi spi_i = in.header().spi_i;
  const auto known = core.table.find_half_open(spi_i, in.datagram.remote, ike::fingerprint(in.framed.message));
  IkeSa* sa = known ? core.find(*known) : nullptr;
  if (!sa) {
    // Another one under the same SPI is another attempt, as behind INVALID_KE_PAYLOAD, and leaves alone what there is: anybody may have
    // sent it (RFC 7296 §2.1). But for one that was asked for a cookie when it said again what we had answered.
    if (in.datagram.heard)
      for (const SaId id : core.table.all_of(spi_i, in.datagram.remote))
        if (IkeSa* before = core.table.unheard().contains(id) ? core.find(id) : nullptr) core.drop(*before);
    return false;
  }
  sa->allowance.received(in.datagram.data.size());
  const Bytes* reply = init_reply(*sa);
  if (!reply || sa->next_expected != 1 || sa->repeats >= ike::kMaxRepeatsOfInit ||
      !sa->allowance.spend(reply->size(), owes_no_more(core, *sa)))
    return true;
  ++sa->repeats;
  core.send(in.now, *sa, {*reply});
  return true;
}

bool let_in(Core& core, const Incoming& in, const Message& m, bool& heard) {
  const Endpoint& peer = in.datagram.remote;
  const config::Ike& limits = core.config.ike;
  const Notify* cookie = m.notify(NotifyType::Cookie);
  const Bytes& nonce = m.find<Nonce>()->data;
  heard = in.datagram.heard || (cookie && core.cookies.good(in.now, core.services, cookie->data, nonce, peer, in.header().spi_i));
  if (!heard && asks_for_cookies(core, peer)) {
    refuse_newcomer_with(core, in, NotifyType::Cookie, core.cookies.make(in.now, core.services, nonce, peer, in.header().spi_i));
    return false;
  }
  const auto full = [&](const char* why) {
    core.shared.junk(in.now, peer, Exchange::IkeSaInit, Reason::Limit, why);
    return false;
  };
  if (core.table.size() >= ike::kMaxIkeSas) return full("There are too many IKE SAs.");
  if (core.table.half_open() >= limits.half_open_limit)
    return full("Too many negotiations of strangers are under way (ike.half_open_limit).");
  if (core.table.half_open(peer) >= limits.half_open_per_source)
    return full("This address has too many negotiations under way (ike.half_open_per_source).");
  return true;
}

IkeSa& add_newcomer(Core& core, const Incoming& in, std::size_t connection, bool heard) {
  auto made = std::make_unique<IkeSa>();
  made->id = core.shared.new_sa_id();
  made->connection = connection;
  made->role = made->first_role = Role::Responder;
  made->spi_i = made->first_spi_i = in.header().spi_i;
  made->spi_r = core.shared.new_spi();
  made->local = in.datagram.local;
  made->remote = in.datagram.remote;
  made->nat.forced = core.config.connections[connection].encap;
  made->created = made->last_sent = made->last_heard = in.now;
  made->half_open_until = in.now + core.config.ike.half_open_timeout;
  made->last_print = ike::fingerprint(in.framed.message);
  made->allowance.received(in.datagram.data.size());
  IkeSa& sa = core.add(std::move(made));
  core.table.add_responder(sa.id, sa.spi_i, sa.spi_r, sa.remote, heard, sa.last_print);
  return sa;
}

void refuse_newcomer(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const bool first =
      h.exchange == ike::kExchangeSaInit && !h.spi_r && !h.message_id && (h.flags & ike::kFlagInitiator) != 0 && !in.response();
  if (first && !core.shared.shutting_down) refuse_newcomer_with(core, in, NotifyType::NoProposalChosen);
}

void on_sa_init_request(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const auto junk = [&](Reason reason, const std::string& text) {
    core.shared.junk(in.now, in.datagram.remote, Exchange::IkeSaInit, reason, text);
  };
  if (core.shared.shutting_down) return;
  if (h.spi_r || h.message_id || (h.flags & ike::kFlagInitiator) == 0) return junk(Reason::Unexpected, "An IKE_SA_INIT request is none.");
  if (came_before(core, in)) return;
  const auto parsed = Message::parse(PayloadType{h.next_payload}, in.framed.body);
  if (!parsed) return junk(Reason::Malformed, std::string("An IKE_SA_INIT request does not parse (") + parsed.error().rule + ").");
  if (const auto critical = parsed->unknown_critical())
    return refuse_newcomer_with(core, in, NotifyType::UnsupportedCriticalPayload, {*critical});
  if (const auto fault = check(MessageKind::SaInitRequest, *parsed)) return junk(Reason::BadPayloads, "IKE_SA_INIT: " + *fault);
  bool address_shown = false;
  if (!let_in(core, in, *parsed, address_shown)) return;
  const Ke& ke = *parsed->find<Ke>();
  auto selection = select(core, in, *parsed->find<Sa>(), ke.group, parsed->notify(NotifyType::IntermediateExchangeSupported) != nullptr);
  if (!selection) return;
  if (auto elsewhere = redirect_at_once(core, in, selection->connection, *parsed))
    return refuse_newcomer_with(core, in, NotifyType::Redirect, std::move(*elsewhere));
  const DhGroup group = selection->choice.suite.group;
  if (group != ke.group) {
    Writer wanted;
    wanted.be(static_cast<std::uint16_t>(group));
    return refuse_newcomer_with(core, in, NotifyType::InvalidKePayload, std::move(wanted).take());
  }
  IkeSa& sa = add_newcomer(core, in, selection->connection, address_shown);
  sa.group = group;
  sa.fragments = takes_fragments(core, sa) && parsed->notify(NotifyType::Ikev2FragmentationSupported);
  find_nats(core, sa, *parsed);
  note_hashes(sa, *parsed);
  note_redirect(sa, *parsed);
  sa.use_ppk = parsed->notify(NotifyType::UsePpk) != nullptr;
  const JobId job = core.add_job({sa.id});
  sa.state = Responding{job, selection->choice.suite, Bytes(in.framed.message.begin(), in.framed.message.end()),
                        parsed->find<Nonce>()->data, std::move(selection->choice.reply)};
  core.shared.actions.emplace_back(ike::ComputeDh{job, group, nullptr, ke.data});
}

void on_responding_dh(Core& core, TimePoint now, IkeSa& sa, Responding& state, const ike::DhResult& result) {
  if (!result.ok) {
    core.shared.junk(now, sa.remote, Exchange::IkeSaInit, Reason::BadKe,
                     core.connection(sa).name + ": the peer's key exchange value is invalid for its group.");
    sa.state = Refused{};
    return;
  }
  sa.suite = state.suite;
  sa.nonce_i = std::move(state.nonce_i);
  sa.nonce_r = core.shared.random(kNonceBytes);
  Builder b;
  b.add(state.reply).add(Ke{sa.group, result.public_value}).add(Nonce{sa.nonce_r});
  add_nat_detection(core, sa, sa.spi_r, b);
  if (sa.fragments) b.notify(NotifyType::Ikev2FragmentationSupported);
  if (sa.hashes) b.notify(NotifyType::SignatureHashAlgorithms, announced_hashes());
  const auto meant = connections_for(core, sa);
  sa.lacks_ppk = sa.use_ppk && !any_ppk(core, meant);
  sa.use_ppk = sa.use_ppk && !sa.lacks_ppk;
  if (sa.use_ppk) b.notify(NotifyType::UsePpk);
  if (std::ranges::any_of(meant, [&](std::size_t index) { return !core.config.connections[index].rounds.empty(); }))
    b.notify(NotifyType::MultipleAuthSupported);
  if (asks_for_more(std::span(&sa.suite, 1))) b.notify(NotifyType::IntermediateExchangeSupported);
  if (takes_childless(core, meant)) b.notify(NotifyType::ChildlessIkev2Supported);
  const std::size_t size = ike::kHeaderSize + b.chain().size();
  const bool strictly = owes_no_more(core, sa);
  add_cert_requests(core, meant, sa.allowance.left(strictly) - std::min(size, sa.allowance.left(strictly)), b);
  Bytes reply = init_message(sa, sa.spi_r, true, b);
  take_keys(sa, derive({sa.suite, sa.nonce_i, sa.nonce_r, result.shared.view(), sa.spi_i, sa.spi_r}));
  sa.next_expected = 1;
  // An answer longer than what strangers are worth waits until it is asked for again.
  if (sa.allowance.spend(reply.size(), strictly)) core.send(now, sa, {reply});
  sa.state = AwaitAuth{std::move(state.request), std::move(reply)};
}

}  // namespace culvert::ikev2
