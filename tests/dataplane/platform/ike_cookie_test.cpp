// Cookies of the data plane: which messages are asked for one, what the question looks like, and which answers to it are good. Without EAL.
#include "dataplane/nodes/ike_cookie.hpp"

#include "dataplane/crypto/engine.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;

constexpr std::uint64_t kNow = 1'000'000'000'000, kMinute = 60'000'000'000;
constexpr std::uint32_t kUs = 0x0a090001, kPeer = 0x0a090002;

const CryptoEngine& engine() {
  static const auto made = CryptoEngine::create();
  REQUIRE(made);
  return *made;
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes payload(std::uint8_t next, const Bytes& body) {
  Bytes out(4);
  out[0] = next;
  store_be16(&out[2], static_cast<std::uint16_t>(4 + body.size()));
  return out + body;
}
Bytes nonce(std::uint8_t fill = 7, std::size_t size = 32) { return Bytes(size, fill); }

struct Init {
  Bytes nonce_i = nonce(), cookie{};
  std::uint8_t exchange = 34, version = 0x20, flags = 0x08, spi = 1, rest = 48;  ///< rest: bytes of SA and KE
  std::uint16_t port = 500, source = 500;
  std::uint32_t peer = kPeer;
  bool v6 = false;
};
Bytes message(const Init& i) {
  Bytes chain = payload(34, Bytes(i.rest, 1)) + payload(40, Bytes(i.rest, 2)) + payload(0, i.nonce_i);
  std::uint8_t first = 33;
  if (!i.cookie.empty()) {
    chain = payload(33, Bytes{0, 0, 0x40, 0x06} + i.cookie) + chain;
    first = 41;
  }
  Bytes out(28);
  out[7] = i.spi;
  out[16] = first, out[17] = i.version, out[18] = i.exchange, out[19] = i.flags;
  store_be32(&out[24], static_cast<std::uint32_t>(28 + chain.size()));
  return out + chain;
}
Bytes datagram(const Init& i, Bytes ike) {
  if (i.port == 4500) ike = Bytes(4) + ike;
  Bytes udp(8);
  store_be16(&udp[0], i.source);
  store_be16(&udp[2], i.port);
  store_be16(&udp[4], static_cast<std::uint16_t>(8 + ike.size()));
  udp = udp + ike;
  Bytes ip(i.v6 ? 40 : 20);
  if (i.v6) {
    ip[0] = 0x60, ip[6] = kProtocolUdp, ip[7] = 64, ip[8] = ip[24] = 0x20, ip[23] = 2, ip[39] = 1;
    store_be16(&ip[4], static_cast<std::uint16_t>(udp.size()));
    const auto sum =
        static_cast<std::uint16_t>(~upper_sum(Family::V6, ip.data(), kProtocolUdp, udp.data(), static_cast<std::uint32_t>(udp.size())));
    std::memcpy(&udp[6], &sum, 2);
    return ip + udp;
  }
  ip[0] = 0x45, ip[8] = 64, ip[9] = kProtocolUdp;
  store_be16(&ip[2], static_cast<std::uint16_t>(20 + udp.size()));
  store_be32(&ip[12], i.peer);
  store_be32(&ip[16], kUs);
  set_ipv4_checksum(ip.data());
  return ip + udp;
}
struct Parsed {
  OwnedPacket owned;
  explicit Parsed(const Bytes& b) : owned(b, 128, 64) { REQUIRE(parse_ip(owned.view)); }
  explicit Parsed(const Init& i) : Parsed(datagram(i, message(i))) {}
  Packet& view() { return owned.view; }
  [[nodiscard]] Bytes bytes() const { return {owned.view.data, owned.view.data + owned.view.length}; }
};
Cookies::Secret secret(std::uint8_t fill = 9) {
  Cookies::Secret out;
  out.fill(fill);
  return out;
}
/// The cookie that one is asked for.
Bytes asked(const Cookies& cookies, const Init& i, std::uint64_t now = kNow) {
  Parsed p(i);
  const auto m = read_first_message(p.view());
  REQUIRE(m);
  REQUIRE(cookies.ask(p.view(), *m, now));
  const Bytes all = p.bytes();
  return {all.end() - Cookies::kBytes, all.end()};
}
bool good(const Cookies& cookies, const Init& i, std::uint64_t now = kNow) {
  Parsed p(i);
  const auto m = read_first_message(p.view());
  return m && cookies.good(p.view(), *m, now);
}
}  // namespace

TEST_CASE("first messages that can be asked for a cookie, and those that cannot", "[cookie][rfc7296-2.6]") {
  const auto reads = [](const Init& i) { return read_first_message(Parsed(i).view()).has_value(); };
  CHECK(reads({}));
  CHECK(reads({.port = 4500}));
  CHECK(reads({.exchange = 38}));  // IKE_SESSION_RESUME
  CHECK(reads({.v6 = true}));
  CHECK(reads({.nonce_i = nonce(7, 16)}));
  CHECK(reads({.nonce_i = nonce(7, 256)}));
  CHECK_FALSE(reads({.nonce_i = nonce(7, 15)}));
  CHECK_FALSE(reads({.nonce_i = nonce(7, 257)}));
  CHECK_FALSE(reads({.exchange = 35}));
  CHECK_FALSE(reads({.version = 0x10}));
  CHECK_FALSE(reads({.flags = 0x28}));  // an answer
  CHECK_FALSE(reads({.flags = 0}));
  CHECK_FALSE(reads({.spi = 0}));
  const Bytes whole = message({});
  for (std::size_t n = 0; n < whole.size(); ++n) {
    INFO(n);
    Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    CHECK_FALSE(read_first_message(Parsed(datagram({}, part)).view()));
    if (n < 28) continue;
    store_be32(&part[24], static_cast<std::uint32_t>(n));  // as if that were all
    CHECK_FALSE(read_first_message(Parsed(datagram({}, part)).view()));
  }
  for (const std::size_t at : {8U, 15U, 20U, 23U}) {  // the responder's SPI, the message ID
    Bytes other = whole;
    other[at] = 1;
    CHECK_FALSE(read_first_message(Parsed(datagram({}, other)).view()));
  }
  Bytes many(28);  // payloads without end
  many[7] = 1, many[16] = 43, many[17] = 0x20, many[18] = 34, many[19] = 0x08;
  for (int n = 0; n < 300; ++n) many = many + payload(43, {});
  many = many + payload(0, nonce());
  store_be32(&many[24], static_cast<std::uint32_t>(many.size()));
  CHECK_FALSE(read_first_message(Parsed(datagram({}, many)).view()));
}

TEST_CASE("the question for a cookie: byte by byte, and never more than what it answers", "[cookie][rfc7296-2.6][attack-H1]") {
  const Cookies cookies(secret(), engine());
  for (const Init& i : {Init{}, Init{.port = 4500, .source = 31000}, Init{.exchange = 38}, Init{.v6 = true}}) {
    Parsed p(i);
    const Bytes before = p.bytes();
    const auto m = read_first_message(p.view());
    REQUIRE(m);
    REQUIRE(cookies.ask(p.view(), *m, kNow));
    const Bytes out = p.bytes();
    CHECK(out.size() < before.size());
    Parsed again(out);  // its header is sound
    Packet& q = again.view();
    CHECK(source_of(q) == destination_of(Parsed(before).view()));
    CHECK(destination_of(q) == source_of(Parsed(before).view()));
    CHECK(q.source_port == i.port);
    CHECK(q.destination_port == i.source);
    CHECK((p.view().source_port == i.port && p.view().destination_port == i.source));
    const std::uint8_t* udp = q.data + q.l4_offset;
    CHECK(load_be16(udp + 4) == q.length - q.l4_offset);
    CHECK(load_be16(udp + 6) != 0);
    CHECK(upper_sum(q.family, q.data, kProtocolUdp, udp, load_be16(udp + 4)) == 0xffff);
    const std::uint8_t* ike = udp + 8 + (i.port == 4500 ? 4 : 0);
    if (i.port == 4500) CHECK(load_be32(udp + 8) == 0);
    Bytes head(28);
    head[7] = 1, head[16] = 41, head[17] = 0x20, head[18] = i.exchange, head[19] = 0x20;
    store_be32(&head[24], 28 + 8 + Cookies::kBytes);
    CHECK(Bytes(ike, ike + 28) == head);
    CHECK(Bytes(ike + 28, ike + 36) == Bytes{0, 0, 0, 8 + Cookies::kBytes, 0, 0, 0x40, 0x06});
  }
  SECTION("one that is shorter than its answer gets none") {
    Parsed p(Init{.nonce_i = nonce(7, 16), .rest = 0});
    const Bytes before = p.bytes();
    const auto m = read_first_message(p.view());
    REQUIRE(m);
    CHECK(cookies.ask(p.view(), *m, kNow) == (before.size() >= 20 + 8 + 56));
    Bytes tiny = payload(0, nonce(7, 16));
    Bytes ike(28);
    ike[7] = 1, ike[16] = 40, ike[17] = 0x20, ike[18] = 34, ike[19] = 0x08;
    store_be32(&ike[24], static_cast<std::uint32_t>(28 + tiny.size()));
    Parsed small(datagram({}, ike + tiny));
    const auto s = read_first_message(small.view());
    REQUIRE(s);
    const Bytes as_it_was = small.bytes();
    CHECK_FALSE(cookies.ask(small.view(), *s, kNow));
    CHECK(small.bytes() == as_it_was);
  }
  SECTION("one whose checksum is wrong gets none") {
    Init i{.v6 = true};
    Bytes b = datagram(i, message(i));
    b.back() ^= 1;
    Parsed p(b);
    const auto m = read_first_message(p.view());
    REQUIRE(m);
    CHECK_FALSE(cookies.ask(p.view(), *m, kNow));
  }
}

TEST_CASE("a cookie is good for its sender, his nonce and SPI, for a minute or two, and no other is", "[cookie][rfc7296-2.6]") {
  const Cookies cookies(secret(), engine());
  const Init plain{};
  const Bytes cookie = asked(cookies, plain);
  CHECK(cookie == asked(cookies, plain));  // nothing is kept
  CHECK(good(cookies, {.cookie = cookie}));
  CHECK(good(cookies, {.cookie = cookie}, kNow + kMinute));
  CHECK_FALSE(good(cookies, {.cookie = cookie}, kNow + 2 * kMinute));
  CHECK_FALSE(good(cookies, {.cookie = cookie}, kNow - kMinute));
  CHECK_FALSE(good(cookies, plain));
  CHECK_FALSE(good(cookies, {.nonce_i = nonce(8), .cookie = cookie}));
  CHECK_FALSE(good(cookies, {.nonce_i = nonce(7, 33), .cookie = cookie}));
  CHECK_FALSE(good(cookies, {.cookie = cookie, .spi = 2}));
  CHECK_FALSE(good(cookies, {.cookie = cookie, .source = 501}));
  CHECK_FALSE(good(cookies, {.cookie = cookie, .peer = kPeer + 1}));
  CHECK_FALSE(good(Cookies(secret(10), engine()), {.cookie = cookie}));
  CHECK_FALSE(good(cookies, {.cookie = cookie + Bytes{0}}));
  CHECK_FALSE(good(cookies, {.cookie = Bytes(cookie.begin(), cookie.end() - 1)}));
  for (std::size_t at = 0; at < cookie.size(); ++at) {
    Bytes other = cookie;
    other[at] ^= 0x10;
    CHECK_FALSE(good(cookies, {.cookie = other}));
  }
  Parsed in_vrf(Init{.cookie = cookie});
  in_vrf.view().vrf = VrfId{1};
  CHECK_FALSE(cookies.good(in_vrf.view(), *read_first_message(in_vrf.view()), kNow));
  const Init six{.port = 4500, .v6 = true};
  CHECK(good(cookies, {.cookie = asked(cookies, six), .port = 4500, .v6 = true}));
}

TEST_CASE("cookies are HMAC-SHA-256", "[cookie][rfc4231-4.2]") {
  // minute, SPI, port, VRF, address and nonce under a secret of 32 bytes of 9, by another implementation.
  const Cookies cookies(secret(), engine());
  CHECK(to_hex(asked(cookies, {})) == "00000010b737ae8111408e0dc683f1f642a2fca2");
}

}  // namespace culvert::dp
