// Fuzzes the first look at a UDP payload: the non-ESP marker, the keepalive and the ISAKMP header. What is taken for a message
// has the length that its header states, and is written back byte for byte.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "control/ike/header.hpp"

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

void look_at(culvert::ByteView datagram) {
  using namespace culvert::ike;
  const auto framed = parse_header(datagram);
  if (!framed) {
    require(!name(framed.error().fault).empty());
    return;
  }
  require(framed->message.size() == framed->header.length && framed->header.length >= kHeaderSize);
  require(framed->body.size() == framed->message.size() - kHeaderSize);
  require(datagram.size() - framed->message.size() <= kMaxTrailingPad);
  const auto again = encode_message(framed->header, framed->body);
  require(std::ranges::equal(again, framed->message));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const culvert::ByteView payload(data, size);
  look_at(payload);
  const auto behind = culvert::ike::strip_non_esp_marker(payload);
  if (behind) {
    require(std::ranges::equal(culvert::ike::with_non_esp_marker(*behind), payload));
    require(!culvert::ike::is_nat_keepalive(payload));
    look_at(*behind);
  }
  return 0;
}
