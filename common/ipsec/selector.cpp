#include "common/ipsec/selector.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace culvert {

namespace {
struct ProtocolName {
  std::string_view name;
  std::uint8_t number;
};
constexpr std::array kProtocols{ProtocolName{"icmp", 1},  ProtocolName{"tcp", 6},   ProtocolName{"udp", 17},
                                ProtocolName{"gre", 47},  ProtocolName{"esp", 50},  ProtocolName{"ipv6-icmp", 58},
                                ProtocolName{"ospf", 89}, ProtocolName{"sctp", 132}};

std::optional<unsigned> number(std::string_view text, unsigned max) {
  unsigned value = 0;
  const auto [end, errc] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (errc != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::optional<std::uint8_t> protocol_number(std::string_view text) {
  for (const auto& p : kProtocols)
    if (p.name == text) return p.number;
  const auto n = number(text, 255);
  return n ? std::optional(static_cast<std::uint8_t>(*n)) : std::nullopt;
}

/// Reads "tcp/80", "udp", "17/1000-2000" into `ts`.
std::expected<void, std::string> parse_upper(std::string_view text, TrafficSelector& ts) {
  const auto slash = text.find('/');
  const auto proto = protocol_number(text.substr(0, slash));
  if (!proto)
    return std::unexpected("'" + std::string(text.substr(0, slash)) + "' is no protocol: a name such as tcp, udp, icmp or a number to 255");
  ts.protocol = *proto;
  if (slash == std::string_view::npos) return {};
  const std::string_view ports = text.substr(slash + 1);
  const auto dash = ports.find('-');
  const auto first = number(ports.substr(0, dash), 65535);
  const auto last = dash == std::string_view::npos ? first : number(ports.substr(dash + 1), 65535);
  if (!first || !last || *first > *last) return std::unexpected("'" + std::string(ports) + "' is no port or range of ports");
  if (*proto == 0) return std::unexpected("a port needs a protocol");
  ts.port_first = static_cast<std::uint16_t>(*first);
  ts.port_last = static_cast<std::uint16_t>(*last);
  return {};
}
}  // namespace

TrafficSelector TrafficSelector::from(const Prefix& prefix, std::uint8_t protocol, std::uint16_t port) {
  TrafficSelector ts;
  ts.first = prefix.first();
  ts.last = prefix.last();
  ts.protocol = protocol;
  if (port != 0) ts.port_first = ts.port_last = port;
  return ts;
}

std::expected<TrafficSelector, std::string> TrafficSelector::parse(std::string_view text) {
  const auto bracket = text.find('[');
  if (bracket != std::string_view::npos && text.back() != ']') return std::unexpected("']' is missing in '" + std::string(text) + "'");
  const std::string_view addresses = text.substr(0, bracket);
  TrafficSelector ts;
  if (const auto dash = addresses.find('-'); dash != std::string_view::npos) {
    const auto first = IpAddress::parse(addresses.substr(0, dash));
    const auto last = IpAddress::parse(addresses.substr(dash + 1));
    if (!first) return std::unexpected(first.error());
    if (!last) return std::unexpected(last.error());
    if (first->family != last->family || *last < *first) return std::unexpected("'" + std::string(addresses) + "' is no ascending range");
    ts.first = *first;
    ts.last = *last;
  } else {
    const auto prefix = Prefix::parse(addresses);
    if (!prefix) return std::unexpected(prefix.error());
    ts = from(*prefix);
  }
  if (bracket != std::string_view::npos) {
    const auto upper = parse_upper(text.substr(bracket + 1, text.size() - bracket - 2), ts);
    if (!upper) return std::unexpected(upper.error());
  }
  return ts;
}

std::optional<Prefix> TrafficSelector::prefix() const {
  for (unsigned length = 0; length <= first.size() * 8; ++length) {
    const Prefix p{first, static_cast<std::uint8_t>(length)};
    if (p.first() == first && p.last() == last) return p;
  }
  return std::nullopt;
}

std::string TrafficSelector::to_string() const {
  const auto p = prefix();
  std::string out = p ? p->to_string() : first.to_string() + "-" + last.to_string();
  if (protocol == 0 && any_port()) return out;
  const auto* name = std::find_if(kProtocols.begin(), kProtocols.end(), [&](const auto& row) { return row.number == protocol; });
  out += "[" + (name != kProtocols.end() ? std::string(name->name) : std::to_string(protocol));
  if (!any_port()) out += "/" + std::to_string(port_first) + (port_first == port_last ? "" : "-" + std::to_string(port_last));
  return out + "]";
}

bool TrafficSelector::matches(const IpAddress& address, std::uint8_t proto, std::uint16_t port) const {
  return address.family == first.family && first <= address && address <= last && (protocol == 0 || protocol == proto) &&
         port_first <= port && port <= port_last;
}

bool TrafficSelector::contains(const TrafficSelector& o) const {
  return o.first.family == first.family && first <= o.first && o.last <= last && (protocol == 0 || protocol == o.protocol) &&
         port_first <= o.port_first && o.port_last <= port_last;
}

bool TrafficSelector::meets(const TrafficSelector& o) const {
  return o.first.family == first.family && std::max(first, o.first) <= std::min(last, o.last) &&
         std::max(port_first, o.port_first) <= std::min(port_last, o.port_last) &&
         (protocol == 0 || o.protocol == 0 || protocol == o.protocol);
}

std::optional<TrafficSelector> TrafficSelector::intersect(const TrafficSelector& o) const {
  if (!meets(o)) return std::nullopt;
  TrafficSelector out;
  out.first = std::max(first, o.first);
  out.last = std::min(last, o.last);
  out.port_first = std::max(port_first, o.port_first);
  out.port_last = std::min(port_last, o.port_last);
  out.protocol = protocol != 0 ? protocol : o.protocol;
  return out;
}

std::optional<MoreSelectors> MoreSelectors::behind_first(std::span<const TrafficSelector> local, std::span<const TrafficSelector> remote) {
  if (local.empty() || remote.empty() || local.size() + remote.size() > kMaxPairSelectors) return std::nullopt;
  MoreSelectors out;
  out.locals = static_cast<std::uint8_t>(local.size() - 1);
  out.remotes = static_cast<std::uint8_t>(remote.size() - 1);
  std::ranges::copy(remote.subspan(1), std::ranges::copy(local.subspan(1), out.all.begin()).out);
  return out;
}

bool can_pair(const TrafficSelector& local, const TrafficSelector& remote) {
  return local.first.family == remote.first.family && (local.protocol == 0 || remote.protocol == 0 || local.protocol == remote.protocol);
}

std::string to_string(const TrafficSelector& first, std::span<const TrafficSelector> more) {
  std::string out = first.to_string();
  for (const TrafficSelector& s : more) out += ", " + s.to_string();
  return out;
}

}  // namespace culvert
