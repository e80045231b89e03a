// AEADs, counter mode and CMAC against published values, Google's Wycheproof among them.
#include "control/crypto/aead.hpp"

#include <boost/json.hpp>

#include "control/crypto/mac.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using crypto::AeadError;
using culvert::test::hex;

namespace {
boost::json::value load(const std::filesystem::path& folder, const std::string& name) {
  const Bytes file = test::read_file(folder / "wycheproof" / name);
  return boost::json::parse(std::string(file.begin(), file.end()));
}
Bytes field(const boost::json::value& test, const char* name) { return hex(test.at(name).as_string().c_str()); }
bool is(const boost::json::value& group, const char* name, std::int64_t value) { return group.at(name).as_int64() == value; }

/// Runs what has our sizes of nonce and tag.
std::size_t run_wycheproof(const boost::json::value& file, Encr id, std::int64_t iv_bits) {
  std::size_t ran = 0;
  for (const auto& group : file.at("testGroups").as_array()) {
    const auto* row = find_encr(id, static_cast<std::uint16_t>(group.at("keySize").as_int64()));
    if (!row || !is(group, "ivSize", iv_bits) || !is(group, "tagSize", 8 * row->icv)) continue;
    for (const auto& t : group.at("tests").as_array()) {
      INFO(row->name << " case " << t.at("tcId").as_int64() << ": " << t.at("comment").as_string().c_str());
      const Bytes key = field(t, "key"), nonce = field(t, "iv"), aad = field(t, "aad"), plain = field(t, "msg");
      Bytes sealed = field(t, "ct");
      const Bytes tag = field(t, "tag");
      sealed.insert(sealed.end(), tag.begin(), tag.end());
      const auto opened = crypto::aead_open(id, key, nonce, aad, sealed);
      if (t.at("result").as_string() == "valid") {
        CHECK(crypto::aead_seal(id, key, nonce, aad, plain) == sealed);
        CHECK(opened == plain);
      } else {
        REQUIRE_FALSE(opened);
        CHECK(opened.error() == AeadError::Tag);
      }
      ++ran;
    }
  }
  return ran;
}
}  // namespace

TEST_CASE("Wycheproof: AEADs with the nonces of IPsec", "[crypto][aead][vectors]") {
  const auto folder = test::vectors("Wycheproof AEADs");
  if (!folder) return;
  const std::size_t gcm = run_wycheproof(load(*folder, "aes_gcm_test.json"), Encr::AesGcm16, 96);
  const std::size_t ccm = run_wycheproof(load(*folder, "aes_ccm_test.json"), Encr::AesCcm16, 88);
  const std::size_t chacha = run_wycheproof(load(*folder, "chacha20_poly1305_test.json"), Encr::ChaCha20Poly1305, 96);
  std::cout << "Wycheproof: " << gcm << " of AES-GCM, " << ccm << " of AES-CCM, " << chacha << " of ChaCha20-Poly1305\n";
  CHECK(gcm > 150);
  CHECK(ccm > 10);
  CHECK(chacha > 300);
}

TEST_CASE("Wycheproof: AES-CMAC with keys of 128 bits", "[crypto][mac][vectors]") {
  const auto folder = test::vectors("Wycheproof AES-CMAC");
  if (!folder) return;
  std::size_t ran = 0;
  const auto file = load(*folder, "aes_cmac_test.json");
  for (const auto& group : file.at("testGroups").as_array()) {
    if (!is(group, "keySize", 128) || !is(group, "tagSize", 128)) continue;
    for (const auto& t : group.at("tests").as_array()) {
      INFO("case " << t.at("tcId").as_int64());
      const SecretBytes mac = crypto::aes_cmac(field(t, "key"), {field(t, "msg")});
      CHECK((to_hex(mac.view()) == t.at("tag").as_string().c_str()) == (t.at("result").as_string() == "valid"));
      ++ran;
    }
  }
  std::cout << "Wycheproof: " << ran << " of AES-CMAC\n";
  CHECK(ran > 100);
}

TEST_CASE("AES-CTR: RFC 3686 §6", "[crypto][aead][rfc3686-6]") {
  const auto run = [](const char* key, const char* nonce, const char* data) {
    const auto out = crypto::aes_ctr(hex(key), hex(nonce), hex(data));
    REQUIRE(out);
    return to_hex(*out);
  };
  CHECK(run("ae6852f8121067cc4bf7a5765577f39e", "00000030 0000000000000000", "53696e676c6520626c6f636b206d7367") ==
        "e4095d4fb7a7b3792d6175a3261311b8");
  CHECK(run("7e24067817fae0d743d6ce1f32539163", "006cb6db c0543b59da48d90b",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f") ==
        "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28");
  CHECK(run("16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515", "00000048 36733c147d6d93cb", "53696e676c6520626c6f636b206d7367") ==
        "4b55384fe259c9c84e7935a003cbe928");
  CHECK(run("776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104", "00000060 db5672c97aa8f0b2",
            "53696e676c6520626c6f636b206d7367") == "145ad01dbf824ec7560863dc71e3e0c0");
}

TEST_CASE("AEADs and counter mode: every length, and what they refuse", "[crypto][aead]") {
  std::size_t ran = 0;
  for (const EncrInfo& row : encr_table()) {
    if (!row.aead() || row.id == Encr::AesGmac) continue;
    INFO(row.name);
    const Bytes key(row.key_bytes(), 1), nonce(std::size_t{row.salt} + row.iv, 2);
    for (const std::size_t n : {0U, 1U, 16U, 100U})
      for (const std::size_t a : {0U, 1U, 32U}) {
        const Bytes plain(n, 3), aad(a, 4);
        const auto sealed = crypto::aead_seal(row.id, key, nonce, aad, plain);
        REQUIRE(sealed);
        CHECK(sealed->size() == n + row.icv);
        CHECK(crypto::aead_open(row.id, key, nonce, aad, *sealed) == plain);
        Bytes other = *sealed;
        other.back() ^= 1;
        CHECK(crypto::aead_open(row.id, key, nonce, aad, other).error() == AeadError::Tag);
        CHECK(crypto::aead_open(row.id, key, nonce, Bytes(a + 1, 4), *sealed).error() == AeadError::Tag);
        ++ran;
      }
    CHECK(crypto::aead_open(row.id, key, nonce, {}, Bytes(row.icv - 1U)).error() == AeadError::DataLength);
    CHECK(crypto::aead_seal(row.id, key, Bytes(nonce.size() + 1), {}, {}).error() == AeadError::NonceLength);
    CHECK(crypto::aead_seal(row.id, Bytes(key.size() - 1), nonce, {}, {}).error() == AeadError::Algorithm);
    CHECK(crypto::aead_seal(row.id, {}, nonce, {}, {}).error() == AeadError::Algorithm);
  }
  CHECK(ran == 16 * 12);
  for (const Encr id : {Encr::AesCbc, Encr::AesCtr, Encr::AesGmac, Encr::Null, Encr::None})
    CHECK(crypto::aead_seal(id, Bytes(16), Bytes(12), {}, {}).error() == AeadError::Algorithm);
  CHECK(crypto::aes_ctr(Bytes(17), Bytes(12), {}).error() == AeadError::Algorithm);
  CHECK(crypto::aes_ctr(Bytes(16), Bytes(16), {}).error() == AeadError::NonceLength);
  CHECK(crypto::aes_ctr(Bytes(16), Bytes(12), {}) == Bytes{});
  for (const AeadError e : {AeadError::Algorithm, AeadError::NonceLength, AeadError::DataLength, AeadError::Tag})
    CHECK(name(e) != "unknown");
}
