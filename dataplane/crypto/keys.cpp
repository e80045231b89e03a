// Expansion of an SA's keys, once in its life.
#include <algorithm>

#include "dataplane/crypto/engine_impl.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kXcbcKey = 16;
bool is_ccm(Encr e) { return e == Encr::AesCcm8 || e == Encr::AesCcm12 || e == Encr::AesCcm16; }

IMB_CIPHER_MODE cipher_of(Encr encr) {
  switch (encr) {
    case Encr::AesCbc:
      return IMB_CIPHER_CBC;
    case Encr::AesCtr:
      return IMB_CIPHER_CNTR;
    case Encr::AesCcm8:
    case Encr::AesCcm12:
    case Encr::AesCcm16:
      return IMB_CIPHER_CCM;
    case Encr::Des:
      return IMB_CIPHER_DES;
    case Encr::TripleDes:
      return IMB_CIPHER_DES3;
    case Encr::ChaCha20Poly1305:
      return IMB_CIPHER_CHACHA20_POLY1305;
    default:
      return IMB_CIPHER_NULL;
  }
}

/// An HMAC's hash: its block in bytes, IPsec-MB's number, and its compression function.
struct HashOf {
  IMB_HASH_ALG number{};
  std::size_t block = 0;
  hash_one_block_t one_block = nullptr;
};
HashOf hash_of(const IMB_MGR& mgr, Integ integ) {
  switch (integ) {
    case Integ::HmacMd5_96:
      return {IMB_AUTH_MD5, 64, mgr.md5_one_block};
    case Integ::HmacSha1_96:
      return {IMB_AUTH_HMAC_SHA_1, 64, mgr.sha1_one_block};
    case Integ::HmacSha2_256_128:
      return {IMB_AUTH_HMAC_SHA_256, 64, mgr.sha256_one_block};
    case Integ::HmacSha2_384_192:
      return {IMB_AUTH_HMAC_SHA_384, 128, mgr.sha384_one_block};
    case Integ::HmacSha2_512_256:
      return {IMB_AUTH_HMAC_SHA_512, 128, mgr.sha512_one_block};
    default:
      return {};
  }
}

bool expand_aes(IMB_MGR* mgr, ByteView key, SaKeys& out) {
  std::uint8_t* decrypt = out.schedule.data() + kDecryptAt;
  switch (key.size()) {
    case 16:
      IMB_AES_KEYEXP_128(mgr, key.data(), out.schedule.data(), decrypt);
      return true;
    case 24:
      IMB_AES_KEYEXP_192(mgr, key.data(), out.schedule.data(), decrypt);
      return true;
    case 32:
      IMB_AES_KEYEXP_256(mgr, key.data(), out.schedule.data(), decrypt);
      return true;
    default:
      return false;
  }
}

/// For GCM and GMAC.
bool expand_gcm(IMB_MGR* mgr, ByteView key_and_salt, SaKeys& out) {
  if (key_and_salt.size() < out.salt.size()) return false;
  const ByteView key = key_and_salt.first(key_and_salt.size() - out.salt.size());
  if (key.size() != 16 && key.size() != 24 && key.size() != 32) return false;
  out.key_bytes = static_cast<std::uint8_t>(key.size());
  const std::array expand{mgr->gcm128_pre, mgr->gcm192_pre, mgr->gcm256_pre};
  out.schedule.fill(0);
  expand[(key.size() - 16) / 8](key.data(), reinterpret_cast<gcm_key_data*>(out.schedule.data()));
  // Where IPsec-MB has 48 powers of the hash key they reach to the end; else there are eight (gcm_key_data).
  const bool to_end = std::ranges::any_of(std::span(out.schedule).last(16), [](std::uint8_t byte) { return byte != 0; });
  const bool longer = key.size() != 16;
  out.lines = to_end ? (longer ? KeyLines::ManyLong : KeyLines::Many) : longer ? KeyLines::FewLong : KeyLines::Few;
  std::ranges::copy(key_and_salt.last(out.salt.size()), out.salt.begin());
  return true;
}
}  // namespace

bool CryptoEngine::Impl::expand_cipher(const EspSuite& suite, ByteView key, SaKeys& out) {
  const EncrInfo* e = find_encr(suite.encr, suite.key_bits);
  if (e == nullptr || key.size() != e->key_bytes() + e->salt) return false;
  if (out.geometry.kind != EspKind::Jobs) return expand_gcm(mgr, key, out);
  out.cipher = static_cast<std::uint8_t>(cipher_of(suite.encr));
  out.lines = suite.encr == Encr::AesCbc ? KeyLines::Cbc : KeyLines::Jobs;
  out.key_bytes = static_cast<std::uint8_t>(e->key_bytes());
  std::ranges::copy(key.last(e->salt), out.salt.begin());
  if (is_ccm(suite.encr)) out.hash = IMB_AUTH_AES_CCM;
  if (suite.encr == Encr::Null) return true;
  if (suite.encr == Encr::ChaCha20Poly1305) {
    out.hash = IMB_AUTH_CHACHA20_POLY1305;
    std::ranges::copy(key.first(e->key_bytes()), out.schedule.begin());
    return true;
  }
  if (suite.encr != Encr::Des && suite.encr != Encr::TripleDes) return expand_aes(mgr, key.first(e->key_bytes()), out);
  for (std::size_t i = 0; i < key.size() / 8; ++i)
    IMB_DES_KEYSCHED(mgr, reinterpret_cast<std::uint64_t*>(out.schedule.data() + i * kDesSchedule), key.data() + i * 8);
  return true;
}

bool CryptoEngine::Impl::expand_integ(Integ integ, ByteView key, SaKeys& out) {
  const IntegInfo* i = find_integ(integ);
  if (i == nullptr || key.size() != i->key) return false;
  if (i->iv != 0) return expand_gcm(mgr, key, out);
  if (integ == Integ::AesXcbc96) {
    out.hash = IMB_AUTH_AES_XCBC;
    std::uint8_t* k1 = out.schedule.data() + kXcbcAt;
    IMB_AES_XCBC_KEYEXP(mgr, key.data(), k1, k1 + kXcbcSchedule, k1 + kXcbcSchedule + kXcbcKey);
    return true;
  }
  if (integ == Integ::AesCmac96) {
    out.hash = IMB_AUTH_AES_CMAC;
    std::uint8_t* schedule = out.schedule.data() + kXcbcAt;
    alignas(16) std::array<std::uint8_t, 256> unused{};  // the other direction's
    IMB_AES_KEYEXP_128(mgr, key.data(), schedule, unused.data());
    IMB_AES_CMAC_SUBKEY_GEN_128(mgr, schedule, schedule + kXcbcSchedule, schedule + kXcbcSchedule + kXcbcKey);
    wipe(unused);
    return true;
  }
  const HashOf hash = hash_of(*mgr, integ);
  if (hash.one_block == nullptr) return false;
  out.hash = static_cast<std::uint8_t>(hash.number);
  // RFC 2104 §4: the hash state behind the padded key's block.
  std::array<std::uint8_t, 128> block{};
  const auto half = [&](std::uint8_t pad, std::uint8_t* state) {
    block.fill(pad);
    for (std::size_t k = 0; k < key.size(); ++k) block[k] = static_cast<std::uint8_t>(block[k] ^ key[k]);
    hash.one_block(block.data(), state);
  };
  half(0x36, out.inner.data());
  half(0x5c, out.outer.data());
  wipe(block);
  return true;
}

bool CryptoEngine::expand(const EspSuite& suite, ByteView encr_key, ByteView integ_key, SaKeys& out) {
  const auto geometry = esp_geometry(suite);
  if (!geometry) return false;
  out.geometry = *geometry;
  if (geometry->ah) {
    out.cipher = IMB_CIPHER_NULL;
    if (!encr_key.empty()) return false;
  } else if (!impl_->expand_cipher(suite, encr_key, out)) {
    return false;
  }
  const bool ok = suite.integ == Integ::None ? integ_key.empty() : impl_->expand_integ(suite.integ, integ_key, out);
  return ok && imb_get_errno(impl_->mgr) == 0;
}

}  // namespace culvert::dp
