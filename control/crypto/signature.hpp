// Private and public keys, and signatures. IKEv1 makes them over the bare HASH_I or HASH_R, without another hash around it:
//     RSA    PKCS #1 v1.5 block type 1 around the hash, without a DigestInfo (RFC 2409 §5.1), as long as the modulus
//     ECDSA  r | s, each as long as the group's order (RFC 4754 §7)
// IKEv2 makes them over octets that are hashed on the way:
//     RSA    PKCS #1 v1.5 with a DigestInfo, or RSASSA-PSS (RFC 8017 §8)
//     ECDSA  SEQUENCE { r, s } in DER (RFC 7427 §3, RFC 3279 §2.2.3), or r | s (RFC 4754)
// or over the octets as they are:
//     EdDSA  Ed25519, 64 bytes, and Ed448, 114 bytes (RFC 8032, RFC 8420)
// Owns the checks of a key before it is used at all. Success is one value of the library, everything else is failure.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "common/bytes.hpp"
#include "common/secret.hpp"
#include "control/ike/auth_types.hpp"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace culvert::crypto {

inline constexpr unsigned kMinRsaBits = 2048;
inline constexpr unsigned kWeakRsaBits = 1024;     ///< taken where a connection allows it by name, for a legacy peer
inline constexpr unsigned kMaxRsaBits = 8192;      ///< beyond, one verification keeps a core busy for too long
inline constexpr std::size_t kMaxKeyFile = 16384;  ///< bytes of a private key, PEM or DER: RSA of kMaxRsaBits has 6.5 KB

/// Whether keys of this kind make such signatures.
[[nodiscard]] bool fits(ike::SignatureScheme scheme, ike::AuthMethod key);

/// A public key that has passed the checks: RSA of kWeakRsaBits (`weak` up to kMinRsaBits) to kMaxRsaBits with an odd modulus and an odd
/// exponent of 65537 to 2^64, a point of P-256, P-384 or P-521, the curve given by name, or an Ed25519 or Ed448 key. Safe to use from
/// several threads.
class PublicKey {
 public:
  /// A SubjectPublicKeyInfo (RFC 5280 §4.1). The error says what is wrong with the key, for an operator.
  static std::expected<PublicKey, std::string> read(ByteView der);
  /// The same of one that the library has read already, which decodes it with a certificate; it is shared. For control/crypto alone.
  static std::expected<PublicKey, std::string> of(evp_pkey_st* key);

  [[nodiscard]] ike::AuthMethod method() const { return method_; }
  [[nodiscard]] unsigned bits() const { return bits_; }
  /// RSA of fewer than kMinRsaBits.
  [[nodiscard]] bool weak() const { return method_ == ike::AuthMethod::RsaSignature && bits_ < kMinRsaBits; }
  /// Whether `signature` is this key's over `hash` (1 to 64 bytes). Never of an Edwards curve.
  [[nodiscard]] bool verify(ByteView hash, ByteView signature) const;
  /// Whether `signature` is this key's over `octets`, in this form. SignatureScheme::Ikev1: as above.
  [[nodiscard]] bool verify(ike::SignatureScheme scheme, ByteView octets, ByteView signature) const;
  friend bool operator==(const PublicKey& a, const PublicKey& b);

 private:
  friend class PrivateKey;
  struct Key;
  ike::AuthMethod method_{};
  unsigned bits_ = 0;
  std::shared_ptr<const Key> key_;
};

/// Safe to use from several threads. Its memory is wiped when the last copy goes.
class PrivateKey {
 public:
  /// PEM or DER, PKCS #8 or traditional, not encrypted, of a kind that PublicKey takes. The error holds nothing of the key.
  static std::expected<PrivateKey, std::string> read(ByteView file);

  [[nodiscard]] ike::AuthMethod method() const { return public_.method(); }
  [[nodiscard]] const PublicKey& public_key() const { return public_; }
  /// The content of the SIG payload over `hash` (1 to 64 bytes).
  [[nodiscard]] std::expected<Bytes, std::string> sign(ByteView hash) const;
  [[nodiscard]] std::expected<Bytes, std::string> sign(ike::SignatureScheme scheme, ByteView octets) const;

 private:
  PublicKey public_;  ///< its Key has the private part, too
};

}  // namespace culvert::crypto
