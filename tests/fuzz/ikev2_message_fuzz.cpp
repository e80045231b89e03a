// Fuzzes the payload chain of IKEv2. Input: first payload type, then the chain.
// A chain that parses is written back with the same meaning, its payloads fill it without a gap, and the rules of every message can judge
// it.
#include <cstdint>
#include <cstdlib>

#include "control/ikev2/message_rules.hpp"

using namespace culvert::ikev2;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

/// What is read and never written: transforms that may not be chosen, selectors of unknown types.
Content writable(Content content) {
  if (auto* sa = std::get_if<Sa>(&content))
    for (Proposal& p : sa->proposals)
      for (Transform& t : p.transforms) t.unknown_attribute = false;
  if (auto* i = std::get_if<TsI>(&content)) i->unknown = 0;
  if (auto* r = std::get_if<TsR>(&content)) r->unknown = 0;
  return content;
}
template <class T>
bool lacks_selectors(const Content& content) {
  const T* ts = std::get_if<T>(&content);
  return ts && ts->selectors.empty();
}

void require_round_trip(const Message& m, PayloadType first, culvert::ByteView chain) {
  Builder as_received, as_meant;
  for (const Payload& p : m.payloads()) {
    require(!name(p.type).empty());
    if (const auto* n = std::get_if<Notify>(&p.content)) require(!name(n->type).empty());
    as_received.add_raw(p.type, p.body);
    if (lacks_selectors<TsI>(p.content) || lacks_selectors<TsR>(p.content)) continue;
    const Content content = writable(p.content);
    const auto body = encode_body(content);
    const auto same = parse_body(p.type, body);
    require(same.has_value() && *same == content && encode_body(*same) == body);
    as_meant.add_raw(p.type, body);
  }
  const auto rewritten = as_received.chain();
  require(as_received.first() == first && rewritten.size() == chain.size());
  const auto again = Message::parse(first, rewritten);
  require(again && again->payloads().size() == m.payloads().size());
  for (std::size_t i = 0; i < m.payloads().size(); ++i) {
    const Payload &a = m.payloads()[i], &b = again->payloads()[i];
    require(a.type == b.type && a.body == b.body && a.content == b.content && !b.critical);
  }
  require(Message::parse(as_meant.first(), as_meant.chain()).has_value());
}

void require_lookups(const Message& m) {
  if (const auto type = m.unknown_critical()) require(m.count(static_cast<PayloadType>(*type)) != 0);
  if (const Notify* e = m.error()) require(is_error(e->type) && m.notify(e->type) == e);
  for (const Payload& p : m.payloads()) require(m.raw(p.type, m.count(p.type) - 1) != nullptr && !m.raw(p.type, m.count(p.type)));
  require(m.all<Notify>().size() == m.count(PayloadType::Notify));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto first = static_cast<PayloadType>(data[0]);
  const culvert::ByteView chain(data + 1, size - 1);
  const auto m = Message::parse(first, chain);
  if (!m) {
    require(m.error().offset <= chain.size() && *m.error().rule != '\0');
    return 0;
  }
  require(m->payloads().size() <= kMaxPayloads + kMaxVendorIds && m->payloads().empty() == chain.empty());
  require_round_trip(*m, first, chain);
  require_lookups(*m);
  for (int kind = 0; kind <= static_cast<int>(MessageKind::Informational); ++kind) {
    const auto wrong = check(static_cast<MessageKind>(kind), *m);
    require(!wrong || !wrong->empty());
  }
  return 0;
}
