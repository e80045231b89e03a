// The keys and certificates of all connections, as their files stand.
// Owns what was read, and reads again what has changed whenever it is asked for: a renewed certificate or a withdrawn authority counts
// from the next negotiation on, without a restart or a signal. What cannot be read is an error there, never an older content.
// Used in the event loop's thread alone; what it hands out is immutable, for jobs on other threads to hold.
#pragma once

#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/auth/files.hpp"
#include "control/crypto/revocation.hpp"
#include "control/crypto/signature.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::control::auth {

/// How we prove who we are: our certificate first, then intermediate authorities; the key fits the first.
struct Own {
  std::vector<crypto::Certificate> chain;
  crypto::PrivateKey key;
};
/// Whom a connection trusts.
struct Trust {
  std::vector<crypto::Certificate> anchors;   ///< authorities
  std::vector<crypto::Certificate> pinned;    ///< peers
  std::vector<crypto::RevocationList> lists;  ///< of files
  config::Revocation revocation{};
  crypto::Strength strength{};
};
using OwnPtr = std::shared_ptr<const Own>;
using TrustPtr = std::shared_ptr<const Trust>;

/// Reads the files of one connection. The error names the key of the configuration, the file and what is wrong.
struct ReadError {
  std::string key;        ///< "certs", "key", "cacerts", "crls"
  std::size_t index = 0;  ///< in a list
  std::string message;
};
std::expected<Own, ReadError> read_own(const config::Connection& connection);
std::expected<Trust, ReadError> read_trust(const config::Connection& connection);

class Credentials {
 public:
  /// `config` outlives it.
  explicit Credentials(const config::GatewayConfig& config);

  /// The error is for an operator. A connection that is not configured has neither.
  std::expected<OwnPtr, std::string> own(const std::string& connection);
  std::expected<TrustPtr, std::string> trust(const std::string& connection);

 private:
  template <class T>
  struct Kept {
    std::vector<Stamp> stamps;
    std::expected<std::shared_ptr<const T>, std::string> value;
  };
  const config::Connection* find(const std::string& name) const;

  const config::GatewayConfig& config_;
  std::map<std::string, Kept<Own>> own_;
  std::map<std::string, Kept<Trust>> trust_;
};

/// Gives each connection that proves itself by a certificate and has no identity the subject of that; a configured name that equals the
/// subject gets the subject's own encoding. Done once, before the engine starts: a later certificate keeps the name.
void fill_identities(config::GatewayConfig& config);

}  // namespace culvert::control::auth
