// Keys and AUTH values of IKEv2: against the RFCs' own values, NIST's and other houses' vectors, and an independent recomputation.
#include "control/ikev2/keymat.hpp"

#include <array>

#include <boost/json.hpp>
#include <lzma.h>

#include "control/crypto/mac.hpp"
#include "tests/unit/ikev2/crypto_golden.hpp"

using namespace culvert;
using namespace culvert::ikev2;
using culvert::to_hex;
using culvert::test::fill;
using culvert::test::hex;

namespace {
std::string to_hex(const SecretBytes& s) { return culvert::to_hex(s.view()); }
std::string text(const boost::json::value& v) { return std::string(v.as_string()); }
IkeSpi spi_of(const Bytes& b) { return IkeSpi{Reader(b).be<std::uint64_t>()}; }
Bytes joined(const Bytes& a, const Bytes& b) {
  Bytes out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}
/// As prf+ put them out.
std::string stream_of(const IkeKeys& k) {
  std::string out;
  for (const SecretBytes* part : {&k.d, &k.ai, &k.ar, &k.ei, &k.er, &k.pi, &k.pr}) out += to_hex(*part);
  return out;
}
std::string stream_of(const ChildKeys& k) {
  return to_hex(k.from_initiator.encr) + to_hex(k.from_initiator.integ) + to_hex(k.from_responder.encr) + to_hex(k.from_responder.integ);
}
/// Two streams of one prf+ agree as far as both go.
bool agree(const std::string& a, const std::string& b) {
  const std::size_t n = std::min(a.size(), b.size());
  return n != 0 && a.substr(0, n) == b.substr(0, n);
}
constexpr std::array<std::uint8_t, 32> kCount{0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                              16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
}  // namespace

TEST_CASE("AES-XCBC-MAC: RFC 3566 §4.6; as a PRF: RFC 4434 §2", "[ikev2][keymat][rfc3566][rfc4434]") {
  const ByteView count = kCount;
  const auto mac = [&](std::size_t n) { return to_hex(crypto::aes_xcbc(count.first(16), {count.first(n)})); };
  CHECK(mac(0) == "75f0251d528ac01c4573dfd584d79f29");
  CHECK(mac(3) == "5b376580ae2f19afe7219ceef172756f");
  CHECK(mac(16) == "d2a246fa349b68a79998a4394ff7a263");
  CHECK(mac(20) == "47f51b4564966215b8985c63055ed308");
  CHECK(mac(32) == "f54f0ec8d2b9f3d36807734bd5283fd4");
  CHECK(to_hex(crypto::aes_xcbc(count.first(16), {Bytes(1000)})) == "f0dafee895db30253761103b5d84528f");
  CHECK(to_hex(crypto::icv(Integ::AesXcbc96, count.first(16), count.first(20))) == "47f51b4564966215b8985c63");
  CHECK(to_hex(prf(Prf::AesXcbc, count.first(16), {count.first(7), count.subspan(7, 13)})) == "47f51b4564966215b8985c63055ed308");
  CHECK(to_hex(prf(Prf::AesXcbc, count.first(10), {count.first(20)})) == "0fa087af7d866e7653434e602fdde835");
  CHECK(to_hex(prf(Prf::AesXcbc, joined(Bytes(count.begin(), count.begin() + 16), hex("edcb")), {count.first(20)})) ==
        "8cd3c93ae598a9803006ffb67c40e9e4");
}

TEST_CASE("AES-CMAC: RFC 4493 §4, RFC 4494; as a PRF: RFC 4615 §4", "[ikev2][keymat][rfc4493][rfc4494][rfc4615]") {
  const Bytes key = hex("2b7e151628aed2a6abf7158809cf4f3c");
  const Bytes data = hex(
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  const auto mac = [&](std::size_t n) { return to_hex(crypto::aes_cmac(key, {ByteView(data).first(n)})); };
  CHECK(mac(0) == "bb1d6929e95937287fa37d129b756746");
  CHECK(mac(16) == "070a16b46b4d4144f79bdd9dd04a287c");
  CHECK(mac(40) == "dfa66747de9ae63030ca32611497c827");
  CHECK(mac(64) == "51f0bebf7e3b9d92fc49741779363cfe");
  CHECK(to_hex(crypto::icv(Integ::AesCmac96, key, data)) == "51f0bebf7e3b9d92fc497417");
  const ByteView count = kCount;
  CHECK(to_hex(prf(Prf::AesCmac, joined(Bytes(count.begin(), count.begin() + 16), hex("edcb")), {count.first(20)})) ==
        "84a348a4a45d235babfffc0d2b4da09a");
  CHECK(to_hex(prf(Prf::AesCmac, count.first(16), {count.first(20)})) == "980ae87b5f4c9c5214f5b6a8455e4c2d");
  CHECK(to_hex(prf(Prf::AesCmac, count.first(10), {count.first(20)})) == "290d9e112edb09ee141fcf64c0b72f3d");
}

TEST_CASE("MACs refuse keys of another length, and what is no MAC of an IKE SA", "[ikev2][keymat]") {
  CHECK_THROWS_AS(crypto::aes_xcbc(Bytes(15), {}), std::invalid_argument);
  CHECK_THROWS_AS(crypto::aes_cmac(Bytes(24), {}), std::invalid_argument);
  for (const IntegInfo& row : integ_table()) {
    INFO(row.name);
    if (row.esp()) {
      CHECK(crypto::icv(row.id, Bytes(row.key), fill(1, 50)).size() == row.icv);
      CHECK_THROWS_AS(crypto::icv(row.id, Bytes(row.key - 1U), {}), std::invalid_argument);
    } else {
      CHECK_THROWS_AS(crypto::icv(row.id, Bytes(row.key), {}), std::invalid_argument);
    }
  }
  CHECK_THROWS_AS(crypto::icv(Integ::None, {}, {}), std::invalid_argument);
  CHECK_THROWS_AS(preferred_key_bytes(Prf::None), std::invalid_argument);
  CHECK(prf_plus(Prf::AesCmac, Bytes(16), {}, 255 * 16).size() == 255 * 16);
  CHECK_THROWS_AS(prf_plus(Prf::AesCmac, Bytes(16), {}, 255 * 16 + 1), std::invalid_argument);
  CHECK(prf_plus(Prf::HmacSha1, Bytes(16), {}, 0).empty());
}

TEST_CASE("every key, AUTH and NAT hash equals an independent recomputation",
          "[ikev2][keymat][rfc7296-2.13][rfc7296-2.14][rfc7296-2.15][rfc7296-2.17][rfc7296-2.18][rfc7296-2.23]") {
  std::map<std::string, std::map<std::string, std::string>> want;
  for (const auto& line : test::golden_lines("keys")) want[line.at(0)][line.at(1)] = line.at(2);
  const IkeSpi spi_i = spi_of(fill(6, 8)), spi_r = spi_of(fill(7, 8));
  const std::map<std::string, IkeSuite> suites{
      {"sha1", {Encr::AesCbc, 128, Prf::HmacSha1, DhGroup::Modp2048, Integ::HmacSha1_96}},
      {"sha256", {Encr::AesGcm16, 256, Prf::HmacSha2_256, DhGroup::Modp2048}},
      {"sha384", {Encr::AesCbc, 256, Prf::HmacSha2_384, DhGroup::Modp2048, Integ::HmacSha2_384_192}},
      {"sha512", {Encr::AesCbc, 256, Prf::HmacSha2_512, DhGroup::Modp2048, Integ::HmacSha2_512_256}},
      {"md5", {Encr::TripleDes, 192, Prf::HmacMd5, DhGroup::Modp2048, Integ::HmacMd5_96}},
      {"xcbc", {Encr::AesCtr, 128, Prf::AesXcbc, DhGroup::Modp2048, Integ::AesXcbc96}},
      {"cmac", {Encr::AesCcm16, 128, Prf::AesCmac, DhGroup::Modp2048}},
  };
  REQUIRE(want.size() == suites.size() + 1);
  const Bytes ni = fill(1, 32), nr = fill(2, 24), g = fill(3, 256), pfs = fill(12, 66);
  for (const auto& [name, suite] : suites) {
    INFO(name);
    auto& w = want.at(name);
    const auto check = [&](const std::string& label, const SecretBytes& got) {
      INFO(label);
      CHECK(to_hex(got) == w[label]);
    };
    const IkeKeyInputs in{suite, ni, nr, g, spi_i, spi_r};
    const auto check_all = [&](const std::string& label, const IkeKeys& k) {
      CHECK(k.prf == suite.prf);
      check(label + "d", k.d), check(label + "ai", k.ai), check(label + "ar", k.ar), check(label + "ei", k.ei);
      check(label + "er", k.er), check(label + "pi", k.pi), check(label + "pr", k.pr);
    };
    const std::size_t own = preferred_key_bytes(suite.prf);
    check_all("", derive(in));
    check_all("rekeyed_", derive_rekeyed(in, suite.prf, fill(20, own)));
    const auto check_child = [&](const std::string& label, const EspSuite& esp, std::optional<ByteView> g_new) {
      const ChildKeys k = child_keys(suite.prf, fill(21, own), esp, ni, nr, g_new);
      check("child_" + label + "_ei", k.from_initiator.encr), check("child_" + label + "_ai", k.from_initiator.integ);
      check("child_" + label + "_er", k.from_responder.encr), check("child_" + label + "_ar", k.from_responder.integ);
    };
    check_child("gcm", {Encr::AesGcm16, 256}, std::nullopt);
    check_child("cbc", {Encr::AesCbc, 128, Integ::HmacSha2_256_128}, pfs);
    check_child("ah", {Encr::None, 0, Integ::HmacSha1_96, DhGroup::None, SaProtocol::Ah}, std::nullopt);
    const SecretBytes octets = signed_octets(suite.prf, fill(8, 180), nr, fill(22, own), fill(9, 12));
    check("octets", octets);
    check("auth", shared_key_auth(suite.prf, as_bytes("correct horse battery"), octets.view()));
  }
  CHECK(to_hex(nat_hash(spi_i, spi_r, {*IpAddress::parse("10.9.0.1"), 4500})) == want["-"]["nat_v4"]);
  CHECK(to_hex(nat_hash(spi_i, spi_r, {*IpAddress::parse("2001:db8::1"), 500})) == want["-"]["nat_v6"]);
}

TEST_CASE("an IKE SA that replaces one with another PRF: SKEYSEED is the old one's, the rest the new one's",
          "[ikev2][keymat][rfc7296-2.18]") {
  const IkeSuite suite{Encr::AesGcm16, 128, Prf::HmacSha2_256, DhGroup::Ecp256};
  const Bytes ni = fill(1, 16), nr = fill(2, 256), g = fill(3, 32), d = fill(4, 64);
  const IkeKeyInputs in{suite, ni, nr, g, IkeSpi{1}, IkeSpi{2}};
  const SecretBytes skeyseed = prf(Prf::HmacSha2_512, d, {g, ni, nr});
  CHECK(skeyseed.size() == 64);
  const SecretBytes all = prf_plus(Prf::HmacSha2_256, skeyseed.view(), {ni, nr, hex("0000000000000001 0000000000000002")}, 3 * 32 + 2 * 20);
  CHECK(stream_of(derive_rekeyed(in, Prf::HmacSha2_512, d)) == to_hex(all));
  CHECK_THROWS_AS(derive({{Encr::AesCbc, 100, Prf::HmacSha1, {}, Integ::HmacSha1_96}, ni, nr, g, {}, {}}), std::invalid_argument);
  CHECK_THROWS_AS(derive({{Encr::AesCbc, 128, Prf::HmacSha1, {}, Integ::None}, ni, nr, g, {}, {}}), std::invalid_argument);
}

namespace {
std::string unpack(const Bytes& xz) {
  std::string out;
  lzma_stream s = LZMA_STREAM_INIT;
  REQUIRE(lzma_stream_decoder(&s, UINT64_MAX, 0) == LZMA_OK);
  s.next_in = xz.data();
  s.avail_in = xz.size();
  std::vector<char> block(1 << 20);
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK) {
    s.next_out = reinterpret_cast<std::uint8_t*>(block.data());
    s.avail_out = block.size();
    ret = lzma_code(&s, LZMA_FINISH);
    out.append(block.data(), block.size() - s.avail_out);
  }
  lzma_end(&s);
  REQUIRE(ret == LZMA_STREAM_END);
  return out;
}

using Case = std::map<std::string, std::string>;
void run_cavs(Prf id, Integ integ, const Case& c) {
  const auto bytes = [&](const char* name) { return hex(c.at(name)); };
  const auto size = [&](const char* name) { return c.at(name).size() / 2; };
  const Bytes ni = bytes("Ni"), nr = bytes("Nr"), g = bytes("g^ir"), g_new = bytes("g^ir (new)"), spi_i = bytes("SPIi"),
              spi_r = bytes("SPIr");
  const std::size_t own = preferred_key_bytes(id);
  const SecretBytes skeyseed = prf(id, joined(ni, nr), {g});
  CHECK(to_hex(skeyseed) == c.at("SKEYSEED"));
  CHECK(to_hex(prf_plus(id, skeyseed.view(), {ni, nr, spi_i, spi_r}, size("DKM"))) == c.at("DKM"));
  const IkeSuite suite{Encr::AesCbc, 256, id, DhGroup::None, integ};
  const IkeKeyInputs in{suite, ni, nr, g, spi_of(spi_i), spi_of(spi_r)};
  const IkeKeys keys = derive(in);
  CHECK(agree(stream_of(keys), c.at("DKM")));
  CHECK(to_hex(prf_plus(id, keys.d.view(), {ni, nr}, size("DKM(Child SA)"))) == c.at("DKM(Child SA)"));
  CHECK(to_hex(prf_plus(id, keys.d.view(), {g_new, ni, nr}, size("DKM(Child SA D-H)"))) == c.at("DKM(Child SA D-H)"));
  const EspSuite esp{Encr::AesCbc, 256, integ};
  CHECK(agree(stream_of(child_keys(id, keys.d.view(), esp, ni, nr, std::nullopt)), c.at("DKM(Child SA)")));
  CHECK(agree(stream_of(child_keys(id, keys.d.view(), esp, ni, nr, g_new)), c.at("DKM(Child SA D-H)")));
  // NIST has no keys of the replacing SA, only what they come of.
  const Bytes rekey = bytes("SKEYSEED(Rekey)");
  CHECK(prf(id, keys.d.view(), {g_new, ni, nr}) == SecretBytes(rekey));
  const IkeKeyInputs again{suite, ni, nr, g_new, in.spi_i, in.spi_r};
  CHECK(agree(stream_of(derive_rekeyed(again, id, keys.d.view())), to_hex(prf_plus(id, rekey, {ni, nr, spi_i, spi_r}, 2 * own))));
}
}  // namespace

TEST_CASE("NIST CAVS: IKEv2, the whole set", "[ikev2][keymat][vectors][rfc7296-2.14][rfc7296-2.17][rfc7296-2.18][attack-D6]") {
  const auto folder = test::vectors("NIST ikev2");
  if (!folder) return;
  std::istringstream lines(unpack(test::read_file(*folder / "kdf" / "ikev2.fax.xz")));
  const std::map<std::string, std::pair<Prf, Integ>> hashes{{"[SHA-1]", {Prf::HmacSha1, Integ::HmacSha1_96}},
                                                            {"[SHA-256]", {Prf::HmacSha2_256, Integ::HmacSha2_256_128}},
                                                            {"[SHA-384]", {Prf::HmacSha2_384, Integ::HmacSha2_384_192}},
                                                            {"[SHA-512]", {Prf::HmacSha2_512, Integ::HmacSha2_512_256}}};
  std::pair<Prf, Integ> hash{};
  Case c;
  std::size_t ran = 0;
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (const auto h = hashes.find(line); h != hashes.end()) hash = h->second;
    const std::size_t equals = line.find(" = ");
    if (line.starts_with("COUNT") || line.starts_with("[") || line.starts_with("#") || equals == std::string::npos) continue;
    c[line.substr(0, equals)] = line.substr(equals + 3);
    if (!line.starts_with("SKEYSEED(Rekey)")) continue;
    INFO("case " << ran);
    run_cavs(hash.first, hash.second, c);
    c.clear();
    ++ran;
  }
  std::cout << "NIST ikev2.fax: " << ran << " cases\n";
  CHECK(ran == 900);
}

TEST_CASE("strongSwan's and NSS's vectors: PRFs, prf+ and IKEv2 with AES-XCBC", "[ikev2][keymat][vectors][rfc7296-2.13][rfc4434]") {
  const auto folder = test::vectors("strongSwan and NSS: PRFs of IKEv2");
  if (!folder) return;
  const auto load = [&](const char* name) {
    const Bytes file = test::read_file(*folder / "kdf" / name);
    return boost::json::parse(std::string(file.begin(), file.end()));
  };
  const std::map<std::string, Prf> prfs{{"PRF_AES128_XCBC", Prf::AesXcbc},        {"PRF_AES128_CMAC", Prf::AesCmac},
                                        {"PRF_HMAC_SHA1", Prf::HmacSha1},         {"PRF_HMAC_SHA2_256", Prf::HmacSha2_256},
                                        {"PRF_HMAC_SHA2_384", Prf::HmacSha2_384}, {"PRF_HMAC_SHA2_512", Prf::HmacSha2_512}};
  const std::map<std::string, Integ> macs{{"AUTH_AES_XCBC_96", Integ::AesXcbc96}, {"AUTH_AES_CMAC_96", Integ::AesCmac96}};
  const auto json = load("strongswan_ke_prf_vectors.json");
  std::size_t ran = 0;
  for (const auto& v : json.at("prf").as_array()) {
    CHECK(to_hex(prf(prfs.at(text(v.at("alg"))), hex(text(v.at("key"))), {hex(text(v.at("seed")))})) == text(v.at("out")));
    ++ran;
  }
  for (const auto& v : json.at("mac").as_array()) {
    CHECK(to_hex(crypto::icv(macs.at(text(v.at("alg"))), hex(text(v.at("key"))), hex(text(v.at("data"))))) == text(v.at("mac")));
    ++ran;
  }
  for (const auto& v : json.at("kdf").as_array()) {
    INFO(text(v.at("name")));
    const Prf id = prfs.at(text(v.at("prf")));
    const Bytes key = hex(text(v.at("key"))), salt = hex(text(v.at("salt")));
    const std::string out = text(v.at("out"));
    // KDF_PRF is SKEYSEED: the salt (the nonces) is the PRF's key, and the key (g^ir) its data. Of prf+ the salt is the seed.
    CHECK(to_hex(text(v.at("alg")) == "KDF_PRF" ? prf(id, salt, {key}) : prf_plus(id, key, {salt}, out.size() / 2)) == out);
    ++ran;
  }
  std::map<std::string, std::vector<std::string>> nss;  // by type; there is one of each with IKEv2 and AES-XCBC, but of prf+
  const auto all = load("nss_ike_vectors.json");
  for (const auto& v : all.at("aesxcbc").as_array()) {
    auto& fields = nss[text(v.at("type"))];
    fields.clear();
    for (const auto& f : v.at("fields").as_array()) fields.push_back(text(f));
  }
  const auto& rekey = nss.at("ikeV2Rekey");
  // NSS reads the odd digit at the key's end as a byte, so that the key has 17.
  REQUIRE(rekey[0].size() == 33);
  const Bytes d = hex(rekey[0].substr(0, 32) + "0" + rekey[0].substr(32));
  CHECK(to_hex(prf(Prf::AesXcbc, d, {hex(rekey[1]), hex(rekey[4]), hex(rekey[5])})) == rekey[3]);
  const auto& seed = nss.at("ikeGxy");  // its nonces have the 64 bits that RFC 7296 §2.14 takes
  CHECK(to_hex(prf(Prf::AesXcbc, joined(hex(seed[4]), hex(seed[5])), {hex(seed[0])})) == seed[3]);
  const Bytes ni = hex(seed[4]), nr = hex(seed[5]), g = hex(seed[0]);
  const IkeSuite suite{Encr::AesCbc, 128, Prf::AesXcbc, DhGroup::None, Integ::AesXcbc96};
  CHECK(
      agree(stream_of(derive({suite, joined(ni, fill(1, 8)), joined(nr, fill(2, 8)), g, IkeSpi{1}, IkeSpi{2}})),
            to_hex(prf_plus(Prf::AesXcbc, hex(seed[3]), {ni, fill(1, 8), nr, fill(2, 8), hex("0000000000000001 0000000000000002")}, 100))));
  std::cout << "strongSwan PRFs, MACs and KDFs: " << ran << " cases; NSS with AES-XCBC: 3\n";
  CHECK(ran > 30);
}

TEST_CASE("a post-quantum pre-shared key is mixed into SK_d, SK_pi and SK_pr, as the key of prf+", "[ikev2][rfc8784-3]") {
  const Bytes ppk(32, 0x33);
  for (const Prf kind : {Prf::HmacSha1, Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512, Prf::AesXcbc, Prf::AesCmac}) {
    const std::size_t size = preferred_key_bytes(kind);
    IkeKeys keys;
    keys.prf = kind;
    keys.d = SecretBytes(Bytes(size, 1));
    keys.pi = SecretBytes(Bytes(size, 2));
    keys.pr = SecretBytes(Bytes(size, 3));
    const PpkKeys mixed = ppk_keys(keys, ppk);
    const Bytes one{1};  // T1 = prf(K, S | 0x01) is as long as the key
    CHECK(mixed.d == prf(kind, ppk, {keys.d.view(), one}));
    CHECK(mixed.pi == prf(kind, ppk, {keys.pi.view(), one}));
    CHECK(mixed.pr == prf(kind, ppk, {keys.pr.view(), one}));
    CHECK(mixed.d.size() == size);
  }
}
