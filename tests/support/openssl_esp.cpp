#include "tests/support/openssl_esp.hpp"

#include <memory>
#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/secret.hpp"

namespace culvert::dp::test {

namespace {
using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
void must(int result) {
  if (result != 1) throw std::runtime_error("OpenSSL failed");
}
bool gcm(const shm::InstallSa& sa) { return sa.encr == Encr::AesGcm16; }
std::size_t icv_bytes(const shm::InstallSa& sa) { return gcm(sa) ? 16 : find_integ(sa.integ)->icv; }
std::size_t iv_bytes(const shm::InstallSa& sa) { return gcm(sa) ? 8 : 16; }
int length(ByteView b) { return static_cast<int>(b.size()); }
void append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes nonce(const shm::InstallSa& sa, ByteView iv) {
  Bytes out;
  if (gcm(sa)) append(out, ByteView(sa.encr_key).subspan(sa.key_bits / 8U, 4));
  append(out, iv);
  return out;
}
Context start(const shm::InstallSa& sa, ByteView iv, bool encrypting) {
  const bool wide = sa.key_bits == 256;
  const EVP_CIPHER* cipher = gcm(sa) ? (wide ? EVP_aes_256_gcm() : EVP_aes_128_gcm()) : (wide ? EVP_aes_256_cbc() : EVP_aes_128_cbc());
  Context c(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  must(EVP_CipherInit_ex(c.get(), cipher, nullptr, sa.encr_key.data(), nonce(sa, iv).data(), encrypting ? 1 : 0));
  must(EVP_CIPHER_CTX_set_padding(c.get(), 0));
  return c;
}
Bytes hmac(const shm::InstallSa& sa, ByteView covered) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned n = 0;
  HMAC(sa.integ == Integ::HmacSha1_96 ? EVP_sha1() : EVP_sha256(), sa.integ_key.data(), sa.integ_key_bytes, covered.data(), covered.size(),
       out.data(), &n);
  out.resize(icv_bytes(sa));
  return out;
}
}  // namespace

Bytes openssl_seal(const shm::InstallSa& sa, std::uint32_t sequence, ByteView iv, ByteView text) {
  Writer w;
  w.be(sa.spi.value);
  w.be(sequence);
  Bytes out = std::move(w).take();
  const Context c = start(sa, iv, true);
  int n = 0;
  if (gcm(sa)) must(EVP_CipherUpdate(c.get(), nullptr, &n, out.data(), length(out)));
  append(out, iv);
  const std::size_t at = out.size();
  out.resize(at + text.size() + 16);
  must(EVP_CipherUpdate(c.get(), out.data() + at, &n, text.data(), length(text)));
  must(EVP_CipherFinal_ex(c.get(), out.data() + at + n, &n));
  out.resize(at + text.size());
  if (!gcm(sa)) {
    append(out, hmac(sa, out));
    return out;
  }
  Bytes tag(16);
  must(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_GCM_GET_TAG, 16, tag.data()));
  append(out, tag);
  return out;
}

std::optional<Bytes> openssl_open(const shm::InstallSa& sa, ByteView esp) {
  const std::size_t around = 8 + iv_bytes(sa) + icv_bytes(sa);
  if (esp.size() < around) return std::nullopt;
  const ByteView iv = esp.subspan(8, iv_bytes(sa)), body = esp.subspan(8 + iv.size(), esp.size() - around), icv = esp.last(icv_bytes(sa));
  if (!gcm(sa) && (body.size() % 16 != 0 || !equal_constant_time(hmac(sa, esp.first(esp.size() - icv.size())), icv))) return std::nullopt;
  const Context c = start(sa, iv, false);
  int n = 0;
  if (gcm(sa)) {
    must(EVP_CipherUpdate(c.get(), nullptr, &n, esp.data(), 8));
    Bytes tag(icv.begin(), icv.end());
    must(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_GCM_SET_TAG, 16, tag.data()));
  }
  Bytes text(body.size() + 16);
  must(EVP_CipherUpdate(c.get(), text.data(), &n, body.data(), length(body)));
  if (EVP_CipherFinal_ex(c.get(), text.data() + n, &n) != 1) return std::nullopt;
  text.resize(body.size());
  return text;
}

}  // namespace culvert::dp::test
