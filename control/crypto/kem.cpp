// ML-KEM over EVP_PKEY and EVP_KEM. The library checks what FIPS 203 §7.2 asks of a public key; a ciphertext of the right length always
// gives a secret, which differs where it is a wrong one (§7.3): AUTH or what is encrypted with it shows that.
#include "control/crypto/kem.hpp"

#include <openssl/crypto.h>

#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

const char* algorithm(DhGroup method) {
  switch (method) {
    case DhGroup::MlKem512:
      return "ML-KEM-512";
    case DhGroup::MlKem768:
      return "ML-KEM-768";
    case DhGroup::MlKem1024:
      return "ML-KEM-1024";
    default:
      return nullptr;
  }
}

class Kem final : public KeyExchange {
 public:
  Kem(const DhInfo& info, Pkey key, Bytes public_value) : info_(info), key_(std::move(key)), public_(std::move(public_value)) {}
  [[nodiscard]] ByteView public_value() const override { return public_; }
  [[nodiscard]] std::expected<SecretBytes, DhError> compute(ByteView ciphertext) const override try {
    if (ciphertext.size() != info_.reply_bytes) return std::unexpected(DhError::BadLength);
    const PkeyCtx ctx(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr), "EVP_PKEY_CTX_new_from_pkey"));
    must(EVP_PKEY_decapsulate_init(ctx.get(), nullptr), "EVP_PKEY_decapsulate_init");
    SecretBytes shared(info_.shared_bytes);
    std::size_t size = shared.size();
    must(EVP_PKEY_decapsulate(ctx.get(), shared.mutable_view().data(), &size, ciphertext.data(), ciphertext.size()),
         "EVP_PKEY_decapsulate");
    if (size != shared.size()) throw LibraryError("EVP_PKEY_decapsulate (size)");
    return shared;
  } catch (const LibraryError&) {
    return std::unexpected(DhError::Library);
  }

 private:
  const DhInfo& info_;
  Pkey key_;
  Bytes public_;
};
}  // namespace

std::string library_version() { return OpenSSL_version(OPENSSL_VERSION_STRING); }

bool has_kem(DhGroup method) {
  if (algorithm(method) == nullptr) return false;
  EVP_KEM* found = EVP_KEM_fetch(nullptr, algorithm(method), nullptr);
  EVP_KEM_free(found);
  ERR_clear_error();
  return found != nullptr;
}

std::expected<std::shared_ptr<KeyExchange>, DhError> begin_kem(DhGroup method) try {
  if (!has_kem(method)) return std::unexpected(DhError::UnknownGroup);
  const DhInfo& info = *find_ke(method);
  const PkeyCtx ctx(must_have(EVP_PKEY_CTX_new_from_name(nullptr, algorithm(method), nullptr), "EVP_PKEY_CTX_new_from_name"));
  must(EVP_PKEY_keygen_init(ctx.get()), "EVP_PKEY_keygen_init");
  EVP_PKEY* raw = nullptr;
  must(EVP_PKEY_generate(ctx.get(), &raw), "EVP_PKEY_generate");
  Pkey key(raw);
  Bytes value(info.public_bytes);
  std::size_t size = value.size();
  must(EVP_PKEY_get_raw_public_key(key.get(), value.data(), &size), "EVP_PKEY_get_raw_public_key");
  if (size != value.size()) throw LibraryError("EVP_PKEY_get_raw_public_key (size)");
  return std::make_shared<Kem>(info, std::move(key), std::move(value));
} catch (const LibraryError&) {
  return std::unexpected(DhError::Library);
}

std::expected<KeyAnswer, DhError> answer_kem(DhGroup method, ByteView public_value) try {
  if (!has_kem(method)) return std::unexpected(DhError::UnknownGroup);
  const DhInfo& info = *find_ke(method);
  if (public_value.size() != info.public_bytes) return std::unexpected(DhError::BadLength);
  const Pkey peer(EVP_PKEY_new_raw_public_key_ex(nullptr, algorithm(method), nullptr, public_value.data(), public_value.size()));
  if (!peer) {
    ERR_clear_error();
    return std::unexpected(DhError::NoKey);
  }
  const PkeyCtx ctx(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr), "EVP_PKEY_CTX_new_from_pkey"));
  must(EVP_PKEY_encapsulate_init(ctx.get(), nullptr), "EVP_PKEY_encapsulate_init");
  KeyAnswer out{Bytes(info.reply_bytes), SecretBytes(info.shared_bytes)};
  std::size_t cipher = out.public_value.size(), secret = out.shared.size();
  must(EVP_PKEY_encapsulate(ctx.get(), out.public_value.data(), &cipher, out.shared.mutable_view().data(), &secret),
       "EVP_PKEY_encapsulate");
  if (cipher != out.public_value.size() || secret != out.shared.size()) throw LibraryError("EVP_PKEY_encapsulate (size)");
  return out;
} catch (const LibraryError&) {
  return std::unexpected(DhError::Library);
}

}  // namespace culvert::crypto
