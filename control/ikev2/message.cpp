// The walk along a payload chain, and its opposite.
#include "control/ikev2/message.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace culvert::ikev2 {

namespace {
constexpr std::size_t kGenericHeader = 4;
constexpr std::uint8_t kCriticalBit = 0x80;  // the other bits of the byte are reserved, and not looked at
constexpr const char* kRule = "RFC 7296 §3.2";

/// What is inside of these is not in the chain: its type stands where the next payload's would.
bool encloses(PayloadType t) { return t == PayloadType::Sk || t == PayloadType::Skf; }
}  // namespace

Parsed<Message> Message::parse(PayloadType first, ByteView bytes) {
  Message out;
  Reader r(bytes);
  std::size_t vendor_ids = 0, others = 0;
  for (PayloadType type = first; type != PayloadType::None && r.ok();) {
    if (type == PayloadType::Vendor ? ++vendor_ids > kMaxVendorIds : ++others > kMaxPayloads) {
      r.fail(ParseErrc::TooMany, kRule);
      break;
    }
    const auto next = static_cast<PayloadType>(r.be<std::uint8_t>(kRule));
    const bool critical = (r.be<std::uint8_t>(kRule) & kCriticalBit) != 0;
    const auto length = r.be<std::uint16_t>(kRule);
    if (r.ok() && (length < kGenericHeader || length - kGenericHeader > r.remaining())) r.fail(ParseErrc::BadLength, kRule);
    if (!r.ok()) break;
    const std::size_t begin = r.offset();
    const ByteView body = r.take(length - kGenericHeader);
    auto content = parse_body(type, body);
    if (!content) {
      ParseError error = content.error();
      error.offset += begin;
      return std::unexpected(error);
    }
    out.payloads_.push_back({type, critical, Bytes(body.begin(), body.end()), std::move(*content)});
    type = encloses(type) ? PayloadType::None : next;
  }
  if (r.ok() && r.remaining() != 0) r.fail(ParseErrc::Trailing, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  return out;
}

std::size_t Message::count(PayloadType type) const {
  return static_cast<std::size_t>(std::count_if(payloads_.begin(), payloads_.end(), [type](const Payload& p) { return p.type == type; }));
}

const Payload* Message::raw(PayloadType type, std::size_t nth) const {
  for (const Payload& p : payloads_)
    if (p.type == type && nth-- == 0) return &p;
  return nullptr;
}

const Notify* Message::notify(NotifyType type) const {
  for (const Payload& p : payloads_)
    if (const auto* n = std::get_if<Notify>(&p.content); n && n->type == type) return n;
  return nullptr;
}

const Notify* Message::error() const {
  for (const Payload& p : payloads_)
    if (const auto* n = std::get_if<Notify>(&p.content); n && is_error(n->type)) return n;
  return nullptr;
}

std::optional<std::uint8_t> Message::unknown_critical() const {
  for (const Payload& p : payloads_)
    if (p.critical && std::holds_alternative<Opaque>(p.content) && !encloses(p.type)) return static_cast<std::uint8_t>(p.type);
  return std::nullopt;
}

Builder& Builder::add_raw(PayloadType type, Bytes body) {
  if (type == PayloadType::None || body.size() > std::numeric_limits<std::uint16_t>::max() - kGenericHeader)
    throw std::length_error("a payload that cannot be written");
  payloads_.push_back({type, std::move(body)});
  return *this;
}

Builder& Builder::notify(NotifyType type, Bytes data) { return add(Notify{0, type, {}, std::move(data)}); }

PayloadType Builder::first() const { return payloads_.empty() ? PayloadType::None : payloads_.front().type; }

Bytes Builder::chain() const {
  Writer w;
  for (const Raw& p : payloads_) {
    const bool last = &p == &payloads_.back();
    w.be(static_cast<std::uint8_t>(last ? PayloadType::None : (&p)[1].type));
    w.zeros(1);
    w.be(static_cast<std::uint16_t>(kGenericHeader + p.body.size()));
    w.bytes(p.body);
  }
  return std::move(w).take();
}

}  // namespace culvert::ikev2
