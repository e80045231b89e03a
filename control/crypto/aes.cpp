// AES-CBC over OpenSSL's EVP.
#include "control/crypto/aes.hpp"

#include <array>
#include <limits>

#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

const EVP_CIPHER* cipher(std::size_t key_bytes) {
  const auto fetch = [](const char* name) {
    return must_have(EVP_CIPHER_fetch(nullptr, name, nullptr), "EVP_CIPHER_fetch");
  };
  static const std::array table{fetch("AES-128-CBC"), fetch("AES-192-CBC"), fetch("AES-256-CBC")};
  return key_bytes == 16 ? table[0] : key_bytes == 24 ? table[1] : key_bytes == 32 ? table[2] : nullptr;
}

std::expected<Bytes, CipherError> run(bool encrypt, ByteView key, ByteView iv, ByteView data) {
  const EVP_CIPHER* algorithm = cipher(key.size());
  if (!algorithm) return std::unexpected(CipherError::KeyLength);
  if (iv.size() != kAesBlock) return std::unexpected(CipherError::IvLength);
  if (data.empty() || data.size() % kAesBlock != 0 || data.size() > std::numeric_limits<int>::max())
    return std::unexpected(CipherError::DataLength);
  const CipherCtx ctx(must_have(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new"));
  must(EVP_CipherInit_ex2(ctx.get(), algorithm, key.data(), iv.data(), encrypt ? 1 : 0, nullptr), "EVP_CipherInit_ex2");
  must(EVP_CIPHER_CTX_set_padding(ctx.get(), 0), "EVP_CIPHER_CTX_set_padding");
  Bytes out(data.size());
  int written = 0;
  must(EVP_CipherUpdate(ctx.get(), out.data(), &written, data.data(), static_cast<int>(data.size())), "EVP_CipherUpdate");
  std::array<std::uint8_t, kAesBlock> none{};
  int rest = 0;
  must(EVP_CipherFinal_ex(ctx.get(), none.data(), &rest), "EVP_CipherFinal_ex");
  if (rest != 0 || static_cast<std::size_t>(written) != out.size()) throw LibraryError("EVP_CipherUpdate (size)");
  return out;
}
}  // namespace

std::string_view name(CipherError e) {
  switch (e) {
    case CipherError::KeyLength: return "the key is not 16, 24 or 32 bytes long";
    case CipherError::IvLength: return "the IV is not one block long";
    case CipherError::DataLength: return "the data is not a whole number of blocks";
  }
  return "unknown";
}

std::expected<Bytes, CipherError> aes_cbc_encrypt(ByteView key, ByteView iv, ByteView data) { return run(true, key, iv, data); }
std::expected<Bytes, CipherError> aes_cbc_decrypt(ByteView key, ByteView iv, ByteView data) { return run(false, key, iv, data); }

}  // namespace culvert::crypto
