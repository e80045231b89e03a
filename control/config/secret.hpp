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

/// The whole of a regular file (a symbolic link to one is followed) of at most `max` bytes that neither group nor others may read or
/// write. What was opened is what is checked and read. Up to `slack`
/// bytes more are read, for the caller to judge. The error names `what` ("the secret file") and the path.
std::expected<SecretBytes, std::string> read_private_file(const std::string& path, const std::string& what, std::size_t max,
                                                          std::size_t slack = 0);

/// "file:": a regular file (a symbolic link to one is followed) that neither group nor others may read or write, of 1 to
/// kMaxSecretBytes bytes after one trailing newline ("\n" or "\r\n") was cut. "env:": a variable that is set and not empty.
std::expected<ResolvedSecret, std::string> resolve_secret(const config::SecretRef& ref);

}  // namespace culvert::control
