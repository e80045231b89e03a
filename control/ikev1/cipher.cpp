// Encryption of IKEv1 messages, and the succession of IVs.
#include "control/ikev1/cipher.hpp"

#include <algorithm>
#include <stdexcept>

#include "control/crypto/hash.hpp"

namespace culvert::ikev1 {

namespace {
Iv cut(const Bytes& hash) {
  Iv iv{};
  std::copy_n(hash.begin(), iv.size(), iv.begin());  // the shortest hash has 20 bytes
  return iv;
}
Iv last_block(ByteView body) {
  Iv iv{};
  const ByteView last = body.last(iv.size());
  std::copy(last.begin(), last.end(), iv.begin());
  return iv;
}
}  // namespace

Iv phase1_iv(Prf hash, ByteView g_xi, ByteView g_xr) { return cut(crypto::digest(hash, {g_xi, g_xr})); }

Iv exchange_iv(Prf hash, const Iv& last_phase1, MessageId message_id) {
  Writer id;
  id.be(message_id.value);
  return cut(crypto::digest(hash, {last_phase1, id.view()}));
}

Cipher::Cipher(SecretBytes key) : key_(std::move(key)) {
  if (key_.size() != 16 && key_.size() != 24 && key_.size() != 32) throw std::invalid_argument("AES key length");
}

Sealed Cipher::seal(const Iv& iv, ByteView chain) const {
  Bytes padded(std::max<std::size_t>((chain.size() + crypto::kAesBlock - 1) / crypto::kAesBlock, 1) * crypto::kAesBlock);
  std::copy(chain.begin(), chain.end(), padded.begin());
  auto body = crypto::aes_cbc_encrypt(key_.view(), iv, padded);
  if (!body) throw std::logic_error("aes_cbc_encrypt refused lengths that were just made right");
  const Iv next = last_block(*body);
  return {std::move(*body), next};
}

Parsed<Opened> Cipher::open(const Iv& iv, ByteView body) const {
  auto chain = crypto::aes_cbc_decrypt(key_.view(), iv, body);
  if (!chain) return std::unexpected(ParseError{ParseErrc::BadLength, body.size(), "RFC 2409 App. B: whole cipher blocks"});
  return Opened{std::move(*chain), last_block(body)};
}

}  // namespace culvert::ikev1
