// The SK and SKF payloads, from the outer chain to the padding.
#include "control/ikev2/cipher.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "control/crypto/aead.hpp"
#include "control/crypto/cbc.hpp"
#include "control/crypto/hash.hpp"
#include "control/crypto/mac.hpp"

namespace culvert::ikev2 {

namespace {
constexpr std::size_t kGenericHeader = 4;                   // next payload, flags, length (RFC 7296 §3.2)
constexpr std::size_t kFragmentFields = 4;                  // number and total (RFC 7383 §2.5)
constexpr std::size_t kNextPayloadAt = 16, kLengthAt = 24;  // of the IKE header
constexpr std::size_t kPadLength = 1;

constexpr std::size_t prefix_bytes(bool fragment) { return kGenericHeader + (fragment ? kFragmentFields : 0); }

/// What a received message says without a look inside.
struct Layout {
  PayloadType first{};
  FragmentPlace place;
  std::size_t iv_at = 0;  ///< behind it: IV, ciphertext and ICV, up to the end
};

/// The fields of an SK or SKF payload, `payload` being all of it and the end of `message`.
std::expected<Layout, OpenError> lay_out(ByteView message, ByteView payload, bool fragment) {
  Reader r(payload);
  Layout out;
  out.first = PayloadType{r.be<std::uint8_t>()};
  r.skip(kGenericHeader - 1);
  if (fragment) {
    out.place.number = r.be<std::uint16_t>();
    out.place.total = r.be<std::uint16_t>();
    // RFC 7383 §2.6. A total of zero has no number that fits.
    if (out.place.number == 0 || out.place.number > out.place.total) return std::unexpected(OpenError::Malformed);
    if (out.place.number > 1) out.first = PayloadType::None;
  }
  if (!r.ok()) return std::unexpected(OpenError::Malformed);
  out.iv_at = message.size() - r.remaining();
  return out;
}

/// Walks what stands unencrypted in front. SK must be the last payload (RFC 7296 §3.14), and so must SKF.
std::expected<Layout, OpenError> find_encrypted(ByteView message) {
  if (message.size() < ike::kHeaderSize) return std::unexpected(OpenError::Malformed);
  if (Reader(message.subspan(kLengthAt)).be<std::uint32_t>() != message.size()) return std::unexpected(OpenError::Malformed);
  auto type = PayloadType{message[kNextPayloadAt]};
  ByteView left = message.subspan(ike::kHeaderSize);
  while (type != PayloadType::None) {
    Reader r(left);
    const auto next = PayloadType{r.be<std::uint8_t>()};
    r.skip(1);
    const std::size_t length = r.be<std::uint16_t>();
    if (!r.ok() || length < kGenericHeader || length > left.size()) return std::unexpected(OpenError::Malformed);
    if (type == PayloadType::Sk || type == PayloadType::Skf) {
      if (length != left.size()) return std::unexpected(OpenError::NoSk);
      return lay_out(message, left, type == PayloadType::Skf);
    }
    left = left.subspan(length);
    type = next;
  }
  return std::unexpected(OpenError::NoSk);
}
}  // namespace

std::string_view name(OpenError e) {
  switch (e) {
    case OpenError::NoSk:
      return "no_sk";
    case OpenError::Malformed:
      return "malformed";
    case OpenError::BadIcv:
      return "bad_icv";
  }
  return "unknown";
}

struct Cipher::Impl {
  const EncrInfo* encr;
  const IntegInfo* integ;  ///< nullptr with an AEAD
  SecretBytes key, salt, integ_key;
  std::uint64_t next_iv = 1;  ///< of a counter mode; 0: all are used

  [[nodiscard]] std::size_t icv_bytes() const { return integ != nullptr ? integ->icv : encr->icv; }
  [[nodiscard]] std::size_t padded_bytes(std::size_t chain) const {
    return (chain + kPadLength + encr->block - 1) / encr->block * encr->block;
  }
  /// All of a message but what is encrypted.
  [[nodiscard]] std::size_t overhead(bool fragment) const { return ike::kHeaderSize + prefix_bytes(fragment) + encr->iv + icv_bytes(); }

  Bytes make_iv();
  [[nodiscard]] Bytes nonce(ByteView iv) const;
  [[nodiscard]] Bytes encrypt(ByteView iv, ByteView aad, ByteView padded) const;
  [[nodiscard]] std::expected<Bytes, OpenError> decrypt(ByteView message, std::size_t iv_at) const;
  Bytes seal(ike::Header header, std::uint8_t first, ByteView chain, const FragmentPlace* place);
};

Bytes Cipher::Impl::make_iv() {
  if (!encr->counter_iv()) {
    Bytes iv(encr->iv);
    crypto::random(iv);
    return iv;
  }
  if (next_iv == 0) throw std::logic_error("all IVs of an IKE SA are used");
  Writer w;
  w.be(next_iv++);
  return std::move(w).take();
}

/// RFC 5282 §4, RFC 5930 §2, RFC 7634 §2.
Bytes Cipher::Impl::nonce(ByteView iv) const {
  Bytes out(salt.view().begin(), salt.view().end());
  out.insert(out.end(), iv.begin(), iv.end());
  return out;
}

/// The ciphertext, of an AEAD with its tag.
Bytes Cipher::Impl::encrypt(ByteView iv, ByteView aad, ByteView padded) const {
  const auto taken = [](auto result) {
    if (!result) throw std::logic_error("a cipher refused lengths that were just made right");
    return std::move(*result);
  };
  if (encr->aead()) return taken(crypto::aead_seal(encr->id, key.view(), nonce(iv), aad, padded));
  if (encr->id == Encr::AesCtr) return taken(crypto::aes_ctr(key.view(), nonce(iv), padded));
  return taken(crypto::cbc_encrypt(encr->id, key.view(), iv, padded));
}

/// What was encrypted, padding included; at least a byte of it.
std::expected<Bytes, OpenError> Cipher::Impl::decrypt(ByteView message, std::size_t iv_at) const {
  const ByteView aad = message.first(iv_at), body = message.subspan(iv_at);
  const std::size_t around = encr->iv + icv_bytes();
  if (body.size() <= around || (body.size() - around) % encr->block != 0) return std::unexpected(OpenError::Malformed);
  const ByteView iv = body.first(encr->iv), rest = body.subspan(encr->iv);
  if (encr->aead()) {
    auto plain = crypto::aead_open(encr->id, key.view(), nonce(iv), aad, rest);
    if (!plain) return std::unexpected(OpenError::BadIcv);
    return std::move(*plain);
  }
  const ByteView covered = message.first(message.size() - icv_bytes());
  if (!equal_constant_time(crypto::icv(integ->id, integ_key.view(), covered), rest.last(icv_bytes())))
    return std::unexpected(OpenError::BadIcv);
  const ByteView text = rest.first(rest.size() - icv_bytes());
  if (encr->id == Encr::AesCtr) {
    auto plain = crypto::aes_ctr(key.view(), nonce(iv), text);
    if (!plain) return std::unexpected(OpenError::Malformed);
    return std::move(*plain);
  }
  auto plain = crypto::cbc_decrypt(encr->id, key.view(), iv, text);
  if (!plain) return std::unexpected(OpenError::Malformed);
  return std::move(*plain);
}

Bytes Cipher::Impl::seal(ike::Header header, std::uint8_t first, ByteView chain, const FragmentPlace* place) {
  const bool fragment = place != nullptr;
  const std::size_t total = overhead(fragment) + padded_bytes(chain.size());
  if (total - ike::kHeaderSize > std::numeric_limits<std::uint16_t>::max()) throw std::length_error("an SK payload has 16 bits of length");
  Writer prefix;
  prefix.be(first);
  prefix.be(std::uint8_t{0});
  prefix.be(static_cast<std::uint16_t>(total - ike::kHeaderSize));
  if (fragment) {
    prefix.be(place->number);
    prefix.be(place->total);
  }
  header.next_payload = static_cast<std::uint8_t>(fragment ? PayloadType::Skf : PayloadType::Sk);
  Writer message;
  message.bytes(ike::encode_message(header, prefix.view()));
  message.patch(kLengthAt, static_cast<std::uint32_t>(total));
  SecretBytes padded(padded_bytes(chain.size()));
  std::copy(chain.begin(), chain.end(), padded.mutable_view().begin());
  padded.mutable_view().back() = static_cast<std::uint8_t>(padded.size() - chain.size() - kPadLength);
  const Bytes iv = make_iv();
  const Bytes text = encrypt(iv, message.view(), padded.view());
  message.bytes(iv);
  message.bytes(text);
  if (integ != nullptr) message.bytes(crypto::icv(integ->id, integ_key.view(), message.view()));
  return std::move(message).take();
}

Cipher::Cipher(const IkeSuite& suite, SecretBytes encr, SecretBytes integ) {
  // RFC 7296 §5, RFC 8247 §2.1: an IKE SA encrypts.
  const EncrInfo* e = find_encr(suite.encr, suite.key_bits);
  if (e == nullptr || e->id == Encr::Null || e->id == Encr::AesGmac) throw std::invalid_argument("cipher of an IKE SA");
  if (encr.size() != e->key_bytes() + e->salt) throw std::invalid_argument("key length of an IKE SA's cipher");
  const IntegInfo* i = e->aead() ? nullptr : find_integ(suite.integ);
  if (!e->aead() && (i == nullptr || !i->esp())) throw std::invalid_argument("integrity algorithm of an IKE SA");
  if (integ.size() != (i != nullptr ? i->key : 0U)) throw std::invalid_argument("key length of an IKE SA's integrity algorithm");
  const ByteView key = encr.view().first(e->key_bytes()), salt = encr.view().subspan(e->key_bytes());
  impl_ = std::make_unique<Impl>(Impl{e, i, SecretBytes(key), SecretBytes(salt), std::move(integ)});
}
Cipher::~Cipher() = default;
Cipher::Cipher(Cipher&&) noexcept = default;
Cipher& Cipher::operator=(Cipher&&) noexcept = default;

Bytes Cipher::seal(ike::Header header, PayloadType first, ByteView chain) {
  return impl_->seal(header, static_cast<std::uint8_t>(first), chain, nullptr);
}

Bytes Cipher::seal_fragment(ike::Header header, PayloadType first, ByteView part, FragmentPlace place) {
  if (place.number == 0 || place.number > place.total) throw std::invalid_argument("number of a fragment");
  return impl_->seal(header, static_cast<std::uint8_t>(place.number == 1 ? first : PayloadType::None), part, &place);
}

std::expected<Opened, OpenError> Cipher::open(ByteView message) const {
  const auto layout = find_encrypted(message);
  if (!layout) return std::unexpected(layout.error());
  auto plain = impl_->decrypt(message, layout->iv_at);
  if (!plain) return std::unexpected(plain.error());
  // RFC 7296 §3.14: any padding is taken, whatever it holds.
  const std::size_t pad = plain->back() + kPadLength;
  if (pad > plain->size()) return std::unexpected(OpenError::Malformed);
  plain->resize(plain->size() - pad);
  return Opened{layout->first, std::move(*plain), layout->place};
}

std::size_t Cipher::sealed_bytes(std::size_t chain_bytes, bool fragment) const {
  return impl_->overhead(fragment) + impl_->padded_bytes(chain_bytes);
}

std::size_t Cipher::fragment_room(std::size_t message_bytes) const {
  const std::size_t most = std::min(message_bytes, ike::kHeaderSize + std::numeric_limits<std::uint16_t>::max());
  const std::size_t around = impl_->overhead(true);
  const std::size_t encrypted = most > around ? (most - around) / impl_->encr->block * impl_->encr->block : 0;
  return encrypted > kPadLength ? encrypted - kPadLength : 0;
}

}  // namespace culvert::ikev2
