// Which payloads a message of an exchange must and may carry, how often, in which place, and whether it is encrypted: one table.
// Owns what is checked before any handler runs; handlers never ask "is it there?". Never looks into a payload.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "control/ikev1/message.hpp"

namespace culvert::ikev1 {

/// A message by its place in its exchange; odd numbers of Main Mode come from the initiator, even ones from the responder.
enum class MessageKind : std::uint8_t {
  MainMode1,
  MainMode2,
  MainMode3,
  MainMode4,
  MainMode5,
  MainMode6,
  MainMode5Signed,  ///< with SIG where the others have HASH (RFC 2409 §5.1)
  MainMode6Signed,
  AggressiveMode1,
  AggressiveMode2,
  AggressiveMode3,  ///< in clear or encrypted (RFC 2409 §5.4, RFC 3947 §4)
  AggressiveMode2Signed,
  AggressiveMode3Signed,
  QuickMode1,
  QuickMode2,
  QuickMode3,
  Transaction,         ///< draft-dukes-ike-mode-cfg-02 §3.3, all four kinds
  Informational,       ///< protected by HASH(1) (RFC 2409 §5.7)
  InformationalClear,  ///< before keys exist: errors of phase 1, which prove nothing and may only be reported
  Count_
};
std::string_view name(MessageKind k);

struct Violation {
  NotifyType notify{};  ///< what RFC 2408 §5 would have us tell the peer
  std::string text;     ///< "Main Mode message 3 lacks a KE payload (RFC 2409 §5.4)"
};
/// Checks presence, count, order where the RFC fixes it, and encryption. Unknown payload numbers violate (RFC 2408 §5.3),
/// private ones (128-255) and vendor ids are ignored.
std::expected<void, Violation> check_message(MessageKind kind, bool encrypted, const Message& message);

}  // namespace culvert::ikev1
