// HMAC and CMAC are OpenSSL's; AES-XCBC-MAC, which it has not, is CBC with three keys derived from one.
#include "control/crypto/mac.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <openssl/core_names.h>

#include "control/crypto/cbc.hpp"
#include "control/crypto/hash.hpp"
#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

using Block = std::array<std::uint8_t, kAesMacBytes>;

void check_key(ByteView key) {
  if (key.size() != kAesMacBytes) throw std::invalid_argument("key of an AES MAC");
}

/// The last block of CBC under a zero IV: of one block it is AES itself.
SecretBytes cbc_tail(ByteView key, ByteView blocks) {
  auto all = cbc_encrypt(Encr::AesCbc, key, Block{}, blocks);
  if (!all) throw std::logic_error("cbc_encrypt refused lengths that were just made right");
  SecretBytes out(ByteView(*all).last(kAesMacBytes));
  wipe(*all);
  return out;
}
SecretBytes subkey(ByteView key, std::uint8_t number) {
  Block constant{};
  constant.fill(number);
  return cbc_tail(key, constant);
}

Bytes cut(const SecretBytes& mac, std::size_t size) { return {mac.view().begin(), mac.view().begin() + static_cast<std::ptrdiff_t>(size)}; }

SecretBytes whole_mac(Integ algorithm, ByteView key, ByteView data) {
  switch (algorithm) {
    case Integ::HmacMd5_96:
      return hmac(Prf::HmacMd5, key, {data});
    case Integ::HmacSha1_96:
      return hmac(Prf::HmacSha1, key, {data});
    case Integ::HmacSha2_256_128:
      return hmac(Prf::HmacSha2_256, key, {data});
    case Integ::HmacSha2_384_192:
      return hmac(Prf::HmacSha2_384, key, {data});
    case Integ::HmacSha2_512_256:
      return hmac(Prf::HmacSha2_512, key, {data});
    case Integ::AesXcbc96:
      return aes_xcbc(key, {data});
    case Integ::AesCmac96:
      return aes_cmac(key, {data});
    case Integ::None:
    case Integ::Aes128Gmac:
    case Integ::Aes192Gmac:
    case Integ::Aes256Gmac:
      break;
  }
  throw std::invalid_argument("integrity algorithm");
}
}  // namespace

SecretBytes aes_xcbc(ByteView key, std::span<const ByteView> parts) {
  check_key(key);
  std::size_t size = 0;
  for (const ByteView part : parts) size += part.size();
  // RFC 3566 §4: whole blocks, the last one of them complete (and then mixed with K2) or padded with a bit 1 and zeros (with K3).
  const std::size_t blocks = std::max<std::size_t>((size + kAesMacBytes - 1) / kAesMacBytes, 1);
  const bool complete = size == blocks * kAesMacBytes;
  SecretBytes text(blocks * kAesMacBytes);
  std::size_t used = 0;
  for (const ByteView part : parts) {
    std::copy(part.begin(), part.end(), text.mutable_view().begin() + static_cast<std::ptrdiff_t>(used));
    used += part.size();
  }
  if (!complete) text.mutable_view()[size] = 0x80;
  const SecretBytes mask = subkey(key, complete ? 2 : 3);
  const MutableByteView last = text.mutable_view().last(kAesMacBytes);
  for (std::size_t i = 0; i < kAesMacBytes; ++i) last[i] = static_cast<std::uint8_t>(last[i] ^ mask.view()[i]);
  return cbc_tail(subkey(key, 1).view(), text.view());
}
SecretBytes aes_xcbc(ByteView key, std::initializer_list<ByteView> parts) {
  return aes_xcbc(key, std::span<const ByteView>(parts.begin(), parts.size()));
}

SecretBytes aes_cmac(ByteView key, std::span<const ByteView> parts) {
  check_key(key);
  // A context without a key cannot be copied here, as that of an HMAC can.
  static EVP_MAC* const mac = must_have(EVP_MAC_fetch(nullptr, "CMAC", nullptr), "EVP_MAC_fetch");
  const MacCtx ctx(must_have(EVP_MAC_CTX_new(mac), "EVP_MAC_CTX_new"));
  std::array cipher{'A', 'E', 'S', '-', '1', '2', '8', '-', 'C', 'B', 'C', '\0'};  // the library takes a mutable string
  const std::array params{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher.data(), 0), OSSL_PARAM_construct_end()};
  must(EVP_MAC_init(ctx.get(), key.data(), key.size(), params.data()), "EVP_MAC_init");
  for (const ByteView part : parts)
    if (!part.empty()) must(EVP_MAC_update(ctx.get(), part.data(), part.size()), "EVP_MAC_update");
  SecretBytes out(kAesMacBytes);
  std::size_t written = 0;
  must(EVP_MAC_final(ctx.get(), out.mutable_view().data(), &written, out.size()), "EVP_MAC_final");
  if (written != out.size()) throw LibraryError("EVP_MAC_final (size)");
  return out;
}
SecretBytes aes_cmac(ByteView key, std::initializer_list<ByteView> parts) {
  return aes_cmac(key, std::span<const ByteView>(parts.begin(), parts.size()));
}

Bytes icv(Integ algorithm, ByteView key, ByteView data) {
  const IntegInfo* row = find_integ(algorithm);
  if (row == nullptr || key.size() != row->key) throw std::invalid_argument("integrity algorithm or its key");
  return cut(whole_mac(algorithm, key, data), row->icv);
}

}  // namespace culvert::crypto
