// How unknown and missing keys are told.
#include "common/config/section.hpp"

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"

namespace culvert::config {

namespace {
constexpr std::size_t kMaxKeyShown = 64;

/// The name that `key` is a misspelling, or the beginning, of.
std::string resembling(std::string_view key, const std::vector<std::string_view>& names) {
  std::string out = nearest(key, names);
  for (const auto name : names)
    if (out.empty() && key.size() >= 3 && name.starts_with(key)) out = name;
  return out;
}
}  // namespace

std::string join(const std::string& path, std::string_view key) {
  return (path.empty() ? "" : path + ".") + printable(as_bytes(key), kMaxKeyShown);
}

void report_unknown_key(const At& map, const Node::Entry& key, const std::vector<KeyInfo>& known) {
  std::vector<std::string_view> names;
  std::string all;
  for (const auto& info : known) {
    names.push_back(info.name);
    all += (all.empty() ? "" : ", ") + info.name;
  }
  const std::string meant = key.key.size() <= kMaxKeyShown ? resembling(key.key, names) : "";
  if (!meant.empty()) map.sink.fail(join(map.path, meant));
  map.sink.error(key.at, join(map.path, key.key), "unknown key" + (meant.empty() ? "; known here are " + all : ""), meant);
}

void report_missing_key(const At& map, const KeyInfo& key) {
  const std::string path = join(map.path, key.name);
  if (map.sink.failed(path)) return;
  map.sink.error(map.node.at, path, "the key is missing: expected " + (key.expects.empty() ? "a map" : key.expects));
}

}  // namespace culvert::config
