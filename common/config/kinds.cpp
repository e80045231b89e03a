#include "common/config/kinds.hpp"

#include <algorithm>
#include <charconv>

namespace culvert::config {

namespace {
constexpr std::size_t kSuggestBytes = 64;  // a longer word is no slip of the keyboard
constexpr std::size_t kMaxSuites = 64;     // a proposal list is sent in one SA payload and answered from the peer's

constexpr std::string_view kIpv4 = "an IPv4 address such as 10.9.0.1";

/// The families that the data plane carries.
bool carried(Family family) { return family == Family::V4; }

bool printable_text(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

bool host_name(std::string_view s) {
  return !s.empty() && s.size() <= 255 && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

std::string plain(const std::string& s) { return s.empty() ? "\"\"" : s; }
std::string quote_percent(const std::string& s) { return s.starts_with('%') ? "\"" + s + "\"" : plain(s); }

/// "17:00.0" or "0000:17:00.0".
bool pci_address(std::string_view s) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  const std::string_view shape = s.size() == 12 ? "xxxx:xx:xx.x" : "xx:xx.x";
  return s.size() == shape.size() && std::equal(s.begin(), s.end(), shape.begin(), [&](char c, char m) { return m == 'x' ? hex(c) : c == m; });
}
}  // namespace

const std::string* scalar(const At& at, std::string_view expects) {
  if (at.node.kind == Node::Kind::Scalar) return &at.node.text;
  at.expected(expects);
  return nullptr;
}

bool valid_name(std::string_view name) { return host_name(name) && name.size() <= 30; }

Kind<std::size_t> word(std::vector<std::string> words, std::vector<RefusedWord> refused) {
  std::string expects;
  for (std::size_t i = 0; i < words.size(); ++i) expects += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return {expects,
          [=](const At& at) -> std::optional<std::size_t> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            for (std::size_t i = 0; i < words.size(); ++i)
              if (words[i] == *value) return i;
            for (const auto& r : refused)
              if (r.word == *value) {
                at.error("expected " + expects + ", got " + quoted(*value) + ": " + r.why);
                return std::nullopt;
              }
            const std::vector<std::string_view> views(words.begin(), words.end());
            at.expected(expects, value->size() <= kSuggestBytes ? nearest(*value, views) : "");
            return std::nullopt;
          },
          [=](const std::size_t& i) { return words.at(i); }};
}

Kind<bool> boolean() {
  return {"true or false",
          [](const At& at) -> std::optional<bool> {
            const auto* value = scalar(at, "true or false");
            if (!value) return std::nullopt;
            if (*value == "true" || *value == "false") return *value == "true";
            constexpr std::string_view yes[] = {"yes", "on", "True", "TRUE", "1"};
            constexpr std::string_view no[] = {"no", "off", "False", "FALSE", "0"};
            std::string meant;
            if (std::find(std::begin(yes), std::end(yes), *value) != std::end(yes)) meant = "true";
            if (std::find(std::begin(no), std::end(no), *value) != std::end(no)) meant = "false";
            at.expected("true or false", meant);
            return std::nullopt;
          },
          [](const bool& v) { return std::string(v ? "true" : "false"); }};
}

Kind<std::string> text(std::string expects, std::size_t max) {
  return {expects,
          [=](const At& at) -> std::optional<std::string> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (value->size() > max || !printable_text(*value)) {
              at.expected(expects + ", of at most " + std::to_string(max) + " printable bytes");
              return std::nullopt;
            }
            return *value;
          },
          plain};
}

Kind<std::string> file_path(std::size_t max) {
  Kind<std::string> kind = text("the absolute path of a file", max);
  kind.read = [inner = kind.read](const At& at) -> std::optional<std::string> {
    auto value = inner(at);
    if (!value || value->empty() || value->front() == '/') return value;
    at.expected("an absolute path");
    return std::nullopt;
  };
  return kind;
}

Kind<std::string> socket_path() {
  const std::string expects = "the absolute path of a socket, of at most 107 bytes";
  return {expects,
          [=](const At& at) -> std::optional<std::string> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (value->size() > 107 || !value->starts_with('/') || value->ends_with('/') || !printable_text(*value)) {
              at.expected(expects);
              return std::nullopt;
            }
            return *value;
          },
          plain};
}

Kind<double> factor(double low, double high) {
  const auto show = [](const double& v) {
    char out[32];
    const auto end = std::to_chars(out, out + sizeof out, v).ptr;
    return std::string(out, end);
  };
  const std::string expects = "a factor from " + show(low) + " to " + show(high);
  return {expects,
          [=](const At& at) -> std::optional<double> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            double v = 0;
            const auto [end, errc] = std::from_chars(value->data(), value->data() + value->size(), v, std::chars_format::fixed);
            if (errc != std::errc{} || end != value->data() + value->size() || !(v >= low && v <= high)) {
              at.expected(expects);
              return std::nullopt;
            }
            return v;
          },
          show};
}

Kind<std::string> device() {
  const std::string expects = "a PCI address such as 0000:17:00.0 or a DPDK virtual device such as net_af_packet0,iface=eth1";
  return {expects,
          [=](const At& at) -> std::optional<std::string> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const bool vdev = value->starts_with("net_") || value->starts_with("eth_") || value->starts_with("virtio_user");
            if ((!vdev && !pci_address(*value)) || value->size() > 512 || !printable_text(*value)) {
              // Most likely the name of a kernel interface.
              at.expected(expects, host_name(*value) && value->size() < 16 ? "net_af_packet0,iface=" + *value : "");
              return std::nullopt;
            }
            return *value;
          },
          plain};
}

Kind<std::string> listen_address() {
  const std::string expects = "an address and port such as 127.0.0.1:9464, or off";
  return {expects,
          [=](const At& at) -> std::optional<std::string> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (*value == "off" || value->empty()) return std::string();
            const auto colon = value->rfind(':');
            std::string_view host = std::string_view(*value).substr(0, colon);
            if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
            const auto ip = IpAddress::parse(host);
            const auto port = colon == std::string::npos ? std::nullopt : parse_unsigned(std::string_view(*value).substr(colon + 1));
            if (!ip || !port || *port == 0 || *port > 65535 || (ip->family == Family::V6 && !value->starts_with('['))) {
              at.expected(expects, ip && !port && ip->family == Family::V4 ? *value + ":9464" : "");
              return std::nullopt;
            }
            return *value;
          },
          [](const std::string& v) { return v.empty() ? "off" : "\"" + v + "\""; }};
}

Kind<std::uint32_t> megabytes(std::uint32_t low, std::uint32_t high) {
  const std::string expects = "a size in whole megabytes from " + show_size(std::uint64_t{low} << 20) + " to " + show_size(std::uint64_t{high} << 20);
  return {expects,
          [=](const At& at) -> std::optional<std::uint32_t> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto size = parse_size(*value);
            if (!size) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": " + size.error().message, size.error().suggestion);
              return std::nullopt;
            }
            if (*size % (1U << 20) != 0 || *size >> 20 < low || *size >> 20 > high) {
              at.expected(expects);
              return std::nullopt;
            }
            return static_cast<std::uint32_t>(*size >> 20);
          },
          [](const std::uint32_t& v) { return show_size(std::uint64_t{v} << 20); }};
}

Kind<std::uint64_t> bytes_or_none() {
  const std::string expects = "a size such as 500MB or 2GB, or 0: none";
  return {expects,
          [=](const At& at) -> std::optional<std::uint64_t> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto size = parse_size(*value);
            if (!size) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": " + size.error().message, size.error().suggestion);
              return std::nullopt;
            }
            return *size;
          },
          show_size};
}

Kind<IpAddress> address() {
  return {std::string(kIpv4),
          [](const At& at) -> std::optional<IpAddress> {
            const auto* value = scalar(at, kIpv4);
            if (!value) return std::nullopt;
            const auto ip = IpAddress::parse(*value);
            if (ip && carried(ip->family) && !ip->is_unspecified()) return *ip;
            at.error("expected " + std::string(kIpv4) + ", got " + quoted(*value) + (ip && !carried(ip->family) ? ": IPv6 is not carried by the data plane yet" : ""));
            return std::nullopt;
          },
          [](const IpAddress& v) { return v.to_string(); }};
}

Kind<Prefix> prefix() {
  const std::string expects = "an IPv4 address with its prefix length such as 10.9.0.1/24";
  return {expects,
          [=](const At& at) -> std::optional<Prefix> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto p = Prefix::parse(*value);
            if (!p) {
              at.expected(expects);
            } else if (!carried(p->address.family)) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": IPv6 is not carried by the data plane yet");
            } else if (value->find('/') == std::string::npos) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": the prefix length is missing");
            } else {
              return *p;
            }
            return std::nullopt;
          },
          [](const Prefix& v) { return v.to_string(); }};
}

Kind<Prefix> network() {
  const std::string expects = "an IPv4 network such as 10.2.0.0/24";
  return {expects,
          [=, inner = prefix()](const At& at) -> std::optional<Prefix> {
            const auto p = inner.read(at);
            if (!p || p->address == p->first()) return p;
            at.expected(expects + " without host bits", Prefix{p->first(), p->length}.to_string());
            return std::nullopt;
          },
          [](const Prefix& v) { return v.to_string(); }};
}

Kind<TrafficSelector> selector() {
  const std::string expects = "a traffic selector such as 10.1.0.0/24, 10.1.0.5[tcp/443] or 10.1.0.1-10.1.0.9";
  return {expects,
          [=](const At& at) -> std::optional<TrafficSelector> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto ts = TrafficSelector::parse(*value);
            if (!ts) {
              at.error("expected " + expects + ", got " + quoted(*value) + (value->size() <= kSuggestBytes && printable_text(*value) ? ": " + ts.error() : ""));
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
                printable_text(*value) && value->find(' ') == std::string::npos)
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
              if (host_name(name) && name.find_first_of(".-") == std::string_view::npos) return SecretRef{SecretRef::Kind::Env, std::string(name)};
              at.error("expected " + expects + ": no name of an environment variable follows env:");
              return std::nullopt;
            }
            at.error("expected " + expects +
                     "; a secret itself may not stand in this file, which is read by both planes and is easily copied: put it into a file of mode 0600");
            return std::nullopt;
          },
          [](const SecretRef& v) { return (v.kind == SecretRef::Kind::File ? "file:" : "env:") + v.where; }};
}

namespace {
/// Reads a list of proposal strings and puts their expansions behind each other, each suite once.
template <class Suite>
Kind<std::vector<Suite>> proposals(std::expected<std::vector<Suite>, ProposalError> (*parse)(std::string_view), const std::string& example) {
  const std::string expects = "a proposal such as " + example;
  const Kind<std::vector<Suite>> one{
      expects,
      [=](const At& at) -> std::optional<std::vector<Suite>> {
        const auto* value = scalar(at, expects);
        if (!value) return std::nullopt;
        if (value->empty() || value->size() > 255 || !printable_text(*value)) {
          at.expected(expects);
          return std::nullopt;
        }
        auto suites = parse(*value);
        if (suites) return std::move(*suites);
        at.error("expected " + expects + ", got " + quoted(*value) + ": " + suites.error().message, suites.error().suggestion);
        return std::nullopt;
      },
      [](const std::vector<Suite>& v) { return v.empty() ? "" : v.front().to_string(); }};
  const auto list = list_of(one, 1, 32, "proposals, the preferred one first");
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

Kind<std::vector<IkeSuite>> ike_proposals() { return proposals<IkeSuite>(parse_ike_proposal, "aes256-sha256-modp2048"); }
Kind<std::vector<EspSuite>> esp_proposals() { return proposals<EspSuite>(parse_esp_proposal, "aes128gcm16 or aes256-sha256-ecp256"); }

Kind<std::vector<IpAddress>> remote_addresses() {
  const auto list = list_of(address(), 1, 16, "addresses");
  const std::string expects = list.expects + "; or %any";
  return {expects,
          [=](const At& at) -> std::optional<std::vector<IpAddress>> {
            const bool any = at.node.kind == Node::Kind::Scalar && at.node.text == "%any";
            const bool any_in_list = at.node.kind == Node::Kind::Sequence && at.node.items.size() == 1 && at.node.items[0]->text == "%any";
            return any || any_in_list ? std::optional(std::vector<IpAddress>{}) : list.read(at);
          },
          [=](const std::vector<IpAddress>& v) { return v.empty() ? "\"%any\"" : list.show(v); }};
}

}  // namespace culvert::config
