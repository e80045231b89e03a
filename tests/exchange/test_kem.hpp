// A key exchange that is a KEM in form: what the two sides send has different sizes, those of ML-KEM-768, in whose place it is plugged in.
// Owns no secrecy: X25519 padded with bytes that depend on it. For tests alone.
#pragma once

#include "control/crypto/dh.hpp"

namespace culvert::test {

class PaddedX25519 final : public crypto::KeyExchange {
 public:
  PaddedX25519()
      : inner_(crypto::DhKey::generate(DhGroup::Curve25519).value()), public_(padded(inner_->public_value(), info().public_bytes)) {}
  [[nodiscard]] ByteView public_value() const override { return public_; }
  [[nodiscard]] std::expected<SecretBytes, crypto::DhError> compute(ByteView reply) const override {
    if (reply.size() != info().reply_bytes) return std::unexpected(crypto::DhError::BadLength);
    return inner_->compute(reply.first(32));
  }
  static std::expected<crypto::KeyAnswer, crypto::DhError> answer(ByteView value) {
    if (value.size() != info().public_bytes) return std::unexpected(crypto::DhError::BadLength);
    auto out = crypto::answer_exchange(DhGroup::Curve25519, value.first(32));
    if (out) out->public_value = padded(out->public_value, info().reply_bytes);
    return out;
  }
  static const DhInfo& info() { return *find_ke(DhGroup::MlKem768); }

 private:
  static Bytes padded(ByteView value, std::size_t size) {
    Bytes out(value.begin(), value.end());
    while (out.size() < size) out.push_back(static_cast<std::uint8_t>(out[out.size() - 32] ^ out.size()));
    return out;
  }
  std::shared_ptr<crypto::DhKey> inner_;
  Bytes public_;
};

/// From here on mlkem768 is that.
inline void plug_in_test_kem() {
  crypto::plug_in(DhGroup::MlKem768, {[]() -> std::expected<std::shared_ptr<crypto::KeyExchange>, crypto::DhError> {
                                        return std::make_shared<PaddedX25519>();
                                      },
                                      PaddedX25519::answer});
}

}  // namespace culvert::test
