// Stateless cookies (RFC 7296 §2.6): a responder under load asks who knocks to say once more what it was told, and keeps nothing until
// then. Owns the secrets that cookies are made with, which change by themselves. Decides nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "common/bytes.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ikev2 {

class Cookies {
 public:
  static constexpr std::chrono::seconds kSecretLife{60};  ///< a cookie is good for this long, at most twice

  /// Version of the secret | HMAC(secret, nonce | address | port | SPIi): 33 bytes.
  Bytes make(ike::TimePoint now, ike::Services& services, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i);
  /// Whether it is one of ours for these.
  bool good(ike::TimePoint now, ike::Services& services, ByteView cookie, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i);

 private:
  struct Secret {
    std::uint8_t version = 0;
    SecretBytes bytes;
  };
  void renew(ike::TimePoint now, ike::Services& services);
  [[nodiscard]] static Bytes made_with(const Secret& secret, ByteView nonce_i, const Endpoint& remote, IkeSpi spi_i);

  std::optional<Secret> current_, before_;
  ike::TimePoint since_{};
};

}  // namespace culvert::ikev2
