// The table of payloads per message, and its check.
#include "control/ikev2/message_rules.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace culvert::ikev2 {

namespace {
using enum MessageKind;
using P = PayloadType;
constexpr std::size_t kAny = kMaxPayloads;  // as often as the parser allows

struct Kind {
  MessageKind kind;
  std::string_view name;
  const char* section;
  bool reply;  ///< an error notification stands for what it lacks
};
constexpr std::array kKinds{
    Kind{SaInitRequest, "IKE_SA_INIT request", "RFC 7296 App. C.1", false},
    Kind{SaInitReply, "IKE_SA_INIT reply", "RFC 7296 App. C.1", true},
    Kind{AuthRequest, "IKE_AUTH request", "RFC 7296 App. C.2", false},
    Kind{AuthReply, "IKE_AUTH reply", "RFC 7296 App. C.2", true},
    Kind{EapRequest, "IKE_AUTH request with EAP", "RFC 7296 App. C.3", false},
    Kind{EapReply, "IKE_AUTH reply with EAP", "RFC 7296 App. C.3", true},
    Kind{RoundRequest, "IKE_AUTH request with a further proof", "RFC 4739 §2", false},
    Kind{RoundReply, "IKE_AUTH reply before the last proof", "RFC 4739 §2", true},
    Kind{LastReply, "IKE_AUTH reply behind the last proof", "RFC 4739 §2", true},
    Kind{NewChildRequest, "CREATE_CHILD_SA request for a CHILD SA", "RFC 7296 App. C.4", false},
    Kind{NewChildReply, "CREATE_CHILD_SA reply for a CHILD SA", "RFC 7296 App. C.4", true},
    Kind{NewIkeRequest, "CREATE_CHILD_SA request for an IKE SA", "RFC 7296 App. C.5", false},
    Kind{NewIkeReply, "CREATE_CHILD_SA reply for an IKE SA", "RFC 7296 App. C.5", true},
    Kind{KeyExchange, "message of an additional key exchange", "RFC 9370 §2.2", false},
    Kind{Informational, "INFORMATIONAL message", "RFC 7296 App. C.6", false},
    Kind{ResumeRequest, "IKE_SESSION_RESUME request", "RFC 5723 §4.3", false},
    Kind{ResumeReply, "IKE_SESSION_RESUME reply", "RFC 5723 §4.3", true},
    Kind{ChildlessReply, "IKE_AUTH reply without a CHILD SA", "RFC 6023 §4", true},
};
static_assert([] {
  for (std::size_t i = 0; i < kKinds.size(); ++i)
    if (kKinds[i].kind != static_cast<MessageKind>(i)) return false;
  return true;
}());

/// What stands in no row of a kind may not be in its messages.
struct Row {
  MessageKind kind;
  PayloadType type;
  std::size_t min, max;
};
// CERT and CERTREQ: as many as there are. IDr of AuthReply: not behind EAP, where it came with the first EapReply.
constexpr std::array kRows{
    Row{SaInitRequest, P::Sa, 1, 1},
    Row{SaInitRequest, P::Ke, 1, 1},
    Row{SaInitRequest, P::Nonce, 1, 1},

    Row{SaInitReply, P::Sa, 1, 1},
    Row{SaInitReply, P::Ke, 1, 1},
    Row{SaInitReply, P::Nonce, 1, 1},
    Row{SaInitReply, P::CertReq, 0, kAny},

    Row{AuthRequest, P::IdI, 1, 1},
    Row{AuthRequest, P::Cert, 0, kMaxCertificates},
    Row{AuthRequest, P::CertReq, 0, kAny},
    Row{AuthRequest, P::IdR, 0, 1},
    Row{AuthRequest, P::Auth, 0, 1},
    Row{AuthRequest, P::Cp, 0, 1},
    Row{AuthRequest, P::Sa, 1, 1},
    Row{AuthRequest, P::TsI, 1, 1},
    Row{AuthRequest, P::TsR, 1, 1},

    Row{AuthReply, P::IdR, 0, 1},
    Row{AuthReply, P::Cert, 0, kMaxCertificates},
    Row{AuthReply, P::Auth, 1, 1},
    Row{AuthReply, P::Cp, 0, 1},
    Row{AuthReply, P::Sa, 1, 1},
    Row{AuthReply, P::TsI, 1, 1},
    Row{AuthReply, P::TsR, 1, 1},

    Row{EapRequest, P::Eap, 0, 1},
    Row{EapRequest, P::Auth, 0, 1},

    Row{EapReply, P::IdR, 0, 1},
    Row{EapReply, P::Cert, 0, kMaxCertificates},
    Row{EapReply, P::Auth, 0, 1},
    Row{EapReply, P::Eap, 1, 1},

    Row{RoundRequest, P::IdI, 0, 1},
    Row{RoundRequest, P::Cert, 0, kMaxCertificates},
    Row{RoundRequest, P::CertReq, 0, kAny},
    Row{RoundRequest, P::IdR, 0, 1},
    Row{RoundRequest, P::Auth, 0, 1},

    Row{RoundReply, P::IdR, 0, 1},
    Row{RoundReply, P::Cert, 0, kMaxCertificates},
    Row{RoundReply, P::Auth, 0, 1},

    Row{LastReply, P::Cp, 0, 1},
    Row{LastReply, P::Sa, 1, 1},
    Row{LastReply, P::TsI, 1, 1},
    Row{LastReply, P::TsR, 1, 1},

    Row{NewChildRequest, P::Cp, 0, 1},
    Row{NewChildRequest, P::Sa, 1, 1},
    Row{NewChildRequest, P::Nonce, 1, 1},
    Row{NewChildRequest, P::Ke, 0, 1},
    Row{NewChildRequest, P::TsI, 1, 1},
    Row{NewChildRequest, P::TsR, 1, 1},

    Row{NewChildReply, P::Cp, 0, 1},
    Row{NewChildReply, P::Sa, 1, 1},
    Row{NewChildReply, P::Nonce, 1, 1},
    Row{NewChildReply, P::Ke, 0, 1},
    Row{NewChildReply, P::TsI, 1, 1},
    Row{NewChildReply, P::TsR, 1, 1},

    Row{NewIkeRequest, P::Sa, 1, 1},
    Row{NewIkeRequest, P::Nonce, 1, 1},
    Row{NewIkeRequest, P::Ke, 1, 1},

    Row{NewIkeReply, P::Sa, 1, 1},
    Row{NewIkeReply, P::Nonce, 1, 1},
    Row{NewIkeReply, P::Ke, 1, 1},

    Row{KeyExchange, P::Ke, 1, 1},

    Row{Informational, P::Delete, 0, kAny},
    Row{Informational, P::Cp, 0, 1},

    Row{ResumeRequest, P::Nonce, 1, 1},

    Row{ResumeReply, P::Nonce, 1, 1},

    Row{ChildlessReply, P::IdR, 0, 1},
    Row{ChildlessReply, P::Cert, 0, kMaxCertificates},
    Row{ChildlessReply, P::Auth, 0, 1},
    Row{ChildlessReply, P::Cp, 0, 1},
};

/// Exactly one of two payloads, each of which has a row with min 0.
struct Either {
  MessageKind kind;
  PayloadType one, other;
};
constexpr std::array kEither{
    Either{EapRequest, P::Eap, P::Auth},
};

/// Status notifications that stand for what a reply lacks, as an error does; but not for `still`.
struct Instead {
  MessageKind kind;
  NotifyType notify;
  PayloadType still;
};
constexpr std::array kInstead{
    Instead{SaInitReply, NotifyType::Cookie, P::None},    // RFC 7296 §2.6
    Instead{SaInitReply, NotifyType::Redirect, P::None},  // RFC 5685 §3
    Instead{ResumeReply, NotifyType::Redirect, P::None},  // the same
    Instead{AuthReply, NotifyType::Redirect, P::Auth},    // RFC 5685 §6
    Instead{EapReply, NotifyType::Redirect, P::None},     // the same
    Instead{LastReply, NotifyType::Redirect, P::None},    // the same
};

/// Unknown ones, too, which are the business of the critical bit (RFC 7296 §2.5).
bool anywhere(const Payload& p) {
  return p.type == P::Notify || p.type == P::Vendor || (std::holds_alternative<Opaque>(p.content) && p.type != P::Sk && p.type != P::Skf);
}

/// All of what a CHILD SA is asked for with, or none (RFC 6023 §4).
bool is_of_child(PayloadType type) { return type == P::Sa || type == P::TsI || type == P::TsR; }
bool childless(const Message& message) { return message.count(P::Sa) + message.count(P::TsI) + message.count(P::TsR) == 0; }

bool may_lack(const Kind& k, PayloadType type, const Message& message) {
  if (k.reply && message.error()) return true;
  if (k.kind == AuthRequest && is_of_child(type) && childless(message)) return true;
  return std::ranges::any_of(kInstead,
                             [&](const Instead& i) { return i.kind == k.kind && i.still != type && message.notify(i.notify) != nullptr; });
}

std::string sentence(const Kind& k, const std::string& what) { return std::string(k.name) + " " + what + " (" + k.section + ")"; }
}  // namespace

std::optional<std::string> check(MessageKind kind, const Message& message) {
  const Kind& k = kKinds.at(static_cast<std::size_t>(kind));
  for (const Payload& p : message.payloads())
    if (!anywhere(p) && std::ranges::none_of(kRows, [&](const Row& r) { return r.kind == kind && r.type == p.type; }))
      return sentence(k, "may not carry a payload of type " + name(p.type));
  for (const Row& r : kRows) {
    if (r.kind != kind) continue;
    const std::size_t n = message.count(r.type);
    if (n < r.min && !may_lack(k, r.type, message)) return sentence(k, "lacks a payload of type " + name(r.type));
    if (n > r.max)
      return sentence(
          k, "carries " + std::to_string(n) + " payloads of type " + name(r.type) + ", at most " + std::to_string(r.max) + " may be there");
  }
  for (const Either& e : kEither)
    if (e.kind == kind && message.count(e.one) + message.count(e.other) != 1)
      return sentence(k, "does not carry one payload, either of type " + name(e.one) + " or of type " + name(e.other));
  return std::nullopt;
}

}  // namespace culvert::ikev2
