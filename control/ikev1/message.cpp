// The walk along a payload chain, and its opposite.
#include "control/ikev1/message.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "common/secret.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kGenericHeader = 4;  // RFC 2408 §3.2
constexpr const char* kRule = "RFC 2408 §3.2";
constexpr std::size_t kAlignment = 4;

bool aligns(ByteView message, ByteView trailing) {
  return trailing.empty() || (trailing.size() < kAlignment && message.size() % kAlignment == 0 &&
                              std::ranges::all_of(trailing, [](std::uint8_t b) { return b == 0; }));
}
}  // namespace

Parsed<Message> Message::parse(PayloadType first, ByteView bytes, Trailing trailing) {
  Message out;
  Reader r(bytes);
  if (first == PayloadType::None) r.fail(ParseErrc::BadValue, "RFC 2408 §3.1: a message without payloads");
  std::size_t vendor_ids = 0, others = 0;
  for (PayloadType type = first; type != PayloadType::None && r.ok();) {
    if (type == PayloadType::Vendor ? ++vendor_ids > kMaxVendorIds : ++others > kMaxPayloads) {
      r.fail(ParseErrc::TooMany, kRule);
      break;
    }
    const auto next = static_cast<PayloadType>(r.be<std::uint8_t>(kRule));
    r.skip(1, kRule);
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
    out.payloads_.push_back({type, Bytes(body.begin(), body.end()), r.offset(), std::move(*content)});
    type = next;
  }
  if (r.ok() && trailing == Trailing::Alignment && !aligns(bytes, bytes.subspan(r.offset()))) r.fail(ParseErrc::Trailing, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  const ByteView chain = bytes.first(r.offset());
  out.chain_.assign(chain.begin(), chain.end());
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

void Message::wipe() {
  for (Payload& p : payloads_) {
    culvert::wipe(p.body);
    if (auto* config = std::get_if<ConfigPayload>(&p.content))
      for (Attribute& a : config->attributes) culvert::wipe(a.value);
  }
  culvert::wipe(chain_);
}

Builder& Builder::add_raw(PayloadType type, Bytes body) {
  if (type == PayloadType::None || body.size() > std::numeric_limits<std::uint16_t>::max() - kGenericHeader)
    throw std::length_error("a payload that cannot be written");
  payloads_.push_back({type, std::move(body)});
  return *this;
}

Builder& Builder::prepend_hash(Bytes hash) {
  payloads_.insert(payloads_.begin(), Raw{PayloadType::Hash, std::move(hash)});
  return *this;
}

void Builder::wipe() {
  for (Raw& p : payloads_) culvert::wipe(p.body);
}

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

}  // namespace culvert::ikev1
