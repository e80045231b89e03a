// A key exchange method, whatever is behind it: the Diffie-Hellman groups (dh.hpp), KEMs of the library (kem.cpp), and what else is
// plugged in. The initiator makes its half, the responder answers the initiator's public value at once, and the initiator finishes with
// the answer; what the two send may have sizes of their own.
// Owns which methods there are. Never knows a message: the forms are those of a KE payload's data (RFC 7296 §3.4, RFC 9370 §2.2.1).
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string_view>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/secret.hpp"

namespace culvert::crypto {

enum class DhError : std::uint8_t {
  UnknownGroup,  ///< no method has this number, or the library lacks it
  BadLength,     ///< the peer's value has not the length that the method prescribes
  OutOfRange,    ///< MODP: not 1 < y < p-1, or not of the subgroup (RFC 6989 §2.1, §2.2); Curve25519, Curve448: of small order
  NotOnCurve,    ///< ECP, Brainpool: no point of the curve; a coordinate that is not below p is none either (RFC 6989 §2.3)
  NoKey,         ///< a KEM: the public value is none (FIPS 203 §7.2)
  Library,       ///< the library failed; not the peer's doing
};
std::string_view name(DhError e);

/// The initiator's half. It does not change: several threads may finish with one at once.
class KeyExchange {
 public:
  KeyExchange() = default;
  virtual ~KeyExchange() = default;
  KeyExchange(const KeyExchange&) = delete;
  KeyExchange& operator=(const KeyExchange&) = delete;
  /// What goes to the responder.
  [[nodiscard]] virtual ByteView public_value() const = 0;
  /// The shared secret, of what the responder says.
  [[nodiscard]] virtual std::expected<SecretBytes, DhError> compute(ByteView reply) const = 0;
};

/// The responder's half, which is done with at once.
struct KeyAnswer {
  Bytes public_value;  ///< or ciphertext: what goes to the initiator
  SecretBytes shared;
};

/// Slow (up to milliseconds): not for the event loop. Safe from any thread.
std::expected<std::shared_ptr<KeyExchange>, DhError> begin_exchange(DhGroup method);
std::expected<KeyAnswer, DhError> answer_exchange(DhGroup method, ByteView public_value);
/// Whether this machine can: a KEM may be one that the library does not have.
bool has_method(DhGroup method);

/// A method from elsewhere, in the place of what the library has or lacks.
struct Method {
  std::function<std::expected<std::shared_ptr<KeyExchange>, DhError>()> begin;
  std::function<std::expected<KeyAnswer, DhError>(ByteView)> answer;
};
/// Before any thread computes; its number is one of dh_table() or kem_table(). Stays for the life of the program.
void plug_in(DhGroup number, Method method);

}  // namespace culvert::crypto
