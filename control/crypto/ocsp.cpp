// OCSP (RFC 6960): the question, and the proof of the answer.
#include <algorithm>

#include <openssl/ocsp.h>
#include <openssl/x509_vfy.h>

#include "control/crypto/revocation.hpp"
#include "control/crypto/x509_impl.hpp"

namespace culvert::crypto {

using namespace detail;

namespace {

using IdPtr = Owned<OCSP_CERTID, OCSP_CERTID_free>;
using RequestPtr = Owned<OCSP_REQUEST, OCSP_REQUEST_free>;
using ResponsePtr = Owned<OCSP_RESPONSE, OCSP_RESPONSE_free>;
using BasicPtr = Owned<OCSP_BASICRESP, OCSP_BASICRESP_free>;

X509* x509_of(const Certificate& c) { return const_cast<X509*>(c.impl().x509.get()); }

Status unknown(std::string why) { return {Status::Kind::Unknown, std::nullopt, std::move(why)}; }

/// SHA-1 names the issuer here, it protects nothing: all responders know this form (RFC 6960 §4.3, RFC 5019 §2.1.1).
IdPtr id_of(const Certificate& certificate, const Certificate& issuer) {
  return IdPtr(must_have(OCSP_cert_to_id(EVP_sha1(), x509_of(certificate), x509_of(issuer)), "OCSP_cert_to_id"));
}

RequestPtr make_request(const Certificate& certificate, const Certificate& issuer, ByteView nonce) {
  RequestPtr request(must_have(OCSP_REQUEST_new(), "OCSP_REQUEST_new"));
  IdPtr id = id_of(certificate, issuer);
  must_have(OCSP_request_add0_id(request.get(), id.get()), "OCSP_request_add0_id");
  (void)id.release();
  must(OCSP_request_add1_nonce(request.get(), const_cast<unsigned char*>(nonce.data()), static_cast<int>(nonce.size())),
       "OCSP_request_add1_nonce");
  return request;
}

/// RFC 6960 §4.2.2.2: signed by the issuer, or by a responder whose certificate the issuer has signed for this use.
bool signature_counts(OCSP_BASICRESP* basic, const Certificate& issuer, WallTime now, const Strength& strength) {
  const Owned<X509_STORE, X509_STORE_free> store(must_have(X509_STORE_new(), "X509_STORE_new"));
  must(X509_STORE_add_cert(store.get(), x509_of(issuer)), "X509_STORE_add_cert");
  const Owned<X509_VERIFY_PARAM, X509_VERIFY_PARAM_free> param(must_have(X509_VERIFY_PARAM_new(), "X509_VERIFY_PARAM_new"));
  X509_VERIFY_PARAM_set_time(param.get(), now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_auth_level(param.get(), strength.sha1 ? 0 : 1);
  must(X509_VERIFY_PARAM_set_flags(param.get(), X509_V_FLAG_PARTIAL_CHAIN), "X509_VERIFY_PARAM_set_flags");
  must(X509_STORE_set1_param(store.get(), param.get()), "X509_STORE_set1_param");
  const Owned<STACK_OF(X509), [](STACK_OF(X509) * s) { sk_X509_free(s); }> others(must_have(sk_X509_new_null(), "sk_X509_new_null"));
  if (sk_X509_push(others.get(), x509_of(issuer)) == 0) throw LibraryError("sk_X509_push");
  const int result = OCSP_basic_verify(basic, others.get(), store.get(), OCSP_PARTIAL_CHAIN);
  ERR_clear_error();
  return result == 1;
}

}  // namespace

Bytes ocsp_request(const Certificate& certificate, const Certificate& issuer, ByteView nonce) {
  const RequestPtr request = make_request(certificate, issuer, nonce);
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_REQUEST(request.get(), &der);
  if (size <= 0) throw LibraryError("i2d_OCSP_REQUEST");
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

Status status_by_ocsp(const Certificate& certificate, const Certificate& issuer, ByteView nonce, ByteView answer, WallTime now,
                      const Strength& strength) {
  if (answer.size() > kMaxOcspAnswer) return unknown("the OCSP answer is longer than " + std::to_string(kMaxOcspAnswer) + " bytes");
  const unsigned char* at = answer.data();
  const ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(answer.size())));
  ERR_clear_error();
  if (!response) return unknown("the OCSP answer cannot be read");
  if (const int s = OCSP_response_status(response.get()); s != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return unknown(std::string("the OCSP responder says ") + OCSP_response_status_str(s));
  const BasicPtr basic(OCSP_response_get1_basic(response.get()));
  ERR_clear_error();
  if (!basic) return unknown("the OCSP answer is of no known type");
  const RequestPtr request = make_request(certificate, issuer, nonce);
  const int same_nonce = OCSP_check_nonce(request.get(), basic.get());
  if (same_nonce != 1 && same_nonce != -1) return unknown("the OCSP answer is to another question (its nonce differs)");
  if (weak_hash(OCSP_resp_get0_tbs_sigalg(basic.get()), strength))
    return unknown("the OCSP answer is signed over a hash that is broken or weak");
  if (!signature_counts(basic.get(), issuer, now, strength))
    return unknown("the OCSP answer is signed by nobody whom the issuer has named");
  const IdPtr id = id_of(certificate, issuer);
  int status = -1, reason = -1;
  ASN1_GENERALIZEDTIME* revoked = nullptr;
  ASN1_GENERALIZEDTIME* from = nullptr;
  ASN1_GENERALIZEDTIME* next = nullptr;
  if (OCSP_resp_find_status(basic.get(), id.get(), &status, &reason, &revoked, &from, &next) != 1)
    return unknown("the OCSP answer does not speak of this certificate");
  std::tm utc{};
  if (from == nullptr || ASN1_TIME_to_tm(from, &utc) != 1 || (next != nullptr && ASN1_TIME_to_tm(next, &utc) != 1))
    return unknown("the dates of the OCSP answer cannot be read");
  if (wall_time(from) > now + kClockSkew) return unknown("the OCSP answer is from the future");
  const std::optional<WallTime> until = next == nullptr ? std::nullopt : std::optional(wall_time(next));
  if (until && *until < now - kClockSkew) return unknown("the OCSP answer is outdated since " + shown(*until));
  // Without nonce and end, an answer could be played back for ever.
  if (!until && same_nonce == -1 && wall_time(from) < now - kClockSkew) return unknown("the OCSP answer has neither a nonce nor an end");
  if (status == V_OCSP_CERTSTATUS_GOOD) return {Status::Kind::Good, until, {}};
  if (status != V_OCSP_CERTSTATUS_REVOKED) return unknown("the OCSP responder does not know this certificate");
  const bool dated = revoked != nullptr && ASN1_TIME_to_tm(revoked, &utc) == 1;
  return {Status::Kind::Revoked, until, (dated ? "since " + shown(wall_time(revoked)) + " " : std::string()) + "by its OCSP responder"};
}

}  // namespace culvert::crypto
