// Encryption of IKEv1 messages, and the succession of IVs.
#include "control/ikev1/cipher.hpp"

#include <algorithm>
#include <stdexcept>

#include "control/crypto/hash.hpp"

namespace culvert::ikev1 {

namespace {
Iv cut(const Bytes& hash) {
  Iv iv{};
  std::copy_n(hash.begin(), iv.size(), iv.begin());  // the shortest hash has 16 bytes
  return iv;
}
Iv last_block(ByteView body, std::size_t block) {
  Iv iv{};
  const ByteView last = body.last(block);
  std::copy(last.begin(), last.end(), iv.begin());
  return iv;
}
}  // namespace

Iv phase1_iv(Prf hash, ByteView g_xi, ByteView g_xr) { return cut(crypto::digest(hash, {g_xi, g_xr})); }

Iv exchange_iv(Prf hash, const Iv& last_phase1, std::size_t block, MessageId message_id) {
  Writer id;
  id.be(message_id.value);
  return cut(crypto::digest(hash, {ByteView(last_phase1).first(block), id.view()}));
}

Cipher::Cipher(Encr cipher, SecretBytes key) : cipher_(cipher), key_(std::move(key)) {
  const EncrInfo* row = find_encr(cipher, static_cast<std::uint16_t>(key_.size() * 8));
  if (row == nullptr || row->ikev1_cipher == 0) throw std::invalid_argument("cipher or key length");
  block_ = row->block;
}

Sealed Cipher::seal(const Iv& iv, ByteView chain) const {
  Bytes padded(std::max<std::size_t>((chain.size() + block_ - 1) / block_, 1) * block_);
  std::copy(chain.begin(), chain.end(), padded.begin());
  auto body = crypto::cbc_encrypt(cipher_, key_.view(), ByteView(iv).first(block_), padded);
  wipe(padded);  // it may hold a password
  if (!body) throw std::logic_error("cbc_encrypt refused lengths that were just made right");
  const Iv next = last_block(*body, block_);
  return {std::move(*body), next};
}

Parsed<Opened> Cipher::open(const Iv& iv, ByteView body) const {
  auto chain = crypto::cbc_decrypt(cipher_, key_.view(), ByteView(iv).first(block_), body);
  if (!chain) return std::unexpected(ParseError{ParseErrc::BadLength, body.size(), "RFC 2409 App. B: whole cipher blocks"});
  return Opened{std::move(*chain), last_block(body, block_)};
}

}  // namespace culvert::ikev1
