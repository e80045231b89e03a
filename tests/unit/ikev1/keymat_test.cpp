// Keys and hashes of IKEv1: against NIST's vectors, against an independent recomputation, and the encryption of messages.
#include "control/ikev1/keymat.hpp"

#include <array>
#include <filesystem>
#include <map>
#include <sstream>

#include <lzma.h>

#include "control/ikev1/cipher.hpp"
#include "control/ikev1/message.hpp"
#include "control/ikev1/phase1_auth.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev1;
using culvert::test::hex;

namespace {
/// The same pattern as in tests/vectors/ikev1_kdf.py.
Bytes fill(int seed, std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(static_cast<std::size_t>(seed) + 7 * i);
  return out;
}
IkeSpi cookie(int seed) { return IkeSpi{Reader(fill(seed, 8)).be<std::uint64_t>()}; }

std::map<std::string, std::string> golden(const std::string& hash) {
  std::ifstream in(CULVERT_TEST_VECTORS "/ikev1_kdf.txt");
  REQUIRE(in);
  std::map<std::string, std::string> out;
  std::string line, h, name, value;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    if (fields >> h >> name >> value && h == hash) out[name] = value;
  }
  return out;
}

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

const std::map<std::string, Prf>& prf_by_name() {
  static const std::map<std::string, Prf> names{
      {"sha1", Prf::HmacSha1}, {"sha256", Prf::HmacSha2_256}, {"sha384", Prf::HmacSha2_384}, {"sha512", Prf::HmacSha2_512}};
  return names;
}
std::string to_hex(const SecretBytes& s) { return culvert::to_hex(s.view()); }
using culvert::to_hex;
}  // namespace

TEST_CASE("every key and hash equals an independent recomputation", "[ikev1][keymat][rfc2409-5][rfc2409-B]") {
  for (const auto& [hash_name, prf] : prf_by_name()) {
    INFO(hash_name);
    const auto want = golden(hash_name);
    REQUIRE(want.size() == 18);
    const Bytes psk = to_bytes("correct horse battery"), ni = fill(1, 32), nr = fill(2, 24), gxy = fill(3, 256);
    const Bytes gxi = fill(4, 256), gxr = fill(5, 256), sa = fill(8, 52), idi = fill(9, 12), idr = fill(10, 18), rest = fill(11, 77);
    const IkeSpi spi_i = cookie(6), spi_r = cookie(7);
    const Phase1Secrets s = derive_phase1({prf, psk, ni, nr, gxy, spi_i, spi_r});
    CHECK(to_hex(s.skeyid) == want.at("skeyid"));
    CHECK(to_hex(s.skeyid_d) == want.at("skeyid_d"));
    CHECK(to_hex(s.skeyid_a) == want.at("skeyid_a"));
    CHECK(to_hex(s.skeyid_e) == want.at("skeyid_e"));
    for (const std::size_t n : {16U, 24U, 32U}) CHECK(to_hex(phase1_encryption_key(s, n)) == want.at("key_" + std::to_string(n)));
    CHECK(to_hex(hash_i(s, {gxi, gxr, spi_i, spi_r, sa, idi})) == want.at("hash_i"));
    CHECK(to_hex(hash_r(s, {gxi, gxr, spi_i, spi_r, sa, idr})) == want.at("hash_r"));
    const MessageId mid{0xa1b2c3d4};
    CHECK(to_hex(quick_hash_1(s, mid, rest)) == want.at("quick_1"));
    CHECK(to_hex(informational_hash(s, mid, rest)) == want.at("quick_1"));
    CHECK(to_hex(quick_hash_2(s, mid, ni, rest)) == want.at("quick_2"));
    CHECK(to_hex(quick_hash_3(s, mid, ni, nr)) == want.at("quick_3"));
    const Bytes pfs = fill(12, 66);
    KeymatInputs in{Spi{0xc0ffee01}, ni, nr, std::nullopt};
    CHECK(to_hex(keymat(s, kProtoEsp, in, 100)) == want.at("keymat"));
    const EspKeys gcm = esp_keys(s, {Encr::AesGcm16, 256, Integ::None, DhGroup::None}, in);
    CHECK(to_hex(gcm.encr) == want.at("keymat").substr(0, 72));
    CHECK(gcm.integ.empty());
    in.g_qm_xy = pfs;
    CHECK(to_hex(keymat(s, kProtoEsp, in, 100)) == want.at("keymat_pfs"));
    const EspKeys cbc = esp_keys(s, {Encr::AesCbc, 128, Integ::HmacSha2_256_128, DhGroup::Ecp521}, in);
    CHECK(to_hex(cbc.encr) == want.at("keymat_pfs").substr(0, 32));
    CHECK(to_hex(cbc.integ) == want.at("keymat_pfs").substr(32, 64));
    const Iv iv = phase1_iv(prf, gxi, gxr);
    CHECK(to_hex(ByteView(iv)) == want.at("phase1_iv"));
    CHECK(to_hex(ByteView(exchange_iv(prf, iv, 16, mid))) == want.at("exchange_iv"));
    CHECK(to_hex(nat_d_hash(prf, spi_i, spi_r, {*IpAddress::parse("10.9.0.1"), 4500})) == want.at("nat_d_v4"));
    CHECK(to_hex(nat_d_hash(prf, spi_i, spi_r, {*IpAddress::parse("2001:db8::1"), 500})) == want.at("nat_d_v6"));
  }
}

namespace {
/// Runs each case of one of NIST's files through derive_phase1.
std::size_t run_cavs(const std::filesystem::path& file, bool signatures) {
  std::istringstream text(unpack(test::read_file(file)));
  const std::map<std::string, Prf> hashes{
      {"[SHA-1]", Prf::HmacSha1}, {"[SHA-256]", Prf::HmacSha2_256}, {"[SHA-384]", Prf::HmacSha2_384}, {"[SHA-512]", Prf::HmacSha2_512}};
  Prf prf{};
  std::map<std::string, Bytes> c;
  std::size_t ran = 0;
  for (std::string line; std::getline(text, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (const auto h = hashes.find(line); h != hashes.end()) prf = h->second;
    const std::size_t equals = line.find(" = ");
    if (line.starts_with("COUNT") || line.starts_with("[") || line.starts_with("#") || equals == std::string::npos) continue;
    c[line.substr(0, equals)] = hex(line.substr(equals + 3));
    if (!line.starts_with("SKEYID_e")) continue;
    const Phase1Secrets s =
        derive_phase1({prf, signatures ? ByteView{} : ByteView(c.at("pre-shared-key")), c.at("Ni"), c.at("Nr"), c.at("g^xy"),
                       IkeSpi{Reader(c.at("CKY_I")).be<std::uint64_t>()}, IkeSpi{Reader(c.at("CKY_R")).be<std::uint64_t>()}, signatures});
    CHECK(to_hex(s.skeyid) == to_hex(c.at("SKEYID")));
    CHECK(to_hex(s.skeyid_d) == to_hex(c.at("SKEYID_d")));
    CHECK(to_hex(s.skeyid_a) == to_hex(c.at("SKEYID_a")));
    CHECK(to_hex(s.skeyid_e) == to_hex(c.at("SKEYID_e")));
    c.clear();
    ++ran;
  }
  std::cout << "NIST " << file.filename().string() << ": " << ran << " cases\n";
  return ran;
}
}  // namespace

TEST_CASE("NIST CAVS: IKEv1 with pre-shared keys, the whole set", "[ikev1][keymat][D6][vectors]") {
  const auto folder = test::vectors("NIST ikev1_psk");
  if (folder) CHECK(run_cavs(*folder / "kdf" / "ikev1_psk.fax.xz", false) > 1000);
}

TEST_CASE("NIST CAVS: IKEv1 with signatures, the whole set", "[ikev1][keymat][D6][vectors][rfc2409-5.1]") {
  const auto folder = test::vectors("NIST ikev1_dsa");
  if (folder) CHECK(run_cavs(*folder / "kdf" / "ikev1_dsa.fax.xz", true) > 1000);
}

TEST_CASE("ECDSA signs a hash that its curve brings, RSA the negotiated one", "[ikev1][keymat][rfc4754]") {
  using ike::AuthMethod;
  CHECK(proof_prf(AuthMethod::RsaSignature, Prf::HmacSha1) == Prf::HmacSha1);
  CHECK(proof_prf(AuthMethod::EcdsaP256, Prf::HmacSha1) == Prf::HmacSha2_256);
  CHECK(proof_prf(AuthMethod::EcdsaP384, Prf::HmacSha1) == Prf::HmacSha2_384);
  CHECK(proof_prf(AuthMethod::EcdsaP521, Prf::HmacSha2_256) == Prf::HmacSha2_512);
  const Bytes psk = to_bytes("x"), n = fill(1, 16), g = fill(2, 64);
  const Phase1Secrets s = derive_phase1({Prf::HmacSha1, psk, n, n, g, cookie(6), cookie(7)});
  const Phase1HashInputs plain{g, g, cookie(6), cookie(7), n, n};
  Phase1HashInputs signed_256 = plain;
  signed_256.prf = Prf::HmacSha2_256;
  CHECK(hash_i(s, plain).size() == 20);
  CHECK(hash_i(s, signed_256).size() == 32);
  CHECK(hash_r(s, signed_256).size() == 32);
}

TEST_CASE("messages: padding, IVs in succession, and what cannot be opened", "[ikev1][cipher][rfc2409-B]") {
  const Cipher cipher{Encr::AesCbc, SecretBytes(fill(1, 32))};
  Iv iv{};
  iv.fill(0x42);
  for (const std::size_t n : {4U, 15U, 16U, 17U, 300U}) {
    const Bytes chain = fill(2, n);
    const Sealed sealed = cipher.seal(iv, chain);
    CHECK(sealed.body.size() == (n + 15) / 16 * 16);
    CHECK(std::equal(sealed.next.begin(), sealed.next.end(), sealed.body.end() - 16));
    const auto opened = cipher.open(iv, sealed.body);
    REQUIRE(opened);
    CHECK(opened->next == sealed.next);
    REQUIRE(opened->chain.size() >= n);
    CHECK(std::equal(chain.begin(), chain.end(), opened->chain.begin()));
    for (std::size_t i = n; i < opened->chain.size(); ++i) CHECK(opened->chain[i] == 0);
    // One long CBC stream: the next message starts where this one ended.
    const Sealed second = cipher.seal(sealed.next, fill(3, 16));
    Bytes both = sealed.body;
    both.insert(both.end(), second.body.begin(), second.body.end());
    const auto stream = cipher.open(iv, both);
    REQUIRE(stream);
    CHECK(Bytes(stream->chain.end() - 16, stream->chain.end()) == fill(3, 16));
  }
  for (const std::size_t n : {0U, 1U, 15U, 17U}) CHECK_FALSE(cipher.open(iv, Bytes(n)));
  for (const std::size_t n : {0U, 8U, 20U, 33U}) CHECK_THROWS_AS(Cipher(Encr::AesCbc, SecretBytes(n)), std::invalid_argument);
}
