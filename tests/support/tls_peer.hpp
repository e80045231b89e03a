// The other side of EAP-TLS by OpenSSL's own calls, as a second opinion: a client or a server of TLS over memory, with what a test wants.
// Owns one handshake; decides nothing about certificates.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/pki.hpp"

namespace culvert::test {

class TlsPeer {
 public:
  struct How {
    bool server = false;
    std::vector<pki::Issued> chain;   ///< that it sends; none: it has no certificate
    int low = 0x0303, high = 0x0304;  ///< versions: 0x0303 is TLS 1.2
    std::string trusts;               ///< PEM: refuses whoever has no certificate of this authority; empty: takes any
    std::string ciphers;
  };
  explicit TlsPeer(const How& how);
  ~TlsPeer();
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  /// What it says to this.
  Bytes step(ByteView input);
  /// What it says by itself behind the handshake.
  Bytes say(ByteView data);
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] Bytes heard() const { return heard_; }       ///< behind the handshake
  [[nodiscard]] std::string alert() const;                   ///< that it was sent; empty: none
  [[nodiscard]] Bytes msk() const;                           ///< RFC 5216 §2.3, RFC 9190 §2.3
  [[nodiscard]] std::vector<std::string> asked_for() const;  ///< of a client: the authorities in the server's request
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
  bool done_ = false;
  Bytes heard_;
};

}  // namespace culvert::test
