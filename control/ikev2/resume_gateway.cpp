#include "control/ikev2/resume_gateway.hpp"

#include <algorithm>

#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/strangers.hpp"
#include "control/ikev2/strays.hpp"
#include "control/ikev2/ticket.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

/// Whether a ticket can be remembered as used.
bool has_room(Core& core) {
  auto& used = core.used_tickets;
  if (used.size() >= kMaxUsedTickets)
    std::erase_if(used, [now = core.services.wall_seconds()](const auto& one) { return one.second <= now; });
  return used.size() < kMaxUsedTickets;
}

/// Whether it is of a peer that the connection takes as it is configured by now.
bool fits(const config::Connection& c, const Ticket& t) {
  const bool user = !t.user.empty();
  const config::RemoteAuth* asked = config::user_auth(c);
  return c.name == t.connection && c.resumption.enabled && std::ranges::find(c.proposals, t.suite) != c.proposals.end() &&
         (t.ppk || !c.ppk.required) && t.proofs == c.remote_rounds && user == (asked != nullptr) &&
         (!user || config::is_user(asked->eap_id, t.identity));
}

/// The connection that the ticket is good for; nullopt: none, or not any more.
std::optional<std::size_t> good_for(Core& core, const Incoming& in, const Ticket& t) {
  if (core.services.wall_seconds() >= t.expires || core.used_tickets.contains(t.serial) || !has_room(core)) return std::nullopt;
  if (t.authenticated <= core.no_tickets_until) return std::nullopt;
  for (const std::size_t index : core.shared.by_peer.candidates(in.datagram.local, in.datagram.remote.address, 2))
    if (fits(core.config.connections[index], t)) return index;
  return std::nullopt;
}

/// Whether any connection that the peer may be of has tickets: others' keys are not asked for.
bool anyone_resumes(Core& core, const Incoming& in) {
  return std::ranges::any_of(core.shared.by_peer.candidates(in.datagram.local, in.datagram.remote.address, 2),
                             [&](std::size_t index) { return core.config.connections[index].resumption.enabled; });
}

/// A ticket is good once. False: there is no room to remember it.
bool use_up(Core& core, const Ticket& t) { return has_room(core) && core.used_tickets.emplace(t.serial, t.expires).second; }

}  // namespace

void on_resume_request(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  const auto junk = [&](Reason reason, const std::string& text) {
    core.shared.junk(in.now, in.datagram.remote, Exchange::IkeSaInit, reason, text);
  };
  if (core.shared.shutting_down) return;
  if (h.spi_r || h.message_id || (h.flags & ike::kFlagInitiator) == 0)
    return junk(Reason::Unexpected, "An IKE_SESSION_RESUME request is none.");
  if (came_before(core, in)) return;
  const auto m = Message::parse(PayloadType{h.next_payload}, in.framed.body);
  if (!m) return junk(Reason::Malformed, std::string("An IKE_SESSION_RESUME request does not parse (") + m.error().rule + ")");
  if (const auto fault = check(MessageKind::ResumeRequest, *m)) return junk(Reason::BadPayloads, "IKE_SESSION_RESUME: " + *fault);
  const Notify* shown = m->notify(NotifyType::TicketOpaque);
  if (!shown) return junk(Reason::BadPayloads, "IKE_SESSION_RESUME has no ticket (RFC 5723 §4.3.1).");
  bool address_shown = false;
  if (!let_in(core, in, *m, address_shown)) return;
  auto ticket = anyone_resumes(core, in) ? open_ticket(core.services.ticket_keys(), shown->data) : std::nullopt;
  const auto connection = ticket ? good_for(core, in, *ticket) : std::nullopt;
  if (!connection) {
    refuse_newcomer_with(core, in, NotifyType::TicketNack);
    if (core.shared.refused_before(ike::fingerprint(in.framed.message))) return;
    return junk(Reason::TicketRefused, ticket ? "A ticket is used, revoked, too old, or not for what is configured now."
                                              : "A ticket is none of ours, or of a key that is forgotten.");
  }
  if (auto elsewhere = redirect_at_once(core, in, *connection, *m))
    return refuse_newcomer_with(core, in, NotifyType::Redirect, std::move(*elsewhere));
  IkeSa& sa = add_newcomer(core, in, *connection, address_shown);
  note_redirect(sa, *m);
  sa.fragments = takes_fragments(core, sa) && m->notify(NotifyType::Ikev2FragmentationSupported);
  find_nats(core, sa, *m);
  sa.suite = ticket->suite;
  sa.group = sa.suite.group;
  sa.nonce_i = m->find<Nonce>()->data;
  sa.nonce_r = core.shared.random(kNonceBytes);
  take_keys(sa, derive_resumed({sa.suite, sa.nonce_i, sa.nonce_r, {}, sa.spi_i, sa.spi_r}, ticket->d.view()));
  sa.resumed = std::make_shared<const Ticket>(std::move(*ticket));
  Builder b;
  b.add(Nonce{sa.nonce_r});
  add_nat_detection(core, sa, sa.spi_r, b);
  if (sa.fragments) b.notify(NotifyType::Ikev2FragmentationSupported);
  Bytes reply = init_message(sa, sa.spi_r, true, b, ike::kExchangeSessionResume);
  sa.next_expected = 1;
  if (sa.allowance.spend(reply.size(), owes_no_more(core, sa))) core.send(in.now, sa, {reply});
  sa.state = AwaitAuth{Bytes(in.framed.message.begin(), in.framed.message.end()), std::move(reply)};
}

void on_resumed_auth(Core& core, const Incoming& in, IkeSa& sa, AwaitAuth& state, Message m) {
  const auto ticket = sa.resumed;
  const std::uint32_t id = in.header().message_id.value;
  const IdI& who = *m.find<IdI>();
  const Auth* auth = m.find<Auth>();
  const auto refused = [&](Reason reason, std::string text) {
    refuse_initiator(core, in.now, sa, id, {reason, std::move(text), {.number = 3}, sa.connection});
  };
  const SecretBytes octets = signed_octets(sa.keys.prf, state.request, sa.nonce_r, sa.keys.pi.view(), m.raw(PayloadType::IdI)->body);
  const Auth expected = resumed_proof(sa, sa.keys.pi, octets);
  if (!auth || auth->method != expected.method || !equal_constant_time(auth->data, expected.data))
    return refused(Reason::AuthFailed, "The peer's proof does not fit the ticket that it has shown.");
  if (!(who == ticket->id)) return refused(Reason::WrongIdentity, "The peer calls itself otherwise than when it was given the ticket.");
  if (auto verdict = other_names(core, sa, sa.connection, who, m.find<IdR>()))
    return refuse_initiator(core, in.now, sa, id, std::move(*verdict));
  if (refuse_nat(core, in, sa, m)) return;
  if (!use_up(core, *ticket)) return refused(Reason::TicketRefused, "The ticket is used already.");
  end_trial(core, in.now, sa);
  const AuthRequest request{id, std::move(m), std::move(state.reply)};
  const IdR own = own_id<IdR>(core.connection(sa).local_id, sa.local.address);
  sa.local_id = text(own);
  sa.user = ticket->user;
  Builder b;
  b.add(own);
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, ticket->identity + " comes back by a ticket.");
  finish_auth(core, in.now, sa, request, {ticket->identity, ticket->key}, std::move(b),
              resumed_proof(sa, sa.keys.pr, octets_of_reply(core, sa, request.init_reply)));
}

bool revoke_ticket(Core& core, const IkeSa& sa) {
  const auto revoke = [&](const Bytes& serial, std::int64_t expires) {
    if (!has_room(core)) core.no_tickets_until = core.services.wall_seconds();
    if (has_room(core)) core.used_tickets.emplace(serial, expires);
  };
  const bool coming_back = sa.resumed && !sa.established();
  if (sa.given) revoke(sa.given->serial, sa.given->expires);
  if (coming_back) revoke(sa.resumed->serial, sa.resumed->expires);
  return sa.given || coming_back;
}

void add_ticket(Core& core, IkeSa& sa, const Message& request, const Proven& who, Builder& out) {
  if (!request.notify(NotifyType::TicketRequest)) return;
  const config::Connection& c = core.connection(sa);
  const auto keys = core.services.ticket_keys();
  const std::int64_t now = core.services.wall_seconds();
  Ticket t;
  t.authenticated = sa.resumed ? sa.resumed->authenticated : now;
  t.expires = t.authenticated + c.resumption.lifetime.count();
  // Of additional key exchanges (RFC 9370), and of what a RADIUS server allows its user, a ticket knows nothing.
  const bool plain = in_order(sa.suite.more).empty() && !sa.session_end && sa.framed.empty();
  if (!c.resumption.enabled || !plain || keys.empty() || t.expires <= now) {
    out.notify(NotifyType::TicketNack);
    return;
  }
  t.serial = core.shared.random(kTicketSerial);
  t.connection = c.name;
  t.suite = sa.suite;
  t.d = sa.keys.d;
  t.proofs = static_cast<std::uint8_t>(c.remote_rounds);
  t.ppk = sa.resumed ? sa.resumed->ppk : sa.with_ppk;
  t.id = *request.find<IdI>();
  t.identity = who.identity;
  t.user = sa.user;
  t.key = who.key;
  Writer data;
  data.be(static_cast<std::uint32_t>(t.expires - now));
  data.bytes(seal_ticket(keys.front(), core.shared.random(kTicketNonce), t));
  if (data.size() > kMaxTicket) {
    out.notify(NotifyType::TicketNack);
    return;
  }
  out.notify(NotifyType::TicketLtOpaque, std::move(data).take());
  sa.given = GivenTicket{std::move(t.serial), t.expires};
}

}  // namespace culvert::ikev2
