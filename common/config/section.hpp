// A map of the configuration, described once: each key with its kind, its default and its help.
// Reading, the refusal of unknown keys, the list of required keys and the reference file all come from this one description.
// Owns no key itself (schema.cpp does), and no check that spans several keys (validate.cpp does).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"

namespace culvert::config {

/// What a key is, for those who only describe it.
struct KeyInfo {
  enum class Shape : std::uint8_t { Value, Map, NamedMaps, ListOfMaps };
  std::string name;
  Shape shape{};
  std::string expects;       ///< of a value
  std::string default_text;  ///< of a value that is not required: the text that reads as the code's default
  std::string derived;       ///< in words, where the default follows another key: "110 % of rekey_time"
  std::string example;       ///< for the reference file, where the default would say nothing
  std::string help;
  bool required = false;
  std::string unless;                                ///< ... but not beside this key
  std::shared_ptr<const std::vector<KeyInfo>> keys;  ///< of the map(s) below
  std::string prefix{};                              ///< any key that begins so and goes on as is_further() has it; `name` is one of them
};

/// Reports `key` as unknown among `known`, at its own position. The known key that it resembles counts as failed.
void report_unknown_key(const At& map, const Node::Entry& key, const std::vector<KeyInfo>& known);
/// Reports a required key that is missing, unless a misspelling of it was reported.
void report_missing_key(const At& map, const KeyInfo& key);
/// The path of `key` in `map`; a key that came from the file is made printable.
std::string join(const std::string& path, std::string_view key);

template <class T>
class Section {
 public:
  Section() : infos_(std::make_shared<std::vector<KeyInfo>>()) {}

  /// A key with a value. Without required() its default is what a fresh T holds.
  template <class M>
  Section& key(std::string name, M T::* member, Kind<M> kind, std::string help) {
    KeyInfo info{std::move(name), KeyInfo::Shape::Value, kind.expects, kind.show(T{}.*member), {}, {}, std::move(help), false, {}, {}};
    return add(std::move(info), [member, kind = std::move(kind)](const At& at, T& out) {
      if (auto value = kind.read(at)) out.*member = std::move(*value);
    });
  }
  /// A map whose keys fill a member.
  template <class U>
  Section& map(std::string name, U T::* member, const Section<U>& section, std::string help) {
    KeyInfo info{std::move(name), KeyInfo::Shape::Map, {}, {}, {}, {}, std::move(help), false, {}, section.infos_};
    return add(std::move(info), [member, section](const At& at, T& out) { section.read(at, out.*member); });
  }
  /// A map whose keys fill members of the same T.
  Section& inner(std::string name, const Section& section, std::string help) {
    KeyInfo info{std::move(name), KeyInfo::Shape::Map, {}, {}, {}, {}, std::move(help), false, {}, section.infos_};
    return add(std::move(info), [section](const At& at, T& out) { section.read(at, out); });
  }
  /// A map from names to maps, each of which becomes an entry with that name. `example` names the entry in the reference file.
  template <class U>
  Section& named(std::string name, std::vector<U> T::* member, const Section<U>& section, std::size_t max, std::string example,
                 std::string help) {
    KeyInfo info{std::move(name), KeyInfo::Shape::NamedMaps, {}, {}, {}, std::move(example), std::move(help), false, {}, section.infos_};
    return add(std::move(info), [member, section, max](const At& at, T& out) {
      if (at.node.kind == Node::Kind::Null) return;
      if (at.node.kind != Node::Kind::Map) return at.expected("a map from names to maps");
      if (at.node.entries.size() > max)
        return at.error("expected at most " + std::to_string(max) + " entries, got " + std::to_string(at.node.entries.size()));
      for (const auto& entry : at.node.entries) {
        const At below = at.below(*entry.value, join(at.path, entry.key));
        U value;
        value.name = entry.key;
        if (!valid_name(entry.key))
          at.sink.error(entry.at, below.path, "expected " + std::string(kNameRule) + ", got " + quoted(entry.key));
        section.read(below, value);
        (out.*member).push_back(std::move(value));
      }
    });
  }
  /// Maps with keys that begin with `prefix` and have something of their own behind it ("local-2", "local-eap"), each an entry.
  template <class U>
  Section& further(const std::string& prefix, std::vector<U> T::* member, const Section<U>& section, std::string help) {
    KeyInfo info{prefix + "-2", KeyInfo::Shape::Map, {}, {}, {}, {}, std::move(help), false, {}, section.infos_, prefix};
    return add(std::move(info), [member, section](const At& at, T& out) {
      U value;
      section.read(at, value);
      value.auth.place.section = at.path.substr(at.path.rfind('.') + 1);
      (out.*member).push_back(std::move(value));
    });
  }
  template <class U>
  Section& list(std::string name, std::vector<U> T::* member, const Section<U>& section, std::size_t max, std::string help) {
    KeyInfo info{std::move(name), KeyInfo::Shape::ListOfMaps, {}, {}, {}, {}, std::move(help), false, {}, section.infos_};
    return add(std::move(info), [member, section, max](const At& at, T& out) {
      if (at.node.kind == Node::Kind::Null) return;
      if (at.node.kind != Node::Kind::Sequence) return at.expected("a list of maps");
      if (at.node.items.size() > max)
        return at.error("expected at most " + std::to_string(max) + " entries, got " + std::to_string(at.node.items.size()));
      for (std::size_t i = 0; i < at.node.items.size(); ++i) {
        U value;
        section.read(at.item(i), value);
        (out.*member).push_back(std::move(value));
      }
    });
  }

  /// The keys of `section`, written in the same map, fill a member.
  template <class U>
  Section& keys_of(U T::* member, const Section<U>& section) {
    for (std::size_t i = 0; i < section.infos_->size(); ++i)
      add((*section.infos_)[i], [member, reader = section.readers_[i]](const At& at, T& out) { reader(at, out.*member); });
    return *this;
  }

  // These describe the key added last.
  Section& required(std::string example) {
    last().required = true;
    last().default_text.clear();
    return this->example(std::move(example));
  }
  /// Not required where `key` is given.
  Section& unless(std::string key) {
    last().unless = std::move(key);
    return *this;
  }
  Section& derived(std::string words) {
    last().derived = std::move(words);
    return *this;
  }
  Section& example(std::string value) {
    last().example = std::move(value);
    return *this;
  }
  /// Called when all keys were read: fills what follows from other keys.
  Section& finish(std::function<void(const At&, T&)> step) {
    finish_ = std::move(step);
    return *this;
  }

  /// Called before a key is read: sets what the reading of several depends on, wherever in the map it stands.
  Section& first(std::function<void(At&)> step) {
    first_ = std::move(step);
    return *this;
  }

  /// Reads a map into `out`. What is wrong goes to the sink; `out` keeps its defaults there.
  void read(At at, T& out) const {
    if (at.node.kind != Node::Kind::Map && at.node.kind != Node::Kind::Null) return at.expected("a map");
    if (first_) first_(at);
    for (const auto& entry : at.node.entries) {
      std::size_t i = 0;
      while (i < infos_->size() && !means((*infos_)[i], entry.key)) ++i;
      if (i == infos_->size()) {
        report_unknown_key(at, entry, *infos_);
      } else {
        readers_[i](at.below(*entry.value, join(at.path, entry.key)), out);
      }
    }
    for (const auto& info : *infos_)
      if (info.required && !at.given(info.name) && (info.unless.empty() || !at.given(info.unless))) report_missing_key(at, info);
    if (finish_) finish_(at, out);
  }
  [[nodiscard]] const std::vector<KeyInfo>& keys() const { return *infos_; }

 private:
  template <class>
  friend class Section;

  Section& add(KeyInfo info, std::function<void(const At&, T&)> reader) {
    infos_->push_back(std::move(info));
    readers_.push_back(std::move(reader));
    return *this;
  }
  KeyInfo& last() { return infos_->back(); }
  static bool means(const KeyInfo& info, const std::string& key) {
    return info.prefix.empty() ? info.name == key : is_further(info.prefix, key);
  }

  std::shared_ptr<std::vector<KeyInfo>> infos_;
  std::vector<std::function<void(const At&, T&)>> readers_;
  std::function<void(At&)> first_;
  std::function<void(const At&, T&)> finish_;
};

}  // namespace culvert::config
