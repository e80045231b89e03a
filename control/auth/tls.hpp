// EAP-TLS for the engine: a conversation of TLS with our key and certificates, the peer's judged by the checks of VerifyPeer.
// Owns the conversation between its steps, and which certificates it was held with: files that change meanwhile are for the next one.
// Pure but for the library: any thread may take a step, one at a time, and nothing is asked of the network.
#pragma once

#include <optional>
#include <vector>

#include "control/auth/credentials.hpp"
#include "control/crypto/tls.hpp"
#include "control/ike/auth_types.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::control::auth {

class TlsTalk final : public ike::TlsSession {
 public:
  TlsTalk(OwnPtr own, TrustPtr trust) : own_(std::move(own)), trust_(std::move(trust)) {}

  /// All but the session of an answer to `step`.
  ike::TlsStepped advance(const ike::TlsStep& step, crypto::WallTime now) noexcept;
  /// Whether with that step the peer has proved itself, and all that is left to be asked is whether its certificate was revoked.
  [[nodiscard]] bool to_be_asked() const { return proven_ && !asked_; }
  /// Nothing speaks against it. `result`, of the same step, gets the rest.
  void conclude(ike::TlsStepped& result) noexcept;
  /// Something does: the conversation is over.
  static void refuse(ike::TlsStepped& result, const crypto::Refusal& why);

  /// From the peer's certificate to the anchor; a pinned one alone.
  [[nodiscard]] const std::vector<crypto::Certificate>& path() const { return path_; }
  [[nodiscard]] const TrustPtr& trust() const { return trust_; }

 private:
  void make(const ike::TlsStep& step, crypto::WallTime now);
  std::optional<crypto::Refusal> judge(std::span<const crypto::Certificate> chain, const ike::TlsStep& first, crypto::WallTime now);

  OwnPtr own_;
  TrustPtr trust_;
  std::unique_ptr<crypto::Tls> tls_;
  std::vector<crypto::Certificate> path_;
  std::string subject_;
  bool proven_ = false, asked_ = false;
};

}  // namespace culvert::control::auth
