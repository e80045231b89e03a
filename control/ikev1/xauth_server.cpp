// XAuth, the side that asks.
#include "control/ikev1/access.hpp"
#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/lifecycle.hpp"
#include "control/ikev1/peers.hpp"
#include "control/ikev1/xauth.hpp"

namespace culvert::ikev1 {

namespace {

std::string shown(ByteView user) { return printable(user, 64); }

/// SAs that wait for a user cost a phase 1 of a member of a group, whose secret many know: they are bounded like half-open ones.
bool has_room(Core& core, const IsakmpSa& sa) {
  std::erase_if(core.waiting_for_user, [&core](const auto& w) {
    const auto it = core.sas().find(w.first);
    const MmEstablished* est = it == core.sas().end() || it->second->dead ? nullptr : it->second->established();
    return !est || est->access.proved();
  });
  const auto same = std::ranges::count_if(core.waiting_for_user, [&sa](const auto& w) { return w.second == ike::host_of(sa.remote); });
  return core.waiting_for_user.size() < core.config.ike.half_open_limit &&
         static_cast<std::size_t>(same) < core.config.ike.half_open_per_source;
}

void tell(Core& core, TimePoint now, IsakmpSa& sa, XauthAwaitAck verdict) {
  Access& access = sa.established()->access;
  const std::uint16_t status = verdict.ok ? kXauthOk : kXauthFail;
  access.state = std::move(verdict);
  ask(core, now, sa, ConfigType::Set, access.identifier, {number_attribute(Cfg::XauthStatus, status)});
}

/// A user name and a password that can be somebody's: no bytes of zero, which hash functions end at, and not beyond the bounds.
/// One zero at the end of a password is cut: some clients send it with the string.
std::optional<ByteView> credential(const Attribute* a, bool may_end_in_zero) {
  if (!a || a->value.empty() || a->value.size() > kMaxXauthValue) return std::nullopt;
  ByteView value = a->value;
  if (may_end_in_zero && value.back() == 0) value = value.first(value.size() - 1);
  if (value.empty() || std::ranges::find(value, std::uint8_t{0}) != value.end()) return std::nullopt;
  return value;
}

/// Refused, which is told when the time has come.
void hold(Core& core, TimePoint now, IsakmpSa& sa, TimePoint since, Bytes user) {
  const auto delay = core.attempts.delay(now, user, sa.remote);
  sa.established()->access.state = XauthHolding{std::move(user), std::max(now, since + delay)};
  core.touch(sa);
}

}  // namespace

void ask_for_user(Core& core, TimePoint now, IsakmpSa& sa) {
  if (!has_room(core, sa))
    return access_failed(core, now, sa, Exchange::Xauth, Reason::Limit,
                         "Too many peers have not said yet who they are (ike.half_open_limit, ike.half_open_per_source).");
  core.waiting_for_user[sa.id] = ike::host_of(sa.remote);
  Access& access = sa.established()->access;
  const Bytes id = core.random(2);
  access.identifier = static_cast<std::uint16_t>(id[0] << 8 | id[1]);
  access.state = XauthAwaitReply{};
  ask(core, now, sa, ConfigType::Request, access.identifier,
      {number_attribute(Cfg::XauthType, kXauthGeneric), empty_attribute(Cfg::XauthUserName), empty_attribute(Cfg::XauthUserPassword)});
}

void on_xauth_reply(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& reply) {
  Access& access = sa.established()->access;
  // Whatever status the client claims: it is ours to say ok, and fail means that it has no answer.
  if (has(reply.attributes, Cfg::XauthStatus))
    return access_failed(core, now, sa, Exchange::Xauth, Reason::XauthFailed, "The client has no user name and password for us.");
  const auto user = credential(find(reply.attributes, Cfg::XauthUserName), false);
  const Attribute* secret = find(reply.attributes, Cfg::XauthUserPassword);
  const auto password = credential(secret ? secret : find(reply.attributes, Cfg::XauthPasscode), true);
  Bytes name = user ? Bytes(user->begin(), user->end()) : Bytes{};
  if (!user || !password || core.attempts.blocked(now, sa.remote)) return hold(core, now, sa, now, std::move(name));
  const JobId job = core.add_job({.sa = sa.id});
  core.actions.emplace_back(ike::CheckUser{job, core.connection(sa).name, name, SecretBytes(*password)});
  access.state = XauthChecking{job, std::move(name), now};
}

void on_user_checked(Core& core, TimePoint now, IsakmpSa& sa, const ike::UserChecked& result) {
  MmEstablished* est = sa.established();
  auto* checking = est ? std::get_if<XauthChecking>(&est->access.state) : nullptr;
  if (!checking || checking->job != result.job) return;
  Bytes user = std::move(checking->user);
  if (!result.error.empty())
    core.say(sa, Severity::Error, Exchange::Xauth, Reason::NoSecret, "No user can be checked: " + result.error + ".");
  if (!result.ok) {
    hold(core, now, sa, checking->since, user);
    return core.attempts.failed(now, user, sa.remote);
  }
  core.attempts.succeeded(user);
  if (const auto settled = settle_user(core, now, sa, user); !settled)
    return tell(core, now, sa, {false, std::move(user), settled.error().reason, settled.error().text});
  tell(core, now, sa, {true, std::move(user), Reason::Ok, {}});
}

void tell_refusal(Core& core, TimePoint now, IsakmpSa& sa) {
  auto& holding = std::get<XauthHolding>(sa.established()->access.state);
  std::string text = "User \"" + shown(holding.user) + "\" at " + sa.remote.to_string() +
                     " is unknown or has another password (failures: " + std::to_string(core.attempts.failures(now, holding.user)) +
                     " of this name, " + std::to_string(core.attempts.failures(now, sa.remote)) + " of this address).";
  tell(core, now, sa, {false, std::move(holding.user), Reason::XauthFailed, std::move(text)});
}

void on_xauth_ack(Core& core, TimePoint now, IsakmpSa& sa) {
  Access& access = sa.established()->access;
  const XauthAwaitAck state = std::get<XauthAwaitAck>(access.state);
  if (!state.ok)
    return access_failed(
        core, now, sa, Exchange::Xauth, state.reason, state.text,
        {.number = 2, .evidence = ike::UserEvidence{shown(state.user), "there is no such user, or its password is another"}});
  access.user = shown(state.user);
  core.waiting_for_user.erase(sa.id);
  core.ended(now, sa, Exchange::Xauth, sa.role, Reason::Ok,
             "User \"" + access.user + "\" at " + sa.remote.to_string() + " is authenticated.");
  after_xauth(core, now, sa);
}

}  // namespace culvert::ikev1
