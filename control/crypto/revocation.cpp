#include "control/crypto/revocation.hpp"

#include <algorithm>

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/dn.hpp"
#include "control/crypto/x509_impl.hpp"

namespace culvert::crypto {

using namespace detail;

struct RevocationList::Impl {
  Owned<X509_CRL, X509_CRL_free> crl;
  Bytes issuer;
};

namespace {

std::string text_of(const ASN1_STRING* s) {
  const unsigned char* data = ASN1_STRING_get0_data(s);
  return {data, data + ASN1_STRING_length(s)};
}

/// ldap and https places are left out: the one is spoken by nobody here, the other would need its own certificate's status first.
void add_place(std::vector<std::string>& out, const GENERAL_NAME* name) {
  if (name->type != GEN_URI || out.size() >= kMaxPlaces) return;
  const std::string url = text_of(name->d.uniformResourceIdentifier);
  const bool plain = std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7f; });
  if (url.starts_with("http://") && url.size() <= 1024 && plain) out.push_back(url);
}

std::string why_unknown(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
      return "no revocation list of its issuer is there";
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return "the revocation list is outdated";
    case X509_V_ERR_CRL_NOT_YET_VALID:
      return "the revocation list is from the future";
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
      return "the revocation list is not signed by the certificate's issuer";
    default:
      return std::string("the revocation list cannot be used: ") + X509_verify_cert_error_string(error);
  }
}

const X509_ALGOR* algorithm_of(const X509_CRL* crl) {
  const X509_ALGOR* out = nullptr;
  X509_CRL_get0_signature(crl, nullptr, &out);
  return out;
}

constexpr const char* kWeakList = "the revocation list is signed over a hash that is broken or weak";

}  // namespace

namespace detail {
bool weak_hash(const X509_ALGOR* signature, const Strength& strength) {
  const int algorithm = OBJ_obj2nid(signature->algorithm);
  int hash = NID_undef;
  if (algorithm == NID_rsassaPss) {
    const Owned<RSA_PSS_PARAMS, RSA_PSS_PARAMS_free> params(
        static_cast<RSA_PSS_PARAMS*>(ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), signature->parameter)));
    hash = params && params->hashAlgorithm ? OBJ_obj2nid(params->hashAlgorithm->algorithm) : NID_sha1;  // RFC 4055 §3.1
  } else if (OBJ_find_sigid_algs(algorithm, &hash, nullptr) != 1) {
    return true;
  }
  return hash == NID_md5 || hash == NID_md4 || hash == NID_md2 || hash == NID_mdc2 || (hash == NID_sha1 && !strength.sha1);
}
}  // namespace detail

std::expected<RevocationList, std::string> RevocationList::read(ByteView file) {
  if (file.empty()) return std::unexpected("it is empty");
  if (file.size() > kMaxList) return std::unexpected("it is longer than " + std::to_string(kMaxList) + " bytes");
  const Owned<BIO, BIO_free> bio(must_have(BIO_new_mem_buf(file.data(), static_cast<int>(file.size())), "BIO_new_mem_buf"));
  auto impl = std::make_shared<Impl>();
  impl->crl.reset(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
  if (!impl->crl) {
    const unsigned char* at = file.data();
    impl->crl.reset(d2i_X509_CRL(nullptr, &at, static_cast<long>(file.size())));
    if (impl->crl && at != file.data() + file.size()) impl->crl.reset();
  }
  ERR_clear_error();
  if (!impl->crl) return std::unexpected("it holds no revocation list, neither PEM nor DER");
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  if (X509_NAME_get0_der(X509_CRL_get_issuer(impl->crl.get()), &der, &size) == 1) impl->issuer.assign(der, der + size);
  std::tm utc{};
  const ASN1_TIME* next = X509_CRL_get0_nextUpdate(impl->crl.get());
  if (!parse_name(impl->issuer) || ASN1_TIME_to_tm(X509_CRL_get0_lastUpdate(impl->crl.get()), &utc) != 1 ||
      (next != nullptr && ASN1_TIME_to_tm(next, &utc) != 1))
    return std::unexpected("its issuer or its dates cannot be read");
  RevocationList out;
  out.impl_ = std::move(impl);
  return out;
}

std::string RevocationList::issuer_text() const { return name_text(impl_->issuer); }
const Bytes& RevocationList::issuer() const { return impl_->issuer; }
WallTime RevocationList::this_update() const { return wall_time(X509_CRL_get0_lastUpdate(impl_->crl.get())); }
std::optional<WallTime> RevocationList::next_update() const {
  const ASN1_TIME* next = X509_CRL_get0_nextUpdate(impl_->crl.get());
  return next == nullptr ? std::nullopt : std::optional(wall_time(next));
}

Status status_by_lists(const Certificate& certificate, const Certificate& issuer, std::span<const RevocationList> lists, WallTime now,
                       const Strength& strength) {
  const auto x509_of = [](const Certificate& c) { return const_cast<X509*>(c.impl().x509.get()); };
  const Owned<STACK_OF(X509_CRL), [](STACK_OF(X509_CRL) * s) { sk_X509_CRL_free(s); }> crls(
      must_have(sk_X509_CRL_new_null(), "sk_X509_CRL_new_null"));
  std::optional<WallTime> until;
  std::string flaw;
  for (const RevocationList& list : lists) {
    if (!same_name(list.issuer(), issuer.subject())) continue;
    if (weak_hash(algorithm_of(list.impl().crl.get()), strength)) {
      flaw = kWeakList;
      continue;
    }
    if (sk_X509_CRL_push(crls.get(), const_cast<X509_CRL*>(list.impl().crl.get())) == 0) throw LibraryError("sk_X509_CRL_push");
    if (const auto next = list.next_update(); next && *next > now) until = until ? std::min(*until, *next) : *next;
  }
  const Owned<X509_STORE, X509_STORE_free> store(must_have(X509_STORE_new(), "X509_STORE_new"));
  must(X509_STORE_add_cert(store.get(), x509_of(issuer)), "X509_STORE_add_cert");
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> ctx(must_have(X509_STORE_CTX_new(), "X509_STORE_CTX_new"));
  must(X509_STORE_CTX_init(ctx.get(), store.get(), x509_of(certificate), nullptr), "X509_STORE_CTX_init");
  X509_STORE_CTX_set0_crls(ctx.get(), crls.get());
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_auth_level(param, strength.sha1 ? 0 : 1);
  must(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK), "X509_VERIFY_PARAM_set_flags");
  const int result = X509_verify_cert(ctx.get());
  const int error = X509_STORE_CTX_get_error(ctx.get());
  ERR_clear_error();
  if (result == 1 && error == X509_V_OK) return {Status::Kind::Good, until, {}};
  if (error != X509_V_ERR_CERT_REVOKED)
    return {Status::Kind::Unknown, std::nullopt, error == X509_V_ERR_UNABLE_TO_GET_CRL && !flaw.empty() ? flaw : why_unknown(error)};
  Status out{Status::Kind::Revoked, until, "by the revocation list of " + issuer.subject_text()};
  for (int i = 0; i < sk_X509_CRL_num(crls.get()); ++i) {
    X509_REVOKED* entry = nullptr;
    if (X509_CRL_get0_by_cert(sk_X509_CRL_value(crls.get(), i), &entry, x509_of(certificate)) != 1) continue;
    out.detail = "since " + shown(wall_time(X509_REVOKED_get0_revocationDate(entry))) + " " + out.detail;
    break;
  }
  return out;
}

std::optional<std::string> unproven(const RevocationList& list, const Certificate& issuer, const Strength& strength) {
  X509_CRL* crl = list.impl().crl.get();
  if (!same_name(list.issuer(), issuer.subject())) return why_unknown(X509_V_ERR_UNABLE_TO_GET_CRL);
  if (weak_hash(algorithm_of(crl), strength)) return kWeakList;
  const bool good = X509_CRL_verify(crl, X509_get0_pubkey(issuer.impl().x509.get())) == 1;
  ERR_clear_error();
  return good ? std::nullopt : std::optional(why_unknown(X509_V_ERR_CRL_SIGNATURE_FAILURE));
}

std::vector<std::string> ocsp_places(const Certificate& certificate) {
  std::vector<std::string> out;
  const Owned<AUTHORITY_INFO_ACCESS, AUTHORITY_INFO_ACCESS_free> info(
      static_cast<AUTHORITY_INFO_ACCESS*>(X509_get_ext_d2i(certificate.impl().x509.get(), NID_info_access, nullptr, nullptr)));
  for (int i = 0; info && i < sk_ACCESS_DESCRIPTION_num(info.get()); ++i) {
    const ACCESS_DESCRIPTION* a = sk_ACCESS_DESCRIPTION_value(info.get(), i);
    if (OBJ_obj2nid(a->method) == NID_ad_OCSP) add_place(out, a->location);
  }
  return out;
}

std::vector<std::string> list_places(const Certificate& certificate) {
  std::vector<std::string> out;
  const Owned<CRL_DIST_POINTS, CRL_DIST_POINTS_free> points(
      static_cast<CRL_DIST_POINTS*>(X509_get_ext_d2i(certificate.impl().x509.get(), NID_crl_distribution_points, nullptr, nullptr)));
  for (int i = 0; points && i < sk_DIST_POINT_num(points.get()); ++i) {
    const DIST_POINT* p = sk_DIST_POINT_value(points.get(), i);
    if (p->distpoint == nullptr || p->distpoint->type != 0 || p->CRLissuer != nullptr) continue;  // lists of other issuers are not used
    for (int k = 0; k < sk_GENERAL_NAME_num(p->distpoint->name.fullname); ++k)
      add_place(out, sk_GENERAL_NAME_value(p->distpoint->name.fullname, k));
  }
  return out;
}

}  // namespace culvert::crypto
