// The formulas of RFC 2409, in its own notation.
#include "control/ikev1/keymat.hpp"

#include <algorithm>
#include <array>

#include "control/crypto/hash.hpp"
#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

namespace {
/// A big-endian integer as a hash's input.
template <class T>
struct Big {
  std::array<std::uint8_t, sizeof(T)> bytes{};
  explicit Big(T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<std::uint8_t>(std::uint64_t{v} >> (8 * (sizeof(T) - 1 - i)));
  }
  operator ByteView() const { return bytes; }
};
using Big8 = Big<std::uint8_t>;
using Big16 = Big<std::uint16_t>;
using Big32 = Big<std::uint32_t>;
using Big64 = Big<std::uint64_t>;

Bytes plain(const SecretBytes& s) { return {s.view().begin(), s.view().end()}; }

/// Collects prf blocks into a secret of a given size.
class Collector {
 public:
  explicit Collector(std::size_t size) : out_(size) {}
  void add(ByteView block) {
    const std::size_t n = std::min(block.size(), out_.size() - used_);
    std::copy_n(block.begin(), n, out_.mutable_view().begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += n;
  }
  [[nodiscard]] bool full() const { return used_ == out_.size(); }
  SecretBytes take() && { return std::move(out_); }

 private:
  SecretBytes out_;
  std::size_t used_ = 0;
};

SecretBytes signature_skeyid(const Phase1Inputs& in) {
  Bytes nonces(in.nonce_i.begin(), in.nonce_i.end());
  nonces.insert(nonces.end(), in.nonce_r.begin(), in.nonce_r.end());
  return crypto::hmac(in.prf, nonces, {in.g_xy});
}
}  // namespace

SecretBytes psk_skeyid(Prf prf, ByteView psk, ByteView nonce_i, ByteView nonce_r) { return crypto::hmac(prf, psk, {nonce_i, nonce_r}); }

Phase1Secrets derive_phase1(const Phase1Inputs& in) {
  const Big64 cky_i(in.spi_i.value), cky_r(in.spi_r.value);
  const Big8 zero(0), one(1), two(2);
  Phase1Secrets s;
  s.prf = in.prf;
  s.skeyid = in.signatures ? signature_skeyid(in) : psk_skeyid(in.prf, in.psk, in.nonce_i, in.nonce_r);
  s.skeyid_d = crypto::hmac(in.prf, s.skeyid.view(), {in.g_xy, cky_i, cky_r, zero});
  s.skeyid_a = crypto::hmac(in.prf, s.skeyid.view(), {s.skeyid_d.view(), in.g_xy, cky_i, cky_r, one});
  s.skeyid_e = crypto::hmac(in.prf, s.skeyid.view(), {s.skeyid_a.view(), in.g_xy, cky_i, cky_r, two});
  return s;
}

SecretBytes phase1_encryption_key(const Phase1Secrets& secrets, std::size_t key_bytes) {
  // Ka = K1 | K2 | ..., K1 = prf(SKEYID_e, 0), Kn = prf(SKEYID_e, Kn-1); only where SKEYID_e is too short.
  Collector key(key_bytes);
  if (secrets.skeyid_e.size() >= key_bytes) {
    key.add(secrets.skeyid_e.view());
    return std::move(key).take();
  }
  SecretBytes k = crypto::hmac(secrets.prf, secrets.skeyid_e.view(), {Big8(0)});
  key.add(k.view());
  while (!key.full()) {
    k = crypto::hmac(secrets.prf, secrets.skeyid_e.view(), {k.view()});
    key.add(k.view());
  }
  return std::move(key).take();
}

Bytes hash_i(const Phase1Secrets& secrets, const Phase1HashInputs& in) {
  return plain(crypto::hmac(in.prf.value_or(secrets.prf), secrets.skeyid.view(),
                            {in.g_xi, in.g_xr, Big64(in.spi_i.value), Big64(in.spi_r.value), in.sa_i_body, in.id_body}));
}
Bytes hash_r(const Phase1Secrets& secrets, const Phase1HashInputs& in) {
  return plain(crypto::hmac(in.prf.value_or(secrets.prf), secrets.skeyid.view(),
                            {in.g_xr, in.g_xi, Big64(in.spi_r.value), Big64(in.spi_i.value), in.sa_i_body, in.id_body}));
}

Bytes quick_hash_1(const Phase1Secrets& secrets, MessageId id, ByteView rest) {
  return plain(crypto::hmac(secrets.prf, secrets.skeyid_a.view(), {Big32(id.value), rest}));
}
Bytes quick_hash_2(const Phase1Secrets& secrets, MessageId id, ByteView nonce_i, ByteView rest) {
  return plain(crypto::hmac(secrets.prf, secrets.skeyid_a.view(), {Big32(id.value), nonce_i, rest}));
}
Bytes quick_hash_3(const Phase1Secrets& secrets, MessageId id, ByteView nonce_i, ByteView nonce_r) {
  return plain(crypto::hmac(secrets.prf, secrets.skeyid_a.view(), {Big8(0), Big32(id.value), nonce_i, nonce_r}));
}
Bytes informational_hash(const Phase1Secrets& secrets, MessageId id, ByteView rest) { return quick_hash_1(secrets, id, rest); }

SecretBytes keymat(const Phase1Secrets& secrets, std::uint8_t protocol, const KeymatInputs& in, std::size_t size) {
  // K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b), Kn = prf(SKEYID_d, Kn-1 | the same)
  const ByteView g = in.g_qm_xy.value_or(ByteView{});
  const Big8 proto(protocol);
  const Big32 spi(in.spi.value);
  Collector out(size);
  SecretBytes k;
  while (!out.full()) {
    k = crypto::hmac(secrets.prf, secrets.skeyid_d.view(), {k.view(), g, proto, spi, in.nonce_i, in.nonce_r});
    out.add(k.view());
  }
  return std::move(out).take();
}

EspKeys esp_keys(const Phase1Secrets& secrets, const EspSuite& suite, const KeymatInputs& in) {
  const EncrInfo* encr = find_encr(suite.encr, suite.key_bits);
  const IntegInfo* integ = find_integ(suite.integ);
  const std::size_t encr_bytes = encr ? encr->key_bytes() + encr->salt : 0;
  const std::size_t integ_bytes = integ ? integ->key : 0;
  const SecretBytes all = keymat(secrets, static_cast<std::uint8_t>(suite.protocol), in, encr_bytes + integ_bytes);
  return {SecretBytes(all.view().first(encr_bytes)), SecretBytes(all.view().subspan(encr_bytes))};
}

Bytes nat_d_hash(Prf hash, IkeSpi spi_i, IkeSpi spi_r, const Endpoint& endpoint) {
  return crypto::digest(hash, {Big64(spi_i.value), Big64(spi_r.value), endpoint.address.view(), Big16(endpoint.port)});
}

}  // namespace culvert::ikev1
