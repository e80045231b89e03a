#include "dataplane/nodes/ike_cookie.hpp"

#include <algorithm>

#include "common/secret.hpp"
#include "dataplane/crypto/engine.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
// RFC 7296 §3.1, §3.2, §3.10.1.
constexpr std::uint32_t kIkeHeader = 28, kPayloadHeader = 4, kNotifyHeader = 8;
constexpr std::uint8_t kVersion2 = 0x20, kSaInit = 34, kSessionResume = 38, kInitiatorFlag = 0x08, kResponseFlag = 0x20;
constexpr std::uint8_t kNoncePayload = 40, kNotifyPayload = 41;
constexpr std::uint16_t kCookieType = 16390;
constexpr std::uint32_t kMinNonce = 16, kMaxNonce = 256;  // §3.9
constexpr unsigned kMostPayloads = 32;                    // that are walked past
constexpr std::uint32_t kQuestion = kIkeHeader + kNotifyHeader + Cookies::kBytes;
constexpr std::uint64_t kCookieMinute = 60'000'000'000;
constexpr std::uint8_t kQuestionTtl = 64, kQuestionTos = 0xc0;

constexpr std::uint32_t fixed_header(Family family) { return family == Family::V4 ? kIpv4HeaderBytes : kIpv6HeaderBytes; }
}  // namespace

std::optional<FirstMessage> read_first_message(const Packet& p) {
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t marker = p.destination_port == kNatTPort ? 4U : 0U, front = kUdpHeaderBytes + marker;
  const std::uint32_t there = load_be16(udp + 4);  // no more than there is (classify_local)
  if (there < front + kIkeHeader) return std::nullopt;
  const std::uint8_t* ike = udp + front;
  const bool request = (ike[19] & (kInitiatorFlag | kResponseFlag)) == kInitiatorFlag && load_be32(ike + 20) == 0;
  const bool first = load_be64(ike) != 0 && load_be64(ike + 8) == 0 && ike[17] == kVersion2 && request;
  if (!first || (ike[18] != kSaInit && ike[18] != kSessionResume) || load_be32(ike + 24) != there - front) return std::nullopt;
  FirstMessage out{.nonce = {}, .cookie = {}, .offset = p.l4_offset + front, .exchange = ike[18]};
  std::uint8_t type = ike[16];
  ByteView rest(ike + kIkeHeader, there - front - kIkeHeader);
  for (unsigned n = 0; type != 0 && n < kMostPayloads; ++n) {
    if (rest.size() < kPayloadHeader) return std::nullopt;
    const std::uint32_t bytes = load_be16(rest.data() + 2);
    if (bytes < kPayloadHeader || bytes > rest.size()) return std::nullopt;
    const ByteView body = rest.first(bytes).subspan(kPayloadHeader);
    if (n == 0 && type == kNotifyPayload && bytes >= kNotifyHeader && body[1] == 0 && load_be16(body.data() + 2) == kCookieType)
      out.cookie = body.subspan(kNotifyHeader - kPayloadHeader);
    if (type == kNoncePayload && out.nonce.empty()) out.nonce = body;
    type = rest[0];
    rest = rest.subspan(bytes);
  }
  if (out.nonce.size() < kMinNonce || out.nonce.size() > kMaxNonce) return std::nullopt;
  return out;
}

Cookies::Cookies(const Secret& secret, const CryptoEngine& engine) : engine_(engine) {
  for (std::size_t i = 0; i < inner_.size(); ++i) {
    const std::uint8_t byte = i < secret.size() ? secret[i] : std::uint8_t{0};
    inner_[i] = static_cast<std::uint8_t>(byte ^ 0x36U);
    outer_[i] = static_cast<std::uint8_t>(byte ^ 0x5cU);
  }
}

void Cookies::write(std::uint8_t* out, const Packet& p, const FirstMessage& m, std::uint32_t minute) const {
  constexpr std::size_t kPlace = 4 + 8 + 2 + 2 + 16;
  std::array<std::uint8_t, 64 + kPlace + kMaxNonce> text{};
  std::copy(inner_.begin(), inner_.end(), text.begin());
  std::uint8_t* at = text.data() + inner_.size();
  store_be32(at, minute);
  std::copy_n(p.data + m.offset, 8, at + 4);
  store_be16(at + 12, p.source_port);
  store_be16(at + 14, p.vrf);
  const std::size_t address = p.family == Family::V4 ? 4 : 16;  // of 16 bytes, so that nothing runs into what is behind it
  std::copy_n(p.data + (p.family == Family::V4 ? 12 : 8), address, at + 16);
  std::copy(m.nonce.begin(), m.nonce.end(), at + kPlace);
  std::array<std::uint8_t, 64 + 32> last{};
  std::copy(outer_.begin(), outer_.end(), last.begin());
  engine_.sha256(ByteView(text).first(inner_.size() + kPlace + m.nonce.size()), last.data() + outer_.size());
  std::array<std::uint8_t, 32> mac{};
  engine_.sha256(last, mac.data());
  store_be32(out, minute);
  std::copy_n(mac.begin(), kBytes - 4, out + 4);
}

bool Cookies::good(const Packet& p, const FirstMessage& m, std::uint64_t now) const {
  if (m.cookie.size() != kBytes) return false;
  const auto current = static_cast<std::uint32_t>(now / kCookieMinute);
  const std::uint32_t minute = load_be32(m.cookie.data());
  if (current - minute > 1) return false;
  std::array<std::uint8_t, kBytes> expected{};
  write(expected.data(), p, m, minute);
  return equal_constant_time(expected, m.cookie);
}

bool Cookies::ask(Packet& p, const FirstMessage& m, std::uint64_t now) const {
  std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t there = load_be16(udp + 4), bytes = m.offset - p.l4_offset + kQuestion;
  const bool summed = load_be16(udp + 6) != 0 || p.family == Family::V6;
  if (p.l4_offset != fixed_header(p.family) || bytes > there || (summed && upper_sum(p.family, p.data, kProtocolUdp, udp, there) != 0xffff))
    return false;
  std::array<std::uint8_t, kBytes> cookie{};
  write(cookie.data(), p, m, static_cast<std::uint32_t>(now / kCookieMinute));
  std::uint8_t* ike = p.data + m.offset;
  ike[16] = kNotifyPayload;
  ike[19] = kResponseFlag;
  store_be32(ike + 24, kQuestion);
  std::uint8_t* notify = ike + kIkeHeader;
  std::fill_n(notify, kNotifyHeader, std::uint8_t{0});
  store_be16(notify + 2, kNotifyHeader + kBytes);
  store_be16(notify + 6, kCookieType);
  std::copy(cookie.begin(), cookie.end(), notify + kNotifyHeader);
  p.resize(p.l4_offset + bytes);
  if (p.family == Family::V4) {
    p.data[1] = kQuestionTos;
    store_be16(p.data + 2, static_cast<std::uint16_t>(p.length));
    store_be32(p.data + 4, 0);
    p.data[8] = kQuestionTtl;
    std::swap_ranges(p.data + 12, p.data + 16, p.data + 16);
    set_ipv4_checksum(p.data);
  } else {
    store_be32(p.data, 0x60000000U | std::uint32_t{kQuestionTos} << 20);
    store_be16(p.data + 4, static_cast<std::uint16_t>(bytes));
    p.data[7] = kQuestionTtl;
    std::swap_ranges(p.data + 8, p.data + 24, p.data + 24);
  }
  std::swap_ranges(udp, udp + 2, udp + 2);
  std::swap(p.source_port, p.destination_port);
  store_be16(udp + 4, static_cast<std::uint16_t>(bytes));
  store_be16(udp + 6, 0);
  auto sum = static_cast<std::uint16_t>(~upper_sum(p.family, p.data, kProtocolUdp, udp, bytes));
  if (sum == 0) sum = 0xffff;
  std::memcpy(udp + 6, &sum, sizeof sum);
  return true;
}

}  // namespace culvert::dp
