// What culvertd's Authenticator does for the engine, all of it at once in the caller's thread, so that its cost can be taken.
// Owns the credentials of one side. Never asks anybody about revocations.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "control/auth/authenticator.hpp"
#include "control/ike/engine.hpp"

namespace culvert::bench {

class Signer {
 public:
  explicit Signer(const config::GatewayConfig& config);
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;

  /// Answers Sign and VerifyPeer. False: it is another action.
  bool perform(ike::Engine& engine, ike::TimePoint now, ike::Action& action);
  [[nodiscard]] control::auth::Authenticator& authenticator() { return authenticator_; }

 private:
  std::deque<std::function<void()>> posted_;
  std::optional<ike::SignResult> signed_;
  std::optional<ike::VerifyResult> verified_;
  control::auth::Authenticator authenticator_;
};

/// The files of an authority, its gateway and so many peers, P-256 all, in `folder` as `Suites::certificates` wants them.
void write_certificates(const std::string& folder, std::size_t peers);

}  // namespace culvert::bench
