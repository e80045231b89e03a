// How the two sides of a negotiation prove who they are, other than by a shared secret: the engine's view of keys and certificates.
// Owns types only. The engine never sees a private key or decides about a certificate: it asks, by actions that complete later.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::ike {

/// One side's proof in IKEv1's phase 1, and of which kind a key is. The key's type and curve decide between the signatures (RFC 2409 §5.1,
/// RFC 4754).
/// Edwards curves sign in IKEv2 alone (RFC 8420).
enum class AuthMethod : std::uint8_t { Psk, RsaSignature, EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Ed448, Count_ };
std::string_view name(AuthMethod m);  ///< "psk", "rsa", "ecdsa-256", ...

/// What is signed, and in which form. IKEv1 signs a hash that the engine has made, and the kind of key says the rest. IKEv2 signs octets
/// whose hash is a part of the signature: with the digital signatures of RFC 7427, or in the older ways of RFC 7296 (RSA with SHA-1) and
/// RFC 4754 (ECDSA r | s, with the hash that goes with the curve).
enum class SignatureScheme : std::uint8_t {
  Ikev1,
  RsaSha1,
  RsaSha256,
  RsaSha384,
  RsaSha512,
  PssSha256,  ///< RSASSA-PSS: MGF1 with the same hash, a salt of the hash's size
  PssSha384,
  PssSha512,
  EcdsaSha256,  ///< DER: SEQUENCE { r, s }, any curve
  EcdsaSha384,
  EcdsaSha512,
  EcdsaP256,  ///< r | s (RFC 4754)
  EcdsaP384,
  EcdsaP521,
  Ed25519,  ///< over the octets themselves, which no hash goes before (RFC 8420, RFC 8032)
  Ed448,
  Count_
};
std::string_view name(SignatureScheme s);  ///< "RSA with SHA2-256", ...

/// A CERT payload (RFC 2408 §3.9, RFC 7296 §3.6): encoding 1 is PKCS #7, 4 an X.509 certificate, 7 a CRL.
struct CertificatePayload {
  std::uint8_t encoding = 0;
  Bytes data;
  friend bool operator==(const CertificatePayload&, const CertificatePayload&) = default;
};

/// Sign `octets` (HASH_I or HASH_R; of IKEv2 what RFC 7296 §2.15 has signed) with the connection's private key. Answered by
/// Engine::on_signed.
struct Sign {
  std::uint64_t job = 0;
  std::string connection;
  AuthMethod method{};  ///< of IKEv1; of IKEv2 the scheme tells which keys fit
  Bytes octets;
  SignatureScheme scheme = SignatureScheme::Ikev1;
};
struct SignResult {
  std::uint64_t job = 0;
  bool ok = false;
  Bytes signature;    ///< as the SIG payload carries it: RSA PKCS#1 v1.5 over the bare hash; ECDSA r | s (RFC 4754 §7); IKEv2: the scheme's
  std::string error;  ///< for an operator
};

/// Is this the peer that `connection` wants? The certificates lead to a trust anchor of the connection and are valid, unrevoked and
/// made for this use, they carry the identity, and the signature over `octets` is the end entity's. Answered by Engine::on_verified.
struct VerifyPeer {
  std::uint64_t job = 0;
  std::string connection;
  AuthMethod method{};  ///< of IKEv1; of IKEv2 the scheme tells which keys fit
  Bytes octets, signature;
  std::uint8_t id_type = 0;  ///< RFC 2407 §4.6.2.1, RFC 7296 §3.5
  Bytes id_data;
  std::vector<CertificatePayload> certificates;  ///< as received, in order; may be empty where the peer's is configured here
  SignatureScheme scheme = SignatureScheme::Ikev1;
};

/// A conversation of EAP-TLS. What is inside is whoever's who answers TlsStep; one step at a time has it.
class TlsSession {
 public:
  virtual ~TlsSession() = default;
};
/// The next step of TLS with the connection's peer, by our certificate and key; the peer's certificate has to pass the checks of
/// VerifyPeer, and to carry the identity. Answered by Engine::on_tls.
struct TlsStep {
  std::uint64_t job = 0;
  std::string connection;
  bool server = false;
  std::shared_ptr<TlsSession> session{};  ///< null: it begins
  Bytes input{};                          ///< all that the peer has said; empty: we begin
  std::uint8_t id_type = 0;               ///< as in VerifyPeer
  Bytes id_data{};
};

}  // namespace culvert::ike
