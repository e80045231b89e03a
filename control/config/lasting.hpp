// Secrets of culvertd's own making that outlive it, in control.state_dir. Owns their files: mode 0600, made once, whole or not at all.
// No error holds a byte of one.
#pragma once

#include <expected>
#include <string>

#include "common/secret.hpp"

namespace culvert::control {

inline constexpr std::size_t kLastingSecretBytes = 32;

/// What FOLDER/NAME holds; made of random bytes where there is no such file.
std::expected<SecretBytes, std::string> lasting_secret(const std::string& folder, const std::string& name);

}  // namespace culvert::control
