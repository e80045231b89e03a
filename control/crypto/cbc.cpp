// CBC over OpenSSL's EVP.
#include "control/crypto/cbc.hpp"

#include <array>
#include <limits>

#include "common/secret.hpp"
#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

struct Algorithm {
  Encr id;
  std::size_t key, block;  ///< bytes
  const EVP_CIPHER* evp;
};

const Algorithm* find(Encr id, std::size_t key_bytes) {
  const auto fetch = [](const char* name) { return must_have(EVP_CIPHER_fetch(nullptr, name, nullptr), "EVP_CIPHER_fetch"); };
  // DES is 3DES with the same key three times: the library has it without its provider of legacy algorithms.
  static const std::array table{
      Algorithm{Encr::AesCbc, 16, 16, fetch("AES-128-CBC")}, Algorithm{Encr::AesCbc, 24, 16, fetch("AES-192-CBC")},
      Algorithm{Encr::AesCbc, 32, 16, fetch("AES-256-CBC")}, Algorithm{Encr::TripleDes, 24, 8, fetch("DES-EDE3-CBC")},
      Algorithm{Encr::Des, 8, 8, fetch("DES-EDE3-CBC")}};
  for (const Algorithm& a : table)
    if (a.id == id && a.key == key_bytes) return &a;
  return nullptr;
}

SecretBytes three_times(ByteView key) {
  SecretBytes out(3 * key.size());
  for (std::size_t i = 0; i < out.size(); ++i) out.mutable_view()[i] = key[i % key.size()];
  return out;
}

std::expected<Bytes, CipherError> run(bool encrypt, Encr id, ByteView given_key, ByteView iv, ByteView data) {
  const Algorithm* algorithm = find(id, given_key.size());
  if (!algorithm) return std::unexpected(CipherError::KeyLength);
  const std::size_t block = algorithm->block;
  const SecretBytes tripled = id == Encr::Des ? three_times(given_key) : SecretBytes{};
  const ByteView key = id == Encr::Des ? tripled.view() : given_key;
  if (iv.size() != block) return std::unexpected(CipherError::IvLength);
  if (data.empty() || data.size() % block != 0 || data.size() > std::numeric_limits<int>::max())
    return std::unexpected(CipherError::DataLength);
  const CipherCtx ctx(must_have(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new"));
  must(EVP_CipherInit_ex2(ctx.get(), algorithm->evp, key.data(), iv.data(), encrypt ? 1 : 0, nullptr), "EVP_CipherInit_ex2");
  must(EVP_CIPHER_CTX_set_padding(ctx.get(), 0), "EVP_CIPHER_CTX_set_padding");
  Bytes out(data.size());
  int written = 0;
  must(EVP_CipherUpdate(ctx.get(), out.data(), &written, data.data(), static_cast<int>(data.size())), "EVP_CipherUpdate");
  std::array<std::uint8_t, kMaxBlock> none{};
  int rest = 0;
  must(EVP_CipherFinal_ex(ctx.get(), none.data(), &rest), "EVP_CipherFinal_ex");
  if (rest != 0 || static_cast<std::size_t>(written) != out.size()) throw LibraryError("EVP_CipherUpdate (size)");
  return out;
}
}  // namespace

std::string_view name(CipherError e) {
  switch (e) {
    case CipherError::KeyLength:
      return "the cipher takes no key of this length";
    case CipherError::IvLength:
      return "the IV is not one block long";
    case CipherError::DataLength:
      return "the data is not a whole number of blocks";
  }
  return "unknown";
}

std::expected<Bytes, CipherError> cbc_encrypt(Encr cipher, ByteView key, ByteView iv, ByteView data) {
  return run(true, cipher, key, iv, data);
}
std::expected<Bytes, CipherError> cbc_decrypt(Encr cipher, ByteView key, ByteView iv, ByteView data) {
  return run(false, cipher, key, iv, data);
}

}  // namespace culvert::crypto
