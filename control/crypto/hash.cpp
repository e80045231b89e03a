// Digest and HMAC over OpenSSL's EVP. Algorithms are fetched once, and HMAC contexts copied from one that knows its hash already: a fetch
// costs more than a short hash. No key stays behind: the copy is the library's to wipe when it is freed.
#include "control/crypto/hash.hpp"

#include <array>
#include <string>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

LibraryError::LibraryError(const char* call) : std::runtime_error(std::string("OpenSSL: ") + call + " failed") { ERR_clear_error(); }

namespace {
using namespace detail;

struct Algorithm {
  Prf prf;
  EVP_MD* md;
  EVP_MAC_CTX* hmac;  ///< without a key
};

Algorithm fetch(Prf prf, const char* name) {
  EVP_MAC* const mac = must_have(EVP_MAC_fetch(nullptr, "HMAC", nullptr), "EVP_MAC_fetch");
  EVP_MAC_CTX* const hmac = must_have(EVP_MAC_CTX_new(mac), "EVP_MAC_CTX_new");
  // The library takes a mutable string here and only reads it.
  const std::array params{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(name), 0), OSSL_PARAM_construct_end()};
  must(EVP_MAC_CTX_set_params(hmac, params.data()), "EVP_MAC_CTX_set_params");
  EVP_MAC_free(mac);  // the context has its own reference
  return {prf, must_have(EVP_MD_fetch(nullptr, name, nullptr), "EVP_MD_fetch"), hmac};
}

const Algorithm& algorithm(Prf prf) {
  static const std::array table{
      fetch(Prf::HmacMd5, "MD5"),           fetch(Prf::HmacSha1, "SHA1"),         fetch(Prf::HmacSha2_256, "SHA2-256"),
      fetch(Prf::HmacSha2_384, "SHA2-384"), fetch(Prf::HmacSha2_512, "SHA2-512"),
  };
  for (const Algorithm& a : table)
    if (a.prf == prf) return a;
  throw LibraryError("a hash that is not in the table");
}
}  // namespace

Bytes digest(Prf hash, std::span<const ByteView> parts) {
  const Algorithm& a = algorithm(hash);
  const MdCtx ctx(must_have(EVP_MD_CTX_new(), "EVP_MD_CTX_new"));
  must(EVP_DigestInit_ex2(ctx.get(), a.md, nullptr), "EVP_DigestInit_ex2");
  for (const ByteView part : parts) must(EVP_DigestUpdate(ctx.get(), part.data(), part.size()), "EVP_DigestUpdate");
  Bytes out(find_prf(hash)->size);
  unsigned int written = 0;
  must(EVP_DigestFinal_ex(ctx.get(), out.data(), &written), "EVP_DigestFinal_ex");
  if (written != out.size()) throw LibraryError("EVP_DigestFinal_ex (size)");
  return out;
}
Bytes digest(Prf hash, std::initializer_list<ByteView> parts) {
  return digest(hash, std::span<const ByteView>(parts.begin(), parts.size()));
}

SecretBytes hmac(Prf hash, ByteView key, std::span<const ByteView> parts) {
  const Algorithm& a = algorithm(hash);
  const MacCtx ctx(must_have(EVP_MAC_CTX_dup(a.hmac), "EVP_MAC_CTX_dup"));
  const std::uint8_t no_key = 0;  // a null pointer would mean "keep the former key"
  must(EVP_MAC_init(ctx.get(), key.empty() ? &no_key : key.data(), key.size(), nullptr), "EVP_MAC_init");
  for (const ByteView part : parts) must(EVP_MAC_update(ctx.get(), part.data(), part.size()), "EVP_MAC_update");
  SecretBytes out(find_prf(hash)->size);
  std::size_t written = 0;
  must(EVP_MAC_final(ctx.get(), out.mutable_view().data(), &written, out.size()), "EVP_MAC_final");
  if (written != out.size()) throw LibraryError("EVP_MAC_final (size)");
  return out;
}
SecretBytes hmac(Prf hash, ByteView key, std::initializer_list<ByteView> parts) {
  return hmac(hash, key, std::span<const ByteView>(parts.begin(), parts.size()));
}

void random(MutableByteView out) {
  if (!out.empty()) must(RAND_priv_bytes(out.data(), static_cast<int>(out.size())), "RAND_priv_bytes");
}

}  // namespace culvert::crypto
