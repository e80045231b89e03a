// The table of payloads per message, and its check.
#include "control/ikev1/message_rules.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace culvert::ikev1 {

namespace {
constexpr std::uint16_t kAny = kMaxVendorIds;  // as often as the parser allows

struct Rule {
  PayloadType type;
  std::uint16_t min, max;
  bool both_or_none = false;  ///< with min 0 and max 2: one alone is a violation
};
struct MessageRow {
  MessageKind kind;
  std::string_view name;
  const char* section;
  std::optional<bool> encrypted;         ///< nullopt: as the sender likes
  std::span<const PayloadType> leading;  ///< the payloads that must come first, in this order
  std::span<const Rule> rules;
};

// RFC 2409 §5: "The SA payload MUST precede all other payloads in a phase 1 exchange."
constexpr std::array kSaFirst{PayloadType::Sa};
// RFC 2409 §5.5: HASH follows the header, SA follows HASH. §5.7: the same for HASH in an Informational exchange.
constexpr std::array kHashSaFirst{PayloadType::Hash, PayloadType::Sa};
constexpr std::array kHashFirst{PayloadType::Hash};

constexpr std::array kSaRules{
    Rule{PayloadType::Sa, 1, 1},
    Rule{PayloadType::Vendor, 0, kAny},
};
// NAT-D: one for the receiver and one or more for the sender (RFC 3947 §3.2). CR: a peer that also has certificates asks.
constexpr std::array kKeRules{
    Rule{PayloadType::Ke, 1, 1},       Rule{PayloadType::Nonce, 1, 1},     Rule{PayloadType::NatD, 0, 16},
    Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
// N: INITIAL-CONTACT (RFC 2407 §4.6.3.3).
constexpr std::array kIdRules{
    Rule{PayloadType::Id, 1, 1},       Rule{PayloadType::Hash, 1, 1},      Rule{PayloadType::Notify, 0, 8},
    Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
// CERT: any number of them, in any order, is allowed (RFC 2409 §5.1); a peer may know ours, and have told us its own.
constexpr std::array kSignedIdRules{
    Rule{PayloadType::Id, 1, 1},     Rule{PayloadType::Sig, 1, 1},      Rule{PayloadType::Cert, 0, kMaxCertificates},
    Rule{PayloadType::Notify, 0, 8}, Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kAggressive1Rules{
    Rule{PayloadType::Sa, 1, 1},     Rule{PayloadType::Ke, 1, 1},       Rule{PayloadType::Nonce, 1, 1},     Rule{PayloadType::Id, 1, 1},
    Rule{PayloadType::Notify, 0, 8}, Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kAggressive2Rules{
    Rule{PayloadType::Sa, 1, 1},     Rule{PayloadType::Ke, 1, 1},       Rule{PayloadType::Nonce, 1, 1},
    Rule{PayloadType::Id, 1, 1},     Rule{PayloadType::Hash, 1, 1},     Rule{PayloadType::NatD, 0, 16},
    Rule{PayloadType::Notify, 0, 8}, Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kAggressive2SignedRules{
    Rule{PayloadType::Sa, 1, 1},        Rule{PayloadType::Ke, 1, 1},     Rule{PayloadType::Nonce, 1, 1},
    Rule{PayloadType::Id, 1, 1},        Rule{PayloadType::Sig, 1, 1},    Rule{PayloadType::Cert, 0, kMaxCertificates},
    Rule{PayloadType::NatD, 0, 16},     Rule{PayloadType::Notify, 0, 8}, Rule{PayloadType::CertReq, 0, 16},
    Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kAggressive3Rules{
    Rule{PayloadType::Hash, 1, 1},
    Rule{PayloadType::NatD, 0, 16},
    Rule{PayloadType::Notify, 0, 8},
    Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kAggressive3SignedRules{
    Rule{PayloadType::Sig, 1, 1},      Rule{PayloadType::Cert, 0, kMaxCertificates},
    Rule{PayloadType::NatD, 0, 16},    Rule{PayloadType::Notify, 0, 8},
    Rule{PayloadType::CertReq, 0, 16}, Rule{PayloadType::Vendor, 0, kAny},
};
// One SA payload: several SAs in one Quick Mode (RFC 2409 §5.5) are not supported. IDci and IDcr come together.
constexpr std::array kQuickRules{
    Rule{PayloadType::Hash, 1, 1},     Rule{PayloadType::Sa, 1, 1},    Rule{PayloadType::Nonce, 1, 1},  Rule{PayloadType::Ke, 0, 1},
    Rule{PayloadType::Id, 0, 2, true}, Rule{PayloadType::NatOa, 0, 2}, Rule{PayloadType::Notify, 0, 8}, Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kQuick3Rules{
    Rule{PayloadType::Hash, 1, 1},
    Rule{PayloadType::Notify, 0, 8},
    Rule{PayloadType::Vendor, 0, kAny},
};
// draft-dukes-ike-mode-cfg-02 §3.3: HDR*, HASH, ATTR.
constexpr std::array kTransactionRules{
    Rule{PayloadType::Hash, 1, 1},
    Rule{PayloadType::Attributes, 1, 1},
    Rule{PayloadType::Notify, 0, 8},
    Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kInformationalRules{
    Rule{PayloadType::Hash, 1, 1},
    Rule{PayloadType::Notify, 0, kAny},
    Rule{PayloadType::Delete, 0, kAny},
    Rule{PayloadType::Vendor, 0, kAny},
};
constexpr std::array kClearRules{
    Rule{PayloadType::Notify, 1, 8},
    Rule{PayloadType::Vendor, 0, kAny},
};

constexpr std::array kMessages{
    MessageRow{MessageKind::MainMode1, "Main Mode message 1", "RFC 2409 §5.4", false, kSaFirst, kSaRules},
    MessageRow{MessageKind::MainMode2, "Main Mode message 2", "RFC 2409 §5.4", false, kSaFirst, kSaRules},
    MessageRow{MessageKind::MainMode3, "Main Mode message 3", "RFC 2409 §5.4", false, {}, kKeRules},
    MessageRow{MessageKind::MainMode4, "Main Mode message 4", "RFC 2409 §5.4", false, {}, kKeRules},
    MessageRow{MessageKind::MainMode5, "Main Mode message 5", "RFC 2409 §5.4", true, {}, kIdRules},
    MessageRow{MessageKind::MainMode6, "Main Mode message 6", "RFC 2409 §5.4", true, {}, kIdRules},
    MessageRow{MessageKind::MainMode5Signed, "Main Mode message 5", "RFC 2409 §5.1", true, {}, kSignedIdRules},
    MessageRow{MessageKind::MainMode6Signed, "Main Mode message 6", "RFC 2409 §5.1", true, {}, kSignedIdRules},
    MessageRow{MessageKind::AggressiveMode1, "Aggressive Mode message 1", "RFC 2409 §5.4", false, kSaFirst, kAggressive1Rules},
    MessageRow{MessageKind::AggressiveMode2, "Aggressive Mode message 2", "RFC 2409 §5.4", false, kSaFirst, kAggressive2Rules},
    MessageRow{MessageKind::AggressiveMode3, "Aggressive Mode message 3", "RFC 2409 §5.4", {}, {}, kAggressive3Rules},
    MessageRow{MessageKind::AggressiveMode2Signed, "Aggressive Mode message 2", "RFC 2409 §5.1", false, kSaFirst, kAggressive2SignedRules},
    MessageRow{MessageKind::AggressiveMode3Signed, "Aggressive Mode message 3", "RFC 2409 §5.1", {}, {}, kAggressive3SignedRules},
    MessageRow{MessageKind::QuickMode1, "Quick Mode message 1", "RFC 2409 §5.5", true, kHashSaFirst, kQuickRules},
    MessageRow{MessageKind::QuickMode2, "Quick Mode message 2", "RFC 2409 §5.5", true, kHashSaFirst, kQuickRules},
    MessageRow{MessageKind::QuickMode3, "Quick Mode message 3", "RFC 2409 §5.5", true, kHashFirst, kQuick3Rules},
    MessageRow{MessageKind::Transaction, "Transaction message", "draft-dukes-ike-mode-cfg-02 §3.3", true, kHashFirst, kTransactionRules},
    MessageRow{MessageKind::Informational, "Informational message", "RFC 2409 §5.7", true, kHashFirst, kInformationalRules},
    MessageRow{MessageKind::InformationalClear, "Informational message in clear", "RFC 2409 §5.7", false, {}, kClearRules},
};
static_assert(kMessages.size() == static_cast<std::size_t>(MessageKind::Count_));
static_assert([] {
  for (std::size_t i = 0; i < kMessages.size(); ++i)
    if (kMessages[i].kind != static_cast<MessageKind>(i)) return false;
  return true;
}());

const MessageRow& row(MessageKind k) { return kMessages[static_cast<std::size_t>(k)]; }

/// RFC 2408 §3.1: 128-255 are for private use; among them the NAT-T drafts' numbers.
bool is_private(PayloadType t) { return static_cast<std::uint8_t>(t) >= 128; }
/// Numbers that IKEv1 knows at all. P and T stand inside an SA only.
bool is_known(PayloadType t) {
  const auto n = static_cast<std::uint8_t>(t);
  return (n >= 1 && n <= 14 && t != PayloadType::Proposal && t != PayloadType::Transform) || t == PayloadType::NatD ||
         t == PayloadType::NatOa;
}

Violation violation(const MessageRow& m, NotifyType notify, const std::string& what) {
  return {notify, std::string(m.name) + " " + what + " (" + m.section + ")"};
}

std::expected<void, Violation> check_strangers(const MessageRow& m, const Message& message) {
  for (const Payload& p : message.payloads()) {
    if (is_private(p.type)) continue;
    if (!is_known(p.type))
      return std::unexpected(violation(m, NotifyType::InvalidPayloadType,
                                       "carries a payload of unknown type " + std::to_string(static_cast<unsigned>(p.type))));
    if (std::none_of(m.rules.begin(), m.rules.end(), [&p](const Rule& r) { return r.type == p.type; }))
      return std::unexpected(violation(m, NotifyType::InvalidPayloadType, "may not carry a payload of type " + name(p.type)));
  }
  return {};
}
}  // namespace

std::string_view name(MessageKind k) { return row(k).name; }

std::expected<void, Violation> check_message(MessageKind kind, bool encrypted, const Message& message) {
  const MessageRow& m = row(kind);
  if (m.encrypted && encrypted != *m.encrypted)
    return std::unexpected(violation(m, NotifyType::InvalidFlags, encrypted ? "must not be encrypted" : "must be encrypted"));
  if (auto ok = check_strangers(m, message); !ok) return ok;
  for (const Rule& r : m.rules) {
    const std::size_t n = message.count(r.type);
    if (n < r.min) return std::unexpected(violation(m, NotifyType::PayloadMalformed, "lacks a payload of type " + name(r.type)));
    if (n > r.max)
      return std::unexpected(violation(
          m, NotifyType::PayloadMalformed,
          "carries " + std::to_string(n) + " payloads of type " + name(r.type) + ", at most " + std::to_string(r.max) + " may be there"));
    if (r.both_or_none && n == 1)
      return std::unexpected(
          violation(m, NotifyType::PayloadMalformed, "carries one payload of type " + name(r.type) + ", where two or none belong"));
  }
  for (std::size_t i = 0; i < m.leading.size(); ++i)
    if (i >= message.payloads().size() || message.payloads()[i].type != m.leading[i])
      return std::unexpected(violation(m, NotifyType::PayloadMalformed,
                                       "does not have its payload of type " + name(m.leading[i]) + " in place " + std::to_string(i + 1)));
  if (kind == MessageKind::Informational && message.count(PayloadType::Notify) + message.count(PayloadType::Delete) == 0)
    return std::unexpected(violation(m, NotifyType::PayloadMalformed, "carries neither a notification nor a Delete"));
  return {};
}

}  // namespace culvert::ikev1
