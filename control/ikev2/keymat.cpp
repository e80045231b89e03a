// The formulas of RFC 7296, in its own notation.
#include "control/ikev2/keymat.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "control/crypto/hash.hpp"
#include "control/crypto/mac.hpp"

namespace culvert::ikev2 {

namespace {
using Parts = std::vector<ByteView>;

/// A big-endian integer as a PRF's input.
template <class T>
struct Big {
  std::array<std::uint8_t, sizeof(T)> bytes{};
  explicit Big(T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<std::uint8_t>(std::uint64_t{v} >> (8 * (sizeof(T) - 1 - i)));
  }
  operator ByteView() const { return bytes; }
};

/// PRFs whose key has one length, which take the shorter nonces of RFC 7296 §2.14.
bool fixed_key(Prf prf) { return prf == Prf::AesXcbc || prf == Prf::AesCmac; }

/// RFC 4434 §2: a short key is filled up with zeros, a long one is hashed with a key of zeros.
SecretBytes xcbc_key(ByteView key) {
  SecretBytes out(crypto::kAesMacBytes);
  if (key.size() > out.size()) return crypto::aes_xcbc(out.view(), {key});
  std::copy(key.begin(), key.end(), out.mutable_view().begin());
  return out;
}
/// RFC 4615 §3: every key of another length is hashed with a key of zeros.
SecretBytes cmac_key(ByteView key) {
  if (key.size() == crypto::kAesMacBytes) return SecretBytes(key);
  return crypto::aes_cmac(SecretBytes(crypto::kAesMacBytes).view(), {key});
}

SecretBytes prf_of(Prf prf, ByteView key, std::span<const ByteView> parts) {
  if (prf == Prf::AesXcbc) return crypto::aes_xcbc(xcbc_key(key).view(), parts);
  if (prf == Prf::AesCmac) return crypto::aes_cmac(cmac_key(key).view(), parts);
  return crypto::hmac(prf, key, parts);
}

SecretBytes concat(std::initializer_list<ByteView> parts) {
  std::size_t size = 0;
  for (const ByteView part : parts) size += part.size();
  SecretBytes out(size);
  auto to = out.mutable_view().begin();
  for (const ByteView part : parts) to = std::copy(part.begin(), part.end(), to);
  return out;
}

/// Cuts one piece after the other off a stream of key material.
class Taker {
 public:
  explicit Taker(ByteView all) : left_(all) {}
  SecretBytes take(std::size_t n) {
    SecretBytes out(left_.first(n));
    left_ = left_.subspan(n);
    return out;
  }

 private:
  ByteView left_;
};

std::size_t encr_bytes(Encr id, std::uint16_t key_bits) {
  const EncrInfo* row = find_encr(id, key_bits);
  if (row == nullptr) {
    if (id == Encr::None) return 0;  // AH
    throw std::invalid_argument("encryption algorithm");
  }
  return row->key_bytes() + row->salt;
}
std::size_t integ_bytes(Encr encr, std::uint16_t key_bits, Integ id) {
  const EncrInfo* cipher = find_encr(encr, key_bits);
  if (cipher != nullptr && cipher->aead()) return 0;
  const IntegInfo* row = find_integ(id);
  if (row == nullptr) throw std::invalid_argument("integrity algorithm");
  return row->key;
}

/// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
IkeKeys spread(const SecretBytes& skeyseed, const IkeKeyInputs& in) {
  const Prf prf = in.suite.prf;
  const std::size_t own = preferred_key_bytes(prf);
  const std::size_t e = encr_bytes(in.suite.encr, in.suite.key_bits), a = integ_bytes(in.suite.encr, in.suite.key_bits, in.suite.integ);
  const Big spi_i(in.spi_i.value), spi_r(in.spi_r.value);
  const SecretBytes all = prf_plus(prf, skeyseed.view(), {in.nonce_i, in.nonce_r, spi_i, spi_r}, 3 * own + 2 * a + 2 * e);
  Taker keys(all.view());
  IkeKeys out;
  out.prf = prf;
  out.d = keys.take(own);
  out.ai = keys.take(a);
  out.ar = keys.take(a);
  out.ei = keys.take(e);
  out.er = keys.take(e);
  out.pi = keys.take(own);
  out.pr = keys.take(own);
  return out;
}
}  // namespace

SecretBytes prf(Prf prf, ByteView key, std::initializer_list<ByteView> parts) {
  return prf_of(prf, key, std::span<const ByteView>(parts.begin(), parts.size()));
}

SecretBytes prf_plus(Prf prf, ByteView key, std::initializer_list<ByteView> seed, std::size_t size) {
  // T1 = prf(K, S | 0x01), Tn = prf(K, Tn-1 | S | n); the number has one byte.
  constexpr std::size_t kMostBlocks = 255;
  const std::size_t block = preferred_key_bytes(prf);
  if (size > kMostBlocks * block) throw std::invalid_argument("prf+: more than 255 blocks");
  SecretBytes out(size), t;
  std::uint8_t number = 0;
  for (std::size_t used = 0; used < size;) {
    const Big counter(++number);
    Parts parts{t.view()};
    parts.insert(parts.end(), seed.begin(), seed.end());
    parts.push_back(counter);
    t = prf_of(prf, key, parts);
    const std::size_t n = std::min(t.size(), size - used);
    std::copy_n(t.view().begin(), n, out.mutable_view().begin() + static_cast<std::ptrdiff_t>(used));
    used += n;
  }
  return out;
}

std::size_t preferred_key_bytes(Prf prf) {
  if (fixed_key(prf)) return crypto::kAesMacBytes;
  const PrfInfo* row = find_prf(prf);
  if (row == nullptr) throw std::invalid_argument("pseudo-random function");
  return row->size;
}

IkeKeys derive(const IkeKeyInputs& in) {
  // RFC 7296 §2.14: of the nonces only the first 64 bits each for the two PRFs of AES; prf+ takes them whole.
  constexpr std::size_t kHalfKey = 8;
  const auto used = [&](ByteView nonce) { return fixed_key(in.suite.prf) ? nonce.first(std::min(kHalfKey, nonce.size())) : nonce; };
  const SecretBytes nonces = concat({used(in.nonce_i), used(in.nonce_r)});
  return spread(prf(in.suite.prf, nonces.view(), {in.g_ir}), in);
}

PpkKeys ppk_keys(const IkeKeys& keys, ByteView ppk) {
  const auto mixed = [&](const SecretBytes& key) { return prf_plus(keys.prf, ppk, {key.view()}, key.size()); };
  return {mixed(keys.d), mixed(keys.pi), mixed(keys.pr)};
}

IkeKeys derive_resumed(const IkeKeyInputs& in, ByteView old_d) {
  return spread(prf(in.suite.prf, old_d, {as_bytes("Resumption"), in.nonce_i, in.nonce_r}), in);
}

IkeKeys derive_rekeyed(const IkeKeyInputs& in, Prf old_prf, ByteView old_d, ByteView more) {
  return spread(prf(old_prf, old_d, {in.g_ir, in.nonce_i, in.nonce_r, more}), in);
}

ChildKeys child_keys(Prf prf, ByteView sk_d, const EspSuite& suite, ByteView nonce_i, ByteView nonce_r, std::optional<ByteView> g_ir,
                     ByteView more) {
  // KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr [| SK(1) | ...])
  const std::size_t e = encr_bytes(suite.encr, suite.key_bits), a = integ_bytes(suite.encr, suite.key_bits, suite.integ);
  const SecretBytes all = prf_plus(prf, sk_d, {g_ir.value_or(ByteView{}), nonce_i, nonce_r, more}, 2 * (e + a));
  Taker keymat(all.view());
  ChildKeys out;
  for (EspKeys* direction : {&out.from_initiator, &out.from_responder}) {
    direction->encr = keymat.take(e);
    direction->integ = keymat.take(a);
  }
  return out;
}

SecretBytes IntAuth::octets() const {
  if (exchanges == 0) return {};
  const Big message_id(exchanges + 1);  // IKE_SA_INIT had 0
  return concat({of_initiator.view(), of_responder.view(), message_id});
}

SecretBytes int_auth(Prf prf_id, ByteView sk_p, const SecretBytes& before, ByteView header, std::uint8_t first, ByteView chain) {
  // As if there were one SK payload, without IV, padding and ICV, and the lengths were those of that.
  constexpr std::size_t kIkeHeader = 28, kNextPayload = 16, kLength = 24, kGenericHeader = 4;
  constexpr std::uint8_t kSk = 46;
  if (header.size() < kIkeHeader) throw std::invalid_argument("an IKE header");
  Bytes a(header.begin(), header.begin() + kIkeHeader);
  a[kNextPayload] = kSk;
  const Big total(static_cast<std::uint32_t>(kIkeHeader + kGenericHeader + chain.size()));
  std::ranges::copy(total.bytes, a.begin() + kLength);
  const Big payload(static_cast<std::uint16_t>(kGenericHeader + chain.size()));
  a.push_back(first);
  a.push_back(0);
  a.insert(a.end(), payload.bytes.begin(), payload.bytes.end());
  return prf(prf_id, sk_p, {before.view(), a, chain});
}

SecretBytes signed_octets(Prf prf_id, ByteView first_message, ByteView other_nonce, ByteView sk_p, ByteView id_body,
                          const IntAuth& intermediate) {
  const SecretBytes maced_id = prf(prf_id, sk_p, {id_body}), more = intermediate.octets();
  return concat({first_message, other_nonce, maced_id.view(), more.view()});
}

SecretBytes shared_key_auth(Prf prf_id, ByteView secret, ByteView octets) {
  const SecretBytes padded = prf(prf_id, secret, {as_bytes("Key Pad for IKEv2")});
  return prf(prf_id, padded.view(), {octets});
}

Bytes nat_hash(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& endpoint) {
  return crypto::digest(Prf::HmacSha1, {Big(spi_i.value), Big(spi_r.value), endpoint.address.view(), Big(endpoint.port)});
}

}  // namespace culvert::ikev2
