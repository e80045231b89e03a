// Messages of an ISAKMP SA between their payloads and the wire: headers, encryption, HASH(1).
// Owns no state: IVs are passed in and come back, so that a message that proves wrong leaves no trace.
#pragma once

#include <expected>

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// A message in clear of an exchange of this SA.
Bytes clear_message(const IsakmpSa& sa, std::uint8_t exchange, MessageId id, const Builder& payloads);
/// An encrypted message; `iv` becomes that of the next one.
Bytes sealed_message(const IsakmpSa& sa, const Cipher& cipher, Iv& iv, std::uint8_t exchange, MessageId id, const Builder& payloads);

struct OpenedMessage {
  Message message;
  Iv next;
};
/// Why a message is not acted on, for counters and log.
struct Refusal {
  Reason reason{};
  NotifyType notify{};
  std::string text;
};
/// Parses a clear message and checks it against the table of message_rules.hpp.
std::expected<Message, Refusal> open_clear(const Incoming& in, MessageKind kind);
/// Decrypts, parses and checks.
std::expected<OpenedMessage, Refusal> open_sealed(const Incoming& in, MessageKind kind, const Cipher& cipher, const Iv& iv);

/// The keys of an SA that has some: from message 4 on.
Keys* keys_of(IsakmpSa& sa);
const Negotiated* negotiated_of(const IsakmpSa& sa);

/// One Informational message under HASH(1) (RFC 2409 §5.7), ready to send.
Bytes informational(Core& core, IsakmpSa& sa, const Keys& keys, Builder payloads);
/// A notification in clear that answers a message of phase 1 before there are keys. It proves nothing to anybody.
Bytes clear_notification(IkeSpi spi_i, IkeSpi spi_r, MessageId id, NotifyType type);

Bytes cookies(const IsakmpSa& sa);
Bytes spi_bytes(Spi spi);

}  // namespace culvert::ikev1
