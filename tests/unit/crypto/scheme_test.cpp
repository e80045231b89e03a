// Signatures of IKEv2: what OpenSSL signs by its own way verifies in the form that it has, in no other, and with nothing changed.
#include <algorithm>

#include <catch2/catch.hpp>

#include "common/bytes.hpp"
#include "control/crypto/signature.hpp"
#include "tests/support/pki.hpp"

using namespace culvert;
using namespace culvert::test;
using crypto::PrivateKey;
using ike::SignatureScheme;
using pki::Kind;
using enum ike::SignatureScheme;

namespace {
struct Row {
  Kind kind;
  SignatureScheme scheme;
  const char* hash;
  bool pss = false;
};
const std::vector<Row> kRows{
    {Kind::Rsa2048, RsaSha1, "SHA1"},
    {Kind::Rsa2048, RsaSha256, "SHA256"},
    {Kind::Rsa2048, RsaSha384, "SHA384"},
    {Kind::Rsa2048, RsaSha512, "SHA512"},
    {Kind::Rsa2048, PssSha256, "SHA256", true},
    {Kind::Rsa2048, PssSha384, "SHA384", true},
    {Kind::Rsa2048, PssSha512, "SHA512", true},
    {Kind::P256, EcdsaSha256, "SHA256"},
    {Kind::P256, EcdsaSha384, "SHA384"},
    {Kind::P256, EcdsaSha512, "SHA512"},
    {Kind::P384, EcdsaSha256, "SHA256"},
    {Kind::P384, EcdsaSha384, "SHA384"},
    {Kind::P521, EcdsaSha512, "SHA512"},
    {Kind::P521, EcdsaSha256, "SHA256"},
    {Kind::Ed25519, Ed25519, ""},
    {Kind::Ed448, Ed448, ""},
};
/// r | s, of the form that IKEv1 has, too.
const std::vector<Row> kFixed{{Kind::P256, EcdsaP256, "SHA256"}, {Kind::P384, EcdsaP384, "SHA384"}, {Kind::P521, EcdsaP521, "SHA512"}};
const std::vector<Kind> kKinds{Kind::Rsa2048, Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519, Kind::Ed448};

PrivateKey read(Kind kind, int number = 0) { return PrivateKey::read(pki::private_der(*pki::key(kind, number))).value(); }
const Bytes kMessage = to_bytes("what RFC 7296 has signed: the first message, the other's nonce, and a keyed hash of the identity");
SignatureScheme scheme(int i) { return static_cast<SignatureScheme>(i); }
}  // namespace

TEST_CASE("signatures that OpenSSL makes verify in their form and in no other", "[signature][rfc7427]") {
  for (const Row& row : kRows) {
    INFO("scheme " << static_cast<int>(row.scheme));
    const auto key = read(row.kind).public_key();
    const Bytes signature = pki::sign_message(*pki::key(row.kind), row.hash, kMessage, row.pss);
    for (int i = 0; i < static_cast<int>(SignatureScheme::Count_); ++i) {
      INFO("scheme " << i);
      CHECK(key.verify(scheme(i), kMessage, signature) == (scheme(i) == row.scheme));
    }
    Bytes other = kMessage;
    other.back() ^= 1;
    CHECK_FALSE(key.verify(row.scheme, other, signature));
    CHECK_FALSE(key.verify(row.scheme, {}, signature));
    CHECK_FALSE(read(row.kind, 1).public_key().verify(row.scheme, kMessage, signature));
  }
}

TEST_CASE("what a key signs it verifies, in each form that fits it", "[signature][rfc7427][rfc4754]") {
  for (const Kind kind : kKinds)
    for (int i = 1; i < static_cast<int>(SignatureScheme::Count_); ++i) {
      INFO("scheme " << i);
      const PrivateKey key = read(kind);
      const auto signature = key.sign(scheme(i), kMessage);
      REQUIRE(signature.has_value() == crypto::fits(scheme(i), key.method()));
      if (!signature) continue;
      CHECK(key.public_key().verify(scheme(i), kMessage, *signature));
      CHECK_FALSE(read(kind, 1).public_key().verify(scheme(i), kMessage, *signature));
    }
  for (const Row& row : kFixed) {
    const PrivateKey key = read(row.kind);
    CHECK(key.sign(row.scheme, kMessage)->size() == 2 * ((key.public_key().bits() + 7) / 8));
    for (const Row& other : kFixed) CHECK(crypto::fits(other.scheme, key.method()) == (other.kind == row.kind));
  }
  // The scheme of IKEv1 is what it was.
  const Bytes hash(20, 7);
  CHECK(read(Kind::Rsa2048).public_key().verify(hash, *read(Kind::Rsa2048).sign(SignatureScheme::Ikev1, hash)));
}

TEST_CASE("no signature of IKEv2 verifies with a bit changed, cut or made longer", "[signature][attack-E1][attack-E3]") {
  std::vector<Row> rows = kRows;
  rows.insert(rows.end(), kFixed.begin(), kFixed.end());
  for (const Row& row : rows) {
    const PrivateKey key = read(row.kind);
    const Bytes good = *key.sign(row.scheme, kMessage);
    INFO("scheme " << static_cast<int>(row.scheme) << " " << to_hex(good));
    const auto fails = [&](const Bytes& signature) { CHECK_FALSE(key.public_key().verify(row.scheme, kMessage, signature)); };
    fails({});
    fails(Bytes(good.size(), 0));
    fails(Bytes(good.size(), 0xff));
    fails(Bytes(5000, 0x30));
    for (std::size_t n = 1; n < good.size(); n += 7) fails(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)));
    Bytes longer = good;
    longer.push_back(0);
    fails(longer);
    for (std::size_t i = 0; i < good.size(); i += 3) {
      Bytes changed = good;
      changed[i] ^= 0x10;
      fails(changed);
    }
  }
}

TEST_CASE("Ed25519 and Ed448: the vectors of RFC 8032, and no hash of IKEv1 signed", "[signature][rfc8032-7.1][rfc8032-7.4][rfc8420]") {
  struct Vector {
    SignatureScheme scheme;
    const char *secret, *message, *signature;
  };
  for (const Vector& v :
       {Vector{
            Ed25519, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a"
            "100b"},
        Vector{
            Ed25519, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb"
            "0c00"},
        Vector{
            Ed448, "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b", "",
            "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980ff0d2028d4"
            "b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4dbb61149f05a7363268c71d95808ff2e652600"}}) {
    const bool small = v.scheme == Ed25519;  // PKCS #8 around the secret (RFC 8410 §7)
    const auto key = PrivateKey::read(
        *from_hex((small ? "302e020100300506032b657004220420" : "3047020100300506032b6571043b0439") + std::string(v.secret)));
    REQUIRE(key);
    CHECK(key->method() == (small ? ike::AuthMethod::Ed25519 : ike::AuthMethod::Ed448));
    const Bytes message = *from_hex(v.message);
    CHECK(to_hex(*key->sign(v.scheme, message)) == v.signature);
    CHECK(key->public_key().verify(v.scheme, message, *from_hex(v.signature)));
    const Bytes hash(20, 7);
    CHECK_FALSE(key->sign(hash));
    CHECK_FALSE(key->sign(SignatureScheme::Ikev1, hash));
    CHECK_FALSE(key->public_key().verify(hash, *key->sign(v.scheme, hash)));
    CHECK_FALSE(key->public_key().verify(SignatureScheme::Ikev1, hash, {}));
  }
}
