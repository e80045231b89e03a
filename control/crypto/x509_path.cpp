// Path validation: OpenSSL's builder and checks, then what it leaves to the caller.
#include <algorithm>
#include <string>

#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "control/crypto/x509_impl.hpp"

namespace culvert::crypto {

using namespace detail;

namespace {

using StackPtr = Owned<STACK_OF(X509), [](STACK_OF(X509) * s) { sk_X509_free(s); }>;
using StorePtr = Owned<X509_STORE, X509_STORE_free>;
using ContextPtr = Owned<X509_STORE_CTX, X509_STORE_CTX_free>;

/// The library wants mutable pointers; it changes reference counts only.
X509* x509_of(const Certificate& c) { return const_cast<X509*>(c.impl().x509.get()); }

/// A chain that ends nowhere or at somebody who is not trusted, as opposed to one with a defect.
bool means_untrusted(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return true;
    default:
      return false;
  }
}

std::string failure(int error, const Certificate& c) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return described(c) + " is expired since " + shown(c.not_after());
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return described(c) + " is not valid before " + shown(c.not_before());
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return described(c) + " leads to no trusted authority: its issuer is neither configured nor was it sent";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return described(c) + " leads to no trusted authority: it is signed by itself and not configured";
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return described(c) + " leads to no trusted authority within " + std::to_string(kMaxChain) + " certificates";
    default:
      return described(c) + ": " + X509_verify_cert_error_string(error);
  }
}

Refusal refusal(X509_STORE_CTX* ctx, const Certificate& end) {
  const int error = X509_STORE_CTX_get_error(ctx);
  const Bytes der = [&] {
    unsigned char* out = nullptr;
    X509* at = X509_STORE_CTX_get_current_cert(ctx);
    const int size = at ? i2d_X509(at, &out) : 0;
    Bytes bytes(out, out + std::max(size, 0));
    OPENSSL_free(out);
    return bytes;
  }();
  const auto at = Certificate::parse(der);
  return {means_untrusted(error) ? ike::Reason::CertUntrusted : ike::Reason::CertInvalid, failure(error, at ? *at : end)};
}

StackPtr stack_of(std::span<const Certificate> certificates) {
  StackPtr out(must_have(sk_X509_new_null(), "sk_X509_new_null"));
  for (const Certificate& c : certificates)
    if (sk_X509_push(out.get(), x509_of(c)) == 0) throw LibraryError("sk_X509_push");
  return out;
}

/// MD5 and older, which not even a legacy peer may use: their collisions have been certificates of authorities.
bool broken_hash(const Certificate& c) {
  int hash = NID_undef;
  if (X509_get_signature_info(c.impl().x509.get(), &hash, nullptr, nullptr, nullptr) != 1) return true;
  return hash == NID_md5 || hash == NID_md4 || hash == NID_md2 || hash == NID_mdc2;
}

/// Each authority below the anchor must say that it is one (RFC 5280 §6.1.4 (k)); the library lets old forms pass.
std::optional<Refusal> check_path(const std::vector<Certificate>& path, const Strength& strength) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (const std::string why = unusable_key(path[i], strength); !why.empty())
      return Refusal{ike::Reason::CertInvalid, described(path[i]) + " is not used: " + why};
    if (i + 1 != path.size() && broken_hash(path[i]))
      return Refusal{ike::Reason::CertInvalid, described(path[i]) + ": CA signature digest algorithm too weak"};
    if (i != 0 && i + 1 != path.size() && !path[i].is_authority())
      return Refusal{ike::Reason::CertInvalid, described(path[i]) + " has signed another certificate, but is no authority"};
  }
  return std::nullopt;
}

}  // namespace

std::expected<std::vector<Certificate>, Refusal> find_path(const Certificate& end, std::span<const Certificate> others,
                                                           std::span<const Certificate> anchors, WallTime now, const Strength& strength) {
  // A key of a stranger is looked at before anything is computed with it: such certificates take no part.
  std::vector<Certificate> usable;
  for (const Certificate& c : others)
    if (unusable_key(c, strength).empty() && usable.size() < kMaxChain) usable.push_back(c);
  if (const std::string why = unusable_key(end, strength); !why.empty())
    return std::unexpected(Refusal{ike::Reason::CertInvalid, described(end) + " is not used: " + why});

  const StorePtr store(must_have(X509_STORE_new(), "X509_STORE_new"));
  for (const Certificate& anchor : anchors) must(X509_STORE_add_cert(store.get(), x509_of(anchor)), "X509_STORE_add_cert");
  const StackPtr untrusted = stack_of(usable);
  const ContextPtr ctx(must_have(X509_STORE_CTX_new(), "X509_STORE_CTX_new"));
  must(X509_STORE_CTX_init(ctx.get(), store.get(), x509_of(end), untrusted.get()), "X509_STORE_CTX_init");
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, now.time_since_epoch().count());
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(kMaxChain) - 2);  // of authorities between the two ends
  X509_VERIFY_PARAM_set_auth_level(param, strength.sha1 ? 0 : 1);       // 1: no SHA-1 under a signature that counts
  // An authority that is configured is trusted though it is not a root; checked alternatives are bounded by the depth.
  must(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_POLICY_CHECK), "X509_VERIFY_PARAM_set_flags");
  const int result = X509_verify_cert(ctx.get());
  if (result != 1 || X509_STORE_CTX_get_error(ctx.get()) != X509_V_OK) {
    Refusal why = refusal(ctx.get(), end);
    ERR_clear_error();
    return std::unexpected(std::move(why));
  }
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx.get());
  std::vector<Certificate> path;
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    const X509* at = sk_X509_value(chain, i);
    const auto is = [&](const Certificate& c) { return X509_cmp(x509_of(c), at) == 0; };
    for (const std::span<const Certificate> from : {std::span(&end, 1), std::span<const Certificate>(usable), anchors}) {
      const auto found = std::ranges::find_if(from, is);
      if (found == from.end()) continue;
      path.push_back(*found);
      break;
    }
  }
  if (path.size() != static_cast<std::size_t>(sk_X509_num(chain)) || path.size() > kMaxChain)
    return std::unexpected(Refusal{ike::Reason::CertUntrusted, failure(X509_V_ERR_CERT_CHAIN_TOO_LONG, end)});
  if (auto defect = check_path(path, strength)) return std::unexpected(std::move(*defect));
  return path;
}

}  // namespace culvert::crypto
