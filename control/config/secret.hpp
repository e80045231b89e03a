// Turns a secret's reference into the secret. The only place that opens a secret file or reads a secret's variable.
// No error and no warning ever holds a byte of the secret; every copy that is made on the way is wiped.
#pragma once

#include <expected>
#include <string>

#include "common/config/config.hpp"
#include "common/secret.hpp"

namespace culvert::control {

inline constexpr std::size_t kMaxSecretBytes = 4096;
inline constexpr std::size_t kShortSecretBytes = 20;  ///< below this, guessing from a captured handshake is within reach

struct ResolvedSecret {
  SecretBytes bytes;
  std::string warning;  ///< empty, or why the secret is weak
};

/// "file:": a regular file (a symbolic link to one is followed) that neither group nor others may read or write, of 1 to
/// kMaxSecretBytes bytes after one trailing newline ("\n" or "\r\n") was cut. "env:": a variable that is set and not empty.
std::expected<ResolvedSecret, std::string> resolve_secret(const config::SecretRef& ref);

}  // namespace culvert::control
