// What `culvertd --check` says about the files of keys and certificates, and what culvertd says at start.
// Owns the findings; reads files, changes nothing.
#pragma once

#include <functional>
#include <string>

#include "common/config/validate.hpp"
#include "control/auth/parsed_files.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::control::auth {

/// A finding about a connection: the path of the key ("local.certs[0]") and the text.
struct Finding {
  bool error = false;
  std::string side, key;  ///< "local", "certs"
  std::size_t index = 0;  ///< in a list
  std::string message;
};
/// Files that cannot be read or do not fit, our identity that our certificate lacks: errors. Certificates that are expired, not valid
/// yet, or end within 14 days: warnings.
std::vector<Finding> findings(const config::Connection& connection, ParsedFiles& files, crypto::WallTime now);

/// All of it as findings at the keys of the configuration.
void check_files(const config::GatewayConfig& config, const config::Where& root, crypto::WallTime now);

}  // namespace culvert::control::auth
