// AUTH payloads with signatures: the bytes of RFC 7427 App. A, which form is chosen, and what is not taken.
#include "control/ikev2/signatures.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ikev2;
using ike::AuthMethod;
using ike::SignatureScheme;
using enum ike::SignatureScheme;

namespace {
Bytes hex(std::string_view text) { return from_hex(text).value(); }
struct Row {
  SignatureScheme scheme;
  std::string_view der;
};
// RFC 7427 App. A.1.2-A.1.4, A.3.2-A.3.4, A.4.3, as printed there (the last two with the other hashes' numbers and sizes).
const std::vector<Row> kRows{
    {RsaSha256, "300d06092a864886f70d01010b0500"},
    {RsaSha384, "300d06092a864886f70d01010c0500"},
    {RsaSha512, "300d06092a864886f70d01010d0500"},
    {EcdsaSha256, "300a06082a8648ce3d040302"},
    {EcdsaSha384, "300a06082a8648ce3d040303"},
    {EcdsaSha512, "300a06082a8648ce3d040304"},
    {Ed25519, "300506032b6570"},  // RFC 8420 App. A
    {Ed448, "300506032b6571"},
    {PssSha256,
     "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a20302012"
     "0"},
    {PssSha384,
     "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a20302013"
     "0"},
    {PssSha512,
     "304106092a864886f70d01010a3034a00f300d06096086480165030402030500a11c301a06092a864886f70d010108300d06096086480165030402030500a20302014"
     "0"},
};
Bytes digital(const Bytes& der, const Bytes& signature) {
  Bytes out{static_cast<std::uint8_t>(der.size())};
  out.insert(out.end(), der.begin(), der.end());
  out.insert(out.end(), signature.begin(), signature.end());
  return out;
}
const Bytes kSignature{1, 2, 3, 4, 5};
const std::vector<AuthMethod> kKeys{AuthMethod::RsaSignature, AuthMethod::EcdsaP256, AuthMethod::EcdsaP384, AuthMethod::EcdsaP521};
}  // namespace

TEST_CASE("digital signatures in AUTH payloads", "[ikev2][rfc7427-3][attack-C6]") {
  for (const Row& row : kRows) {
    INFO(row.der);
    const Auth auth{AuthMethodId::Digital, digital(hex(row.der), kSignature)};
    CHECK(signature_auth(row.scheme, kSignature) == auth);
    for (const bool announced : {false, true}) {
      const auto read = read_signature(auth, announced);
      REQUIRE(read);
      CHECK(read->scheme == row.scheme);
      CHECK(read->signature == kSignature);
    }
    for (std::size_t n = 0; n <= hex(row.der).size(); ++n)  // cut in the identifier
      CHECK_FALSE(
          read_signature({AuthMethodId::Digital, Bytes(auth.data.begin(), auth.data.begin() + static_cast<std::ptrdiff_t>(n))}, true));
    for (std::size_t i = 0; i <= hex(row.der).size(); ++i) {
      Bytes changed = auth.data;
      changed[i] ^= 0x40;
      CHECK_FALSE(read_signature({AuthMethodId::Digital, changed}, true));
    }
  }
  // RFC 4055 §2.1: the NULL behind a hash may be absent.
  for (const auto& [scheme, der] :
       {Row{RsaSha256, "300b06092a864886f70d01010b"}, Row{RsaSha512, "300b06092a864886f70d01010d"},
        Row{PssSha256,
            "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b06096086"
            "48016503040201a203020120"}})
    CHECK(read_signature({AuthMethodId::Digital, digital(hex(der), kSignature)}, true)->scheme == scheme);
}

TEST_CASE("signatures that are not taken", "[ikev2][rfc7427][attack-C6]") {
  for (const char* der : {"300906072a8648ce3d0401",                // A.3.1: ecdsa-with-SHA1
                          "300d06092a864886f70d0101050500",        // A.1.1: sha1WithRSAEncryption
                          "300d06092a864886f70d01010a3000",        // A.4.1: RSASSA-PSS with SHA-1
                          "300906072a8648ce380403", "3005", "30",  // A.2.1: DSA with SHA-1
                          "300506032b656e",                        // X25519, which signs nothing
                          "300706032b65700500"}) {                 // a NULL behind, which RFC 8410 §3 forbids
    const auto read = read_signature({AuthMethodId::Digital, digital(hex(der), kSignature)}, true);
    REQUIRE_FALSE(read);
    CHECK(read.error().find(der) != std::string::npos);
  }
  CHECK_FALSE(read_signature({AuthMethodId::Digital, {}}, true));
  CHECK_FALSE(read_signature({AuthMethodId::Digital, Bytes(300, 255)}, true));
  CHECK_FALSE(read_signature({AuthMethodId::Rsa, kSignature}, true));
  for (const AuthMethodId method : {AuthMethodId::SharedKey, AuthMethodId::Dss, AuthMethodId::Null, AuthMethodId{0}, AuthMethodId{200}}) {
    CHECK_FALSE(read_signature({method, kSignature}, false));
    CHECK_FALSE(by_signature(method));
  }
}

TEST_CASE("the methods that are older than RFC 7427", "[ikev2][rfc7296-3.8][rfc4754]") {
  struct Plain {
    AuthMethodId method;
    SignatureScheme scheme;
    AuthMethod key;
  };
  for (const Plain& row :
       {Plain{AuthMethodId::Rsa, RsaSha1, AuthMethod::RsaSignature}, Plain{AuthMethodId::EcdsaP256, EcdsaP256, AuthMethod::EcdsaP256},
        Plain{AuthMethodId::EcdsaP384, EcdsaP384, AuthMethod::EcdsaP384},
        Plain{AuthMethodId::EcdsaP521, EcdsaP521, AuthMethod::EcdsaP521}}) {
    const Auth auth{row.method, kSignature};
    CHECK(by_signature(row.method));
    CHECK(scheme_for(row.key, std::nullopt) == row.scheme);
    CHECK(signature_auth(row.scheme, kSignature) == auth);
    CHECK(read_signature(auth, false)->scheme == row.scheme);
    CHECK(read_signature(auth, false)->signature == kSignature);
    CHECK(read_signature(auth, true).has_value() == (row.key != AuthMethod::RsaSignature));
    // A peer that announces nothing of ours: SHA-1 is not for whoever knows better.
    CHECK(scheme_for(row.key, SignatureHashes{}).has_value() == (row.key != AuthMethod::RsaSignature));
  }
}

TEST_CASE("hashes that are announced, and what is chosen of them", "[ikev2][rfc7427-4]") {
  CHECK(announced_hashes() == hex("0002000300040005"));
  CHECK(read_hashes(announced_hashes()) == SignatureHashes{true, true, true, true});
  CHECK(read_hashes({}) == SignatureHashes{});
  CHECK(read_hashes(hex("0001000500060004ffff")) == SignatureHashes{false, false, true, true});
  CHECK(read_hashes(hex("000300")) == SignatureHashes{false, true, false});
  const SignatureHashes all{true, true, true};
  CHECK(scheme_for(AuthMethod::RsaSignature, all) == RsaSha256);
  CHECK(scheme_for(AuthMethod::EcdsaP256, all) == EcdsaSha256);
  CHECK(scheme_for(AuthMethod::EcdsaP384, all) == EcdsaSha384);
  CHECK(scheme_for(AuthMethod::EcdsaP521, all) == EcdsaSha512);
  CHECK(scheme_for(AuthMethod::RsaSignature, SignatureHashes{false, true, true}) == RsaSha384);
  CHECK(scheme_for(AuthMethod::EcdsaP256, SignatureHashes{false, false, true}) == EcdsaSha512);
  CHECK(scheme_for(AuthMethod::EcdsaP521, SignatureHashes{true, false, false}) == EcdsaSha256);
  for (const AuthMethod key : kKeys)
    for (int bits = 1; bits < 8; ++bits) CHECK(scheme_for(key, SignatureHashes{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}));
}

TEST_CASE("Edwards curves sign only for who has announced Identity, and whatever else it takes", "[ikev2][rfc8420-2]") {
  for (const auto& [key, scheme] : {std::pair{AuthMethod::Ed25519, Ed25519}, std::pair{AuthMethod::Ed448, Ed448}}) {
    CHECK(scheme_for(key, SignatureHashes{false, false, false, true}) == scheme);
    CHECK(scheme_for(key, SignatureHashes{true, true, true, true}) == scheme);
    CHECK_FALSE(scheme_for(key, SignatureHashes{true, true, true, false}));
    CHECK_FALSE(scheme_for(key, std::nullopt));
  }
  CHECK_FALSE(scheme_for(AuthMethod::RsaSignature, SignatureHashes{false, false, false, true}));
}

TEST_CASE("signatures that are wished for", "[ikev2][rfc7427][rfc8247-3.2]") {
  using Wish = config::SignatureWish;
  using enum Wish::Key;
  using enum Wish::Hash;
  const SignatureHashes all{true, true, true, true}, only256{true, false, false, false};
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {RsaPss, {}}) == PssSha256);
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {RsaPss, {Sha384, Sha256}}) == PssSha384);
  CHECK(scheme_for(AuthMethod::RsaSignature, only256, {RsaPss, {Sha384, Sha256}}) == PssSha256);
  CHECK_FALSE(scheme_for(AuthMethod::RsaSignature, only256, Wish{RsaPss, {Sha384}}));
  CHECK_FALSE(scheme_for(AuthMethod::RsaSignature, std::nullopt, Wish{RsaPss, {}}));
  CHECK(scheme_for(AuthMethod::RsaSignature, std::nullopt, {Rsa, {}}) == RsaSha1);
  CHECK_FALSE(scheme_for(AuthMethod::RsaSignature, std::nullopt, Wish{Rsa, {Sha256}}));
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {Any, {Sha512}}) == RsaSha512);
  CHECK(scheme_for(AuthMethod::EcdsaP256, all, {Ecdsa, {Sha512}}) == EcdsaSha512);
  CHECK_FALSE(scheme_for(AuthMethod::EcdsaP256, std::nullopt, Wish{Ecdsa, {Sha512}}));
  CHECK_FALSE(scheme_for(AuthMethod::EcdsaP256, all, Wish{RsaPss, {}}));
  CHECK_FALSE(scheme_for(AuthMethod::Ed448, all, Wish{Wish::Key::Ed25519, {}}));
  // Who has signed by PSS is answered so, unless something else is wished for; only RSA has a choice.
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {}, true) == PssSha256);
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {Any, {Sha512}}, true) == PssSha512);
  CHECK(scheme_for(AuthMethod::RsaSignature, all, {Rsa, {}}, true) == RsaSha256);
  CHECK(scheme_for(AuthMethod::EcdsaP256, all, {}, true) == EcdsaSha256);
  CHECK((by_pss(PssSha256) && by_pss(PssSha512) && !by_pss(RsaSha256) && !by_pss(RsaSha1) && !by_pss(ike::SignatureScheme::Ed25519)));
  // The peer's: no wish takes what is taken at all.
  for (int i = 1; i < static_cast<int>(SignatureScheme::Count_); ++i) CHECK(fits(Wish{}, static_cast<SignatureScheme>(i)));
  CHECK(fits(Wish{RsaPss, {Sha256}}, PssSha256));
  for (const SignatureScheme other : {PssSha384, RsaSha256, RsaSha1, EcdsaSha256, EcdsaP256, ike::SignatureScheme::Ed25519})
    CHECK_FALSE(fits(Wish{RsaPss, {Sha256}}, other));
  CHECK((fits(Wish{Rsa, {}}, RsaSha1) && fits(Wish{Ecdsa, {}}, EcdsaP521) && !fits(Wish{Any, {Sha256}}, EcdsaP256)));
  CHECK((fits(Wish{Any, {Sha256}}, RsaSha256) && fits(Wish{Any, {Sha256}}, ike::SignatureScheme::Ed448) &&
         !fits(Wish{Any, {Sha256}}, RsaSha512)));
}
