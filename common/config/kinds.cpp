// The kinds for names, numbers, devices and addresses.
#include "common/config/kinds.hpp"

#include <algorithm>
#include <charconv>

#include "common/config/kinds_detail.hpp"

namespace culvert::config {

namespace {
std::string plain(const std::string& s) { return s.empty() ? "\"\"" : s; }

/// "17:00.0" or "0000:17:00.0".
bool pci_address(std::string_view s) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
  const std::string_view shape = s.size() == 12 ? "xxxx:xx:xx.x" : "xx:xx.x";
  return s.size() == shape.size() &&
         std::equal(s.begin(), s.end(), shape.begin(), [&](char c, char m) { return m == 'x' ? hex(c) : c == m; });
}
}  // namespace

bool printable_text(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

bool ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool host_name(std::string_view s) {
  return !s.empty() && s.size() <= 255 && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

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

Kind<std::uint16_t> number_or(std::vector<std::pair<std::string, std::uint16_t>> words, std::uint16_t low, std::uint16_t high,
                              std::string what) {
  const Kind<std::uint16_t> plain = number<std::uint16_t>(low, high, std::move(what));
  std::string expects;
  for (const auto& w : words) expects += w.first + (words.size() > 1 ? ", " : " ");
  expects += "or " + plain.expects;
  return {expects,
          [=](const At& at) -> std::optional<std::uint16_t> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            for (const auto& w : words)
              if (w.first == *value) return w.second;
            const auto parsed = parse_unsigned(*value);
            if (parsed && *parsed >= low && *parsed <= high) return static_cast<std::uint16_t>(*parsed);
            std::vector<std::string_view> known;
            for (const auto& w : words) known.emplace_back(w.first);
            at.expected(expects, value->size() <= kSuggestBytes ? nearest(*value, known) : "");
            return std::nullopt;
          },
          [=](const std::uint16_t& v) {
            for (const auto& w : words)
              if (w.second == v) return w.first;
            return plain.show(v);
          }};
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

Kind<VrfRef> vrf_reference() {
  const Kind<std::string> name = text("the name of a VRF", 30);
  return {name.expects,
          [name](const At& at) -> std::optional<VrfRef> {
            auto value = name.read(at);
            return value ? std::optional(VrfRef{.name = std::move(*value)}) : std::nullopt;
          },
          [](const VrfRef& v) { return v.name; }};
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
            if ((!vdev && !pci_address(*value)) || value->size() > 512 || !ascii(*value)) {
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
  const std::string expects =
      "a size in whole megabytes from " + show_size(std::uint64_t{low} << 20) + " to " + show_size(std::uint64_t{high} << 20);
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

namespace {
constexpr std::string_view kNoIpv6 = ": IKEv1's Mode Config has IPv4 only here";

Kind<IpAddress> address_kind(std::string expects, bool v6) {
  return {expects,
          [=](const At& at) -> std::optional<IpAddress> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto ip = IpAddress::parse(*value);
            const bool refused = ip && ip->family == Family::V6 && !v6;
            if (ip && !refused && !ip->is_unspecified()) return *ip;
            at.error("expected " + expects + ", got " + quoted(*value) + std::string(refused ? kNoIpv6 : ""));
            return std::nullopt;
          },
          [](const IpAddress& v) { return v.to_string(); }};
}

/// Why no host can have this address; empty: it can.
std::string no_host(const Prefix& p) {
  const std::string network = Prefix{p.first(), p.length}.to_string();
  const bool v4 = p.address.family == Family::V4;
  // RFC 3021 and RFC 6164: on a link of two both addresses are hosts'.
  if (p.length < (v4 ? 31 : 127)) {
    if (p.address == p.first()) return "the " + std::string(v4 ? "network" : "subnet-router anycast") + " address of " + network;
    if (v4 && p.address == p.last()) return "the broadcast address of " + network;
  }
  if (v4) return "";
  if (Prefix::parse("fe80::/10")->contains(p.address)) return "link-local, which each port with IPv6 has of itself";
  return Prefix::parse("ff00::/8")->contains(p.address) || Prefix::parse("::/8")->contains(p.address) ? "of no host" : "";
}
}  // namespace

Kind<IpAddress> address() { return address_kind("an IP address such as 10.9.0.1 or 2001:db8::1", true); }
Kind<IpAddress> address_v4() { return address_kind("an IPv4 address such as 10.9.0.1", false); }

Kind<Prefix> prefix() {
  const std::string expects = "an IP address with its prefix length such as 10.9.0.1/24 or 2001:db8::1/64";
  return {expects,
          [=](const At& at) -> std::optional<Prefix> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto p = Prefix::parse(*value);
            if (!p) {
              at.expected(expects);
            } else if (value->find('/') == std::string::npos) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": the prefix length is missing");
            } else {
              return *p;
            }
            return std::nullopt;
          },
          [](const Prefix& v) { return v.to_string(); }};
}

Kind<Prefix> interface_address() {
  Kind<Prefix> kind = prefix();
  kind.read = [inner = kind.read](const At& at) -> std::optional<Prefix> {
    const auto p = inner(at);
    if (!p) return p;
    const std::string why = no_host(*p);
    if (p->length == 0) {
      at.expected("a prefix length from 1 to " + std::to_string(8 * p->address.size()));
    } else if (!why.empty()) {
      at.expected("an address of a host: " + p->address.to_string() + " is " + why);
    } else {
      return p;
    }
    return std::nullopt;
  };
  return kind;
}

Kind<Prefix> network() {
  const std::string expects = "a network such as 10.2.0.0/24 or 2001:db8:2::/48";
  return {expects,
          [=, inner = prefix()](const At& at) -> std::optional<Prefix> {
            const auto p = inner.read(at);
            if (!p) return p;
            if (p->address == p->first()) return *p;
            at.expected(expects + " without host bits", Prefix{p->first(), p->length}.to_string());
            return std::nullopt;
          },
          [](const Prefix& v) { return v.to_string(); }};
}

}  // namespace culvert::config
