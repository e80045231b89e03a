#include "control/crypto/signature.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

using namespace detail;
using ike::AuthMethod;
using ike::SignatureScheme;

struct PublicKey::Key {
  Pkey pkey;
};

namespace {

constexpr std::size_t kMaxHash = 64;  // SHA-512

struct Curve {
  AuthMethod method;
  const char* name;
  std::size_t order_bytes;
  unsigned bits;
};
constexpr std::array kCurves{
    Curve{AuthMethod::EcdsaP256, "prime256v1", 32, 256},
    Curve{AuthMethod::EcdsaP384, "secp384r1", 48, 384},
    Curve{AuthMethod::EcdsaP521, "secp521r1", 66, 521},
};
std::size_t order_bytes(AuthMethod method) {
  for (const Curve& c : kCurves)
    if (c.method == method) return c.order_bytes;
  return 0;
}

struct Edwards {
  AuthMethod method;
  const char* name;
  std::size_t signature;
  unsigned bits;
};
constexpr std::array kEdwards{
    Edwards{AuthMethod::Ed25519, "ED25519", 64, 256},
    Edwards{AuthMethod::Ed448, "ED448", 114, 456},
};
/// nullptr: it is another kind of key.
const Edwards* edwards(AuthMethod method) {
  const auto* row = std::ranges::find(kEdwards, method, &Edwards::method);
  return row == kEdwards.end() ? nullptr : row;
}

/// How the octets of IKEv2 are hashed and signed.
struct Form {
  SignatureScheme scheme;
  Prf hash;  // None: they are signed as they are
  const EVP_MD* (*md)();
  int padding;                            // of RSA; 0: a curve
  AuthMethod curve = AuthMethod::Count_;  // the only one, whose signatures are r | s or EdDSA's; Count_: any of ECDSA, and DER
};
constexpr std::array kForms{
    Form{SignatureScheme::RsaSha1, Prf::HmacSha1, EVP_sha1, RSA_PKCS1_PADDING},
    Form{SignatureScheme::RsaSha256, Prf::HmacSha2_256, EVP_sha256, RSA_PKCS1_PADDING},
    Form{SignatureScheme::RsaSha384, Prf::HmacSha2_384, EVP_sha384, RSA_PKCS1_PADDING},
    Form{SignatureScheme::RsaSha512, Prf::HmacSha2_512, EVP_sha512, RSA_PKCS1_PADDING},
    Form{SignatureScheme::PssSha256, Prf::HmacSha2_256, EVP_sha256, RSA_PKCS1_PSS_PADDING},
    Form{SignatureScheme::PssSha384, Prf::HmacSha2_384, EVP_sha384, RSA_PKCS1_PSS_PADDING},
    Form{SignatureScheme::PssSha512, Prf::HmacSha2_512, EVP_sha512, RSA_PKCS1_PSS_PADDING},
    Form{SignatureScheme::EcdsaSha256, Prf::HmacSha2_256, EVP_sha256, 0},
    Form{SignatureScheme::EcdsaSha384, Prf::HmacSha2_384, EVP_sha384, 0},
    Form{SignatureScheme::EcdsaSha512, Prf::HmacSha2_512, EVP_sha512, 0},
    Form{SignatureScheme::EcdsaP256, Prf::HmacSha2_256, EVP_sha256, 0, AuthMethod::EcdsaP256},
    Form{SignatureScheme::EcdsaP384, Prf::HmacSha2_384, EVP_sha384, 0, AuthMethod::EcdsaP384},
    Form{SignatureScheme::EcdsaP521, Prf::HmacSha2_512, EVP_sha512, 0, AuthMethod::EcdsaP521},
    Form{SignatureScheme::Ed25519, Prf::None, nullptr, 0, AuthMethod::Ed25519},
    Form{SignatureScheme::Ed448, Prf::None, nullptr, 0, AuthMethod::Ed448},
};
/// nullptr: no key of this kind makes such signatures.
const Form* form_of(SignatureScheme scheme, AuthMethod key) {
  const auto* form = std::ranges::find(kForms, scheme, &Form::scheme);
  if (form == kForms.end() || (form->padding != 0) != (key == AuthMethod::RsaSignature)) return nullptr;
  return form->curve == key || (form->curve == AuthMethod::Count_ && edwards(key) == nullptr) ? form : nullptr;
}

struct Checked {
  AuthMethod method{};
  unsigned bits = 0;
};
using Verdict = std::expected<Checked, std::string>;

BigNum number_of(const EVP_PKEY* pkey, const char* what) {
  BIGNUM* n = nullptr;
  return EVP_PKEY_get_bn_param(pkey, what, &n) == 1 ? BigNum(n) : BigNum();
}

/// Nothing is computed with a modulus before it has a size and a form that an RSA modulus can have.
Verdict check_rsa(const EVP_PKEY* pkey) {
  const BigNum n = number_of(pkey, OSSL_PKEY_PARAM_RSA_N), e = number_of(pkey, OSSL_PKEY_PARAM_RSA_E);
  if (!n || !e) return std::unexpected("its RSA key cannot be read");
  const int bits = BN_num_bits(n.get());
  if (bits < static_cast<int>(kWeakRsaBits) || bits > static_cast<int>(kMaxRsaBits))
    return std::unexpected("its RSA key has " + std::to_string(bits) + " bits, not " + std::to_string(kMinRsaBits) + " to " +
                           std::to_string(kMaxRsaBits));
  if (BN_is_odd(n.get()) != 1) return std::unexpected("its RSA key has an even modulus");
  if (BN_is_odd(e.get()) != 1 || BN_num_bits(e.get()) < 17 || BN_num_bits(e.get()) > 64)
    return std::unexpected("its RSA key has a public exponent that is not an odd number from 65537 to 2^64");
  return Checked{AuthMethod::RsaSignature, static_cast<unsigned>(bits)};
}

Verdict check_ec(const EVP_PKEY* pkey) {
  int explicit_parameters = 0;
  if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_parameters) != 1 || explicit_parameters != 0)
    return std::unexpected("its elliptic curve is not given by name (RFC 5480 §2.1.1)");
  std::array<char, 64> group{};
  std::size_t length = 0;
  if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), &length) == 1)
    for (const Curve& c : kCurves)
      if (std::string_view(group.data(), length) == c.name) return Checked{c.method, c.bits};
  return std::unexpected("its elliptic curve is not P-256, P-384 or P-521");
}

Verdict check(const EVP_PKEY* pkey) {
  if (EVP_PKEY_is_a(pkey, "RSA") == 1) return check_rsa(pkey);
  if (EVP_PKEY_is_a(pkey, "EC") == 1) return check_ec(pkey);
  for (const Edwards& e : kEdwards)
    if (EVP_PKEY_is_a(pkey, e.name) == 1) return Checked{e.method, e.bits};
  return std::unexpected("its key is neither RSA nor ECDSA, Ed25519 or Ed448");
}

Bytes ecdsa_der(ByteView signature, std::size_t half) {
  const Owned<ECDSA_SIG, ECDSA_SIG_free> sig(must_have(ECDSA_SIG_new(), "ECDSA_SIG_new"));
  BigNum r(must_have(BN_bin2bn(signature.data(), static_cast<int>(half), nullptr), "BN_bin2bn"));
  BigNum s(must_have(BN_bin2bn(signature.data() + half, static_cast<int>(half), nullptr), "BN_bin2bn"));
  must(ECDSA_SIG_set0(sig.get(), r.release(), s.release()), "ECDSA_SIG_set0");
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(sig.get(), &der);
  if (size <= 0) throw LibraryError("i2d_ECDSA_SIG");
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

Bytes ecdsa_fixed(ByteView der, std::size_t half) {
  const unsigned char* at = der.data();
  const Owned<ECDSA_SIG, ECDSA_SIG_free> sig(must_have(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), "d2i_ECDSA_SIG"));
  Bytes out(2 * half);
  const int size = static_cast<int>(half);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(sig.get()), out.data(), size) != size ||
      BN_bn2binpad(ECDSA_SIG_get0_s(sig.get()), out.data() + half, size) != size)
    throw LibraryError("BN_bn2binpad");
  return out;
}

/// A context without a digest: what it signs or verifies is the hash as it is.
PkeyCtx context(EVP_PKEY* pkey) {
  return PkeyCtx(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, pkey, nullptr), "EVP_PKEY_CTX_new_from_pkey"));
}

void set_form(EVP_PKEY_CTX* ctx, const Form& form) {
  if (form.padding != 0) must(EVP_PKEY_CTX_set_rsa_padding(ctx, form.padding), "EVP_PKEY_CTX_set_rsa_padding");
  must(EVP_PKEY_CTX_set_signature_md(ctx, form.md()), "EVP_PKEY_CTX_set_signature_md");
  if (form.padding != RSA_PKCS1_PSS_PADDING) return;
  must(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, form.md()), "EVP_PKEY_CTX_set_rsa_mgf1_md");
  must(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST), "EVP_PKEY_CTX_set_rsa_pss_saltlen");
}

Bytes signed_by(EVP_PKEY_CTX* ctx, ByteView hash) {
  std::size_t size = 0;
  must(EVP_PKEY_sign(ctx, nullptr, &size, hash.data(), hash.size()), "EVP_PKEY_sign");
  Bytes out(size);
  must(EVP_PKEY_sign(ctx, out.data(), &size, hash.data(), hash.size()), "EVP_PKEY_sign");
  out.resize(size);
  return out;
}

/// The library's only way of EdDSA: over the whole message at once.
Bytes edwards_sign(EVP_PKEY* pkey, std::size_t size, ByteView octets) {
  const MdCtx ctx(must_have(EVP_MD_CTX_new(), "EVP_MD_CTX_new"));
  must(EVP_DigestSignInit_ex(ctx.get(), nullptr, nullptr, nullptr, nullptr, pkey, nullptr), "EVP_DigestSignInit_ex");
  Bytes out(size);
  must(EVP_DigestSign(ctx.get(), out.data(), &size, octets.data(), octets.size()), "EVP_DigestSign");
  if (size != out.size()) throw LibraryError("EVP_DigestSign (size)");
  return out;
}

bool edwards_verify(EVP_PKEY* pkey, ByteView octets, ByteView signature) {
  const MdCtx ctx(must_have(EVP_MD_CTX_new(), "EVP_MD_CTX_new"));
  must(EVP_DigestVerifyInit_ex(ctx.get(), nullptr, nullptr, nullptr, nullptr, pkey, nullptr), "EVP_DigestVerifyInit_ex");
  const int result = EVP_DigestVerify(ctx.get(), signature.data(), signature.size(), octets.data(), octets.size());
  ERR_clear_error();
  return result == 1;
}

/// No PEM file of ours is encrypted; without this, the library would ask at the terminal.
int no_password(char*, int, int, void*) { return -1; }

}  // namespace

std::expected<PublicKey, std::string> PublicKey::read(ByteView der) {
  const unsigned char* at = der.data();
  Pkey pkey(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!pkey || at != der.data() + der.size()) return std::unexpected("its public key cannot be read");
  return of(pkey.get());
}

std::expected<PublicKey, std::string> PublicKey::of(EVP_PKEY* key) {
  const Verdict verdict = check(key);
  if (!verdict) return std::unexpected(verdict.error());
  must(EVP_PKEY_up_ref(key), "EVP_PKEY_up_ref");
  PublicKey out;
  out.method_ = verdict->method;
  out.bits_ = verdict->bits;
  out.key_ = std::make_shared<const Key>(Key{Pkey(key)});
  return out;
}

bool fits(SignatureScheme scheme, AuthMethod key) { return form_of(scheme, key) != nullptr; }

bool operator==(const PublicKey& a, const PublicKey& b) {
  return a.method_ == b.method_ && EVP_PKEY_eq(a.key_->pkey.get(), b.key_->pkey.get()) == 1;
}

bool PublicKey::verify(ByteView hash, ByteView signature) const {
  if (edwards(method_) != nullptr) return false;
  const bool rsa = method_ == AuthMethod::RsaSignature;
  const std::size_t half = order_bytes(method_);
  if (hash.empty() || hash.size() > kMaxHash || signature.size() != (rsa ? (bits_ + 7) / 8 : 2 * half)) return false;
  const PkeyCtx ctx = context(key_->pkey.get());
  must(EVP_PKEY_verify_init(ctx.get()), "EVP_PKEY_verify_init");
  if (rsa) must(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_PADDING), "EVP_PKEY_CTX_set_rsa_padding");
  const Bytes encoded = rsa ? Bytes(signature.begin(), signature.end()) : ecdsa_der(signature, half);
  const int result = EVP_PKEY_verify(ctx.get(), encoded.data(), encoded.size(), hash.data(), hash.size());
  ERR_clear_error();
  return result == 1;
}

bool PublicKey::verify(SignatureScheme scheme, ByteView octets, ByteView signature) const {
  if (scheme == SignatureScheme::Ikev1) return verify(octets, signature);
  const Form* form = form_of(scheme, method_);
  if (!form) return false;
  if (const Edwards* e = edwards(method_)) return signature.size() == e->signature && edwards_verify(key_->pkey.get(), octets, signature);
  const std::size_t half = order_bytes(method_);
  const bool fixed = form->curve != AuthMethod::Count_;
  if (form->padding != 0 ? signature.size() != (bits_ + 7) / 8 : fixed ? signature.size() != 2 * half : signature.empty()) return false;
  if (signature.size() > kMaxRsaBits / 8) return false;
  const Bytes hash = digest(form->hash, {octets});
  const PkeyCtx ctx = context(key_->pkey.get());
  must(EVP_PKEY_verify_init(ctx.get()), "EVP_PKEY_verify_init");
  set_form(ctx.get(), *form);
  const Bytes encoded = fixed ? ecdsa_der(signature, half) : Bytes(signature.begin(), signature.end());
  const int result = EVP_PKEY_verify(ctx.get(), encoded.data(), encoded.size(), hash.data(), hash.size());
  ERR_clear_error();
  return result == 1;
}

std::expected<PrivateKey, std::string> PrivateKey::read(ByteView file) {
  if (file.empty()) return std::unexpected("is empty");
  if (file.size() > kMaxKeyFile) return std::unexpected("is longer than " + std::to_string(kMaxKeyFile) + " bytes");
  const Owned<BIO, BIO_free> bio(must_have(BIO_new_mem_buf(file.data(), static_cast<int>(file.size())), "BIO_new_mem_buf"));
  Pkey pkey(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!pkey) {
    const unsigned char* at = file.data();
    pkey.reset(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(file.size())));
    if (pkey && at != file.data() + file.size()) pkey.reset();
  }
  ERR_clear_error();
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (!pkey)
    return std::unexpected(text.find("ENCRYPTED") != std::string_view::npos ? "is encrypted, and nobody can be asked for its password"
                                                                            : "holds no private key, neither PEM nor DER");
  const Verdict verdict = check(pkey.get());
  if (!verdict) return std::unexpected("holds a key that is not used: " + verdict.error());
  const PkeyCtx ctx = context(pkey.get());
  const int pair = EVP_PKEY_pairwise_check(ctx.get());
  ERR_clear_error();
  if (pair != 1) return std::unexpected("holds a key whose private and public parts do not belong together");
  PrivateKey out;
  out.public_.method_ = verdict->method;
  out.public_.bits_ = verdict->bits;
  out.public_.key_ = std::make_shared<const PublicKey::Key>(PublicKey::Key{std::move(pkey)});
  return out;
}

std::expected<Bytes, std::string> PrivateKey::sign(ByteView hash) const {
  if (hash.empty() || hash.size() > kMaxHash) return std::unexpected("a hash of " + std::to_string(hash.size()) + " bytes is not signed");
  if (edwards(method()) != nullptr) return std::unexpected("IKEv1 has no signatures of this kind of key");
  const bool rsa = method() == AuthMethod::RsaSignature;
  const PkeyCtx ctx = context(public_.key_->pkey.get());
  must(EVP_PKEY_sign_init(ctx.get()), "EVP_PKEY_sign_init");
  if (rsa) must(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_PADDING), "EVP_PKEY_CTX_set_rsa_padding");
  const Bytes out = signed_by(ctx.get(), hash);
  return rsa ? out : ecdsa_fixed(out, order_bytes(method()));
}

std::expected<Bytes, std::string> PrivateKey::sign(SignatureScheme scheme, ByteView octets) const {
  if (scheme == SignatureScheme::Ikev1) return sign(octets);
  const Form* form = form_of(scheme, method());
  if (!form) return std::unexpected("the private key is of a kind that makes no such signatures");
  if (const Edwards* e = edwards(method())) return edwards_sign(public_.key_->pkey.get(), e->signature, octets);
  const PkeyCtx ctx = context(public_.key_->pkey.get());
  must(EVP_PKEY_sign_init(ctx.get()), "EVP_PKEY_sign_init");
  set_form(ctx.get(), *form);
  const Bytes out = signed_by(ctx.get(), digest(form->hash, {octets}));
  return form->curve == AuthMethod::Count_ ? out : ecdsa_fixed(out, order_bytes(method()));
}

}  // namespace culvert::crypto
