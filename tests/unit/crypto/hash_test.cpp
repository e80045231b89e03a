// Digest, HMAC and AES-CBC against published values.
#include "control/crypto/hash.hpp"

#include <set>

#include "control/crypto/cbc.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using culvert::test::hex;

TEST_CASE("digest: the values of FIPS 180-4 for 'abc', in one part and in many", "[crypto][hash]") {
  struct Row {
    Prf prf;
    const char* out;
  };
  const Row rows[] = {
      {Prf::HmacSha1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
      {Prf::HmacSha2_256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {Prf::HmacSha2_384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
      {Prf::HmacSha2_512,
       "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
       "454d4423643ce80e2a9ac94fa54ca49f"},
  };
  for (const Row& r : rows) {
    CHECK(to_hex(crypto::digest(r.prf, {as_bytes("abc")})) == r.out);
    CHECK(to_hex(crypto::digest(r.prf, {as_bytes("a"), ByteView{}, as_bytes("bc")})) == r.out);
  }
}

TEST_CASE("hmac: RFC 4231 cases 1, 2 and 6, RFC 2202 case 1, and an empty key", "[crypto][hash]") {
  const Bytes key1(20, 0x0b);
  CHECK(to_hex(crypto::hmac(Prf::HmacSha1, key1, {as_bytes("Hi There")}).view()) == "b617318655057264e28bc0b6fb378c8ef146be00");
  CHECK(to_hex(crypto::hmac(Prf::HmacSha2_256, key1, {as_bytes("Hi"), as_bytes(" There")}).view()) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(to_hex(crypto::hmac(Prf::HmacSha2_384, as_bytes("Jefe"), {as_bytes("what do ya want for nothing?")}).view()) ==
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
  CHECK(
      to_hex(
          crypto::hmac(Prf::HmacSha2_512, Bytes(131, 0xaa), {as_bytes("Test Using Larger Than Block-Size Key - Hash Key First")}).view()) ==
      "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598");
  CHECK(to_hex(crypto::hmac(Prf::HmacMd5, Bytes(16, 0x0b), {as_bytes("Hi There")}).view()) ==
        "9294727a3638bb1c13f48ef8158bfc9d");  // RFC 2202
  CHECK(to_hex(crypto::hmac(Prf::HmacSha2_256, {}, {ByteView{}}).view()) ==
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST_CASE("aes-cbc: NIST SP 800-38A F.2, both directions", "[crypto][aes]") {
  const Bytes iv = hex("000102030405060708090a0b0c0d0e0f");
  const Bytes plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
  struct Row {
    const char *key, *cipher;
  };
  const Row rows[] = {
      {"2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"},
      {"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"},
      {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
       "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"},
  };
  for (const Row& r : rows) {
    const auto sealed = crypto::cbc_encrypt(Encr::AesCbc, hex(r.key), iv, plain);
    REQUIRE(sealed);
    CHECK(to_hex(*sealed) == r.cipher);
    const auto opened = crypto::cbc_decrypt(Encr::AesCbc, hex(r.key), iv, *sealed);
    REQUIRE(opened);
    CHECK(*opened == plain);
  }
}

TEST_CASE("aes-cbc: lengths that are none", "[crypto][aes]") {
  const Bytes key(16), iv(16), block(16);
  for (const std::size_t n : {0U, 1U, 15U, 17U, 23U, 31U, 33U, 64U})
    CHECK(crypto::cbc_decrypt(Encr::AesCbc, Bytes(n), iv, block).error() == crypto::CipherError::KeyLength);
  for (const std::size_t n : {0U, 15U, 17U})
    CHECK(crypto::cbc_decrypt(Encr::AesCbc, key, Bytes(n), block).error() == crypto::CipherError::IvLength);
  for (const std::size_t n : {0U, 1U, 15U, 17U, 31U})
    CHECK(crypto::cbc_decrypt(Encr::AesCbc, key, iv, Bytes(n)).error() == crypto::CipherError::DataLength);
}

TEST_CASE("des-cbc and 3des-cbc: FIPS 81 App. C and NIST SP 800-20 keys, both directions", "[crypto][des]") {
  const auto check = [](Encr cipher, const char* key, const char* iv, const Bytes& plain, const char* sealed) {
    CHECK(to_hex(crypto::cbc_encrypt(cipher, hex(key), hex(iv), plain).value()) == sealed);
    CHECK(crypto::cbc_decrypt(cipher, hex(key), hex(iv), hex(sealed)).value() == plain);
  };
  const ByteView text = as_bytes("Now is the time for all ");
  const Bytes plain(text.begin(), text.end());
  check(Encr::Des, "0123456789abcdef", "1234567890abcdef", plain, "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6");
  check(Encr::TripleDes, "0123456789abcdef0123456789abcdef0123456789abcdef", "1234567890abcdef", plain,
        "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6");
  CHECK(crypto::cbc_encrypt(Encr::TripleDes, Bytes(16), Bytes(8), Bytes(8)).error() == crypto::CipherError::KeyLength);
  CHECK(crypto::cbc_encrypt(Encr::Des, Bytes(8), Bytes(16), Bytes(8)).error() == crypto::CipherError::IvLength);
  CHECK(crypto::cbc_encrypt(Encr::Des, Bytes(8), Bytes(8), Bytes(12)).error() == crypto::CipherError::DataLength);
}

TEST_CASE("random: 1,000 draws of 8 bytes are distinct", "[crypto]") {
  std::set<Bytes> seen;
  for (int i = 0; i < 1000; ++i) {
    Bytes b(8);
    crypto::random(b);
    CHECK(seen.insert(b).second);
  }
  crypto::random({});
}
