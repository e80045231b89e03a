// IKE_AUTH with EAP, responder: what a user says is handed to a RADIUS server, and what that says to the user (RFC 3579).
// Owns what comes of each answer. The server decides about the user, and this side whether the connection is for him.
#include <algorithm>

#include "control/ikev2/exchange_eap.hpp"

namespace culvert::ikev2 {

namespace {

using Kind = ike::RadiusAnswer::Kind;

constexpr auto kAnswerMargin = seconds{2};

std::string who(const IkeSa& sa, const AskingUser& state) { return "User \"" + shown_user(state) + "\" at " + sa.remote.to_string(); }
/// Whom nobody has named is nobody but himself: what he calls himself outside counts with where he is, and is no other user's name.
Bytes nobody_else(const IkeSa& sa, const AskingUser& state) {
  return to_bytes("(unconfirmed at " + sa.remote.to_string() + ") " + shown_user(state));
}
std::string_view text(const Bytes& b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

/// No answer that says anything about him.
void on_no_answer(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const ike::RadiusAnswer& a) {
  const Reason reason = a.kind == Kind::Silence    ? Reason::RadiusTimeout
                        : a.kind == Kind::Forged   ? Reason::RadiusForged
                        : a.kind == Kind::NoSecret ? Reason::NoSecret
                        : a.kind == Kind::Busy     ? Reason::Limit
                                                   : Reason::BadPayloads;
  const std::string what = a.kind == Kind::Unusable   ? "the answer of the RADIUS server " + a.name + " is of no use: " + a.error
                           : a.kind == Kind::NoSecret ? "the secret of the RADIUS server " + a.name + " cannot be read: " + a.error
                                                      : a.error;
  refuse_user_now(core, now, sa, state, {reason, who(sa, state) + " cannot be checked: " + what + ".", what, a.unheard});
}

/// To the user, if it is what it must be.
void relay(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const ike::RadiusAnswer& a) {
  const auto verdict = state.eap.on_relayed(a.kind == Kind::Accept, a.eap, a.msk);
  const auto* refusal = std::get_if<eap::Refusal>(&verdict);
  if (!refusal) return go_on_with_eap(core, now, sa, state, verdict);
  ike::RadiusAnswer unusable = a;
  unusable.kind = Kind::Unusable;
  unusable.error = refusal->text;
  on_no_answer(core, now, sa, state, unusable);
}

/// The server has let him in: whether this connection does.
void on_accepted(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, const ike::RadiusAnswer& a) {
  const config::Connection& c = core.proofs(sa);
  // RFC 2865 §5.1: this is who he is, and not what he has said outside, where he may say what he likes.
  state.eap.rename(a.user.empty() ? nobody_else(sa, state) : a.user);
  const auto refuse = [&](Reason reason, const std::string& problem) {
    refuse_user_now(core, now, sa, state, {reason, who(sa, state) + " is refused: " + problem + ".", problem});
  };
  // Whom the server has let in need not be who he said that he is outside: of a connection that is not for everybody it has to say so.
  if (a.user.empty() && !config::is_user(c.remote_auth.eap_id, {}))
    return refuse(Reason::EapUnknownUser,
                  "the RADIUS server " + a.name + " does not say who he is (no User-Name), and eap_id is " + c.remote_auth.eap_id);
  if (!config::is_user(c.remote_auth.eap_id, text(state.eap.user())))
    return refuse(Reason::EapUnknownUser, "the RADIUS server " + a.name + " knows him by this name, for which the connection is not");
  const bool weak = std::ranges::find(c.allow_weak, std::string("eap-md5")) != c.allow_weak.end();
  if (a.msk.empty() && !weak)
    return refuse(Reason::EapMethod, "the RADIUS server " + a.name +
                                         " has let him in by a method that makes no key, such as EAP-MD5, which allow_weak does not name");
  state.radius.session_timeout = a.session_timeout;
  state.radius.framed = a.framed;
  relay(core, now, sa, state, a);
}

}  // namespace

void ask_radius(Core& core, TimePoint now, IkeSa& sa, AskingUser& state, Bytes packet) {
  const config::Connection& c = core.connection(sa);
  if (!state.radius.server && core.shared.attempts.blocked(now, sa.remote))
    return refuse_user_late(
        core, now, sa, state,
        {Reason::Limit, who(sa, state) + " is refused unchecked: too many of " + sa.remote.address.to_string() + " have failed.", {}});
  // The answer may take longer than a half-open SA may, but no longer than two of them in all.
  const TimePoint most = sa.created + core.config.ike.half_open_timeout + 2 * core.config.radius.timeout;
  sa.half_open_until = std::max(sa.half_open_until, std::min(most, now + core.config.radius.timeout + kAnswerMargin));
  state.job = core.add_job({sa.id});
  core.touch(sa);
  core.shared.actions.emplace_back(ike::AskRadius{.job = state.job,
                                                  .connection = c.name,
                                                  .sa = sa.id,
                                                  .local = sa.local,
                                                  .remote = sa.remote,
                                                  .user = state.eap.user(),
                                                  .eap = std::move(packet),
                                                  .state = state.radius.state,
                                                  .server = state.radius.server});
}

void on_eap_radius(Core& core, TimePoint now, IkeSa& sa, const ike::RadiusAnswer& a) {
  auto* state = std::get_if<AskingUser>(&sa.state);
  if (!state || state->job != a.job) return;
  state->job = 0;
  state->radius.server = a.server;
  state->radius.state = a.state;
  switch (a.kind) {
    case Kind::Challenge:
      return relay(core, now, sa, *state, a);
    case Kind::Accept:
      return on_accepted(core, now, sa, *state, a);
    case Kind::Reject: {
      const std::string problem = "the RADIUS server " + a.name + " rejects him" + (a.message.empty() ? "" : " (\"" + a.message + "\")");
      refuse_user_late(core, now, sa, *state, {Reason::RadiusRejected, who(sa, *state) + " is refused: " + problem + ".", problem});
      return core.shared.attempts.failed(now, state->eap.user(), sa.remote);
    }
    default:
      return on_no_answer(core, now, sa, *state, a);
  }
}

}  // namespace culvert::ikev2
