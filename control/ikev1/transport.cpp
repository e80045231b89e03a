#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

namespace {
Refusal malformed(const ParseError& error, MessageKind kind) {
  return {Reason::Malformed, NotifyType::PayloadMalformed,
          std::string(name(kind)) + " does not parse at byte " + std::to_string(error.offset) + " (" + error.rule + ")"};
}
Refusal violation(const Violation& v) { return {Reason::BadPayloads, v.notify, v.text}; }
}  // namespace

Bytes clear_message(const IsakmpSa& sa, std::uint8_t exchange, MessageId id, const Builder& payloads) {
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = sa.spi_r;
  h.next_payload = static_cast<std::uint8_t>(payloads.first());
  h.exchange = exchange;
  h.message_id = id;
  return ike::encode_message(h, payloads.chain());
}

Bytes sealed_message(const IsakmpSa& sa, const Cipher& cipher, Iv& iv, std::uint8_t exchange, MessageId id, const Builder& payloads) {
  Bytes chain = payloads.chain();
  Sealed sealed = cipher.seal(iv, chain);
  wipe(chain);  // a password may be in it
  iv = sealed.next;
  ike::Header h;
  h.spi_i = sa.spi_i;
  h.spi_r = sa.spi_r;
  h.next_payload = static_cast<std::uint8_t>(payloads.first());
  h.exchange = exchange;
  h.flags = ike::kFlagEncryption;
  h.message_id = id;
  Bytes out = ike::encode_message(h, sealed.body);
  if (sa.watched)  // what may hold a password is not even looked at
    sa.notes.note(
        out, exchange == ike::kExchangeTransaction ? std::string("attributes, not shown") : describe(payloads.first(), payloads.chain()));
  return out;
}

std::expected<Message, Refusal> open_clear(const Incoming& in, MessageKind kind) {
  auto message = Message::parse(static_cast<PayloadType>(in.header().next_payload), in.framed.body, Trailing::Alignment);
  if (!message) return std::unexpected(malformed(message.error(), kind));
  if (const auto ok = check_message(kind, false, *message); !ok) return std::unexpected(violation(ok.error()));
  return std::move(*message);
}

std::expected<OpenedMessage, Refusal> open_sealed(const Incoming& in, MessageKind kind, const Cipher& cipher, const Iv& iv) {
  auto opened = cipher.open(iv, in.framed.body);
  if (!opened) return std::unexpected(malformed(opened.error(), kind));
  auto message = Message::parse(static_cast<PayloadType>(in.header().next_payload), opened->chain, Trailing::Padding);
  wipe(opened->chain);  // a password may be in it
  if (in.opened)
    (*in.opened)(message ? describe(*message) : "with our keys it makes no sense: they differ from the peer's, or it is not from the peer");
  if (!message) return std::unexpected(malformed(message.error(), kind));
  if (const auto ok = check_message(kind, true, *message); !ok) return std::unexpected(violation(ok.error()));
  return OpenedMessage{std::move(*message), opened->next};
}

Keys* keys_of(IsakmpSa& sa) {
  return std::visit(
      [](auto& state) -> Keys* {
        if constexpr (requires { state.keys; })
          return &state.keys;
        else
          return nullptr;
      },
      sa.state);
}

const Negotiated* negotiated_of(const IsakmpSa& sa) {
  return std::visit(
      [](const auto& state) -> const Negotiated* {
        if constexpr (requires { state.negotiated; })
          return &state.negotiated;
        else
          return nullptr;
      },
      sa.state);
}

Bytes informational(Core& core, IsakmpSa& sa, const Keys& keys, Builder payloads) {
  const MessageId id = core.new_message_id(sa);
  sa.used_ids.add(id);
  payloads.prepend_hash(informational_hash(keys.secrets, id, payloads.chain()));
  Iv iv = keys.exchange_iv(id);
  return sealed_message(sa, keys.cipher, iv, ike::kExchangeInformational, id, payloads);
}

Bytes clear_notification(IkeSpi spi_i, IkeSpi spi_r, MessageId id, NotifyType type) {
  Notify notify;
  notify.protocol = kProtoIsakmp;
  notify.type = type;
  Builder payloads;
  payloads.add(notify);
  ike::Header h;
  h.spi_i = spi_i;
  h.spi_r = spi_r;
  h.next_payload = static_cast<std::uint8_t>(payloads.first());
  h.exchange = ike::kExchangeInformational;
  h.message_id = id;
  return ike::encode_message(h, payloads.chain());
}

Bytes cookies(const IsakmpSa& sa) {
  Writer w;
  w.be(sa.spi_i.value);
  w.be(sa.spi_r.value);
  return std::move(w).take();
}

Bytes spi_bytes(Spi spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}

}  // namespace culvert::ikev1
