#include "control/ikev1/access.hpp"

#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/exchange_informational.hpp"
#include "control/ikev1/exchange_quick_mode.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/lease_holders.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/mode_config.hpp"
#include "control/ikev1/notifications.hpp"
#include "control/ikev1/times.hpp"
#include "control/ikev1/xauth.hpp"

namespace culvert::ikev1 {

namespace {

Access* access_of(IsakmpSa& sa) {
  MmEstablished* est = sa.established();
  return est ? &est->access : nullptr;
}

/// What an answer that never came was about.
Exchange step_of(const Access& access) { return access.proved() ? Exchange::ModeConfig : Exchange::Xauth; }

std::string waiting_for(const Access& access) {
  if (std::holds_alternative<XauthAwaitReply>(access.state)) return "a user name and a password";
  if (std::holds_alternative<XauthAwaitAck>(access.state)) return "the acknowledgement of XAuth's end";
  if (std::holds_alternative<XauthAwaitRequest>(access.state)) return "the server's question for user name and password";
  if (std::holds_alternative<XauthAwaitStatus>(access.state)) return "the server's word on user name and password";
  if (std::holds_alternative<ConfigAwaitSet>(access.state) || std::holds_alternative<ConfigAwaitReply>(access.state))
    return "a virtual address";
  if (std::holds_alternative<ConfigAwaitAck>(access.state)) return "the acknowledgement of its virtual address";
  return "the check of user name and password";
}

/// When a user that replaces its ISAKMP SA takes it that the server, which knows it, asks for no password again, nor gives an address,
/// as Cisco's do. nullopt: it asks, or we are nobody's user.
std::optional<TimePoint> not_asked_at(const IsakmpSa& sa) {
  const MmEstablished* est = sa.established();
  if (!est || sa.replaces.empty() || !std::holds_alternative<XauthAwaitRequest>(est->access.state)) return std::nullopt;
  return est->established + kNotAskedAgain;
}

/// The address that we have is the one that we go on with.
void go_on_unasked(Core& core, TimePoint now, IsakmpSa& sa) {
  access_of(sa)->address = core.run(sa.connection).inner_local;
  open_access(core, now, sa);
}

/// The step behind XAuth: addresses, where there are pools or vips.
void begin_config(Core& core, TimePoint now, IsakmpSa& sa) {
  const config::Connection& c = core.connection(sa);
  Access& access = *access_of(sa);
  const bool pull = c.mode_config == config::ModeConfig::Pull;
  if (c.pools.empty() && c.vips.empty()) return open_access(core, now, sa);
  if (!c.pools.empty() && !pull) return push_config(core, now, sa);
  if (!c.pools.empty()) {
    // A client that replaces its ISAKMP SA has its address, and need not ask again.
    if (keep_lease(core, sa)) return open_access(core, now, sa);
    access.state = ConfigAwaitRequest{};
  } else if (pull) {
    pull_config(core, now, sa);
  } else {
    access.state = ConfigAwaitSet{};
  }
}

}  // namespace

bool asks_for_user(const config::Connection& c) { return c.xauth_server.users.kind != config::SecretRef::Kind::None; }
bool is_user(const config::Connection& c) { return !c.xauth_client.user.empty(); }

void begin_access(Core& core, TimePoint now, IsakmpSa& sa) {
  Access& access = *access_of(sa);
  const config::Connection& c = core.connection(sa);
  access.give_up_at = now + kAccessLimit;
  if (asks_for_user(c)) return ask_for_user(core, now, sa);
  if (!is_user(c)) return after_xauth(core, now, sa);
  access.state = XauthAwaitRequest{};
  core.touch(sa);
}

void after_xauth(Core& core, TimePoint now, IsakmpSa& sa) {
  note_contact(core, sa.remote);  // from here on there may be pairs
  begin_config(core, now, sa);
  core.touch(sa);
  if (access_of(sa) && access_of(sa)->initial_contact) peer_restarted(core, now, sa);
}

void open_access(Core& core, TimePoint now, IsakmpSa& sa) {
  Access& access = *access_of(sa);
  access.state = AccessOpen{};
  access_opened(core, now, sa);
}

void access_failed(Core& core, TimePoint now, IsakmpSa& sa, Exchange exchange, Reason reason, const std::string& message,
                   ike::Cause cause) {
  core.ended(now, sa, exchange, sa.role, reason, message, {}, std::move(cause));
  const std::size_t connection = sa.connection;
  const std::vector<SaId> replaces = sa.replaces;
  const Role role = sa.role;
  close_isakmp(core, now, sa, reason, "The ISAKMP SA ends before it was of use.");
  if (role == Role::Initiator) connecting_failed(core, now, connection, replaces);
}

void access_ended_by_peer(Core& core, TimePoint now, IsakmpSa& sa) {
  const MmEstablished& est = *sa.established();
  std::string text = "The peer deleted the ISAKMP SA while we waited for " + waiting_for(est.access) + ".";
  ike::Cause cause{.by = ike::RefusedBy::Peer};
  // A client that does not like the last message of Main Mode says no more (strongSwan); one whose user gives up takes longer.
  if (std::holds_alternative<XauthAwaitReply>(est.access.state) && sa.mode == Exchange::MainMode && now - est.established <= kSettle) {
    text += " It may not accept message 6, in which we call ourselves " + est.local_id + ".";
    cause.evidence = ike::IdentityEvidence{{}, est.local_id, true, est.negotiated.auth.psk()};
  }
  core.ended(now, sa, step_of(est.access), sa.role, Reason::PeerRefused, text, {}, std::move(cause));
  const std::size_t run = sa.connection;
  const std::vector<SaId> replaces = sa.replaces;
  const Role role = sa.role;
  abandon_quick_modes(core, sa);  // those of the peer are taken before its address is settled
  core.drop(sa);
  if (role == Role::Initiator) connecting_failed(core, now, run, replaces);
}

void on_config_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  const Access& access = *access_of(sa);
  if (!access.proved()) return on_xauth_request(core, now, sa, id, request);
  if (request.type == ConfigType::Request) return on_pull_request(core, now, sa, id, request);
  if (std::holds_alternative<ConfigAwaitSet>(access.state)) return on_push_request(core, now, sa, id, request);
  // A SET that changes nothing here, a client's version for instance, is acknowledged as such.
  answer(core, now, sa, id, request, {});
}

void on_config_answer(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& reply) {
  const AccessState& state = access_of(sa)->state;
  if (std::holds_alternative<XauthAwaitReply>(state)) return on_xauth_reply(core, now, sa, reply);
  if (std::holds_alternative<XauthAwaitAck>(state)) return on_xauth_ack(core, now, sa);
  if (std::holds_alternative<ConfigAwaitReply>(state)) return on_pull_reply(core, now, sa, reply);
  if (std::holds_alternative<ConfigAwaitAck>(state)) return on_push_ack(core, now, sa);
}

void on_access_timer(Core& core, TimePoint now, IsakmpSa& sa) {
  if (!access_of(sa)) return;
  if (const auto* holding = std::get_if<XauthHolding>(&access_of(sa)->state); holding && now >= holding->until)
    return tell_refusal(core, now, sa);
  const bool answered = poll_transactions(core, now, sa);
  Access& access = *access_of(sa);
  if (access.open() || std::holds_alternative<ConfigAwaitRequest>(access.state)) return;
  if (const auto at = not_asked_at(sa); at && now >= *at) return go_on_unasked(core, now, sa);
  if (answered && now < access.give_up_at) return;
  // A refusal that nobody acknowledged is a refusal all the same, and reported as one.
  if (const auto* told = std::get_if<XauthAwaitAck>(&access.state); told && !told->ok) return on_xauth_ack(core, now, sa);
  access_failed(core, now, sa, step_of(access), Reason::Timeout, sa.remote.to_string() + " never sent " + waiting_for(access) + ".");
}

std::optional<TimePoint> access_deadline(const IsakmpSa& sa) {
  const MmEstablished* est = sa.established();
  if (!est) return std::nullopt;
  std::optional<TimePoint> out = transactions_deadline(est->access);
  if (const auto* holding = std::get_if<XauthHolding>(&est->access.state)) out = earliest(out, holding->until);
  if (!est->access.open() && !std::holds_alternative<ConfigAwaitRequest>(est->access.state)) out = earliest(out, est->access.give_up_at);
  return earliest(out, not_asked_at(sa));
}

void set_virtual_address(Core& core, IsakmpSa& sa, const IpAddress& address) {
  access_of(sa)->address = address;
  ConnectionRun& run = core.run(sa.connection);
  (core.connection(sa).pools.empty() ? run.inner_local : run.inner_remote) = address;
}

std::optional<IpAddress> virtual_address_of(Core& core, const IsakmpSa& sa) {
  for (const IsakmpSa* other : core.sas_of(sa.connection))
    if (const MmEstablished* est = other->established(); est && est->access.address) return est->access.address;
  return std::nullopt;
}

bool is_open(const IsakmpSa& sa) {
  const MmEstablished* est = sa.established();
  return est && est->access.open();
}

bool serves_client(const Core& core, const IsakmpSa& sa) {
  const config::Connection& c = core.connection(sa);
  return asks_for_user(c) || !c.pools.empty();
}

}  // namespace culvert::ikev1
