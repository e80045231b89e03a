// Test material from outside of the repository: the folder that CULVERT_VECTORS names, and this repository's tests/vectors.
// A test that finds none says so in one line and passes: the material is not ours to ship.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>

#include <catch2/catch.hpp>

#include "common/bytes.hpp"

namespace culvert::test {

inline std::optional<std::filesystem::path> vectors(const std::string& what) {
  const char* folder = std::getenv("CULVERT_VECTORS");
  if (folder && *folder) return std::filesystem::path(folder);
  std::cout << what << ": not run, CULVERT_VECTORS is not set\n";
  return std::nullopt;
}

inline Bytes read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  INFO(path);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Bytes of a literal; anything but hexadecimal fails the test.
inline Bytes hex(std::string_view text) {
  std::string packed;
  for (const char c : text)
    if (c != ' ') packed.push_back(c);
  const auto bytes = from_hex(packed);
  INFO(text);
  REQUIRE(bytes);
  return *bytes;
}

}  // namespace culvert::test
