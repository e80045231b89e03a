// Secrets of culvertd's own making that outlive it, in control.state_dir. Owns their files: mode 0600, made once, whole or not at all.
// No error holds a byte of one.
#pragma once

#include <expected>
#include <string>

#include "common/secret.hpp"

namespace culvert::control {

inline constexpr std::size_t kLastingSecretBytes = 32;

void random_secret(MutableByteView out);
/// FOLDER/NAME has this content, with mode 0600, or what it had before. Beside its place first: a file that is there is a whole one.
std::expected<void, std::string> replace_private_file(const std::string& folder, const std::string& name, ByteView content);
/// What FOLDER/NAME holds; made of random bytes where there is no such file.
std::expected<SecretBytes, std::string> lasting_secret(const std::string& folder, const std::string& name);

}  // namespace culvert::control
