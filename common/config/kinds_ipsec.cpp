// The kinds for what IPsec speaks of: selectors, identities, secrets, proposals.
#include <algorithm>

#include "common/config/kinds.hpp"
#include "common/config/kinds_detail.hpp"

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
            } else if (!carried(ts->first.family)) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": IPv6 is not carried by the data plane yet");
            } else {
              return *ts;
            }
            return std::nullopt;
          },
          [](const TrafficSelector& v) { return v.to_string(); }};
}

Kind<TrafficSelector> only_selector() {
  Kind<TrafficSelector> kind = selector();
  kind.read = [inner = selector()](const At& at) -> std::optional<TrafficSelector> {
    if (at.node.kind != Node::Kind::Sequence) return inner.read(at);
    if (at.node.items.size() == 1) return inner.read(at.item(0));
    at.error("expected exactly one traffic selector, got " + std::to_string(at.node.items.size()) +
             ": IKEv1 negotiates one pair per child (RFC 2409 §5.5); write a child for each pair");
    return std::nullopt;
  };
  return kind;
}

Kind<Identity> identity() {
  const std::string expects = "an identity: an IPv4 address, a host name (FQDN), user@domain, or %any";
  return {expects,
          [=](const At& at) -> std::optional<Identity> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (*value == "%any") return Identity{};
            if (const auto ip = IpAddress::parse(*value); ip && ip->family == Family::V4) return Identity{Identity::Type::Ipv4Addr, *value};
            const auto sign = value->find('@');
            if (sign == std::string::npos && host_name(*value)) return Identity{Identity::Type::Fqdn, *value};
            if (sign != std::string::npos && sign != 0 && value->size() <= 255 && host_name(std::string_view(*value).substr(sign + 1)) &&
                ascii(*value) && value->find(' ') == std::string::npos)
              return Identity{Identity::Type::UserFqdn, *value};
            // strongSwan writes "@name" for an FQDN that must not be looked up.
            at.expected(expects, sign == 0 && host_name(std::string_view(*value).substr(1)) ? value->substr(1) : "");
            return std::nullopt;
          },
          [](const Identity& v) { return quote_percent(v.text); }};
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
          [](const SecretRef& v) { return (v.kind == SecretRef::Kind::File ? "file:" : "env:") + v.where; }};
}

namespace {
/// Reads a list of proposal strings and puts their expansions behind each other, each suite once.
template <class Suite>
Kind<std::vector<Suite>> proposals(std::expected<std::vector<Suite>, ProposalError> (*parse)(std::string_view),
                                   const std::string& example) {
  const std::string expects = "a proposal such as " + example;
  const Kind<std::vector<Suite>> one{expects,
                                     [=](const At& at) -> std::optional<std::vector<Suite>> {
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
  const auto list = list_of(one, 1, 32, ", the preferred one first");
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
  const auto names = all_weak_algorithms();
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
Kind<std::vector<IkeSuite>> ike_proposals() { return proposals<IkeSuite>(parse_ike_proposal, "aes256-sha256-modp2048"); }
Kind<std::vector<EspSuite>> esp_proposals() { return proposals<EspSuite>(parse_esp_proposal, "aes128gcm16 or aes256-sha256-ecp256"); }

Kind<std::vector<IpAddress>> remote_addresses() {
  const auto list = list_of(address(), 1, 16);
  const std::string expects = list.expects + ", or %any";
  return {expects,
          [=](const At& at) -> std::optional<std::vector<IpAddress>> {
            const bool any = at.node.kind == Node::Kind::Scalar && at.node.text == "%any";
            const bool any_in_list = at.node.kind == Node::Kind::Sequence && at.node.items.size() == 1 && at.node.items[0]->text == "%any";
            return any || any_in_list ? std::optional(std::vector<IpAddress>{}) : list.read(at);
          },
          [=](const std::vector<IpAddress>& v) { return v.empty() ? "\"%any\"" : list.show(v); }};
}

}  // namespace culvert::config
