// Session resumption, client; and what both roles have in common.
#include <algorithm>

#include "control/ikev2/exchange_auth.hpp"
#include "control/ikev2/exchange_sa_init.hpp"
#include "control/ikev2/peers.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/resume.hpp"
#include "control/ikev2/resume_gateway.hpp"
#include "control/ikev2/sa_init_responder.hpp"
#include "control/ikev2/ticket.hpp"

namespace culvert::ikev2 {

namespace {

void show_ticket(Core& core, TimePoint now, IkeSa& sa) {
  Builder b;
  if (!sa.cookie.empty()) b.notify(NotifyType::Cookie, sa.cookie);
  b.add(Nonce{sa.nonce_i}).notify(NotifyType::TicketOpaque, sa.pass->ticket);
  add_nat_detection(core, sa, IkeSpi{}, b);
  if (takes_fragments(core, sa)) b.notify(NotifyType::Ikev2FragmentationSupported);
  offer_redirect(core, sa, b);
  sa.init_request = init_message(sa, IkeSpi{}, false, b, ike::kExchangeSessionResume);
  sa.last_request = {sa.init_request};
  core.send(now, sa, sa.last_request);
  sa.state = InitSent{nullptr, {}, Outstanding(now, {}, core.config.ike, core.services)};
}

void on_resume_reply(Core& core, const Incoming& in, IkeSa& sa) {
  const auto m = Message::parse(PayloadType{in.header().next_payload}, in.framed.body);
  if (!m)
    return core.shared.junk(in.now, in.datagram.remote, Exchange::IkeSaInit, Reason::Malformed,
                            "An answer to IKE_SESSION_RESUME does not parse.");
  if (const Notify* cookie = m->notify(NotifyType::Cookie)) {
    if (cookie->data.empty() || cookie->data.size() > 64 || cookie->data == sa.cookie || ++sa.init_tries > kMaxInitTries) return;
    sa.cookie = cookie->data;
    return show_ticket(core, in.now, sa);
  }
  if (const Notify* elsewhere = m->notify(NotifyType::Redirect)) {
    if (on_redirect_at_once(core, in, sa, *elsewhere))
      give_up_resumption(core, in.now, sa, "The gateway sends us elsewhere before it has proved itself");
    return;
  }
  if (m->notify(NotifyType::TicketNack) || m->error()) return give_up_resumption(core, in.now, sa, "The gateway does not take our ticket");
  if (!in.header().spi_r) return;
  if (const auto fault = check(MessageKind::ResumeReply, *m)) return give_up_resumption(core, in.now, sa, *fault);
  core.table.complete_initiator(sa.id, sa.spi_i, in.header().spi_r);
  sa.spi_r = in.header().spi_r;
  sa.nonce_r = m->find<Nonce>()->data;
  sa.last_heard = in.now;
  sa.fragments = takes_fragments(core, sa) && m->notify(NotifyType::Ikev2FragmentationSupported);
  find_nats(core, sa, *m);
  take_keys(sa, derive_resumed({sa.suite, sa.nonce_i, sa.nonce_r, {}, sa.spi_i, sa.spi_r}, sa.pass->d.view()));
  go_to_nat_port(core, sa);
  sa.next_request = 1;
  send_auth(core, in.now, sa, Bytes(in.framed.message.begin(), in.framed.message.end()));
}

}  // namespace

Auth resumed_proof(const IkeSa& sa, const SecretBytes& sk_p, const SecretBytes& octets) {
  const SecretBytes mac = prf(sa.keys.prf, sk_p.view(), {octets.view()});
  return {AuthMethodId::SharedKey, Bytes(mac.view().begin(), mac.view().end())};
}

void on_resume(Core& core, const Incoming& in) {
  const ike::Header& h = in.header();
  if (!in.response()) return on_resume_request(core, in);
  const auto id = core.table.find_initiating(h.spi_i);
  IkeSa* sa = id ? core.find(*id) : nullptr;
  if (!sa || !sa->pass || !std::holds_alternative<InitSent>(sa->state) || h.message_id || (h.flags & ike::kFlagInitiator) != 0) return;
  if (in.datagram.remote.address == sa->remote.address) on_resume_reply(core, in, *sa);
}

bool begin_resumption(Core& core, TimePoint now, IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  std::optional<Pass>& pass = core.quiet_run(sa.connection).pass;
  const bool anew = !sa.replaces.empty() && !sa.redirecting.from;  // a ticket proves nothing anew
  if (!c.resumption.enabled || sa.unnamed || anew || c.renewal.childless == config::Childless::Force || !pass ||
      pass->gateway != sa.remote.address)
    return false;
  sa.pass = std::exchange(pass, {});  // once
  if (now < sa.pass->expires && std::ranges::find(c.proposals, sa.pass->suite) != c.proposals.end()) {
    sa.suite = sa.pass->suite;
    sa.group = sa.suite.group;
    show_ticket(core, now, sa);
    return true;
  }
  sa.pass.reset();
  return false;
}

void give_up_resumption(Core& core, TimePoint now, IkeSa& sa, const std::string& why) {
  core.say(sa, Severity::Info, Exchange::IkeSaInit, Reason::TicketRefused, why + ": a key exchange is made instead.");
  Start again{.connection = sa.connection,
              .child = sa.first_child,
              .local = sa.local,
              .remote = sa.remote,
              .replaces = sa.replaces,
              .redirected_from = sa.redirecting.from,
              .full = sa.reauth.full};
  again.local.port = again.remote.port = ike::kIkePort;
  start_sa(core, now, again);
  core.drop(sa);
}

void request_ticket(const Core& core, const IkeSa& sa, Builder& out) {
  if (core.connection(sa).resumption.enabled) out.notify(NotifyType::TicketRequest);
}

void note_ticket(Core& core, TimePoint now, IkeSa& sa, const IdR& id, const Message& reply) {
  const Notify* n = reply.notify(NotifyType::TicketLtOpaque);
  const config::Connection& c = core.connection(sa);
  if (!n || !c.resumption.enabled || !sa.established()) return;
  Reader r(n->data);
  const seconds lifetime{r.be<std::uint32_t>()};
  const ByteView ticket = r.rest();
  if (!r.ok() || ticket.empty() || ticket.size() > kMaxTicket)
    return core.say(sa, Severity::Warn, Exchange::IkeAuth, Reason::Malformed,
                    "The gateway's ticket is empty or too long, and is not kept.");
  core.quiet_run(sa.connection).pass = Pass{.ticket = Bytes(ticket.begin(), ticket.end()),
                                            .suite = sa.suite,
                                            .d = sa.keys.d,
                                            .gateway = sa.remote.address,
                                            .expires = now + std::min<seconds>(lifetime, c.resumption.lifetime),
                                            .id = encode_body(id)};
}

}  // namespace culvert::ikev2
