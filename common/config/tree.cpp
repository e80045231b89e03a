// From yaml-cpp's events to the tree.
#include "common/config/tree.hpp"

#include <algorithm>
#include <istream>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <streambuf>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "common/bytes.hpp"

namespace culvert::config {

const Node* Node::find(std::string_view key) const {
  const auto e = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.key == key; });
  return e == entries.end() ? nullptr : e->value.get();
}

std::string Node::describe() const {
  switch (kind) {
    case Kind::Null:
      return "nothing";
    case Kind::Scalar:
      return quoted(text);
    case Kind::Sequence:
      return "a list";
    case Kind::Map:
      return "a map";
  }
  return "nothing";
}

namespace {

Position position(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {static_cast<std::uint32_t>(mark.line) + 1, static_cast<std::uint32_t>(mark.column) + 1};
}

/// Ends the parse of a file that exceeds a bound.
struct Refused : std::runtime_error {
  Refused(Position where, const std::string& why) : std::runtime_error(why), at(where) {}
  Position at;
};

/// Builds the tree from the parser's events. (yaml-cpp's own nodes lose duplicate keys and copy aliases silently.)
class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(Sink& sink) : sink_(sink) {}
  NodePtr take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(Node::Kind::Null, mark, {}, anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, const std::string& value) override {
    leaf(Node::Kind::Scalar, mark, value, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) throw Refused(position(mark), "an alias inside of what it stands for");
    count(known->second->weight, position(mark));
    auto copy = std::make_shared<Node>(*known->second);  // shallow: the children are shared
    copy->at = position(mark);
    attach(std::move(copy), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(Node::Kind::Sequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(Node::Kind::Map, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::shared_ptr<Node> node;
    YAML::anchor_t anchor{};
    std::optional<std::pair<std::string, Position>> key;  ///< of a map, while its value is awaited
    bool dropped = false;                                 ///< the awaited value belongs to a refused key
    std::set<std::string, std::less<>> keys;
  };

  void count(std::size_t nodes, Position at) {
    nodes_ += nodes;
    if (nodes_ > kMaxNodes) throw Refused(at, "more than " + std::to_string(kMaxNodes) + " values, with aliases expanded");
  }
  void leaf(Node::Kind kind, const YAML::Mark& mark, std::string text, YAML::anchor_t anchor) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->at = position(mark);
    node->text = std::move(text);
    count(1, node->at);
    attach(std::move(node), anchor);
  }
  void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->at = position(mark);
    if (open_.size() >= kMaxDepth) throw Refused(node->at, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
    count(1, node->at);
    open_.push_back({std::move(node), anchor, {}, false, {}});
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    attach(std::move(done.node), done.anchor);
  }
  void attach(std::shared_ptr<Node> node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node->kind == Node::Kind::Map && !parent.key && !parent.dropped) {
      take_key(parent, *node);
      return;
    }
    parent.node->weight += node->weight;
    if (parent.node->kind == Node::Kind::Sequence) {
      parent.node->items.push_back(std::move(node));
    } else if (parent.dropped) {
      parent.dropped = false;
    } else {
      // The parser gives an absent value the position of whatever comes next: its key is the better place.
      if (node->kind == Node::Kind::Null) node->at = parent.key->second;
      parent.node->entries.push_back({std::move(parent.key->first), parent.key->second, std::move(node)});
      parent.key.reset();
    }
  }
  void take_key(Open& parent, const Node& key) {
    if (key.kind != Node::Kind::Scalar) {
      sink_.error(key.at, path(), "expected a name as key, got " + key.describe());
      parent.dropped = true;
    } else if (!parent.keys.insert(key.text).second) {
      const auto first =
          std::find_if(parent.node->entries.begin(), parent.node->entries.end(), [&](const auto& e) { return e.key == key.text; });
      const std::string where = first == parent.node->entries.end() ? "" : "; first in line " + std::to_string(first->at.line);
      const std::string base = path();
      sink_.error(key.at, (base.empty() ? "" : base + ".") + key_text(key.text), "the key occurs a second time" + where);
      parent.dropped = true;
    } else {
      parent.key = {key.text, key.at};
    }
  }
  static std::string key_text(std::string_view key) { return printable(as_bytes(key), 64); }
  /// The path of the innermost open node.
  [[nodiscard]] std::string path() const {
    std::string out;
    for (std::size_t i = 0; i + 1 < open_.size(); ++i) {
      if (open_[i].node->kind == Node::Kind::Sequence) {
        out += "[" + std::to_string(open_[i].node->items.size()) + "]";
      } else if (open_[i].key) {
        out += (out.empty() ? "" : ".") + key_text(open_[i].key->first);
      }
    }
    return out;
  }

  Sink& sink_;
  NodePtr root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, NodePtr> anchors_;
  std::size_t nodes_ = 0;
};

/// An input stream over text that stays where it is.
class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

/// Bytes of the UTF-8 character that `s` begins with (RFC 3629 §4); 0: none.
std::size_t utf8_character(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xc2 && first < 0xe0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const bool longer_than_needed = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool no_character = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);  // surrogates; beyond U+10FFFF
  return longer_than_needed || no_character ? 0 : size;
}

/// Control characters are not YAML, and yaml-cpp takes one of them (0x04) for the end of the file. What is not UTF-8 would go from names
/// into JSON and metrics, whose readers refuse it.
bool refuse_characters(std::string_view text, Sink& sink) {
  Position at{1, 1};
  while (!text.empty()) {
    const char c = text.front();
    const auto byte = static_cast<unsigned char>(c);
    const std::size_t size = utf8_character(text);
    const bool control = (byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7f;
    if (control || size == 0) {
      const std::string what = control ? "the control character \\x" : "a byte that is not UTF-8, \\x";
      sink.error(at, {}, "expected text, got " + what + to_hex(ByteView(&byte, 1)));
      return true;
    }
    at = c == '\n' ? Position{at.line + 1, 1} : Position{at.line, at.column + 1};
    text.remove_prefix(size);
  }
  return false;
}

/// The last line up to `limit` with a tab in its indentation, or 0.
std::uint32_t tab_indented_line(std::string_view text, std::uint32_t limit) {
  std::uint32_t found = 0;
  for (std::uint32_t line = 1; line <= limit && !text.empty(); ++line) {
    const std::string_view indentation = text.substr(0, std::min(text.find_first_not_of(" \t"), text.size()));
    if (indentation.find('\t') != std::string_view::npos) found = line;
    const std::size_t end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return found;
}

/// yaml-cpp's message, without the text of the file that some of them end with.
std::string syntax(const YAML::Exception& e, std::string_view text) {
  std::string out = "no valid YAML: " + printable(as_bytes(e.msg.substr(0, e.msg.find(": "))), 160);
  if (const std::uint32_t line = tab_indented_line(text, position(e.mark).line); line != 0)
    out += "; line " + std::to_string(line) + " is indented with a tab, where YAML wants spaces";
  return out;
}

}  // namespace

NodePtr parse_tree(std::string_view text, Sink& sink) {
  if (text.size() > kMaxFileBytes) {
    sink.error({}, {}, "larger than " + std::to_string(kMaxFileBytes >> 20) + " MB, which is no configuration");
    return nullptr;
  }
  if (refuse_characters(text, sink)) return nullptr;
  ViewBuffer buffer(text);
  std::istream in(&buffer);
  Builder builder(sink);
  NodePtr root;
  try {
    YAML::Parser parser(in);
    if (parser.HandleNextDocument(builder)) root = builder.take();
    Builder second(sink);
    if (root && parser.HandleNextDocument(second)) {
      const NodePtr extra = second.take();
      sink.error(extra ? extra->at : Position{}, {}, "expected one YAML document, got a second one");
    }
  } catch (const YAML::Exception& e) {
    sink.error(position(e.mark), {}, syntax(e, text));
    return nullptr;
  } catch (const Refused& e) {
    sink.error(e.at, {}, e.what());
    return nullptr;
  }
  if (!root || root->kind == Node::Kind::Null) {
    sink.error({}, {}, "the file holds nothing; configs/reference.yaml shows what belongs here");
    return nullptr;
  }
  if (root->kind != Node::Kind::Map) {
    sink.error(root->at, {}, "expected a map of sections, got " + root->describe());
    return nullptr;
  }
  return root;
}

}  // namespace culvert::config
