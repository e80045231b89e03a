// The keys and certificates of all connections, as their files stand.
// Owns what was read, and reads again what has changed whenever it is asked for: a renewed certificate or a withdrawn authority counts
// from the next negotiation on, without a restart or a signal. While what the files hold does not do (half of them replaced), what they
// held before stays in use, and the operator is told; a file that is gone was taken away, and nothing stays.
// Used in the event loop's thread alone; what it hands out is immutable, for jobs on other threads to hold.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/auth/files.hpp"
#include "control/auth/parsed_files.hpp"
#include "control/crypto/revocation.hpp"
#include "control/crypto/signature.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::control::auth {

/// How we prove who we are: our certificate first, then intermediate authorities; the key fits the first.
struct Own {
  std::vector<crypto::Certificate> chain;
  crypto::PrivateKey key;
};
/// The revocation lists of a connection's files, at the moment of the call; null: none is configured. From any thread, and slow.
using ListsPtr = std::shared_ptr<const std::vector<crypto::RevocationList>>;
using Lists = std::function<std::expected<ListsPtr, std::string>()>;
/// Whom a connection trusts.
struct Trust {
  std::vector<crypto::Certificate> anchors;  ///< authorities
  std::vector<crypto::Certificate> pinned;   ///< peers
  Lists lists{};
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
std::expected<Own, ReadError> read_own(const config::Connection& connection, ParsedFiles& files);
std::expected<Trust, ReadError> read_trust(const config::Connection& connection, ParsedFiles& files);  ///< but the lists
std::expected<std::vector<crypto::RevocationList>, ReadError> read_lists(const config::Connection& connection, ParsedFiles& files);

/// What some files hold, or held while they were good.
template <class T>
struct Kept {
  std::vector<Stamp> stamps;
  std::shared_ptr<const T> value;  ///< null: nothing that can be used
  std::string problem;             ///< of what the files hold now; empty: `value` is that
};

class Credentials {
 public:
  /// Told once that files do not do and what they held before stays in use. From any thread.
  using Complain = std::function<void(const std::string& connection, const std::string& problem)>;

  /// `config` outlives it, and all that it hands out.
  explicit Credentials(const config::GatewayConfig& config, Complain complain = {});

  /// The error is for an operator. A connection that is not configured has neither.
  std::expected<OwnPtr, std::string> own(const std::string& connection);
  std::expected<TrustPtr, std::string> trust(const std::string& connection);

  /// Of one that is configured, and proves itself or is proven by a certificate.
  const Kept<Own>& look_at_own(const config::Connection& connection);
  const Kept<Trust>& look_at_trust(const config::Connection& connection);

 private:
  const config::Connection* find(const std::string& name) const;
  Lists lists_of(const config::Connection& connection);

  const config::GatewayConfig& config_;
  Complain complain_;
  std::shared_ptr<ParsedFiles> files_ = std::make_shared<ParsedFiles>();
  std::map<std::string, Kept<Own>> own_;
  std::map<std::string, Kept<Trust>> trust_;
  std::map<std::string, Lists> lists_;
};

/// Gives each connection that proves itself by a certificate and has no identity the subject of that; a configured name that equals the
/// subject gets the subject's own encoding. Done once, before the engine starts: a later certificate keeps the name.
void fill_identities(config::GatewayConfig& config);

}  // namespace culvert::control::auth
