// The kinds for what IPsec speaks of: selectors, identities, secrets, proposals.
#include <algorithm>

#include "common/config/kinds.hpp"
#include "common/config/kinds_detail.hpp"
#include "common/config/selectors.hpp"
#include "common/dn.hpp"

namespace culvert::config {

namespace {
constexpr std::size_t kMaxSuites = 64;  // a proposal list is sent in one SA payload and answered from the peer's

std::string quote_percent(const std::string& s) { return s.starts_with('%') ? "\"" + s + "\"" : s; }
}  // namespace

Kind<TrafficSelector> selector() {
  const std::string expects = "a traffic selector such as 10.1.0.0/24, 10.1.0.5[tcp/443] or 10.1.0.1-10.1.0.9";
  return {expects,
          [=](const At& at) -> std::optional<TrafficSelector> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto ts = TrafficSelector::parse(*value);
            if (!ts) {
              at.error("expected " + expects + ", got " + quoted(*value) +
                       (value->size() <= kSuggestBytes && ascii(*value) ? ": " + ts.error() : ""));
            } else {
              return *ts;
            }
            return std::nullopt;
          },
          [](const TrafficSelector& v) { return v.to_string(); }};
}

Kind<SideSelector> side_selector() {
  Kind<TrafficSelector> plain = selector();
  const std::string expects = plain.expects + ", or dynamic";
  return {expects,
          [=](const At& at) -> std::optional<SideSelector> {
            const bool dynamic = at.node.kind == Node::Kind::Scalar && (at.node.text == "dynamic" || at.node.text.starts_with("dynamic["));
            if (!dynamic) {
              const auto ts = plain.read(at);
              return ts ? std::optional(SideSelector{*ts, false}) : std::nullopt;
            }
            const auto ts = TrafficSelector::parse("0.0.0.0/0" + at.node.text.substr(std::string_view("dynamic").size()));
            if (ts) return SideSelector{*ts, true};
            at.expected(expects);
            return std::nullopt;
          },
          [](const SideSelector& v) { return text(v.ts, v.dynamic); }};
}

namespace {
/// A name with attributes, such as the subject of a certificate.
std::optional<Identity> distinguished_name(const At& at, const std::string& value, bool patterns) {
  if (!printable_text(value)) {
    at.expected("a distinguished name of printable characters");
    return std::nullopt;
  }
  const auto name = parse_name_text(value);
  if (!name) {
    at.error("expected a distinguished name such as C=CH, O=Example, CN=gw, got " + quoted(value) + ": " + name.error());
  } else if (has_wildcard(*name) && !patterns) {
    at.error("expected an identity of our own, got the pattern " + quoted(value));
  } else {
    return Identity{Identity::Type::Dn, name_text(*name), encode_name(*name)};
  }
  return std::nullopt;
}

/// The name of a group, as Cisco's clients have it.
std::optional<Identity> key_id(const At& at, const std::string& value) {
  const std::string_view name = std::string_view(value).substr(kKeyIdPrefix.size());
  if (!name.empty() && name.size() <= 255 && printable_text(name) && name.find_first_of("*\"\\") == std::string_view::npos)
    return Identity{Identity::Type::KeyId, value};
  at.error("expected 1 to 255 printable characters behind keyid:, no star, quotation mark or backslash, got " + quoted(value));
  return std::nullopt;
}

/// What stands behind a leading "*" of a pattern; else all.
std::string_view without_star(std::string_view s) { return s.starts_with("*.") ? s.substr(2) : s; }

std::optional<Identity> read_identity(const At& at, const std::string& expects, bool patterns) {
  const auto* value = scalar(at, expects);
  if (!value) return std::nullopt;
  if (*value == "%any") return Identity{};
  if (value->starts_with(kKeyIdPrefix)) return key_id(at, *value);
  if (value->find('=') != std::string::npos) return distinguished_name(at, *value, patterns);
  if (const auto ip = IpAddress::parse(*value)) return Identity{Identity::Type::IpAddr, ip->to_string()};
  const auto sign = value->find('@');
  const bool fits = value->size() <= 255 && ascii(*value) && value->find(' ') == std::string::npos;
  const std::string_view domain = std::string_view(*value).substr(sign == std::string::npos ? 0 : sign + 1);
  const bool star = value->find('*') != std::string::npos;
  const bool leading = value->starts_with("*.") || value->starts_with("*@");
  if (fits && star && leading && patterns && value->rfind('*') == 0 && host_name(without_star(domain)))
    return Identity{sign == std::string::npos ? Identity::Type::Fqdn : Identity::Type::UserFqdn, *value};
  if (fits && !star && sign == std::string::npos && host_name(*value)) return Identity{Identity::Type::Fqdn, *value};
  if (fits && !star && sign != std::string::npos && sign != 0 && host_name(domain)) return Identity{Identity::Type::UserFqdn, *value};
  // strongSwan writes "@name" for an FQDN that must not be looked up.
  at.expected(expects, sign == 0 && host_name(std::string_view(*value).substr(1)) ? value->substr(1) : "");
  return std::nullopt;
}
Kind<Identity> identity_kind(bool patterns) {
  const std::string expects =
      std::string(
          "an identity: an IP address, a host name (FQDN), user@domain, a distinguished name such as \"C=CH, O=Example, CN=gw\", "
          "keyid:name, ") +
      (patterns ? "a pattern (*.domain, *@domain, \"C=CH, O=*\"), or %any" : "or %any");
  return {expects, [=](const At& at) { return read_identity(at, expects, patterns); },
          [](const Identity& v) {
            const bool free = v.type == Identity::Type::Dn || v.type == Identity::Type::KeyId;
            return free ? "\"" + v.text + "\"" : quote_percent(v.text);
          }};
}
}  // namespace

Kind<Identity> identity() { return identity_kind(false); }
Kind<Identity> identity_pattern() { return identity_kind(true); }

Kind<std::string> certificate_file() {
  Kind<std::string> kind = file_path();
  kind.expects = "the absolute path of a file, PEM or DER";
  kind.read = [inner = kind.read](const At& at) -> std::optional<std::string> {
    auto value = inner(at);
    if (!value || !value->empty()) return value;
    at.expected("the absolute path of a file");
    return std::nullopt;
  };
  return kind;
}

Kind<SecretRef> secret_reference() {
  const std::string expects = "file:/absolute/path or env:NAME";
  // The value never appears in a finding: it may be the secret itself.
  return {expects,
          [=](const At& at) -> std::optional<SecretRef> {
            if (at.node.kind != Node::Kind::Scalar) {
              at.error("expected " + expects);
              return std::nullopt;
            }
            const std::string& value = at.node.text;
            const bool sane = value.size() <= 1024 && printable_text(value);
            if (sane && value.starts_with("file:")) {
              if (value.size() > 6 && value[5] == '/') return SecretRef{SecretRef::Kind::File, value.substr(5)};
              at.error("expected " + expects + ": the path behind file: must be absolute");
              return std::nullopt;
            }
            if (sane && value.starts_with("env:")) {
              const std::string_view name = std::string_view(value).substr(4);
              if (host_name(name) && name.find_first_of(".-") == std::string_view::npos)
                return SecretRef{SecretRef::Kind::Env, std::string(name)};
              at.error("expected " + expects + ": no name of an environment variable follows env:");
              return std::nullopt;
            }
            at.error("expected " + expects +
                     "; a secret itself may not stand in this file, which is read by both planes and is easily copied: put it into a file "
                     "of mode 0600");
            return std::nullopt;
          },
          [](const SecretRef& v) {
            return v.kind == SecretRef::Kind::None ? "" : (v.kind == SecretRef::Kind::File ? "file:" : "env:") + v.where;
          }};
}

Kind<SecretRef> or_none(Kind<SecretRef> kind) {
  kind.expects += ", or empty: none";
  kind.read = [inner = kind.read](const At& at) -> std::optional<SecretRef> {
    if (at.node.kind == Node::Kind::Scalar && at.node.text.empty()) return SecretRef{};
    return inner(at);
  };
  kind.show = [inner = kind.show](const SecretRef& v) { return v.kind == SecretRef::Kind::None ? "\"\"" : inner(v); };
  return kind;
}

Kind<SecretRef> key_reference() {
  const std::string expects = "file:/absolute/path, or empty: none";
  return {expects,
          [=](const At& at) -> std::optional<SecretRef> {
            const bool text = at.node.kind == Node::Kind::Scalar;
            if (text && at.node.text.empty()) return SecretRef{};
            if (text && at.node.text.size() > 6 && at.node.text.size() <= 1024 && at.node.text.starts_with("file:/") &&
                printable_text(at.node.text))
              return SecretRef{SecretRef::Kind::File, at.node.text.substr(5)};
            at.error("expected " + expects + "; a private key may not stand in this file");  // what stands there may be the key
            return std::nullopt;
          },
          [](const SecretRef& v) { return v.kind == SecretRef::Kind::None ? "\"\"" : "file:" + v.where; }};
}

namespace {
/// How proposals of one version of IKE are read.
template <class Suite>
struct Grammar {
  std::expected<std::vector<Suite>, ProposalError> (*parse)(std::string_view);
  std::string example;
};

/// Reads a list of proposal strings and puts their expansions behind each other, each suite once.
template <class Suite>
Kind<std::vector<Suite>> proposals(const Grammar<Suite>& v1, const Grammar<Suite>& v2, std::size_t low = 1) {
  const Kind<std::vector<Suite>> one{"a proposal such as " + v1.example,
                                     [=](const At& at) -> std::optional<std::vector<Suite>> {
                                       const auto& [parse, example] = at.ike_version == 2 ? v2 : v1;
                                       const std::string expects = "a proposal such as " + example;
                                       const auto* value = scalar(at, expects);
                                       if (!value) return std::nullopt;
                                       if (value->empty() || value->size() > 255 || !ascii(*value)) {
                                         at.expected(expects);
                                         return std::nullopt;
                                       }
                                       auto suites = parse(*value);
                                       if (suites) return std::move(*suites);
                                       at.error("expected " + expects + ", got " + quoted(*value) + ": " + suites.error().message,
                                                suites.error().suggestion);
                                       return std::nullopt;
                                     },
                                     [](const std::vector<Suite>& v) { return v.empty() ? "" : v.front().to_string(); }};
  const auto list = list_of(one, low, 32, ", the preferred one first");
  return {list.expects,
          [=](const At& at) -> std::optional<std::vector<Suite>> {
            const auto expanded = list.read(at);
            if (!expanded) return std::nullopt;
            std::vector<Suite> out;
            for (const auto& group : *expanded)
              for (const auto& suite : group)
                if (std::find(out.begin(), out.end(), suite) == out.end()) out.push_back(suite);
            if (out.size() > kMaxSuites) {
              at.error("expected at most " + std::to_string(kMaxSuites) + " suites in all, got " + std::to_string(out.size()));
              return std::nullopt;
            }
            return out;
          },
          [](const std::vector<Suite>& v) {
            std::string all;
            for (const auto& suite : v) all += (all.empty() ? "" : ", ") + suite.to_string();
            return "[" + all + "]";
          }};
}
}  // namespace

Kind<std::string> weak_algorithm() {
  auto names = all_weak_algorithms();
  names.insert(names.end(), {kWeakRsa, kWeakCertificateHash, kWeakEapMd5});
  std::string all;
  for (const std::string_view n : names) all += (all.empty() ? "" : ", ") + std::string(n);
  const std::string expects = "one of " + all;
  return {expects,
          [=](const At& at) -> std::optional<std::string> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (std::ranges::find(names, *value) != names.end()) return *value;
            at.error("expected " + expects + ", got " + quoted(*value), value->size() <= kSuggestBytes ? nearest(*value, names) : "");
            return std::nullopt;
          },
          [](const std::string& v) { return v; }};
}
Kind<std::vector<IkeSuite>> ike_proposals() {
  return proposals<IkeSuite>({parse_ike_proposal, "aes256-sha256-modp2048"},
                             {parse_ike_proposal_v2, "aes256-sha256-modp2048 or aes128gcm16-prfsha256-ecp256"});
}
Kind<std::vector<EspSuite>> esp_proposals() {
  const std::string example = "aes128gcm16 or aes256-sha256-ecp256";
  return proposals<EspSuite>({[](std::string_view text) { return for_ikev1(parse_esp_proposal(text)); }, example},
                             {parse_esp_proposal_v2, example});
}
Kind<std::vector<EspSuite>> ah_proposals() {
  const std::string example = "sha256 or sha256-ecp256";
  return proposals<EspSuite>({[](std::string_view text) { return for_ikev1(parse_ah_proposal(text)); }, example},
                             {parse_ah_proposal_v2, example}, 0);
}

namespace {
/// Where a peer may be: one address, or many.
Kind<TrafficSelector> peer_addresses() {
  const std::string expects = address().expects + ", a network such as 10.9.4.0/24 or a range such as 10.9.5.1-10.9.5.9";
  return {expects,
          [=, one = address()](const At& at) -> std::optional<TrafficSelector> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (value->find_first_of("/-") == std::string::npos) {
              const auto ip = one.read(at);
              return ip ? std::optional(TrafficSelector{*ip, *ip, 0, 0xffff, 0}) : std::nullopt;
            }
            const auto range = TrafficSelector::parse(*value);
            const bool network = range && value->find('/') != std::string::npos;
            if (!range || range->protocol != 0) {
              at.expected(expects);
            } else if (range->first.is_unspecified()) {
              at.expected(expects, "%any");
            } else if (network && value->substr(0, value->find('/')) != range->first.to_string()) {
              at.expected(expects + ", without host bits", range->to_string());
            } else {
              return *range;
            }
            return std::nullopt;
          },
          [](const TrafficSelector& v) { return v.first == v.last ? v.first.to_string() : v.to_string(); }};
}
}  // namespace

Kind<std::vector<TrafficSelector>> remote_addresses() {
  const auto list = list_of(peer_addresses(), 1, 16);
  const std::string expects = list.expects + ", or %any";
  return {expects,
          [=](const At& at) -> std::optional<std::vector<TrafficSelector>> {
            const bool any = at.node.kind == Node::Kind::Scalar && at.node.text == "%any";
            const bool any_in_list = at.node.kind == Node::Kind::Sequence && at.node.items.size() == 1 && at.node.items[0]->text == "%any";
            return any || any_in_list ? std::optional(std::vector<TrafficSelector>{}) : list.read(at);
          },
          [=](const std::vector<TrafficSelector>& v) { return v.empty() ? "\"%any\"" : list.show(v); }};
}

}  // namespace culvert::config
