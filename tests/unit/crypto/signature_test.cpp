// Keys and signatures of IKEv1: what is signed verifies, everything else does not, and a weak key is refused before it is used.
#include "control/crypto/signature.hpp"

#include <catch2/catch.hpp>

#include "common/bytes.hpp"
#include "tests/support/pki.hpp"

using namespace culvert;
using namespace culvert::test;
using crypto::PrivateKey;
using ike::AuthMethod;
using pki::Kind;

namespace {
PrivateKey read(Kind kind, int number = 0) {
  const Bytes der = pki::private_der(*pki::key(kind, number));
  auto key = PrivateKey::read(der);
  REQUIRE(key);
  return *key;
}
Bytes hash(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 1);
  return out;
}
struct Row {
  Kind kind;
  AuthMethod method;
  std::size_t signature;
};
const std::vector<Row> kRows{{Kind::Rsa2048, AuthMethod::RsaSignature, 256},
                             {Kind::P256, AuthMethod::EcdsaP256, 64},
                             {Kind::P384, AuthMethod::EcdsaP384, 96},
                             {Kind::P521, AuthMethod::EcdsaP521, 132}};
}  // namespace

TEST_CASE("what a key signs, it verifies, in IKEv1's form", "[signature][rfc2409-5.1][rfc4754-7]") {
  for (const Row& row : kRows)
    for (const std::size_t size : {16U, 20U, 32U, 48U, 64U}) {
      const PrivateKey key = read(row.kind);
      CHECK(key.method() == row.method);
      const auto signature = key.sign(hash(size));
      REQUIRE(signature);
      CHECK(signature->size() == row.signature);
      CHECK(key.public_key().verify(hash(size), *signature));
      CHECK(key.public_key().verify(hash(size), pki::sign(*pki::key(row.kind), hash(size))));
      Bytes other = hash(size);
      other[0] ^= 1;  // at the front: ECDSA cuts a hash that is longer than its order
      CHECK_FALSE(key.public_key().verify(other, *signature));
      if (size <= row.signature / 2) CHECK_FALSE(key.public_key().verify(ByteView(hash(size)).first(size - 4), *signature));
      CHECK_FALSE(read(row.kind, 1).public_key().verify(hash(size), *signature));
    }
}

TEST_CASE("no other signature verifies", "[signature][attack-E1][attack-E3]") {
  for (const Row& row : kRows) {
    const PrivateKey key = read(row.kind);
    const Bytes h = hash(32);
    const Bytes good = *key.sign(h);
    const auto fails = [&](const Bytes& signature) {
      INFO("method " << static_cast<int>(row.method) << ", " << signature.size() << " bytes");
      CHECK_FALSE(key.public_key().verify(h, signature));
    };
    fails({});
    fails({0});
    for (const std::size_t n : {std::size_t{1}, good.size() / 2, good.size() - 1})
      fails(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)));
    Bytes longer = good;
    longer.push_back(0);
    fails(longer);
    longer.insert(longer.begin(), 0);
    longer.pop_back();
    fails(longer);
    fails(Bytes(good.size(), 0));
    fails(Bytes(good.size(), 0xff));
    for (std::size_t i = 0; i < good.size(); i += 3) {
      Bytes changed = good;
      changed[i] ^= 0x10;
      fails(changed);
    }
    if (row.method == AuthMethod::RsaSignature) continue;
    const std::size_t half = good.size() / 2;
    for (const std::size_t at : {std::size_t{0}, half}) {  // r = 0, s = 0
      Bytes zero = good;
      std::fill_n(zero.begin() + static_cast<std::ptrdiff_t>(at), half, std::uint8_t{0});
      fails(zero);
    }
    Bytes swapped(good.begin() + static_cast<std::ptrdiff_t>(half), good.end());
    swapped.insert(swapped.end(), good.begin(), good.begin() + static_cast<std::ptrdiff_t>(half));
    fails(swapped);
  }
  const PrivateKey key = read(Kind::Rsa2048);
  CHECK_FALSE(key.public_key().verify({}, *key.sign(hash(20))));
  CHECK_FALSE(key.sign({}));
  CHECK_FALSE(key.sign(hash(65)));
}

TEST_CASE("private keys: PEM, DER, and what is refused", "[signature][attack-E2]") {
  for (const Row& row : kRows) {
    const auto& k = *pki::key(row.kind);
    const std::string pem = pki::private_pem(k);
    REQUIRE(PrivateKey::read(as_bytes(pem)));
    const std::string encrypted = pki::encrypted_pem(k, "hunter2");
    const auto refused = PrivateKey::read(as_bytes(encrypted));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().find("is encrypted") != std::string::npos);
  }
  const auto refuses = [](Kind kind, const char* why) {
    const auto refused = PrivateKey::read(pki::private_der(*pki::key(kind)));
    REQUIRE_FALSE(refused);
    INFO(refused.error());
    CHECK(refused.error().find(why) != std::string::npos);
  };
  CHECK(PrivateKey::read(pki::private_der(*pki::key(Kind::Rsa1024)))->public_key().weak());  // who may use it is not decided here
  refuses(Kind::RsaSmallExponent, "public exponent");
  refuses(Kind::P192, "not P-256, P-384 or P-521");
  refuses(Kind::P256Explicit, "not given by name");
  refuses(Kind::X25519, "neither RSA nor ECDSA, Ed25519 or Ed448");
  for (const std::string& junk :
       {std::string(), std::string("x"), std::string("-----BEGIN PRIVATE KEY-----\n"), std::string(crypto::kMaxKeyFile + 1, 'x')})
    CHECK_FALSE(PrivateKey::read(as_bytes(junk)));
  Bytes trailing = pki::private_der(*pki::key(Kind::P256));
  trailing.push_back(0);
  CHECK_FALSE(PrivateKey::read(trailing));
}
