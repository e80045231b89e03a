// SK and SKF messages: against messages that another implementation has composed, of every suite, and everything that must not open.
#include "control/ikev2/cipher.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <set>

#include "control/crypto/mac.hpp"
#include "tests/unit/ikev2/crypto_golden.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::test::fill;
using culvert::test::hex;

namespace {
/// A suite with the keys that ikev2_crypto.py takes.
struct Keyed {
  IkeSuite suite;
  SecretBytes encr, integ;
  std::string name;
  [[nodiscard]] Cipher cipher() const { return {suite, encr, integ}; }
};
Keyed keyed(Encr encr, std::uint16_t bits, Integ integ) {
  const EncrInfo* e = find_encr(encr, bits);
  REQUIRE(e);
  const IntegInfo* i = find_integ(integ);
  return {{encr, bits, Prf::HmacSha2_256, DhGroup::Ecp256, integ},
          SecretBytes(fill(3, e->key_bytes() + e->salt)),
          SecretBytes(fill(4, i ? i->key : 0U)),
          std::string(e->name) + (i ? "-" + std::string(i->name) : "")};
}
bool encrypts(const EncrInfo& e) { return e.id != Encr::Null && e.id != Encr::AesGmac; }
/// Every suite that the tables have for an IKE SA.
std::vector<Keyed> all_suites() {
  std::vector<Keyed> out;
  for (const EncrInfo& e : encr_table()) {
    if (!encrypts(e)) continue;
    if (e.aead()) out.push_back(keyed(e.id, e.key_bits, Integ::None));
    for (const IntegInfo& i : integ_table())
      if (!e.aead() && i.esp()) out.push_back(keyed(e.id, e.key_bits, i.id));
  }
  return out;
}
/// One of each kind, for tests that try every bit.
std::vector<Keyed> kinds() {
  return {keyed(Encr::AesGcm16, 256, Integ::None),           keyed(Encr::AesGcm8, 128, Integ::None),
          keyed(Encr::AesCcm12, 128, Integ::None),           keyed(Encr::ChaCha20Poly1305, 256, Integ::None),
          keyed(Encr::AesCbc, 128, Integ::HmacSha2_256_128), keyed(Encr::TripleDes, 192, Integ::HmacSha1_96),
          keyed(Encr::AesCtr, 128, Integ::AesXcbc96),        keyed(Encr::AesCtr, 256, Integ::AesCmac96)};
}
ike::Header header() {
  ike::Header h;
  h.spi_i = IkeSpi{0x1112131415161718};
  h.spi_r = IkeSpi{0x2122232425262728};
  h.major = 2;
  h.exchange = 35;
  h.flags = 8;
  h.message_id = MessageId{1};
  return h;
}
/// The length field of a message says its size again.
Bytes resized(Bytes m) {
  for (std::size_t i = 0; i < 4; ++i) m.at(24 + i) = static_cast<std::uint8_t>(m.size() >> (8 * (3 - i)));
  return m;
}
const std::string kInner = "2700000c02000000776573740000000c0200000061626364";
constexpr std::size_t kSkLength = ike::kHeaderSize + 2, kFragmentNumber = ike::kHeaderSize + 4;

const std::map<std::string, Encr>& encr_names() {
  static const std::map<std::string, Encr> names{{"AesCbc", Encr::AesCbc},       {"AesCtr", Encr::AesCtr},
                                                 {"TripleDes", Encr::TripleDes}, {"AesGcm8", Encr::AesGcm8},
                                                 {"AesGcm12", Encr::AesGcm12},   {"AesGcm16", Encr::AesGcm16},
                                                 {"AesCcm8", Encr::AesCcm8},     {"AesCcm12", Encr::AesCcm12},
                                                 {"AesCcm16", Encr::AesCcm16},   {"ChaCha20Poly1305", Encr::ChaCha20Poly1305}};
  return names;
}
const std::map<std::string, Integ>& integ_names() {
  static const std::map<std::string, Integ> names{{"None", Integ::None},
                                                  {"HmacMd5_96", Integ::HmacMd5_96},
                                                  {"HmacSha1_96", Integ::HmacSha1_96},
                                                  {"HmacSha2_256_128", Integ::HmacSha2_256_128},
                                                  {"HmacSha2_384_192", Integ::HmacSha2_384_192},
                                                  {"HmacSha2_512_256", Integ::HmacSha2_512_256},
                                                  {"AesXcbc96", Integ::AesXcbc96},
                                                  {"AesCmac96", Integ::AesCmac96}};
  return names;
}
}  // namespace

TEST_CASE("messages that another implementation has composed open",
          "[ikev2][cipher][rfc7296-3.14][rfc5282][rfc5930][rfc7634][rfc7383-2.5]") {
  std::size_t ran = 0;
  for (const auto& line : test::golden_lines("message")) {
    const Keyed k = keyed(encr_names().at(line.at(0)), static_cast<std::uint16_t>(std::stoi(line.at(1))), integ_names().at(line.at(2)));
    INFO(k.name << " " << line.at(5));
    const FragmentPlace place{static_cast<std::uint16_t>(std::stoi(line.at(3))), static_cast<std::uint16_t>(std::stoi(line.at(4)))};
    const Bytes message = hex(line.at(5));
    const auto opened = k.cipher().open(message);
    REQUIRE(opened);
    CHECK(to_hex(opened->chain) == kInner);
    CHECK(opened->place == place);
    CHECK(opened->first == (place.number == 1 ? PayloadType::IdI : PayloadType::None));
    ++ran;
  }
  CHECK(ran == 90);
}

TEST_CASE("tcpdump's capture of IKE_AUTH decrypts with its keys", "[ikev2][cipher][vectors]") {
  const auto folder = test::vectors("tcpdump ikev2pI2");
  if (!folder) return;
  const Bytes file = test::read_file(*folder / "captures" / "tcpdump" / "ikev2pI2.pcap");
  const Bytes spis = hex("0001020304050607c02e7a3031a03188");
  const auto at = std::search(file.begin(), file.end(), spis.begin(), spis.end());
  REQUIRE(file.end() - at > 28);
  Bytes m(at, at + static_cast<std::ptrdiff_t>(Reader(ByteView(at, file.end()).subspan(24)).be<std::uint32_t>()));
  const IkeSuite suite{Encr::AesCbc, 128, Prf::HmacSha1, DhGroup::Modp1536, Integ::HmacSha1_96};
  const Bytes sk_ei = hex("3f44bf47cafd8150591deb088199fcbf"), sk_ai = hex("4ea8e662b07cdd430f6944c6723e4b82d5722418");
  const Cipher cipher(suite, SecretBytes(sk_ei), SecretBytes(sk_ai));
  // Its ICV is not that of the keys that come with it; what it hides is.
  CHECK(cipher.open(m).error() == OpenError::BadIcv);
  const Bytes icv = crypto::icv(suite.integ, sk_ai, ByteView(m).first(m.size() - 12));
  std::copy(icv.begin(), icv.end(), m.end() - 12);
  const auto opened = cipher.open(m);
  REQUIRE(opened);
  CHECK(opened->first == PayloadType::IdI);
  CHECK(opened->chain.size() == 12 + 200);
  CHECK(to_hex(ByteView(opened->chain).first(16)) == "2700000c0200000077657374000000c8");  // west, and an AUTH
  std::cout << "tcpdump ikev2pI2: 1 message\n";
}

TEST_CASE("every suite: chains of all lengths come back, and take the bytes that were foretold", "[ikev2][cipher][rfc7296-3.14]") {
  const auto suites = all_suites();
  CHECK(suites.size() > 60);
  for (const Keyed& k : suites) {
    INFO(k.name);
    Cipher sender = k.cipher();
    const Cipher receiver = k.cipher();
    for (const std::size_t n : {0U, 1U, 6U, 7U, 8U, 14U, 15U, 16U, 17U, 31U, 32U, 255U, 1400U, 20000U}) {
      const Bytes chain = fill(5, n);
      const PayloadType first = n == 0 ? PayloadType::None : PayloadType::Auth;
      const Bytes m = sender.seal(header(), first, chain);
      CHECK(m.size() == sender.sealed_bytes(n));
      const auto framed = ike::parse_header(m);
      REQUIRE(framed);
      ike::Header want = header();
      want.next_payload = static_cast<std::uint8_t>(PayloadType::Sk);
      want.length = static_cast<std::uint32_t>(m.size());
      CHECK(framed->header == want);
      const auto opened = receiver.open(m);
      REQUIRE(opened);
      CHECK(opened->chain == chain);
      CHECK(opened->first == first);
      CHECK(opened->place == FragmentPlace{});
      for (const FragmentPlace place : {FragmentPlace{1, 1}, FragmentPlace{1, 9}, FragmentPlace{9, 9}, FragmentPlace{65535, 65535}}) {
        const Bytes f = sender.seal_fragment(header(), first, chain, place);
        CHECK(f.size() == sender.sealed_bytes(n, true));
        CHECK(f[ike::kHeaderSize] == static_cast<std::uint8_t>(place.number == 1 ? first : PayloadType::None));
        const auto part = receiver.open(f);
        REQUIRE(part);
        CHECK(part->chain == chain);
        CHECK(part->first == (place.number == 1 ? first : PayloadType::None));
        CHECK(part->place == place);
      }
    }
  }
}

TEST_CASE("the room of a fragment is as much as fits, and no more", "[ikev2][cipher][rfc7383-2.5]") {
  for (const Keyed& k : all_suites()) {
    INFO(k.name);
    const Cipher c = k.cipher();
    std::size_t had = 0;
    for (std::size_t limit = 0; limit < 1500; ++limit) {
      const std::size_t room = c.fragment_room(limit);
      if (room != 0 && c.sealed_bytes(room, true) > limit) FAIL("too much at " << limit);
      if (c.sealed_bytes(room + 1, true) <= limit) FAIL("too little at " << limit);
      if (room < had) FAIL("less at " << limit);
      had = room;
    }
    CHECK(had > 1300);
    Cipher sender = k.cipher();
    const Bytes longest = sender.seal_fragment(header(), PayloadType::Auth, Bytes(c.fragment_room(1 << 20)), {1, 2});
    CHECK(c.open(longest));
    CHECK_THROWS_AS(sender.seal(header(), PayloadType::Auth, Bytes(65536)), std::length_error);
  }
}

TEST_CASE("no bit of a message may change, no byte may be missing or added", "[ikev2][cipher][rfc7296-3.14]") {
  std::size_t tried = 0;
  for (const Keyed& k : kinds()) {
    INFO(k.name);
    Cipher sender = k.cipher();
    const Cipher receiver = k.cipher();
    for (const Bytes& good :
         {sender.seal(header(), PayloadType::IdI, hex(kInner)), sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {2, 5})}) {
      REQUIRE(receiver.open(good));
      for (std::size_t bit = 0; bit < good.size() * 8; ++bit, ++tried) {
        Bytes bad = good;
        bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1U << (bit % 8)));
        if (receiver.open(bad)) FAIL("bit " << bit);
      }
      for (std::size_t n = 0; n < good.size(); ++n) {
        const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
        if (receiver.open(cut)) FAIL("cut to " << n);
        if (n < ike::kHeaderSize) continue;
        Bytes told = resized(cut);  // with a header that knows of it, and a payload that does
        CHECK_FALSE(receiver.open(told));
        if (n < kSkLength + 2) continue;
        told[kSkLength] = static_cast<std::uint8_t>((n - ike::kHeaderSize) >> 8);
        told[kSkLength + 1] = static_cast<std::uint8_t>(n - ike::kHeaderSize);
        const auto opened = receiver.open(told);
        REQUIRE_FALSE(opened);
        CHECK(opened.error() != OpenError::NoSk);
      }
      Bytes more = good;
      more.push_back(0);
      CHECK_FALSE(receiver.open(more));
      CHECK(receiver.open(resized(more)).error() == OpenError::NoSk);  // something behind it
    }
  }
  CHECK(tried > 10000);
}

TEST_CASE("other keys, and the other direction's, do not open a message", "[ikev2][cipher]") {
  for (const Keyed& k : all_suites()) {
    INFO(k.name);
    Cipher sender = k.cipher();
    const Bytes m = sender.seal(header(), PayloadType::IdI, hex(kInner));
    const auto with = [&](SecretBytes encr, SecretBytes integ) { return Cipher(k.suite, std::move(encr), std::move(integ)).open(m); };
    if (k.integ.empty()) {
      for (std::size_t i = 0; i < k.encr.size(); ++i) {  // the salt is behind the key
        SecretBytes other = k.encr;
        other.mutable_view()[i] ^= 0x10;
        CHECK(with(other, {}).error() == OpenError::BadIcv);
      }
    } else {
      SecretBytes other = k.integ;
      other.mutable_view().back() ^= 1;
      CHECK(with(k.encr, other).error() == OpenError::BadIcv);
    }
  }
}

TEST_CASE("a Cipher takes keys of its suite only, and no suite that does not encrypt", "[ikev2][cipher][rfc7296-5][rfc8247-2.1]") {
  for (const Keyed& k : all_suites()) {
    INFO(k.name);
    CHECK_THROWS_AS(Cipher(k.suite, SecretBytes(k.encr.size() - 1), k.integ), std::invalid_argument);
    CHECK_THROWS_AS(Cipher(k.suite, SecretBytes(k.encr.size() + 1), k.integ), std::invalid_argument);
    CHECK_THROWS_AS(Cipher(k.suite, k.encr, SecretBytes(k.integ.size() + 1)), std::invalid_argument);
  }
  const auto make = [](Encr e, std::uint16_t bits, Integ i, std::size_t encr, std::size_t integ) {
    return Cipher({e, bits, Prf::HmacSha1, DhGroup::Ecp256, i}, SecretBytes(encr), SecretBytes(integ));
  };
  CHECK_THROWS_AS(make(Encr::Null, 0, Integ::HmacSha1_96, 0, 20), std::invalid_argument);
  CHECK_THROWS_AS(make(Encr::AesGmac, 128, Integ::None, 20, 0), std::invalid_argument);
  CHECK_THROWS_AS(make(Encr::None, 0, Integ::HmacSha1_96, 0, 20), std::invalid_argument);
  CHECK_THROWS_AS(make(Encr::AesCbc, 128, Integ::None, 16, 0), std::invalid_argument);
  CHECK_THROWS_AS(make(Encr::AesCbc, 128, Integ::Aes128Gmac, 16, 20), std::invalid_argument);
}

TEST_CASE("IVs: a counter with AEADs and CTR, random with CBC; none comes twice", "[ikev2][cipher][rfc5282-3.1][rfc5930-2][rfc7296-3.14]") {
  for (const Keyed& k : kinds()) {
    INFO(k.name);
    Cipher sender = k.cipher();
    const EncrInfo* e = find_encr(k.suite.encr, k.suite.key_bits);
    std::set<Bytes> ivs;
    for (std::uint64_t n = 0; n < 300; ++n) {
      const bool fragment = n % 2 == 1;
      const Bytes m = fragment ? sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {1, 2})
                               : sender.seal(header(), PayloadType::IdI, hex(kInner));
      const ByteView iv = ByteView(m).subspan(ike::kHeaderSize + (fragment ? 8 : 4), e->iv);
      if (e->counter_iv()) CHECK(Reader(iv).be<std::uint64_t>() == n + 1);
      ivs.insert(Bytes(iv.begin(), iv.end()));
    }
    CHECK(ivs.size() == 300);
  }
}

TEST_CASE("fragments: numbers from 1 to the total, all else is malformed", "[ikev2][cipher][rfc7383-2.5][rfc7383-2.6]") {
  for (const Keyed& k : kinds()) {
    INFO(k.name);
    Cipher sender = k.cipher();
    CHECK_THROWS_AS(sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {0, 1}), std::invalid_argument);
    CHECK_THROWS_AS(sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {2, 1}), std::invalid_argument);
    CHECK_THROWS_AS(sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {0, 0}), std::invalid_argument);
    const Bytes good = sender.seal_fragment(header(), PayloadType::IdI, hex(kInner), {1, 3});
    const auto numbered = [&](std::uint16_t number, std::uint16_t total) {
      Writer w;
      w.bytes(good);
      w.patch(kFragmentNumber, number);
      w.patch(kFragmentNumber + 2, total);
      return sender.open(w.view());
    };
    CHECK(numbered(1, 3));
    for (const FragmentPlace bad : {FragmentPlace{0, 0}, {0, 3}, {1, 0}, {4, 3}, {65535, 3}})
      CHECK(numbered(bad.number, bad.total).error() == OpenError::Malformed);
    CHECK(numbered(2, 3).error() == OpenError::BadIcv);  // they are covered by the ICV
    CHECK(numbered(1, 4).error() == OpenError::BadIcv);
  }
}

namespace {
/// The message with payloads in front of its SK, without a new ICV.
Bytes with_front(const Bytes& message, std::uint8_t first, const Bytes& front) {
  Bytes out = message;
  out[16] = first;
  out.insert(out.begin() + ike::kHeaderSize, front.begin(), front.end());
  return resized(out);
}
}  // namespace

TEST_CASE("the outer chain: SK is looked for safely, and is the last", "[ikev2][cipher][rfc7296-3.2][rfc7296-3.14][attack-A4]") {
  Cipher c = keyed(Encr::AesGcm16, 128, Integ::None).cipher();
  const Bytes good = c.seal(header(), PayloadType::IdI, hex(kInner));
  const auto error = [&](const Bytes& m) {
    const auto opened = c.open(m);
    REQUIRE_FALSE(opened);
    return opened.error();
  };
  CHECK(error(with_front(good, 41, hex("2e000008 00004006"))) == OpenError::BadIcv);  // the golden messages have one that opens
  CHECK(error(with_front(good, 99, hex("2e800004"))) == OpenError::BadIcv);
  CHECK(error(with_front(good, 41, hex("00000008 00004006"))) == OpenError::NoSk);
  CHECK(error(with_front(good, 41, hex("2e000000"))) == OpenError::Malformed);
  CHECK(error(with_front(good, 41, hex("2e000003"))) == OpenError::Malformed);
  CHECK(error(with_front(good, 41, hex("2e00ffff"))) == OpenError::Malformed);
  CHECK(error(with_front(good, 46, hex("29000008 00004006"))) == OpenError::NoSk);  // an SK with something behind it
  CHECK(error(with_front(good, 0, {})) == OpenError::NoSk);
  CHECK(error(ike::encode_message(header(), {})) == OpenError::NoSk);
  const Bytes part = c.seal_fragment(header(), PayloadType::IdI, hex(kInner), {1, 2});
  for (const std::size_t n : {1U, 2U, 63U, 64U, 255U, 256U, 300U})  // in front of SK and SKF, which are known by what is before them
    for (const Bytes* whole : {&good, &part}) {
      Bytes front;
      for (std::size_t i = 0; i < n; ++i) front.insert(front.end(), {i + 1 < n ? std::uint8_t{200} : (*whole)[16], 0, 0, 4});
      CHECK_FALSE(c.open(with_front(*whole, 200, front)));
    }
  Bytes chain;  // as many payloads as a datagram holds, and no SK
  for (int i = 0; i < 16000; ++i) chain.insert(chain.end(), {41, 0, 0, 4});
  ike::Header h = header();
  h.next_payload = 41;
  CHECK(error(ike::encode_message(h, chain)) == OpenError::Malformed);
  for (const PayloadType type : {PayloadType::Sk, PayloadType::Skf})
    for (std::size_t body = 0; body < 64; ++body) {
      h.next_payload = static_cast<std::uint8_t>(type);
      Bytes sk{35, 0, 0, static_cast<std::uint8_t>(4 + body)};
      sk.resize(4 + body, 1);
      for (const Keyed& k : kinds()) CHECK_FALSE(k.cipher().open(ike::encode_message(h, sk)));
    }
  CHECK(name(OpenError::NoSk) == "no_sk");
  CHECK(name(OpenError::Malformed) == "malformed");
  CHECK(name(OpenError::BadIcv) == "bad_icv");
}

TEST_CASE("noise does not open, whatever its lengths say", "[ikev2][cipher]") {
  std::minstd_rand random(7296);
  const auto suites = kinds();
  std::vector<Cipher> ciphers;
  for (const Keyed& k : suites) ciphers.push_back(k.cipher());
  std::size_t opened = 0, icv = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes body;
    ike::Header h = header();
    constexpr std::array<std::uint8_t, 4> kTypes{41, 46, 53, 0};
    const auto type = [&] { return kTypes[random() % kTypes.size()]; };
    h.next_payload = type();
    for (std::size_t payloads = random() % 4; payloads > 0; --payloads) {
      const std::size_t at = body.size(), n = 4 + random() % 90;
      body.resize(at + n);
      std::generate_n(body.begin() + static_cast<std::ptrdiff_t>(at), n, [&] { return static_cast<std::uint8_t>(random() >> 8); });
      const std::size_t told = random() % 8 == 0 ? random() % 65536 : n;
      body[at] = type();
      body[at + 2] = static_cast<std::uint8_t>(told >> 8);
      body[at + 3] = static_cast<std::uint8_t>(told);
      if (random() % 2 && n >= 8) body[at + 4] = body[at + 6] = 0;  // numbers of a fragment that may be
    }
    const Bytes m = ike::encode_message(h, body);
    for (const Cipher& c : ciphers) {
      const auto result = c.open(m);
      opened += result.has_value();
      icv += !result && result.error() == OpenError::BadIcv;
    }
  }
  CHECK(opened == 0);
  CHECK(icv > 5000);
}
