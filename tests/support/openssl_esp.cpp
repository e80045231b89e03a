#include "tests/support/openssl_esp.hpp"

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>

#include "common/secret.hpp"

namespace culvert::dp::test {

namespace {
using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
void must(int result) {
  if (result != 1) throw std::runtime_error("OpenSSL failed");
}
int length(ByteView b) { return static_cast<int>(b.size()); }
void append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }
Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const ByteView p : parts) append(out, p);
  return out;
}
Bytes big32(std::uint64_t v) {
  Writer w;
  w.be(static_cast<std::uint32_t>(v));
  return std::move(w).take();
}

const EncrInfo& cipher_info(const shm::InstallSa& sa) { return *find_encr(sa.suite.encr, sa.suite.key_bits); }
bool ccm(const shm::InstallSa& sa) { return cipher_info(sa).salt == 3; }
bool gmac(const shm::InstallSa& sa) { return sa.suite.encr == Encr::AesGmac; }
std::size_t icv_bytes(const shm::InstallSa& sa) { return cipher_info(sa).aead() ? cipher_info(sa).icv : find_integ(sa.suite.integ)->icv; }

const EVP_CIPHER* algorithm(const shm::InstallSa& sa) {
  const EncrInfo& e = cipher_info(sa);
  const auto by_size = [&](const EVP_CIPHER* a, const EVP_CIPHER* b, const EVP_CIPHER* c) {
    return e.key_bits == 128 ? a : e.key_bits == 192 ? b : c;
  };
  if (sa.suite.encr == Encr::ChaCha20Poly1305) return EVP_chacha20_poly1305();
  if (ccm(sa)) return by_size(EVP_aes_128_ccm(), EVP_aes_192_ccm(), EVP_aes_256_ccm());
  if (e.aead()) return by_size(EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm());
  if (sa.suite.encr == Encr::AesCtr) return by_size(EVP_aes_128_ctr(), EVP_aes_192_ctr(), EVP_aes_256_ctr());
  if (sa.suite.encr == Encr::AesCbc) return by_size(EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc());
  return sa.suite.encr == Encr::Null ? EVP_enc_null() : EVP_des_ede3_cbc();
}

/// The key as OpenSSL wants it: DES is 3DES under one key three times.
Bytes cipher_key(const shm::InstallSa& sa) {
  const ByteView key = ByteView(sa.encr_key).first(cipher_info(sa).key_bytes());
  return sa.suite.encr == Encr::Des ? joined({key, key, key}) : Bytes(key.begin(), key.end());
}

Bytes nonce(const shm::InstallSa& sa, ByteView iv) {
  const EncrInfo& e = cipher_info(sa);
  Bytes out = joined({ByteView(sa.encr_key).subspan(e.key_bytes(), e.salt), iv});
  if (sa.suite.encr == Encr::AesCtr) append(out, Bytes{0, 0, 0, 1});
  return out;
}

/// A context that has key, nonce, and for CCM all that it wants to know beforehand. `tag`: of a decryption.
Context start(const shm::InstallSa& sa, ByteView iv, std::size_t text, const Bytes* tag) {
  const Bytes key = cipher_key(sa), n = nonce(sa, iv);
  const int sealing = tag == nullptr ? 1 : 0;
  Context c(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  must(EVP_CipherInit_ex(c.get(), algorithm(sa), nullptr, nullptr, nullptr, sealing));
  if (cipher_info(sa).aead()) must(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_SET_IVLEN, length(n), nullptr));
  if (ccm(sa) || (cipher_info(sa).aead() && tag != nullptr)) {
    Bytes copy = tag != nullptr ? *tag : Bytes{};
    must(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(icv_bytes(sa)), tag != nullptr ? copy.data() : nullptr));
  }
  must(EVP_CipherInit_ex(c.get(), nullptr, nullptr, key.data(), n.data(), sealing));
  must(EVP_CIPHER_CTX_set_padding(c.get(), 0));
  int done = 0;
  if (ccm(sa)) must(EVP_CipherUpdate(c.get(), nullptr, &done, nullptr, static_cast<int>(text)));
  return c;
}

/// `data` through the cipher; nothing if it is not authentic.
std::optional<Bytes> run(const Context& c, ByteView aad, ByteView data) {
  int n = 0, more = 0;
  Bytes out(data.size() + 32);
  if (!aad.empty()) must(EVP_CipherUpdate(c.get(), nullptr, &n, aad.data(), length(aad)));
  n = 0;
  if (!data.empty() && EVP_CipherUpdate(c.get(), out.data(), &n, data.data(), length(data)) != 1) return std::nullopt;
  if (EVP_CipherFinal_ex(c.get(), out.data() + n, &more) != 1) return std::nullopt;
  out.resize(data.size());
  return out;
}

/// RFC 3566 §4.
Bytes xcbc(ByteView key, ByteView message) {
  const auto ecb = [](ByteView k, const Bytes& block) {
    const Context c(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    must(EVP_EncryptInit_ex(c.get(), EVP_aes_128_ecb(), nullptr, k.data(), nullptr));
    Bytes out(32);
    int n = 0;
    must(EVP_EncryptUpdate(c.get(), out.data(), &n, block.data(), 16));
    out.resize(16);
    return out;
  };
  const Bytes k1 = ecb(key, Bytes(16, 1)), k2 = ecb(key, Bytes(16, 2)), k3 = ecb(key, Bytes(16, 3));
  Bytes state(16);
  while (message.size() > 16) {
    for (std::size_t i = 0; i < 16; ++i) state[i] ^= message[i];
    state = ecb(k1, state);
    message = message.subspan(16);
  }
  Bytes last(message.begin(), message.end());
  if (last.size() < 16) last.push_back(0x80);
  last.resize(16);
  for (std::size_t i = 0; i < 16; ++i) state[i] = static_cast<std::uint8_t>(state[i] ^ last[i] ^ (message.size() == 16 ? k2[i] : k3[i]));
  return ecb(k1, state);
}

/// RFC 4493, by OpenSSL's own.
Bytes cmac(ByteView key, ByteView message) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> algorithm_of(EVP_MAC_fetch(nullptr, "CMAC", nullptr), &EVP_MAC_free);
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> c(EVP_MAC_CTX_new(algorithm_of.get()), &EVP_MAC_CTX_free);
  std::string cipher = "AES-128-CBC";
  const std::array parameters{OSSL_PARAM_construct_utf8_string("cipher", cipher.data(), 0), OSSL_PARAM_construct_end()};
  Bytes out(16);
  std::size_t n = 0;
  must(EVP_MAC_init(c.get(), key.data(), key.size(), parameters.data()));
  must(EVP_MAC_update(c.get(), message.data(), message.size()));
  must(EVP_MAC_final(c.get(), out.data(), &n, out.size()));
  return out;
}

Bytes mac(const shm::InstallSa& sa, ByteView covered) {
  const ByteView key = ByteView(sa.integ_key).first(sa.integ_key_bytes);
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned n = 0;
  const auto hmac = [&](const EVP_MD* hash) { HMAC(hash, key.data(), length(key), covered.data(), covered.size(), out.data(), &n); };
  switch (sa.suite.integ) {
    case Integ::HmacMd5_96:
      hmac(EVP_md5());
      break;
    case Integ::HmacSha1_96:
      hmac(EVP_sha1());
      break;
    case Integ::HmacSha2_256_128:
      hmac(EVP_sha256());
      break;
    case Integ::HmacSha2_384_192:
      hmac(EVP_sha384());
      break;
    case Integ::HmacSha2_512_256:
      hmac(EVP_sha512());
      break;
    case Integ::AesCmac96:
      out = cmac(key, covered);
      break;
    default:
      out = xcbc(key, covered);
      break;
  }
  out.resize(icv_bytes(sa));
  return out;
}

/// The additional data of an AEAD: GMAC's is everything.
Bytes additional(const shm::InstallSa& sa, std::uint64_t sequence, ByteView iv, ByteView text) {
  Bytes out = big32(sa.spi.value);
  if (sa.suite.esn) append(out, big32(sequence >> 32));
  append(out, big32(sequence));
  return gmac(sa) ? joined({out, iv, text}) : out;
}
Bytes with_high(const shm::InstallSa& sa, ByteView esp, std::uint64_t sequence) {
  Bytes out(esp.begin(), esp.end());
  if (sa.suite.esn) append(out, big32(sequence >> 32));
  return out;
}
}  // namespace

Bytes openssl_seal(const shm::InstallSa& sa, std::uint64_t sequence, ByteView iv, ByteView text) {
  Bytes out = joined({big32(sa.spi.value), big32(sequence), iv});
  const bool aead = cipher_info(sa).aead();
  const Bytes aad = aead ? additional(sa, sequence, iv, text) : Bytes{};
  const ByteView hidden = gmac(sa) ? ByteView{} : text;
  const Context c = start(sa, iv, hidden.size(), nullptr);
  const auto sealed = run(c, aad, hidden);
  if (!sealed) throw std::runtime_error("OpenSSL does not encrypt");
  append(out, gmac(sa) ? text : ByteView(*sealed));
  if (!aead) {
    append(out, mac(sa, with_high(sa, out, sequence)));
    return out;
  }
  Bytes tag(icv_bytes(sa));
  must(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_GET_TAG, length(tag), tag.data()));
  append(out, tag);
  return out;
}

std::optional<Bytes> openssl_open(const shm::InstallSa& sa, ByteView esp, std::uint32_t high) {
  const EncrInfo& e = cipher_info(sa);
  const std::size_t around = 8 + e.iv + icv_bytes(sa);
  if (esp.size() < around) return std::nullopt;
  const ByteView iv = esp.subspan(8, e.iv), body = esp.subspan(8 + iv.size(), esp.size() - around), icv = esp.last(icv_bytes(sa));
  Reader r(esp.subspan(4, 4));
  const std::uint64_t sequence = std::uint64_t{high} << 32 | r.be<std::uint32_t>();
  if (!e.aead()) {
    if (body.size() % e.block != 0) return std::nullopt;
    if (!equal_constant_time(mac(sa, with_high(sa, esp.first(esp.size() - icv.size()), sequence)), icv)) return std::nullopt;
    const Bytes none;
    return run(start(sa, iv, body.size(), &none), {}, body);
  }
  const Bytes tag(icv.begin(), icv.end());
  const ByteView hidden = gmac(sa) ? ByteView{} : body;
  const auto text = run(start(sa, iv, hidden.size(), &tag), additional(sa, sequence, iv, body), hidden);
  if (!text || !gmac(sa)) return text;
  return Bytes(body.begin(), body.end());
}

}  // namespace culvert::dp::test
