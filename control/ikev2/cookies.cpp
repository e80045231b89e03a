#include "control/ikev2/cookies.hpp"

#include "control/crypto/hash.hpp"

namespace culvert::ikev2 {

void Cookies::renew(ike::TimePoint now, ike::Services& services) {
  if (current_ && now - since_ < kSecretLife) return;
  const bool recent = current_ && now - since_ < 2 * kSecretLife;
  const std::uint8_t next = current_ ? static_cast<std::uint8_t>(current_->version + 1) : std::uint8_t{0};
  before_ = recent ? std::move(current_) : std::nullopt;
  current_ = Secret{next, SecretBytes(32)};
  services.random(current_->bytes.mutable_view());
  since_ = now;
}

Bytes Cookies::made_with(const Secret& secret, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i) {
  Writer place;
  place.be(spi_i.value);
  place.be(remote.port);
  place.be(remote.vrf);
  place.bytes(remote.address.view());
  const SecretBytes mac = crypto::hmac(Prf::HmacSha2_256, secret.bytes.view(), {nonce_i, place.view()});
  Writer out;
  out.be(secret.version);
  out.bytes(mac.view());
  return std::move(out).take();
}

Bytes Cookies::make(ike::TimePoint now, ike::Services& services, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i) {
  renew(now, services);
  return made_with(*current_, nonce_i, remote, spi_i);
}

bool Cookies::good(ike::TimePoint now, ike::Services& services, ByteView cookie, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i) {
  renew(now, services);
  if (cookie.empty()) return false;
  for (const auto* secret : {&current_, &before_})
    if (*secret && (*secret)->version == cookie[0] && equal_constant_time(made_with(**secret, nonce_i, remote, spi_i), cookie)) return true;
  return false;
}

}  // namespace culvert::ikev2
