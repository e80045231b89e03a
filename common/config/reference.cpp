#include "common/config/reference.hpp"

#include "common/config/schema.hpp"

namespace culvert::config {

namespace {

constexpr std::size_t kWidth = 118;

constexpr const char* kHead =
    "# Culvert: the configuration file, with every key that there is.\n"
    "#\n"
    "# Both processes read the same file. culvert-dataplane takes dataplane, ports, vlans, tunnels, routes, default_policy, and format\n"
    "# and level of control.log; culvertd takes the rest, and socket, sa_capacity and control_user of dataplane.\n"
    "# `culvertd --check FILE` lists everything that is wrong with a file, and touches nothing.\n"
    "#\n"
    "# Above each key stands what it does, what it takes, and its default. A key marked \"Required.\" has none. Where the value below\n"
    "# is not the default, it is an example. Keys that keep their defaults are best left out: site-to-site.yaml shows a usual file.\n"
    "#\n"
    "# Times carry a unit: ms, s, m (minutes), h, d. Sizes too: B, KB, MB, GB, TB, each 1024 of the one before.\n"
    "# Where a list may have one entry, the entry alone will do: `local_addrs: 10.9.0.1`.\n"
    "# Names of ports, VLANs, tunnels, connections and children have 1 to 30 letters, digits, '_', '.' or '-'.\n";

/// `text` as comment lines of a width that fits a screen.
void comment(std::string& out, std::size_t indent, std::string_view text) {
  const std::string lead = std::string(indent, ' ') + "#";
  std::string line = lead;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view next = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() > lead.size() && line.size() + 1 + next.size() > kWidth) {
      out += line + "\n";
      line = lead;
    }
    line += " " + std::string(next);
  }
  out += line + "\n";
}

/// "Takes: X. Default: Y." as far as the key has them.
std::string terms(const KeyInfo& key) {
  if (key.shape != KeyInfo::Shape::Value) return key.required ? "Required." : "";
  const std::string takes = "Takes: " + key.expects + ". ";
  if (key.required) return takes + (key.unless.empty() ? "Required." : "Required, unless " + key.unless + " is there.");
  const std::string& value = key.default_text;
  if (!key.derived.empty()) return takes + "Default: " + key.derived + (!key.example.empty() ? "." : ", here " + value + ".");
  return takes + "Default: " + (value.empty() ? "none" : value == "\"\"" ? "empty" : value) + ".";
}

void write(std::string& out, const std::vector<KeyInfo>& keys, std::size_t indent, bool list_item) {
  bool first = true;
  for (const auto& key : keys) {
    const std::string pad = list_item && first ? std::string(indent - 2, ' ') + "- " : std::string(indent, ' ');
    if (indent == 0) out += "\n";
    const std::size_t column = list_item && first ? indent - 2 : indent;
    comment(out, column, key.help);
    if (const std::string text = terms(key); !text.empty()) comment(out, column, text);
    if (!key.prefix.empty()) {  // an example alone: written out, it would be one proof more
      out += std::string(column, ' ') + "# " + key.name + ": " + key.example + "\n";
      continue;
    }
    out += pad + key.name + ":";
    first = false;
    switch (key.shape) {
      case KeyInfo::Shape::Value:
        out += " " + (key.example.empty() ? key.default_text : key.example) + "\n";
        break;
      case KeyInfo::Shape::Map:
        out += "\n";
        write(out, *key.keys, indent + 2, false);
        break;
      case KeyInfo::Shape::NamedMaps:
        out += "\n" + std::string(indent + 2, ' ') + key.example + ":\n";
        write(out, *key.keys, indent + 4, false);
        break;
      case KeyInfo::Shape::ListOfMaps:
        out += "\n";
        write(out, *key.keys, indent + 4, true);
        break;
    }
  }
}

}  // namespace

std::string reference_text() {
  std::string out = kHead;
  write(out, schema().keys(), 0, false);
  return out;
}

}  // namespace culvert::config
