#include "control/crypto/x509.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/dn.hpp"
#include "control/crypto/x509_impl.hpp"

namespace culvert::crypto {

using namespace detail;

namespace {

constexpr std::size_t kMaxPerFile = 64;

Bytes name_der(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  if (X509_NAME_get0_der(name, &der, &size) != 1) return {};
  return {der, der + size};
}

std::string text_of(const ASN1_STRING* s) {
  const unsigned char* data = ASN1_STRING_get0_data(s);
  return {data, data + ASN1_STRING_length(s)};
}

Certificate::AltNames alt_names_of(const X509* x) {
  Certificate::AltNames out;
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type == GEN_DNS) out.dns.push_back(text_of(n->d.dNSName));
    if (n->type == GEN_EMAIL) out.email.push_back(text_of(n->d.rfc822Name));
    if (n->type == GEN_IPADD) {
      const std::string ip = text_of(n->d.iPAddress);
      out.ip.emplace_back(ip.begin(), ip.end());
    }
  }
  return out;
}

std::string serial_of(const X509* x) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x);
  const unsigned char* data = ASN1_STRING_get0_data(serial);
  return to_hex(ByteView(data, static_cast<std::size_t>(std::clamp(ASN1_STRING_length(serial), 0, 64))));
}

/// The uses that a gateway's certificate may be for; the IKE ones of RFC 4945 §5.1.3.12 and their ancestors, TLS as public
/// authorities issue it, and any.
bool use_fits(const ASN1_OBJECT* use) {
  static const std::array<std::string_view, 5> kIke{"1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.8.2.2", "1.3.6.1.5.5.7.3.5", "1.3.6.1.5.5.7.3.6",
                                                    "1.3.6.1.5.5.7.3.7"};
  const int nid = OBJ_obj2nid(use);
  if (nid == NID_anyExtendedKeyUsage || nid == NID_server_auth || nid == NID_client_auth) return true;
  std::array<char, 64> text{};
  const int length = OBJ_obj2txt(text.data(), text.size(), use, 1);
  return length > 0 && std::ranges::find(kIke, std::string_view(text.data(), static_cast<std::size_t>(length))) != kIke.end();
}

}  // namespace

std::string shown(WallTime t) {
  const std::time_t seconds = t.time_since_epoch().count();
  std::tm utc{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "?";
  std::array<char, 32> out{};
  return {out.data(), std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

namespace detail {
WallTime wall_time(const ASN1_TIME* t) {
  std::tm utc{};
  if (t == nullptr || ASN1_TIME_to_tm(t, &utc) != 1) throw LibraryError("ASN1_TIME_to_tm");
  return WallTime{std::chrono::seconds{::timegm(&utc)}};
}
}  // namespace detail

std::expected<Certificate, std::string> Certificate::parse(ByteView der) {
  if (der.size() > kMaxCertificate) return std::unexpected("a certificate of more than " + std::to_string(kMaxCertificate) + " bytes");
  const unsigned char* at = der.data();
  X509Ptr x(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!x) return std::unexpected("it is no X.509 certificate");
  if (at != der.data() + der.size()) return std::unexpected("bytes follow the certificate");
  auto impl = std::make_shared<Impl>();
  impl->der.assign(der.begin(), der.end());
  impl->subject = name_der(X509_get_subject_name(x.get()));
  impl->issuer = name_der(X509_get_issuer_name(x.get()));
  if (!parse_name(impl->subject) || !parse_name(impl->issuer)) return std::unexpected("its subject or issuer is no distinguished name");
  std::tm utc{};
  if (ASN1_TIME_to_tm(X509_get0_notBefore(x.get()), &utc) != 1 || ASN1_TIME_to_tm(X509_get0_notAfter(x.get()), &utc) != 1)
    return std::unexpected("its dates cannot be read");
  // Reads and keeps all extensions; later calls from several threads then only look.
  (void)X509_check_purpose(x.get(), -1, 0);
  ERR_clear_error();
  if ((X509_get_extension_flags(x.get()) & EXFLAG_INVALID) != 0) return std::unexpected("it has extensions that cannot be read");
  unsigned char* spki = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x.get()), &spki);
  if (size > 0) impl->key_info.assign(spki, spki + size);
  OPENSSL_free(spki);
  if (EVP_PKEY* key = X509_get0_pubkey(x.get())) impl->key = PublicKey::of(key);
  impl->alt_names = alt_names_of(x.get());
  ERR_clear_error();
  impl->x509 = std::move(x);
  Certificate out;
  out.impl_ = std::move(impl);
  return out;
}

std::expected<std::vector<Certificate>, std::string> Certificate::read(ByteView file) {
  std::vector<Certificate> out;
  if (file.empty()) return std::unexpected("it is empty");
  if (file.size() > kMaxCertificateFile) return std::unexpected("it is longer than " + std::to_string(kMaxCertificateFile) + " bytes");
  const Owned<BIO, BIO_free> bio(must_have(BIO_new_mem_buf(file.data(), static_cast<int>(file.size())), "BIO_new_mem_buf"));
  for (;;) {
    char* kind = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long size = 0;
    if (PEM_read_bio(bio.get(), &kind, &header, &data, &size) != 1) break;
    const Owned<char, [](char* p) { OPENSSL_free(p); }> owned_kind(kind), owned_header(header);
    const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> owned_data(data);
    const std::string_view what(kind);
    if (what != PEM_STRING_X509 && what != PEM_STRING_X509_OLD) continue;
    auto one = parse(ByteView(data, static_cast<std::size_t>(size)));
    if (!one) return std::unexpected(std::move(one.error()));
    if (out.size() == kMaxPerFile) return std::unexpected("it has more than " + std::to_string(kMaxPerFile) + " certificates");
    out.push_back(std::move(*one));
  }
  ERR_clear_error();
  if (!out.empty()) return out;
  auto one = parse(file);
  if (!one) return std::unexpected("it holds no certificate, neither PEM nor DER");
  out.push_back(std::move(*one));
  return out;
}

std::expected<std::vector<Certificate>, std::string> Certificate::unwrap(ByteView pkcs7) {
  if (pkcs7.size() > kMaxPkcs7) return std::unexpected("PKCS #7 of more than " + std::to_string(kMaxPkcs7) + " bytes");
  const unsigned char* at = pkcs7.data();
  const Owned<PKCS7, PKCS7_free> wrapped(d2i_PKCS7(nullptr, &at, static_cast<long>(pkcs7.size())));
  ERR_clear_error();
  const bool whole = wrapped && at == pkcs7.data() + pkcs7.size() && PKCS7_type_is_signed(wrapped.get()) && wrapped->d.sign != nullptr;
  const STACK_OF(X509)* certificates = whole ? wrapped->d.sign->cert : nullptr;
  const int count = certificates != nullptr ? sk_X509_num(certificates) : 0;
  if (count == 0) return std::unexpected("it is no PKCS #7 with certificates");
  if (count > static_cast<int>(kMaxChain)) return std::unexpected("PKCS #7 with more than " + std::to_string(kMaxChain) + " certificates");
  std::vector<Certificate> out;
  for (int i = 0; i < count; ++i) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(sk_X509_value(certificates, i), &der);
    const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> owned(der);
    auto one = size > 0 ? parse(ByteView(der, static_cast<std::size_t>(size))) : std::unexpected(std::string("it cannot be read"));
    if (!one) return std::unexpected(std::move(one.error()));
    out.push_back(std::move(*one));
  }
  return out;
}

const Bytes& Certificate::der() const { return impl_->der; }
const Bytes& Certificate::subject() const { return impl_->subject; }
const Bytes& Certificate::issuer() const { return impl_->issuer; }
std::string Certificate::subject_text() const { return name_text(impl_->subject); }
std::string Certificate::issuer_text() const { return name_text(impl_->issuer); }
std::string Certificate::serial() const { return serial_of(impl_->x509.get()); }
WallTime Certificate::not_before() const { return wall_time(X509_get0_notBefore(impl_->x509.get())); }
WallTime Certificate::not_after() const { return wall_time(X509_get0_notAfter(impl_->x509.get())); }
bool Certificate::is_authority() const { return (X509_get_extension_flags(impl_->x509.get()) & EXFLAG_CA) != 0; }
bool Certificate::is_self_issued() const { return (X509_get_extension_flags(impl_->x509.get()) & EXFLAG_SI) != 0; }
const std::expected<PublicKey, std::string>& Certificate::key() const { return impl_->key; }
const Bytes& Certificate::key_info() const { return impl_->key_info; }
const Certificate::AltNames& Certificate::alt_names() const { return impl_->alt_names; }

std::optional<std::string> Certificate::unfit_for_ike() const {
  const std::uint32_t usage = X509_get_key_usage(impl_->x509.get());  // all bits without the extension
  if ((usage & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) == 0) return "its keyUsage does not allow signatures (RFC 4945 §5.1.3.2)";
  const Owned<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> uses(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(impl_->x509.get(), NID_ext_key_usage, nullptr, nullptr)));
  if (!uses) return std::nullopt;
  for (int i = 0; i < sk_ASN1_OBJECT_num(uses.get()); ++i)
    if (use_fits(sk_ASN1_OBJECT_value(uses.get(), i))) return std::nullopt;
  return "its extendedKeyUsage names neither IKE nor TLS nor any use (RFC 4945 §5.1.3.12)";
}

std::string unusable_key(const Certificate& c, const Strength& strength) {
  if (!c.key()) return c.key().error();
  if (!c.key()->weak() || strength.weak_rsa) return {};
  return "its RSA key has " + std::to_string(c.key()->bits()) + " bits, not " + std::to_string(kMinRsaBits) + " to " +
         std::to_string(kMaxRsaBits);
}

std::string described(const Certificate& c) {
  return "the certificate " + c.subject_text() + " (serial " + c.serial() + ", of " + c.issuer_text() + ")";
}

std::optional<Refusal> outside_validity(const Certificate& c, WallTime now) {
  if (now < c.not_before()) return Refusal{ike::Reason::CertInvalid, described(c) + " is not valid before " + shown(c.not_before())};
  if (now > c.not_after()) return Refusal{ike::Reason::CertInvalid, described(c) + " is expired since " + shown(c.not_after())};
  return std::nullopt;
}

}  // namespace culvert::crypto
