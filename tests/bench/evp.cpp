#include "tests/bench/evp.hpp"

#include <array>
#include <cstring>
#include <stdexcept>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace culvert::bench {

namespace {
void check(bool ok) {
  if (!ok) throw std::runtime_error("OpenSSL failed");
}
}  // namespace

struct EvpCrypto::Impl {
  bool aead = false;
  std::size_t icv = 0;
  EVP_CIPHER_CTX *seal = EVP_CIPHER_CTX_new(), *open = EVP_CIPHER_CTX_new();
  EVP_MAC_CTX* mac = nullptr;
  ~Impl() {
    EVP_CIPHER_CTX_free(seal);
    EVP_CIPHER_CTX_free(open);
    EVP_MAC_CTX_free(mac);
  }
  bool aead_one(const RawCrypto::Op& op, bool sealing);
  bool cbc_one(const RawCrypto::Op& op, bool sealing);
};

EvpCrypto::EvpCrypto(const EspSuite& suite) : impl_(std::make_unique<Impl>()) {
  const std::array<std::uint8_t, 32> zeros{};
  const bool wide = suite.key_bits == 256, sha256 = suite.integ == Integ::HmacSha2_256_128;
  const bool chacha = suite.encr == Encr::ChaCha20Poly1305;
  impl_->aead = suite.encr == Encr::AesGcm16 || chacha;
  impl_->icv = impl_->aead ? 16 : find_integ(suite.integ)->icv;
  const EVP_CIPHER* cipher = chacha        ? EVP_chacha20_poly1305()
                             : impl_->aead ? (wide ? EVP_aes_256_gcm() : EVP_aes_128_gcm())
                                           : (wide ? EVP_aes_256_cbc() : EVP_aes_128_cbc());
  check(EVP_EncryptInit_ex(impl_->seal, cipher, nullptr, zeros.data(), nullptr) == 1 && EVP_CIPHER_CTX_set_padding(impl_->seal, 0) == 1);
  check(EVP_DecryptInit_ex(impl_->open, cipher, nullptr, zeros.data(), nullptr) == 1 && EVP_CIPHER_CTX_set_padding(impl_->open, 0) == 1);
  if (impl_->aead) return;
  EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  impl_->mac = EVP_MAC_CTX_new(hmac);
  EVP_MAC_free(hmac);
  std::string digest = sha256 ? "SHA256" : "SHA1";
  const std::array<OSSL_PARAM, 2> how{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
                                      OSSL_PARAM_construct_end()};
  check(EVP_MAC_init(impl_->mac, zeros.data(), find_integ(suite.integ)->key, how.data()) == 1);
}
EvpCrypto::~EvpCrypto() = default;

bool EvpCrypto::Impl::aead_one(const RawCrypto::Op& op, bool sealing) {
  const auto bytes = static_cast<int>(op.text);
  std::uint8_t* text = op.esp + 16;
  std::array<std::uint8_t, 12> nonce{};  // the salt is zero
  std::memcpy(nonce.data() + 4, op.esp + 8, 8);
  EVP_CIPHER_CTX* c = sealing ? seal : open;
  int n = 0;
  check(EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, nonce.data(), -1) == 1);
  check(EVP_CipherUpdate(c, nullptr, &n, op.esp, 8) == 1 && EVP_CipherUpdate(c, text, &n, text, bytes) == 1);
  if (!sealing) check(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, text + op.text) == 1);
  const bool right = EVP_CipherFinal_ex(c, text + op.text, &n) == 1;
  if (sealing) check(right && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, text + op.text) == 1);
  return right;
}

bool EvpCrypto::Impl::cbc_one(const RawCrypto::Op& op, bool sealing) {
  const auto bytes = static_cast<int>(op.text);
  std::uint8_t* text = op.esp + 24;
  std::array<std::uint8_t, 32> tag;
  EVP_CIPHER_CTX* c = sealing ? seal : open;
  int n = 0;
  std::size_t made = 0;
  const auto crypt = [&] {
    check(EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, op.esp + 8, -1) == 1);
    check(EVP_CipherUpdate(c, text, &n, text, bytes) == 1);
  };
  if (sealing) crypt();
  check(EVP_MAC_init(mac, nullptr, 0, nullptr) == 1 && EVP_MAC_update(mac, op.esp, 24 + op.text) == 1);
  check(EVP_MAC_final(mac, tag.data(), &made, tag.size()) == 1);
  if (!sealing) {
    const bool right = CRYPTO_memcmp(tag.data(), text + op.text, icv) == 0;
    crypt();
    return right;
  }
  std::memcpy(text + op.text, tag.data(), icv);
  return true;
}

std::size_t EvpCrypto::run(std::span<const RawCrypto::Op> ops, bool encrypt) {
  std::size_t right = 0;
  for (const RawCrypto::Op& op : ops) right += (impl_->aead ? impl_->aead_one(op, encrypt) : impl_->cbc_one(op, encrypt)) ? 1 : 0;
  return right;
}

}  // namespace culvert::bench
