// Answers the engine's Sign, VerifyPeer and TlsStep: takes what the files hold at this moment, has a thread of the pool do the work, and
// brings the answer back into the event loop. Every job is answered exactly once, later, whatever happens. Owns the credentials and what is
// known of revocations. Never computes in the loop's thread.
//
//     Gateway --Sign, VerifyPeer--> Authenticator --work--> CryptoPool --post--> loop --SignResult, VerifyResult--> Gateway
#pragma once

#include <functional>

#include "control/auth/credentials.hpp"
#include "control/auth/inventory.hpp"
#include "control/auth/revocation.hpp"
#include "control/auth/tls.hpp"
#include "control/auth/verify.hpp"

namespace culvert::control::auth {

class Authenticator {
 public:
  struct Hooks {
    std::function<bool(std::function<void()>)> compute;  ///< does the work in another thread; false: too much waits already
    std::function<void(std::function<void()>)> post;     ///< into the loop's thread, later; from any thread
    std::function<void(ike::SignResult)> on_signed;      ///< in the loop's thread
    std::function<void(ike::VerifyResult)> on_verified;  ///< in the loop's thread
    std::function<void(ike::TlsStepped)> on_tls{};       ///< in the loop's thread
    std::function<void(Fetch, Fetched)> fetch;           ///< over HTTP; answered once, later, in the loop's thread
    std::function<crypto::WallTime()> now;
    Credentials::Complain complain{};  ///< in the loop's thread
  };
  /// `config` outlives it, and it outlives all work.
  Authenticator(const config::GatewayConfig& config, Hooks hooks);

  void sign(ike::Sign job);
  void verify(ike::VerifyPeer job);
  void tls(ike::TlsStep job);

  // ike::Services
  std::expected<ike::AuthMethod, std::string> signing_method(const std::string& connection);
  std::vector<Bytes> certificates(const std::string& connection);
  std::vector<Bytes> authorities(const std::string& connection);
  std::vector<Bytes> authority_keys(const std::string& connection);

  /// Of all connections.
  Inventory inventory();

 private:
  void answer(ike::SignResult result);
  void answer(ike::VerifyResult result);
  void answer(ike::TlsStepped result);

  void look_at_revocation(Verified verified, TrustPtr trust);
  void look_at_revocation(const std::shared_ptr<TlsTalk>& talk, ike::TlsStepped result, crypto::WallTime now);

  const config::GatewayConfig& config_;
  Hooks hooks_;
  Credentials credentials_;
  Revocation revocation_;
};

}  // namespace culvert::control::auth
