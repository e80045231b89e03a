// Files of certificates, keys and revocation lists: reading them within bounds, and noticing that they changed.
// Owns no content. Never reads a device or waits for a pipe.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::control::auth {

/// The whole of a regular file of at most `max` bytes. The error names the file.
std::expected<Bytes, std::string> read_file(const std::string& path, std::size_t max);

/// What tells whether a file is still the one that was read: not its content, but everything that changes with it.
struct Stamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0, changed_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};
/// Of each file; one that is not there has an empty one.
std::vector<Stamp> stamps(const std::vector<std::string>& paths);

}  // namespace culvert::control::auth
