// Diffie-Hellman for IKE: the groups of dh_table() (RFC 2409, 3526, 5114, 5903, 6954, 8031), in the wire form of a KE payload.
// Owns the validation of a peer's public value: nothing that this class returns came from a value that the group forbids.
// A key does not change: several threads may compute with one at once, and with several peers' values, each of which is judged as RFC 6989
// asks where a key is used again. Slow (up to milliseconds): not for the event loop.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"
#include "control/crypto/key_exchange.hpp"

namespace culvert::crypto {

/// A key pair.
class DhKey final : public KeyExchange {
 public:
  static std::expected<std::shared_ptr<DhKey>, DhError> generate(DhGroup group);
  /// A key pair from a known private value (big-endian), for known-answer tests. Its public_value() is empty.
  static std::expected<std::shared_ptr<DhKey>, DhError> from_private(DhGroup group, ByteView private_value);
  ~DhKey() override;

  [[nodiscard]] DhGroup group() const { return group_; }
  /// The value for the KE payload: the prime's size with zeros in front (RFC 2409 §5), or x and y (RFC 5903 §7).
  [[nodiscard]] ByteView public_value() const override { return public_; }
  /// g^xy in exactly the group's shared_bytes: with zeros in front (RFC 2409 §5), or x alone (RFC 5903 §9).
  [[nodiscard]] std::expected<SecretBytes, DhError> compute(ByteView peer_public) const override;

 private:
  struct Key;
  DhKey(DhGroup group, std::unique_ptr<Key> key, Bytes public_value);

  DhGroup group_;
  std::unique_ptr<Key> key_;
  Bytes public_;
};

}  // namespace culvert::crypto
