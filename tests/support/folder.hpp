// A folder that goes away with its test.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>
#include <sys/stat.h>

namespace culvert::test {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "culvert-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  /// Its path. An older file of this name is overwritten.
  std::string file(const std::string& name, const std::string& content, mode_t mode = 0600) const {
    const std::string where = at(name);
    std::ofstream(where, std::ios::binary) << content;
    ::chmod(where.c_str(), mode);
    return where;
  }
  [[nodiscard]] std::string at(const std::string& name) const { return (path / name).string(); }
};

}  // namespace culvert::test
