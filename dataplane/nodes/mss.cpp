#include "dataplane/nodes/mss.hpp"

#include <algorithm>

namespace culvert::dp {

namespace {
constexpr std::uint32_t kMssBytes = 4;
constexpr std::uint8_t kEnd = 0, kNothing = 1, kMss = 2;

/// RFC 1624: a 16-bit word of the checksummed bytes changes, or two bytes at an odd place, which count as if they were swapped.
void mend_checksum(std::uint8_t* field, std::uint16_t before, std::uint16_t after, bool odd) {
  if (odd) {
    before = __builtin_bswap16(before);
    after = __builtin_bswap16(after);
  }
  std::uint32_t sum = static_cast<std::uint16_t>(~load_be16(field)) + std::uint32_t{static_cast<std::uint16_t>(~before)} + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store_be16(field, static_cast<std::uint16_t>(~sum));
}
}  // namespace

bool clamp_mss(Packet& p, std::uint32_t most) {
  std::uint8_t* tcp = p.data + p.l4_offset;
  const std::uint32_t header = (tcp[12] >> 4) * 4U;
  const std::uint32_t end = std::min(header, p.length - p.l4_offset);
  for (std::uint32_t at = kTcpHeaderBytes; at < end && tcp[at] != kEnd;) {
    if (tcp[at] == kNothing) {
      ++at;
      continue;
    }
    const std::uint32_t size = at + 1 < end ? tcp[at + 1] : 0;
    if (size < 2 || at + size > end) return false;  // its receiver will make of it what it can
    if (tcp[at] == kMss && size == kMssBytes) {
      const std::uint16_t asked = load_be16(tcp + at + 2);
      if (asked <= most) return false;
      store_be16(tcp + at + 2, static_cast<std::uint16_t>(most));
      mend_checksum(tcp + 16, asked, static_cast<std::uint16_t>(most), at % 2 != 0);
      return true;
    }
    at += size;
  }
  return false;
}

}  // namespace culvert::dp
