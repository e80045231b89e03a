// Fuzzes the Attribute payload of Mode Config and XAuth. Input: its body, without the generic header.
// A body that parses is written back with the same meaning; each attribute can be read as everything that one may be, within bounds.
#include <cstdint>
#include <cstdlib>

#include "control/ikev1/config_attributes.hpp"

using namespace culvert::ikev1;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = parse_body(PayloadType::Attributes, {data, size});
  if (!content) {
    require(content.error().offset <= size && *content.error().rule != '\0');
    return 0;
  }
  const auto& payload = std::get<ConfigPayload>(*content);
  require(payload.attributes.size() <= kMaxConfigAttributes);
  const auto again = parse_body(PayloadType::Attributes, encode_body(payload));
  require(again.has_value() && *again == *content);
  for (const Attribute& a : payload.attributes) {
    require(find(payload.attributes, static_cast<Cfg>(a.type)) != nullptr);
    const Cfg type = static_cast<Cfg>(a.type);
    if (const auto ip = address_of(a)) {
      require(ip->size() == 4 || ip->size() == 16);
      require(address_of(address_attribute(type, *ip)) == ip);
    }
    if (const auto networks = split_include_of(a)) {
      require(networks->size() <= kMaxSplitIncludes);
      for (const auto& p : *networks) require(p.length <= 32 && p.address == p.first());
      require(split_include_of(split_include_attribute(*networks)) == networks);
    }
    require(text_of(a).size() <= 4 * kMaxConfigText + 16);
    require(text_attribute(type, text_of(a)).value.size() == text_of(a).size());
    if (const auto n = a.number(); n && *n <= 0xffff) require(number_attribute(type, static_cast<std::uint16_t>(*n)).number() == n);
    require(empty_attribute(type).type == a.type);
  }
  return 0;
}
