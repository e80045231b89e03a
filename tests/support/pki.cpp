#include "tests/support/pki.hpp"

#include <map>
#include <stdexcept>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/dn.hpp"

namespace culvert::test::pki {

struct Key {
  EVP_PKEY* pkey = nullptr;
  explicit Key(EVP_PKEY* p) : pkey(p) {}
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { EVP_PKEY_free(pkey); }
};

namespace {
void need(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("test PKI: ") + what);
}

EVP_PKEY* make(Kind kind) {
  const auto rsa = [](int bits, unsigned long exponent) {
    EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
    BIGNUM* e = BN_new();
    EVP_PKEY* out = nullptr;
    need(BN_set_word(e, exponent) == 1 && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits) == 1 &&
             EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) == 1 && EVP_PKEY_generate(ctx, &out) == 1,
         "RSA key");
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return out;
  };
  const auto ec = [](const char* curve, const char* encoding = "named_curve") {
    EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
    EVP_PKEY* out = nullptr;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("group", const_cast<char*>(curve), 0),
                           OSSL_PARAM_construct_utf8_string("encoding", const_cast<char*>(encoding), 0), OSSL_PARAM_construct_end()};
    need(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 && EVP_PKEY_generate(ctx, &out) == 1, "EC key");
    EVP_PKEY_CTX_free(ctx);
    return out;
  };
  switch (kind) {
    case Kind::Rsa2048:
      return rsa(2048, 65537);
    case Kind::Rsa1024:
      return rsa(1024, 65537);
    case Kind::Rsa4096:
      return rsa(4096, 65537);
    case Kind::RsaSmallExponent:
      return rsa(2048, 3);
    case Kind::P256:
      return ec("prime256v1");
    case Kind::P384:
      return ec("secp384r1");
    case Kind::P521:
      return ec("secp521r1");
    case Kind::P192:
      return ec("prime192v1");
    case Kind::P256Explicit:
      return ec("prime256v1", "explicit");
    case Kind::Ed25519:
      return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
    case Kind::Ed448:
      return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED448");
    case Kind::X25519:
      return EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519");
  }
  return nullptr;
}

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

std::string pem_of(const Key& key, const EVP_CIPHER* cipher, const std::string& password) {
  BIO* bio = BIO_new(BIO_s_mem());
  need(PEM_write_bio_PKCS8PrivateKey(bio, key.pkey, cipher, password.data(), static_cast<int>(password.size()), nullptr, nullptr) == 1,
       "PEM");
  return drain(bio);
}

X509_NAME* name_of(const std::string& text, const std::string& strings) {
  auto name = parse_name_text(text);
  need(name.has_value(), "name");
  X509_NAME* out = X509_NAME_new();
  const int type = strings == "PRINTABLE" ? V_ASN1_PRINTABLESTRING
                   : strings == "T61"     ? V_ASN1_T61STRING
                   : strings == "BMP"     ? V_ASN1_BMPSTRING
                                          : V_ASN1_UTF8STRING;
  bool first_of_rdn = true;
  for (const Rdn& rdn : name->rdns) {
    first_of_rdn = true;
    for (const NameAttribute& a : rdn) {
      const Bytes tlv = [&] {
        Bytes b{0x06, static_cast<std::uint8_t>(a.oid.size())};
        b.insert(b.end(), a.oid.begin(), a.oid.end());
        return b;
      }();
      const unsigned char* at = tlv.data();
      ASN1_OBJECT* oid = d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(tlv.size()));
      const bool ia5 = a.tag == 0x16;
      ASN1_STRING* value = nullptr;
      need(ASN1_mbstring_copy(&value, a.value.data(), static_cast<int>(a.value.size()), MBSTRING_UTF8,
                              ia5                              ? B_ASN1_IA5STRING
                              : type == V_ASN1_T61STRING       ? B_ASN1_T61STRING
                              : type == V_ASN1_BMPSTRING       ? B_ASN1_BMPSTRING
                              : type == V_ASN1_PRINTABLESTRING ? B_ASN1_PRINTABLESTRING
                                                               : B_ASN1_UTF8STRING) > 0,
           "string");
      X509_NAME_ENTRY* entry =
          X509_NAME_ENTRY_create_by_OBJ(nullptr, oid, ASN1_STRING_type(value), ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
      need(X509_NAME_add_entry(out, entry, -1, first_of_rdn ? 0 : -1) == 1, "entry");
      first_of_rdn = false;
      X509_NAME_ENTRY_free(entry);
      ASN1_STRING_free(value);
      ASN1_OBJECT_free(oid);
    }
  }
  return out;
}

X509* x509_of(const Bytes& der) {
  const unsigned char* at = der.data();
  X509* out = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  need(out != nullptr, "X.509");
  return out;
}

/// What signs without a hash before.
bool edwards(const Key& key) { return EVP_PKEY_is_a(key.pkey, "ED25519") == 1 || EVP_PKEY_is_a(key.pkey, "ED448") == 1; }

const EVP_MD* hash_of(const Key& key, const std::string& name) { return edwards(key) ? nullptr : EVP_get_digestbyname(name.c_str()); }
}  // namespace

KeyPtr key(Kind kind, int number) {
  static std::map<std::pair<Kind, int>, KeyPtr> made;
  KeyPtr& out = made[{kind, number}];
  if (!out) out = std::make_shared<const Key>(make(kind));
  return out;
}

Bytes private_der(const Key& k) {
  BIO* bio = BIO_new(BIO_s_mem());
  need(i2d_PKCS8PrivateKey_bio(bio, k.pkey, nullptr, nullptr, 0, nullptr, nullptr) == 1, "PKCS #8");
  return to_bytes(drain(bio));
}
std::string private_pem(const Key& k) { return pem_of(k, nullptr, ""); }
std::string encrypted_pem(const Key& k, const std::string& password) { return pem_of(k, EVP_aes_256_cbc(), password); }

std::string Issued::pem() const {
  X509* x = x509_of(der);
  BIO* bio = BIO_new(BIO_s_mem());
  need(PEM_write_bio_X509(bio, x) == 1, "PEM");
  X509_free(x);
  return drain(bio);
}

Issued issue(const Request& r, const Issued* issuer) {
  static std::uint64_t next = 0x1001;
  X509* x = X509_new();
  X509* by = issuer ? x509_of(issuer->der) : nullptr;
  need(X509_set_version(x, r.extensions.empty() ? 0 : 2) == 1, "version");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), r.serial != 0 ? r.serial : next++);
  ASN1_TIME_set(X509_getm_notBefore(x), r.from.time_since_epoch().count());
  ASN1_TIME_set(X509_getm_notAfter(x), r.to.time_since_epoch().count());
  X509_NAME* subject = name_of(r.subject, r.strings);
  need(X509_set_subject_name(x, subject) == 1 && X509_set_issuer_name(x, by ? X509_get_subject_name(by) : subject) == 1 &&
           X509_set_pubkey(x, r.key->pkey) == 1,
       "fields");
  X509_NAME_free(subject);
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, by ? by : x, x, nullptr, nullptr, 0);
  for (const auto& [name, value] : r.extensions) {
    X509_EXTENSION* e = X509V3_EXT_conf(nullptr, &ctx, name.c_str(), value.c_str());
    need(e != nullptr && X509_add_ext(x, e, -1) == 1, (name + "=" + value).c_str());
    X509_EXTENSION_free(e);
  }
  const Key& signer = issuer ? *issuer->key : *r.key;
  need(X509_sign(x, signer.pkey, hash_of(signer, r.hash)) > 0, "signature");
  unsigned char* der = nullptr;
  const int size = i2d_X509(x, &der);
  Issued out{Bytes(der, der + size), r.key, r.subject};
  OPENSSL_free(der);
  X509_free(x);
  X509_free(by);
  return out;
}

Issued authority(const std::string& subject, KeyPtr k, const Issued* issuer, const Extensions& more) {
  Extensions e{{"keyUsage", "critical,keyCertSign,cRLSign"}, {"subjectKeyIdentifier", "hash"}};
  if (issuer) e.emplace_back("authorityKeyIdentifier", "keyid");
  bool constrained = false;
  for (const auto& m : more) {
    constrained = constrained || m.first == "basicConstraints";
    e.push_back(m);
  }
  if (!constrained) e.emplace_back("basicConstraints", "critical,CA:TRUE");
  return issue({.subject = subject, .key = std::move(k), .extensions = e}, issuer);
}

Issued gateway(const std::string& subject, KeyPtr k, const Issued& issuer, const std::string& alt_names) {
  Extensions e{{"basicConstraints", "CA:FALSE"},
               {"keyUsage", "critical,digitalSignature"},
               {"subjectKeyIdentifier", "hash"},
               {"authorityKeyIdentifier", "keyid"}};
  if (!alt_names.empty()) e.emplace_back("subjectAltName", alt_names);
  return issue({.subject = subject, .key = std::move(k), .extensions = e}, &issuer);
}

Bytes crl(const Crl& list, const Issued& issuer) {
  X509* by = x509_of(issuer.der);
  X509_CRL* c = X509_CRL_new();
  ASN1_TIME* t = ASN1_TIME_new();
  need(X509_CRL_set_version(c, 1) == 1 && X509_CRL_set_issuer_name(c, X509_get_subject_name(by)) == 1, "CRL");
  ASN1_TIME_set(t, list.from.time_since_epoch().count());
  X509_CRL_set1_lastUpdate(c, t);
  ASN1_TIME_set(t, list.next.time_since_epoch().count());
  X509_CRL_set1_nextUpdate(c, t);
  for (const auto& [serial, since] : list.revoked) {
    X509_REVOKED* r = X509_REVOKED_new();
    ASN1_INTEGER* n = ASN1_INTEGER_new();
    ASN1_INTEGER_set_uint64(n, serial);
    ASN1_TIME_set(t, since.time_since_epoch().count());
    need(X509_REVOKED_set_serialNumber(r, n) == 1 && X509_REVOKED_set_revocationDate(r, t) == 1 && X509_CRL_add0_revoked(c, r) == 1,
         "entry");
    ASN1_INTEGER_free(n);
  }
  ASN1_INTEGER* number = ASN1_INTEGER_new();
  ASN1_INTEGER_set_uint64(number, list.number);
  need(X509_CRL_add1_ext_i2d(c, NID_crl_number, number, 0, 0) == 1, "CRL number");
  ASN1_INTEGER_free(number);
  X509_CRL_sort(c);
  need(X509_CRL_sign(c, issuer.key->pkey, hash_of(*issuer.key, list.hash)) > 0, "CRL signature");
  unsigned char* der = nullptr;
  const int size = i2d_X509_CRL(c, &der);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  ASN1_TIME_free(t);
  X509_CRL_free(c);
  X509_free(by);
  return out;
}

Bytes ocsp_answer(ByteView request, const Issued& issuer, const Issued& responder, const Ocsp& how) {
  const unsigned char* at = request.data();
  OCSP_REQUEST* question = d2i_OCSP_REQUEST(nullptr, &at, static_cast<long>(request.size()));
  need(question != nullptr && OCSP_request_onereq_count(question) == 1, "OCSP request");
  OCSP_CERTID* id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(question, 0));
  X509* by = x509_of(issuer.der);
  X509* signer = x509_of(responder.der);
  OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
  ASN1_TIME* from = ASN1_TIME_set(nullptr, how.from.time_since_epoch().count());
  ASN1_TIME* next = how.ends ? ASN1_TIME_set(nullptr, how.next.time_since_epoch().count()) : nullptr;
  const int status = how.says == Ocsp::Says::Good      ? V_OCSP_CERTSTATUS_GOOD
                     : how.says == Ocsp::Says::Revoked ? V_OCSP_CERTSTATUS_REVOKED
                                                       : V_OCSP_CERTSTATUS_UNKNOWN;
  need(OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_KEYCOMPROMISE, status == V_OCSP_CERTSTATUS_REVOKED ? from : nullptr,
                              from, next) != nullptr,
       "OCSP status");
  if (how.nonce) need(OCSP_copy_nonce(basic, question) == 1, "nonce");
  need(OCSP_basic_sign(basic, signer, responder.key->pkey, hash_of(*responder.key, how.hash), nullptr, OCSP_NOTIME) == 1, "OCSP signature");
  OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_RESPONSE(response, &der);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_REQUEST_free(question);
  ASN1_TIME_free(from);
  ASN1_TIME_free(next);
  X509_free(by);
  X509_free(signer);
  return out;
}

std::uint64_t serial_of(const Issued& certificate) {
  X509* x = x509_of(certificate.der);
  std::uint64_t out = 0;
  need(ASN1_INTEGER_get_uint64(&out, X509_get0_serialNumber(x)) == 1, "serial");
  X509_free(x);
  return out;
}

Bytes pkcs7(const std::vector<Issued>& certificates) {
  PKCS7* p7 = PKCS7_new();
  need(p7 && PKCS7_set_type(p7, NID_pkcs7_signed) == 1 && PKCS7_content_new(p7, NID_pkcs7_data) == 1, "PKCS #7");
  for (const Issued& one : certificates) {
    X509* x = x509_of(one.der);
    need(PKCS7_add_certificate(p7, x) == 1, "PKCS #7 certificate");
    X509_free(x);
  }
  Bytes out(static_cast<std::size_t>(i2d_PKCS7(p7, nullptr)));
  unsigned char* at = out.data();
  need(i2d_PKCS7(p7, &at) > 0, "PKCS #7 DER");
  PKCS7_free(p7);
  return out;
}

Bytes sign(const Key& k, ByteView hash) {
  EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_from_pkey(nullptr, k.pkey, nullptr);
  const bool rsa = EVP_PKEY_is_a(k.pkey, "RSA") == 1;
  need(EVP_PKEY_sign_init(ctx) == 1 && (!rsa || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1), "sign");
  Bytes out(1024);
  std::size_t size = out.size();
  need(EVP_PKEY_sign(ctx, out.data(), &size, hash.data(), hash.size()) == 1, "sign");
  out.resize(size);
  EVP_PKEY_CTX_free(ctx);
  if (rsa) return out;
  const unsigned char* at = out.data();
  ECDSA_SIG* sig = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size));
  const std::size_t half = (static_cast<std::size_t>(EVP_PKEY_get_bits(k.pkey)) + 7) / 8;
  Bytes fixed(2 * half);
  BN_bn2binpad(ECDSA_SIG_get0_r(sig), fixed.data(), static_cast<int>(half));
  BN_bn2binpad(ECDSA_SIG_get0_s(sig), fixed.data() + half, static_cast<int>(half));
  ECDSA_SIG_free(sig);
  return fixed;
}

Bytes sign_message(const Key& k, const std::string& hash, ByteView message, bool pss) {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  EVP_PKEY_CTX* inner = nullptr;
  need(EVP_DigestSignInit_ex(ctx, &inner, edwards(k) ? nullptr : hash.c_str(), nullptr, nullptr, k.pkey, nullptr) == 1, "sign_message");
  if (pss)
    need(EVP_PKEY_CTX_set_rsa_padding(inner, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(inner, RSA_PSS_SALTLEN_DIGEST) == 1,
         "PSS");
  Bytes out(1024);
  std::size_t size = out.size();
  need(EVP_DigestSign(ctx, out.data(), &size, message.data(), message.size()) == 1, "sign_message");
  out.resize(size);
  EVP_MD_CTX_free(ctx);
  return out;
}

}  // namespace culvert::test::pki
