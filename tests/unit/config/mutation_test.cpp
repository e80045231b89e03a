// Breaks the reference in every key, in every way that hands break files: each of some hundred files must be refused with a finding
// that names the very key, in its very line, or, where leaving the key out is allowed, must load.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"
#include "common/config/schema.hpp"
#include "common/config/tree.hpp"

using namespace culvert::config;

namespace {

enum class Break { None, Misspell, Drop, Duplicate, Empty, MapInstead, TooLong };
constexpr Break kBreaks[] = {Break::Misspell, Break::Drop, Break::Duplicate, Break::Empty, Break::MapInstead, Break::TooLong};

/// A key of the reference, and what the schema says about it.
struct Target {
  const Node::Entry* entry;
  const KeyInfo* info;
  std::string parent;
  [[nodiscard]] std::string path() const { return parent.empty() ? entry->key : parent + "." + entry->key; }
};

void collect(const Node& map, const std::vector<KeyInfo>& keys, const std::string& path, std::vector<Target>& out) {
  for (const auto& entry : map.entries) {
    const auto info = std::find_if(keys.begin(), keys.end(), [&](const KeyInfo& k) { return k.name == entry.key; });
    REQUIRE(info != keys.end());
    out.push_back({&entry, &*info, path});
    const std::string here = out.back().path();
    if (info->shape == KeyInfo::Shape::Map) collect(*entry.value, *info->keys, here, out);
    if (info->shape == KeyInfo::Shape::NamedMaps)
      for (const auto& named : entry.value->entries) collect(*named.value, *info->keys, here + "." + named.key, out);
    if (info->shape == KeyInfo::Shape::ListOfMaps) collect(*entry.value->items.at(0), *info->keys, here + "[0]", out);
  }
}

/// Writes the tree as YAML again, broken at one entry.
class Emitter {
 public:
  Emitter(const Node::Entry* target, Break how) : target_(target), how_(how) {}
  std::string write(const Node& root) {
    map(root, 0);
    return out_.str();
  }
  /// Of the (last) key that was broken.
  [[nodiscard]] std::uint32_t broken_line() const { return broken_; }

 private:
  static std::string scalar(const Node& n) {
    std::string out = "\"";
    for (const char c : n.text) out += (c == '"' || c == '\\') ? std::string{'\\', c} : std::string{c};
    return out + "\"";
  }
  void line(std::size_t indent, const std::string& text) {
    out_ << std::string(indent, ' ') << text << '\n';
    ++lines_;
  }
  void value(const std::string& key, const Node& n, std::size_t indent) {
    if (n.kind == Node::Kind::Scalar) {
      line(indent, key + ": " + scalar(n));
    } else if (n.kind == Node::Kind::Map) {
      line(indent, key + ":");
      map(n, indent + 2);
    } else if (!n.items.empty() && n.items[0]->kind == Node::Kind::Map) {
      line(indent, key + ":");
      for (const auto& item : n.items) {
        line(indent + 2, "-");
        map(*item, indent + 4);
      }
    } else {
      std::string list;
      for (const auto& item : n.items) list += (list.empty() ? "" : ", ") + scalar(*item);
      line(indent, key + ": [" + list + "]");
    }
  }
  void map(const Node& n, std::size_t indent) {
    for (const auto& entry : n.entries) {
      if (&entry != target_ || how_ == Break::None) {
        value(entry.key, *entry.value, indent);
        continue;
      }
      if (how_ == Break::Duplicate) value(entry.key, *entry.value, indent);
      broken_ = lines_ + 1;
      switch (how_) {
        case Break::Drop:
          break;
        case Break::Misspell:
          value(misspelled(entry.key), *entry.value, indent);
          break;
        case Break::Empty:
          line(indent, entry.key + ":");
          break;
        case Break::MapInstead:
          line(indent, entry.key + ": {\"no such key\": 1}");
          break;
        case Break::TooLong:
          line(indent, entry.key + ": " + std::string(5000, 'x'));
          break;
        default:
          value(entry.key, *entry.value, indent);
      }
    }
  }

 public:
  static std::string misspelled(std::string key) { return key.insert(key.size() / 2, "q"); }

 private:
  const Node::Entry* target_;
  Break how_;
  std::ostringstream out_;
  std::uint32_t lines_ = 0, broken_ = 0;
};

/// Whether a file without a value for this key is fine.
bool may_be_absent(const Target& t) {
  return !t.info->required && t.path() != "ports" && t.entry->key != "children" && t.entry->key != "secret";
}

bool must_fail(const Target& t, Break how) {
  if (how == Break::Drop) return !may_be_absent(t);
  if (how == Break::Empty) return t.info->shape == KeyInfo::Shape::Value || !may_be_absent(t);
  return true;
}

/// The path that a finding must have.
std::string wanted_path(const Target& t, Break how) {
  const std::string path = t.path();
  if (how == Break::Misspell) return path.substr(0, path.size() - t.entry->key.size()) + Emitter::misspelled(t.entry->key);
  return path;
}

bool names_it(const Diagnostic& d, const std::string& path, std::uint32_t line, Break how, KeyInfo::Shape shape) {
  if (how == Break::Drop) return d.path == path;  // there is no line that it could be in
  const bool below = how == Break::MapInstead && shape != KeyInfo::Shape::Value;
  return d.at.line == line && (d.path == path || (below && d.path.starts_with(path)));
}

}  // namespace

TEST_CASE("the reference broken in each key, in six ways", "[config][mutation]") {
  std::ifstream in(std::string(CULVERT_CONFIGS) + "/reference.yaml");
  std::stringstream content;
  content << in.rdbuf();
  Sink sink("reference.yaml");
  const NodePtr root = parse_tree(content.str(), sink);
  REQUIRE(root);
  REQUIRE(load_text(Emitter(nullptr, Break::None).write(*root), "whole.yaml"));

  std::vector<Target> targets;
  collect(*root, schema().keys(), "", targets);
  std::size_t refused = 0, loaded = 0;
  for (const auto& target : targets)
    for (const Break how : kBreaks) {
      Emitter emitter(target.entry, how);
      const std::string text = emitter.write(*root);
      const auto result = load_text(text, "broken.yaml");
      INFO(target.path() << ", break " << static_cast<int>(how));
      if (!must_fail(target, how)) {
        ++loaded;
        if (!result) UNSCOPED_INFO(result.error().at(0).to_string());
        CHECK(result.has_value());
        continue;
      }
      ++refused;
      REQUIRE_FALSE(result.has_value());
      const std::string path = wanted_path(target, how);
      const bool named = std::any_of(result.error().begin(), result.error().end(), [&](const Diagnostic& d) {
        return names_it(d, path, emitter.broken_line(), how, target.info->shape);
      });
      if (!named)
        for (const auto& d : result.error()) UNSCOPED_INFO(d.to_string());
      CHECK(named);
      if (how == Break::Misspell) CHECK(result.error().size() <= 2);  // no cascade behind a typing error
    }
  std::cout << "ran " << refused + loaded << " broken configurations: " << refused << " refused, " << loaded << " fine without the key\n";
  CHECK(refused >= 200);
}
