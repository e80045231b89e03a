// The YAML file as a tree whose every node knows its line and column. Owns everything that is wrong with a file before any key
// is looked at: syntax, size, depth, aliases that grow without bound, duplicate keys, several documents.
// Never interprets a value, and lets no yaml-cpp type out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/diagnostic.hpp"

namespace culvert::config {

inline constexpr std::size_t kMaxFileBytes = 4U << 20;  ///< far above 4096 children written out
inline constexpr std::size_t kMaxDepth = 16;            ///< the schema needs 6
inline constexpr std::size_t kMaxNodes = 1'000'000;     ///< with every alias counted as what it stands for

struct Node;
using NodePtr = std::shared_ptr<const Node>;

struct Node {
  enum class Kind : std::uint8_t { Null, Scalar, Sequence, Map } kind{};
  Position at;
  std::string text;  ///< of a scalar
  struct Entry {
    std::string key;
    Position at;
    NodePtr value;
  };
  std::vector<Entry> entries;  ///< of a map, keys unique
  std::vector<NodePtr> items;  ///< of a sequence
  std::size_t weight = 1;      ///< nodes in this tree, aliases expanded

  /// The value of `key`, or nullptr.
  [[nodiscard]] const Node* find(std::string_view key) const;
  /// "a map", "a list", "nothing" or the quoted text.
  [[nodiscard]] std::string describe() const;
};

/// Parses `text`. Every error goes to `sink`; the tree is null only where nothing of it is usable. Duplicate keys are
/// reported and the first one is kept, so that the rest of the file is checked all the same.
NodePtr parse_tree(std::string_view text, Sink& sink);

}  // namespace culvert::config
