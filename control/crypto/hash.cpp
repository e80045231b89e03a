// Digest and HMAC over OpenSSL's EVP. Algorithms are fetched once: a fetch costs more than a short hash.
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
  const char* name;
  EVP_MD* md;
};

const Algorithm& algorithm(Prf prf) {
  const auto fetch = [](const char* name) { return must_have(EVP_MD_fetch(nullptr, name, nullptr), "EVP_MD_fetch"); };
  static const std::array table{
      Algorithm{Prf::HmacMd5, "MD5", fetch("MD5")},
      Algorithm{Prf::HmacSha1, "SHA1", fetch("SHA1")},
      Algorithm{Prf::HmacSha2_256, "SHA2-256", fetch("SHA2-256")},
      Algorithm{Prf::HmacSha2_384, "SHA2-384", fetch("SHA2-384")},
      Algorithm{Prf::HmacSha2_512, "SHA2-512", fetch("SHA2-512")},
  };
  for (const Algorithm& a : table)
    if (a.prf == prf) return a;
  throw LibraryError("a hash that is not in the table");
}

EVP_MAC* hmac_algorithm() {
  static EVP_MAC* const mac = must_have(EVP_MAC_fetch(nullptr, "HMAC", nullptr), "EVP_MAC_fetch");
  return mac;
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
  const MacCtx ctx(must_have(EVP_MAC_CTX_new(hmac_algorithm()), "EVP_MAC_CTX_new"));
  // The library takes a mutable string here and only reads it.
  const std::array params{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(a.name), 0),
                          OSSL_PARAM_construct_end()};
  const std::uint8_t no_key = 0;  // a null pointer would mean "keep the former key"
  must(EVP_MAC_init(ctx.get(), key.empty() ? &no_key : key.data(), key.size(), params.data()), "EVP_MAC_init");
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
