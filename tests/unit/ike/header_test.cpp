// The ISAKMP header, checked before anything else is read.
#include "control/ike/header.hpp"

#include "control/crypto/dh.hpp"
#include "control/ike/dh_job.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ike;
using culvert::test::hex;

namespace {
// Cookies, next payload SA, version 1.0, Identity Protection, no flags, message id 0, length 32; 4 bytes of body.
const char* const kGolden = "0102030405060708 1112131415161718 01 10 02 00 00000000 00000020 deadbeef";
Header golden_header() { return {IkeSpi{0x0102030405060708}, IkeSpi{0x1112131415161718}, 1, 1, 0, kExchangeMainMode, 0, MessageId{0}, 32}; }
Bytes with_length(std::uint32_t length) {
  Bytes b = hex(kGolden);
  for (std::size_t i = 0; i < 4; ++i) b[24 + i] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
  return b;
}
Bytes with_version(std::uint8_t version) {
  Bytes b = hex(kGolden);
  b[17] = version;
  return b;
}
HeaderFault fault(const Bytes& b) {
  const auto f = parse_header(b);
  REQUIRE_FALSE(f);
  return f.error().fault;
}
}  // namespace

TEST_CASE("header: golden bytes, both directions", "[ike][header][rfc2408-3.1]") {
  const Bytes golden = hex(kGolden);
  const auto framed = parse_header(golden);
  REQUIRE(framed);
  CHECK(framed->header == golden_header());
  CHECK(to_hex(framed->body) == "deadbeef");
  CHECK(framed->message.size() == 32);
  CHECK_FALSE(framed->header.encrypted());
  CHECK(encode_message(golden_header(), framed->body) == golden);
  Header h = golden_header();
  h.length = 0;  // encode_message sets it
  h.flags = kFlagEncryption;
  h.message_id = MessageId{0xa1b2c3d4};
  const auto again = parse_header(encode_message(h, framed->body));
  REQUIRE(again);
  CHECK(again->header.encrypted());
  CHECK(again->header.message_id.value == 0xa1b2c3d4);
}

TEST_CASE("header: every strict prefix fails", "[ike][header][A1]") {
  const Bytes golden = hex(kGolden);
  for (std::size_t n = 0; n < golden.size(); ++n)
    CHECK(fault(Bytes(golden.begin(), golden.begin() + static_cast<std::ptrdiff_t>(n))) ==
          (n < kHeaderSize ? HeaderFault::Short : HeaderFault::Length));
}

TEST_CASE("header: a length that is not the datagram's", "[ike][header][A2]") {
  for (const std::uint32_t n : {0U, 27U, 33U, 0xdeadU, 0xffffffffU}) CHECK(fault(with_length(n)) == HeaderFault::Length);
  CHECK(fault(with_length(28)) == HeaderFault::Length);  // four bytes more: no padding any longer
  for (const std::uint32_t n : {29U, 30U, 31U}) {        // IKEv1 peers that round up: the pad is cut off
    const Bytes padded = with_length(n);
    const auto framed = parse_header(padded);
    REQUIRE(framed);
    CHECK(framed->message.size() == n);
    CHECK(framed->body.size() == n - kHeaderSize);
  }
  Bytes v2 = with_length(31);
  v2[17] = 0x20;
  CHECK(fault(v2) == HeaderFault::Length);
}

TEST_CASE("header: versions", "[ike][header][A8]") {
  for (const int v : {0x30, 0xf0, 0x00, 0x0f}) CHECK(fault(with_version(static_cast<std::uint8_t>(v))) == HeaderFault::MajorVersion);
  for (const int v : {0x10, 0x1f, 0x20, 0x2f}) {  // the minor version is not looked at
    const Bytes b = with_version(static_cast<std::uint8_t>(v));
    const auto framed = parse_header(b);
    REQUIRE(framed);
    CHECK(framed->header.major == v >> 4);
    CHECK(framed->header.minor == (v & 0xf));
  }
  const Bytes bad = with_version(0x30);
  CHECK(parse_header(bad).error().header.spi_i.value == 0x0102030405060708);
}

TEST_CASE("header: an initiator's cookie of zero", "[ike][header][B11]") {
  Bytes b = hex(kGolden);
  std::fill_n(b.begin(), 8, std::uint8_t{0});
  CHECK(fault(b) == HeaderFault::ZeroSpi);
}

TEST_CASE("non-ESP marker and keepalive", "[ike][natt][rfc3948-2.2][L3]") {
  const Bytes message = hex(kGolden);
  const Bytes marked = with_non_esp_marker(message);
  CHECK(to_hex(ByteView(marked).first(5)) == "0000000001");
  const auto stripped = strip_non_esp_marker(marked);
  REQUIRE(stripped);
  CHECK(Bytes(stripped->begin(), stripped->end()) == message);
  CHECK_FALSE(strip_non_esp_marker(message));
  for (std::size_t n = 0; n < kNonEspMarker; ++n) CHECK_FALSE(strip_non_esp_marker(ByteView(marked).first(n)));
  CHECK(strip_non_esp_marker(ByteView(marked).first(4))->empty());
  CHECK(is_nat_keepalive(Bytes{0xff}));
  CHECK_FALSE(is_nat_keepalive(Bytes{0xff, 0xff}));
  CHECK_FALSE(is_nat_keepalive(Bytes{0xfe}));
  CHECK_FALSE(is_nat_keepalive({}));
}

TEST_CASE("Diffie-Hellman job: key alone, key with the peer's value, a value that is none", "[ike][dh]") {
  const DhResult a = run_dh_job({1, DhGroup::Ecp256, nullptr, std::nullopt});
  REQUIRE(a.ok);
  CHECK(a.job == 1);
  CHECK(a.public_value.size() == 64);
  CHECK(a.shared.empty());
  const DhResult b = run_dh_job({2, DhGroup::Ecp256, nullptr, a.public_value});
  REQUIRE(b.ok);
  const DhResult ab = run_dh_job({3, DhGroup::Ecp256, a.key, b.public_value});
  REQUIRE(ab.ok);
  CHECK(ab.shared == b.shared);
  CHECK(ab.public_value == a.public_value);
  const DhResult bad = run_dh_job({4, DhGroup::Ecp256, a.key, Bytes(64)});
  CHECK_FALSE(bad.ok);
  CHECK(bad.job == 4);
  CHECK(bad.shared.empty());
  CHECK_FALSE(run_dh_job({5, DhGroup::None, nullptr, std::nullopt}).ok);
}
