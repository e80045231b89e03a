// XAuth, the side that is asked.
#include "control/ikev1/access.hpp"
#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/exchange_transaction.hpp"
#include "control/ikev1/xauth.hpp"

namespace culvert::ikev1 {

namespace {

/// What the server wants beyond a user name and a password; empty: nothing.
std::string unanswerable(const ConfigPayload& request) {
  if (const Attribute* type = find(request.attributes, Cfg::XauthType); type && type->number().value_or(kXauthGeneric) != kXauthGeneric)
    return "an authentication of type " + std::to_string(*type->number());
  if (has(request.attributes, Cfg::XauthChallenge)) return "the answer to a challenge";
  if (has(request.attributes, Cfg::XauthNextPin)) return "a new PIN";
  if (has(request.attributes, Cfg::XauthAnswer)) return "the answer to a question";
  return {};
}

/// The attributes of our REPLY, each that is asked for (draft-beaulieu-ike-xauth-02 §6.3).
std::vector<Attribute> credentials(const ConfigPayload& request, const std::string& user, ByteView password) {
  std::vector<Attribute> out;
  if (has(request.attributes, Cfg::XauthType)) out.push_back(number_attribute(Cfg::XauthType, kXauthGeneric));
  if (has(request.attributes, Cfg::XauthUserName)) out.push_back(text_attribute(Cfg::XauthUserName, user));
  if (has(request.attributes, Cfg::XauthUserPassword)) out.push_back(bytes_attribute(Cfg::XauthUserPassword, password));
  if (has(request.attributes, Cfg::XauthPasscode)) out.push_back(bytes_attribute(Cfg::XauthPasscode, password));
  return out;
}

void give_up(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request, Reason reason, const std::string& why) {
  answer(core, now, sa, id, request, {number_attribute(Cfg::XauthStatus, kXauthFail)});
  access_failed(core, now, sa, Exchange::Xauth, reason, why);
}

void on_status(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  const bool ok = find(request.attributes, Cfg::XauthStatus)->number().value_or(kXauthFail) == kXauthOk;
  answer(core, now, sa, id, request, {empty_attribute(Cfg::XauthStatus)});
  Access& access = sa.established()->access;
  const config::Connection& c = core.connection(sa);
  if (!ok)
    return access_failed(core, now, sa, Exchange::Xauth, Reason::XauthFailed,
                         "The server refuses user \"" + c.xauth_client.user + "\": its name or password is wrong.",
                         {.number = 2,
                          .evidence = ike::UserEvidence{c.xauth_client.user, "the server knows no such user, or another password"},
                          .by = ike::RefusedBy::Peer});
  access.user = c.xauth_client.user;
  core.ended(now, sa, Exchange::Xauth, sa.role, Reason::Ok, "The server has accepted user \"" + access.user + "\".");
  after_xauth(core, now, sa);
}

void on_question(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  Access& access = sa.established()->access;
  const config::Connection& c = core.connection(sa);
  if (const Attribute* message = find(request.attributes, Cfg::XauthMessage))
    core.say(sa, Severity::Info, Exchange::Xauth, Reason::Ok, "The server says: " + text_of(*message));
  const auto* before = std::get_if<XauthAwaitStatus>(&access.state);
  XauthAwaitStatus given = before ? *before : XauthAwaitStatus{};
  const bool name = has(request.attributes, Cfg::XauthUserName);
  const bool secret = has(request.attributes, Cfg::XauthUserPassword) || has(request.attributes, Cfg::XauthPasscode);
  if (const std::string what = unanswerable(request); !what.empty())
    return give_up(core, now, sa, id, request, Reason::XauthFailed, "The server wants " + what + ", which is not supported.");
  if (before && ((name && given.name) || (secret && given.secret) || (!name && !secret)))
    return give_up(core, now, sa, id, request, Reason::XauthFailed,
                   "The server asks again: it does not take the name or the password of user \"" + c.xauth_client.user + "\".");
  const auto password = core.services.xauth_password(c.name);
  if (!password)
    return give_up(core, now, sa, id, request, Reason::NoSecret, "The password of local.xauth cannot be read: " + password.error() + ".");
  given.name = given.name || name;
  given.secret = given.secret || secret;
  access.state = given;
  answer(core, now, sa, id, request, credentials(request, c.xauth_client.user, password->view()));
}

}  // namespace

bool takes_xauth_request(const MmEstablished& est, const ConfigPayload& request) {
  const AccessState& state = est.access.state;
  const bool waiting = std::holds_alternative<XauthAwaitRequest>(state), told = std::holds_alternative<XauthAwaitStatus>(state);
  // A status is of an answer of ours: before we gave one, or when we are the one that asks, it means nothing.
  if (request.type == ConfigType::Set) return told && has(request.attributes, Cfg::XauthStatus);
  const bool asks = has(request.attributes, Cfg::XauthUserName) || has(request.attributes, Cfg::XauthUserPassword) ||
                    has(request.attributes, Cfg::XauthPasscode) || has(request.attributes, Cfg::XauthType) ||
                    has(request.attributes, Cfg::XauthChallenge) || has(request.attributes, Cfg::XauthNextPin);
  return request.type == ConfigType::Request && asks && (waiting || told);
}

void on_xauth_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request) {
  return request.type == ConfigType::Set ? on_status(core, now, sa, id, request) : on_question(core, now, sa, id, request);
}

}  // namespace culvert::ikev1
