// What tests/vectors/ikev2_crypto.py has computed, and the pattern of bytes that it feeds.
#pragma once

#include <map>
#include <sstream>

#include "control/ikev2/keymat.hpp"
#include "tests/support/vectors.hpp"

namespace culvert::test {

inline Bytes fill(int seed, std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(static_cast<std::size_t>(seed) + 7 * i);
  return out;
}

/// The words of each line that begins with `kind`, without it.
inline std::vector<std::vector<std::string>> golden_lines(const std::string& kind) {
  std::ifstream in(CULVERT_TEST_VECTORS "/ikev2_crypto.txt");
  REQUIRE(in);
  std::vector<std::vector<std::string>> out;
  std::string line, word;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    if (!(words >> word) || word != kind) continue;
    out.emplace_back();
    while (words >> word) out.back().push_back(word);
  }
  return out;
}

}  // namespace culvert::test
