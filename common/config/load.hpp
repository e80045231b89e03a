// Reads the configuration file: all of it or nothing, with every error of the file at once.
// Owns the order of the steps (tree, schema, cross checks). Touches nothing but the file itself: no secret is read here.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.hpp"
#include "common/config/diagnostic.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

struct Loaded {
  GatewayConfig config;
  std::vector<Diagnostic> warnings;  ///< by position
};
/// On failure at least one error, with the warnings between, by position.
using LoadResult = std::expected<Loaded, std::vector<Diagnostic>>;

/// Checks that a process adds, once the file itself was looked at (`root` is its place in the findings): of the files it names, say.
using Further = std::function<void(const GatewayConfig& config, const Where& root)>;

/// `path` must be a readable regular file (or a pipe) of at most kMaxFileBytes.
LoadResult load_file(const std::string& path, const Further& further = {});
/// `file_name` stands in the findings.
LoadResult load_text(std::string_view text, const std::string& file_name, const Further& further = {});

}  // namespace culvert::config
