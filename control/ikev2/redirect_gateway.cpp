// Redirects, gateway.
#include <algorithm>

#include "control/ikev2/commands.hpp"
#include "control/ikev2/lifecycle.hpp"
#include "control/ikev2/redirect.hpp"
#include "control/ikev2/redirect_data.hpp"
#include "control/ikev2/transport.hpp"

namespace culvert::ikev2 {

namespace {

using config::GatewayName;

/// Where newcomers of the connection are sent; nullptr: nowhere.
const GatewayName* target(Core& core, std::size_t connection) {
  const Run& run = core.quiet_run(connection);
  if (run.newcomers_to) return &*run.newcomers_to;
  const GatewayName& to = core.config.connections[connection].redirection.to;
  return to.none() ? nullptr : &to;
}

/// REDIRECTED_FROM says that it follows, too (RFC 5685 §3).
bool can_follow(const Message& m) { return m.notify(NotifyType::RedirectSupported) || m.notify(NotifyType::RedirectedFrom); }

std::optional<IpAddress> sent_by(const Message& m) {
  const Notify* from = m.notify(NotifyType::RedirectedFrom);
  const auto said = from ? read_redirect(from->data) : std::nullopt;
  return said ? said->gateway.address : std::nullopt;
}

/// Whoever comes from there is not sent back.
bool comes_from(const std::optional<IpAddress>& from, const GatewayName& to) { return from && from == to.address; }

std::string plural(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

}  // namespace

void note_redirect(IkeSa& sa, const Message& m) {
  sa.redirecting.agreed = can_follow(m);
  sa.redirecting.from = sent_by(m);
}

std::optional<Bytes> redirect_at_once(Core& core, const Incoming& in, std::size_t connection, const Message& m) {
  const GatewayName* to = target(core, connection);
  if (!to || !core.config.connections[connection].redirection.at_once || !can_follow(m) || comes_from(sent_by(m), *to)) return std::nullopt;
  Bytes data = encode_redirect({*to, m.find<Nonce>()->data});
  constexpr std::size_t kNotifyHeader = 8;
  // Strangers get no more than they send: a name too long for that is said behind the proofs.
  if (ike::kHeaderSize + kNotifyHeader + data.size() > in.framed.message.size()) return std::nullopt;
  if (!core.shared.refused_before(ike::fingerprint(in.framed.message)))
    core.shared.redirected({core.config.connections[connection].name, {}, in.datagram.remote, Exchange::IkeSaInit, Role::Responder},
                           in.datagram.remote.to_string() + " is sent to " + to->to_string() + " (redirect_to).", in.now);
  return data;
}

bool send_elsewhere(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id, const std::string& identity, Builder& reply) {
  const GatewayName* to = target(core, sa.connection);
  if (!to || !sa.redirecting.agreed || comes_from(sa.redirecting.from, *to)) return false;
  reply.notify(NotifyType::Redirect, encode_redirect({*to}));
  core.identify(sa, identity);
  core.table.promote(sa.id);
  sa.init_request.clear();
  sa.state = Established{
      .since = now, .rekey_at = now + 2 * kLeaveTime, .expires_at = now + 2 * kLeaveTime, .replaced = true, .until = now + kLeaveTime};
  answer(core, now, sa, ike::kExchangeAuth, id, reply);
  core.shared.redirected({core.connection(sa).name, {}, sa.remote, Exchange::IkeAuth, Role::Responder},
                         identity + " is sent to " + to->to_string() + " (redirect_to).");
  return true;
}

void add_redirect(const IkeSa& sa, Builder& out) {
  if (sa.redirecting.to) out.notify(NotifyType::Redirect, encode_redirect({*sa.redirecting.to}));
}

ike::CommandResult redirect(Core& core, std::size_t connection, const std::optional<GatewayName>& to, const std::string& peer,
                            bool newcomers) {
  const config::Connection& c = core.config.connections[connection];
  if (!to) {
    core.run(connection).newcomers_to.reset();
    return {true, c.redirection.to.none() ? "Nobody of \"" + c.name + "\" is sent elsewhere any more."
                                          : "Newcomers of \"" + c.name + "\" are sent to " + c.redirection.to.to_string() +
                                                ", as redirect_to of the configuration has it."};
  }
  if (core.shared.shutting_down) return {false, "The gateway is shutting down."};
  if (to->address && std::ranges::find(c.local_addrs, *to->address) != c.local_addrs.end())
    return {false, to->to_string() + " is an address of this gateway."};
  if (newcomers) core.run(connection).newcomers_to = to;
  std::size_t told = 0, cannot = 0;
  for (IkeSa* sa : sas_of_peer(core, connection, peer)) {
    const Established* est = sa->established();
    if (!est || est->replaced || sa->first_role != Role::Responder) continue;
    if (!sa->redirecting.agreed) {
      ++cannot;
      continue;
    }
    sa->redirecting.to = to;
    add_task(core, *sa, {.kind = Task::Kind::Redirect});
    core.shared.redirected({c.name, {}, sa->remote, Exchange::Informational, Role::Responder},
                           sa->remote_id + " is sent to " + to->to_string() + " by an operator.");
    ++told;
  }
  const std::string rest =
      cannot == 0 ? "" : " " + plural(cannot, "client") + " cannot be sent (no RFC 5685), and " + (cannot == 1 ? "stays." : "stay.");
  if (told + cannot == 0 && !newcomers) return {false, "\"" + c.name + "\" has no client" + (peer.empty() ? "." : " \"" + peer + "\".")};
  if (told == 0 && !newcomers) return {false, "Nobody was told." + rest};
  return {true, "Told " + plural(told, "client") + " of \"" + c.name + "\" to go to " + to->to_string() + "." + rest +
                    (newcomers ? " Newcomers are sent there, too." : "")};
}

}  // namespace culvert::ikev2
