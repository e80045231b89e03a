// TLS as EAP-TLS has it (RFC 5216; with TLS 1.3 RFC 9190): a handshake in which both sides have certificates, message by message instead of
// over a connection, and the key that comes of it.
// Owns what is spoken: TLS 1.2 and 1.3 with ciphers of today, never resumed, renegotiated or compressed. Does not decide whether the peer's
// certificates will do: `judge` does. Slow, since it signs and verifies: not for the event loop. One thread at a time.
//
//   advance() until `proven`; conclude() once nothing else speaks against the peer; then, until concluded(), advance() again
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/secret.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::crypto {

inline constexpr std::size_t kMaxTlsCertificates = 32768;  ///< bytes of a peer's certificates

class Tls {
 public:
  /// Of the peer's certificates, the end entity's first, whose key it proves to have: why they will not do.
  using Judge = std::function<std::optional<Refusal>(std::span<const Certificate>)>;
  struct Setup {
    bool server = false;
    std::span<const Certificate> chain;  ///< ours, the end entity's first
    const PrivateKey& key;
    std::span<const Certificate> authorities;  ///< of a server: of whom it asks for certificates
    Strength strength{};
    WallTime now;
    Judge judge;
  };
  /// Throws LibraryError.
  explicit Tls(Setup setup);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  struct Failure {
    Refusal refusal;
    std::string alert{};  ///< of the peer, which ends it: "unknown CA"; empty: we do
  };
  struct Step {
    Bytes output;         ///< for the peer; of a failure our alert, if there is one
    bool proven = false;  ///< the handshake is complete, and both sides have proved themselves
    std::optional<Failure> failure;
  };
  /// All that the peer has said. A client begins without.
  Step advance(ByteView input);
  /// Behind `proven`: what a server says to a client that nothing else speaks against (RFC 9190 §2.1.1).
  Bytes conclude();
  /// Both sides know that it went well.
  [[nodiscard]] bool concluded() const;
  /// RFC 5216 §2.3, RFC 9190 §2.3: 64 bytes.
  [[nodiscard]] SecretBytes msk() const;
  [[nodiscard]] std::string version() const;  ///< "TLSv1.3"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::crypto
