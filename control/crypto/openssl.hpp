// RAII and name tables for OpenSSL 3.0, for the files of control/crypto alone.
// Owns nothing at run time but fetched algorithms, which live as long as the process.
#pragma once

#include <memory>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include "common/bytes.hpp"
#include "control/crypto/hash.hpp"

namespace culvert::crypto::detail {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Deleter<Free>>;

using MdCtx = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;
using MacCtx = Owned<EVP_MAC_CTX, EVP_MAC_CTX_free>;
using CipherCtx = Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using PkeyCtx = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Pkey = Owned<EVP_PKEY, EVP_PKEY_free>;
using BigNum = Owned<BIGNUM, BN_clear_free>;
using ParamBuilder = Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using Params = Owned<OSSL_PARAM, OSSL_PARAM_free>;

/// Throws LibraryError unless the call returned exactly 1: some functions say -1 for an error, others 0.
inline void must(int result, const char* call) {
  if (result != 1) throw LibraryError(call);
}
template <class Pointer>
Pointer must_have(Pointer p, const char* call) {
  if (!p) throw LibraryError(call);
  return p;
}

}  // namespace culvert::crypto::detail
