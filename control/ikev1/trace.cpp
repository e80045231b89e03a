#include "control/ikev1/trace.hpp"

#include <algorithm>

#include "control/ike/retransmit.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"

namespace culvert::ikev1 {

namespace {

std::string hex(std::uint64_t value, int digits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (int i = digits - 1; i >= 0; --i) out += kDigits[value >> (4 * i) & 15U];
  return out;
}

std::string exchange_name(std::uint8_t exchange) {
  switch (exchange) {
    case ike::kExchangeMainMode:
      return "Main Mode";
    case ike::kExchangeAggressive:
      return "Aggressive Mode";
    case ike::kExchangeInformational:
      return "Informational";
    case ike::kExchangeQuickMode:
      return "Quick Mode";
    case 6:  // draft-ietf-ipsec-isakmp-mode-cfg-05 §3.1
      return "Transaction";
    default:
      return "exchange " + std::to_string(exchange);
  }
}

std::string size_text(const Payload& p) { return std::to_string(p.body.size()) + " bytes"; }

std::string describe(const Payload& p) {
  std::string inside = size_text(p);
  if (const auto* sa = std::get_if<Sa>(&p.content)) {
    inside = describe(*sa);
  } else if (const auto* id = std::get_if<Id>(&p.content)) {
    inside = to_text(*id);
  } else if (const auto* n = std::get_if<Notify>(&p.content)) {
    inside = name(n->type) + ", " + size_text(p);
  } else if (const auto* d = std::get_if<Delete>(&p.content)) {
    inside = std::to_string(d->spis.size()) + " SPIs of protocol " + std::to_string(d->protocol);
  } else if (const auto* v = std::get_if<Vendor>(&p.content)) {
    const VendorIdInfo* known = recognise_vendor(v->data);
    inside = known ? std::string(known->name) : size_text(p) + ", unknown";
  }
  return std::string(name(p.type)) + " (" + inside + ")";
}

std::string cut(std::string text) {
  if (text.size() > kTraceLine) text = text.substr(0, kTraceLine) + " ... (" + std::to_string(text.size() - kTraceLine) + " more)";
  return text;
}

}  // namespace

std::string describe(const ike::Header& h, std::size_t bytes) {
  std::string out = exchange_name(h.exchange) + ", cookies " + hex(h.spi_i.value, 16) + " " + hex(h.spi_r.value, 16);
  if (h.message_id) out += ", message id " + hex(h.message_id.value, 8);
  return out + ", " + std::to_string(bytes) + " bytes" + (h.encrypted() ? ", encrypted" : "");
}

std::string describe(const Message& message) {
  std::string out;
  for (const Payload& p : message.payloads()) {
    if (out.size() > kTraceLine) break;
    out += (out.empty() ? "" : ", ") + describe(p);
  }
  return cut(std::move(out));
}

std::string describe(PayloadType first, ByteView chain) {
  const auto message = Message::parse(first, chain, Trailing::Padding);
  return message ? describe(*message) : std::string("what does not parse");
}

void SealedNotes::note(ByteView message, std::string text) {
  if (notes_.size() == kMax) notes_.erase(notes_.begin());
  notes_.push_back({ike::fingerprint(message), std::move(text)});
}

const std::string* SealedNotes::find(ByteView message) const {
  const auto note = std::ranges::find(notes_, ike::fingerprint(message), &Note::fingerprint);
  return note == notes_.end() ? nullptr : &note->text;
}

}  // namespace culvert::ikev1
