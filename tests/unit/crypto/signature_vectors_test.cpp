// Project Wycheproof's signatures through the verification of IKEv2, as they are, and of IKEv1: ECDSA in its r | s form, RSA with the
// DigestInfo taken for the hash, since IKEv1 has none (RFC 2409 §5.1) and the block around it is the same. And public keys that are none.
#include <chrono>
#include <iostream>

#include <boost/json.hpp>

#include "control/crypto/hash.hpp"
#include "control/crypto/signature.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using crypto::PublicKey;
using culvert::test::hex;
namespace json = boost::json;

namespace {

/// Strict DER: SEQUENCE { INTEGER r, INTEGER s } as r | s of `half` bytes each; nullopt: it has no such form.
std::optional<Bytes> fixed(const Bytes& der, std::size_t half) {
  Reader r(der);
  const auto length = [&](Reader& in) -> std::size_t {
    const std::size_t n = in.be<std::uint8_t>();
    if (n < 0x80) return n;
    const std::size_t more = n == 0x81 ? in.be<std::uint8_t>() : 0;
    if (more < 0x80) in.fail(ParseErrc::BadLength, "DER");
    return more;
  };
  if (r.be<std::uint8_t>() != 0x30) return std::nullopt;
  Reader body(r.take(length(r)));
  if (!r.ok() || r.remaining() != 0) return std::nullopt;
  Bytes out;
  for (int i = 0; i < 2; ++i) {
    if (body.be<std::uint8_t>() != 0x02) return std::nullopt;
    ByteView n = body.take(length(body));
    if (!body.ok() || n.empty() || n[0] >= 0x80) return std::nullopt;   // negative
    if (n.size() > 1 && n[0] == 0 && n[1] < 0x80) return std::nullopt;  // longer than needed
    if (n[0] == 0 && n.size() > 1) n = n.subspan(1);
    if (n.size() > half) return std::nullopt;
    out.insert(out.end(), half - n.size(), std::uint8_t{0});
    out.insert(out.end(), n.begin(), n.end());
  }
  return body.remaining() == 0 ? std::optional(out) : std::nullopt;
}

std::string text(const json::value& v) { return std::string(v.as_string()); }

json::object load(const std::filesystem::path& folder, const std::string& name) {
  const Bytes file = test::read_file(folder / "wycheproof" / name);
  return json::parse(std::string_view(reinterpret_cast<const char*>(file.data()), file.size())).as_object();
}

std::string key_of(const json::object& group) {
  for (const char* name : {"publicKeyDer", "keyDer"})
    if (group.contains(name)) return text(group.at(name));
  return {};
}

void run_ecdsa(const std::filesystem::path& folder, const std::string& name, Prf hash, std::size_t half) {
  std::size_t good = 0, refused = 0, other = 0;
  const json::object file = load(folder, name);
  for (const auto& g : file.at("testGroups").as_array()) {
    const auto key = PublicKey::read(hex(key_of(g.as_object())));
    REQUIRE(key);
    for (const auto& t : g.as_object().at("tests").as_array()) {
      const json::object& row = t.as_object();
      INFO(name << " " << json::serialize(row.at("tcId")) << ": " << text(row.at("comment")));
      const auto signature = fixed(hex(text(row.at("sig"))), half);
      const bool valid = text(row.at("result")) == "valid";
      if (!signature) {
        CHECK_FALSE(valid);
        ++other;
        continue;
      }
      CHECK(key->verify(crypto::digest(hash, {hex(text(row.at("msg")))}), *signature) == valid);
      ++(valid ? good : refused);
    }
  }
  std::cout << "ran " << good << " valid and " << refused << " invalid ECDSA signatures of " << name << "; " << other
            << " more are defects of a DER form that IKEv1 does not have\n";
  CHECK(good > 100);
  CHECK(refused > 50);
}

/// SubjectPublicKeyInfo of an RSA key with these numbers, big-endian.
Bytes rsa_spki(Bytes n, Bytes e) {
  const auto tlv = [](std::uint8_t tag, const Bytes& contents) {
    Bytes out{tag};
    const std::size_t size = contents.size();
    if (size >= 0x100) {
      out.insert(out.end(), {0x82, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
    } else if (size >= 0x80) {
      out.insert(out.end(), {0x81, static_cast<std::uint8_t>(size)});
    } else {
      out.push_back(static_cast<std::uint8_t>(size));
    }
    out.insert(out.end(), contents.begin(), contents.end());
    return out;
  };
  const auto integer = [&](Bytes v) {
    if (v.empty() || v[0] >= 0x80) v.insert(v.begin(), 0);
    return tlv(0x02, v);
  };
  Bytes key = integer(std::move(n));
  const Bytes exponent = integer(std::move(e));
  key.insert(key.end(), exponent.begin(), exponent.end());
  Bytes bits = tlv(0x30, key);
  bits.insert(bits.begin(), 0);
  Bytes out = hex("300d06092a864886f70d0101010500");
  const Bytes string = tlv(0x03, bits);
  out.insert(out.end(), string.begin(), string.end());
  return tlv(0x30, out);
}

Bytes odd(std::size_t bytes) {
  Bytes out(bytes, 0xa5);
  return out;
}

}  // namespace

TEST_CASE("Wycheproof: ECDSA", "[signature][wycheproof][attack-E3]") {
  const auto folder = test::vectors("Wycheproof ECDSA");
  if (!folder) return;
  run_ecdsa(*folder, "ecdsa_secp256r1_sha256_test.json", Prf::HmacSha2_256, 32);
  run_ecdsa(*folder, "ecdsa_secp384r1_sha384_test.json", Prf::HmacSha2_384, 48);
  run_ecdsa(*folder, "ecdsa_secp521r1_sha512_test.json", Prf::HmacSha2_512, 66);
}

TEST_CASE("Wycheproof: RSA PKCS #1 v1.5", "[signature][wycheproof][attack-E1]") {
  const auto folder = test::vectors("Wycheproof RSA");
  if (!folder) return;
  // The file with SHA-512 does not apply: its DigestInfo has 83 bytes, and no hash of IKEv1 is longer than 64.
  const json::object file = load(*folder, "rsa_signature_2048_sha256_test.json");
  const Bytes digest_info = hex("3031300d060960864801650304020105000420");
  std::size_t good = 0, refused = 0;
  for (const auto& g : file.at("testGroups").as_array()) {
    const auto key = PublicKey::read(hex(key_of(g.as_object())));
    INFO(key_of(g.as_object()));
    if (!key) {
      CHECK(key.error().find("exponent") != std::string::npos);  // the file has keys with e = 3
      continue;
    }
    for (const auto& t : g.as_object().at("tests").as_array()) {
      const json::object& row = t.as_object();
      INFO(json::serialize(row.at("tcId")) << ": " << text(row.at("comment")));
      Bytes block = digest_info;
      const Bytes h = crypto::digest(Prf::HmacSha2_256, {hex(text(row.at("msg")))});
      block.insert(block.end(), h.begin(), h.end());
      const std::string result = text(row.at("result"));
      const bool verified = key->verify(block, hex(text(row.at("sig"))));
      if (result == "acceptable") continue;  // a DigestInfo without its NULL, which is another block
      CHECK(verified == (result == "valid"));
      ++(verified ? good : refused);
    }
  }
  std::cout << "ran " << good << " valid and " << refused << " invalid RSA signatures\n";
  CHECK(good > 5);
  CHECK(refused > 200);
}

namespace {
/// A whole file through one form of IKEv2: the message is hashed and the signature is taken as it is.
void run_scheme(const std::filesystem::path& folder, const std::string& name, ike::SignatureScheme scheme) {
  std::size_t good = 0, refused = 0;
  const json::object file = load(folder, name);
  for (const auto& g : file.at("testGroups").as_array()) {
    const auto key = PublicKey::read(hex(key_of(g.as_object())));
    if (!key) continue;  // e = 3
    for (const auto& t : g.as_object().at("tests").as_array()) {
      const json::object& row = t.as_object();
      INFO(name << " " << json::serialize(row.at("tcId")) << ": " << text(row.at("comment")));
      const std::string result = text(row.at("result"));
      const bool verified = key->verify(scheme, hex(text(row.at("msg"))), hex(text(row.at("sig"))));
      if (result == "acceptable") continue;  // a DigestInfo without its NULL
      CHECK(verified == (result == "valid"));
      ++(verified ? good : refused);
    }
  }
  std::cout << "ran " << good << " valid and " << refused << " invalid signatures of " << name << " as IKEv2 has them\n";
  CHECK(good > 5);
  CHECK(refused > 40);
}
}  // namespace

TEST_CASE("Wycheproof: signatures of IKEv2", "[signature][wycheproof][rfc7427][attack-E1][attack-E3]") {
  const auto folder = test::vectors("Wycheproof signatures of IKEv2");
  if (!folder) return;
  run_scheme(*folder, "ecdsa_secp256r1_sha256_test.json", ike::SignatureScheme::EcdsaSha256);
  run_scheme(*folder, "ecdsa_secp384r1_sha384_test.json", ike::SignatureScheme::EcdsaSha384);
  run_scheme(*folder, "ecdsa_secp521r1_sha512_test.json", ike::SignatureScheme::EcdsaSha512);
  run_scheme(*folder, "rsa_signature_2048_sha256_test.json", ike::SignatureScheme::RsaSha256);
  run_scheme(*folder, "rsa_signature_2048_sha512_test.json", ike::SignatureScheme::RsaSha512);
  run_scheme(*folder, "rsa_pss_2048_sha256_mgf1_32_test.json", ike::SignatureScheme::PssSha256);
}

TEST_CASE("RSA keys that are none are refused before anything is computed", "[signature][attack-E2]") {
  const auto begun = std::chrono::steady_clock::now();
  const Bytes e = hex("010001");
  const auto refuses = [](const Bytes& n, const Bytes& exponent, const char* why) {
    const auto key = PublicKey::read(rsa_spki(n, exponent));
    REQUIRE_FALSE(key);
    INFO(key.error());
    CHECK(key.error().find(why) != std::string::npos);
  };
  CHECK(PublicKey::read(rsa_spki(odd(256), e)));
  refuses({}, e, "");
  refuses({0}, e, "");
  refuses({1}, e, "");
  refuses({0xfb}, e, "has 8 bits");
  refuses(odd(127), e, "has 1016 bits");
  CHECK(PublicKey::read(rsa_spki(odd(255), e))->weak());
  refuses(odd(1025), e, "has 8200 bits");
  refuses(odd(4096), e, "has 32768 bits");
  Bytes even = odd(256);
  even.back() = 0xa4;
  refuses(even, e, "even modulus");
  for (const char* bad : {"00", "01", "02", "03", "11", "010000", "ffff", "8000000000000000000001"})
    refuses(odd(256), hex(bad), "public exponent");
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::milliseconds(500));  // none of them may cost an exponentiation
}

TEST_CASE("points that are not on the curve are no keys", "[signature][attack-D2]") {
  const Bytes good =
      hex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"
          "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
          "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
  CHECK(PublicKey::read(good));
  Bytes off = good;
  off.back() ^= 1;
  CHECK_FALSE(PublicKey::read(off));
  Bytes infinity = hex("3019301306072a8648ce3d020106082a8648ce3d0301070302000000");
  CHECK_FALSE(PublicKey::read(infinity));
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(PublicKey::read(ByteView(good).first(n)));
}

TEST_CASE("Wycheproof: Ed25519", "[signature][wycheproof][rfc8420][attack-E3]") {
  const auto folder = test::vectors("Wycheproof Ed25519");
  if (!folder) return;
  run_scheme(*folder, "ed25519_test.json", ike::SignatureScheme::Ed25519);
}
