// Fuzzes the payload chain. Input: first payload type, one byte whose lowest bit allows padding, the chain.
// A chain that parses is written back with the same meaning, its payloads lie in order inside of it, and the rules of every
// message can judge it.
#include <cstdint>
#include <cstdlib>

#include "control/ikev1/message_rules.hpp"
#include "control/ikev1/vendor_ids.hpp"

using namespace culvert::ikev1;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

void require_round_trip(const Message& m, std::size_t size) {
  Builder again;
  std::size_t end = 0;
  for (std::size_t i = 0; i < m.payloads().size(); ++i) {
    const Payload& p = m.payloads()[i];
    require(p.end >= end + 4 + p.body.size() && p.end <= m.chain().size());
    require(m.behind(i).size() == m.chain().size() - p.end);
    end = p.end;
    require(!name(p.type).empty());
    const auto same = parse_body(p.type, encode_body(p.content));  // reserved bytes differ, the meaning does not
    require(same.has_value() && *same == p.content);
    if (const auto* v = std::get_if<Vendor>(&p.content)) (void)recognise_vendor(v->data);
    if (const auto* n = std::get_if<Notify>(&p.content)) require(!name(n->type).empty());
    again.add_raw(p.type, p.body);
  }
  require(end == m.chain().size() && end <= size);
  const auto rewritten = again.chain();
  require(rewritten.size() == m.chain().size());
  require(Message::parse(again.first(), rewritten, Trailing::Alignment).has_value());
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const culvert::ByteView chain(data + 2, size - 2);
  auto m = Message::parse(static_cast<PayloadType>(data[0]), chain, data[1] & 1 ? Trailing::Padding : Trailing::Alignment);
  if (!m) {
    require(m.error().offset <= chain.size() && *m.error().rule != '\0');
    return 0;
  }
  require(m->payloads().size() <= kMaxPayloads + kMaxVendorIds && !m->payloads().empty());
  require_round_trip(*m, chain.size());
  for (int kind = 0; kind < static_cast<int>(MessageKind::Count_); ++kind)
    for (const bool encrypted : {false, true}) {
      const auto ok = check_message(static_cast<MessageKind>(kind), encrypted, *m);
      require(ok.has_value() || !ok.error().text.empty());
    }
  m->wipe();  // whatever it holds
  return 0;
}
