// A gateway's address or name, as redirects have it. Owns what either may be; looks nothing up.
#include <algorithm>

#include "common/config/config.hpp"

namespace culvert::config {

namespace {
/// Letters, digits and hyphens, no longer than 63, no hyphen at either end (RFC 1123 §2.1).
bool is_label(std::string_view label) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'; };
  return !label.empty() && label.size() <= 63 && !label.starts_with('-') && !label.ends_with('-') && std::ranges::all_of(label, fits);
}

/// One host alone can be reached by it, and not this one.
bool is_hosts(const IpAddress& a) {
  if (a.is_unspecified()) return false;
  if (a.family == Family::V6) return a.bytes[0] != 0xff && a != IpAddress::parse("::1").value_or(IpAddress{});
  return a.bytes[0] != 0 && a.bytes[0] != 127 && a.bytes[0] < 224;
}
}  // namespace

std::optional<GatewayName> parse_gateway(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return is_hosts(*address) ? std::optional(GatewayName{*address, {}}) : std::nullopt;
  if (text.empty() || text.size() > 253) return std::nullopt;
  std::string_view rest = text;
  std::string_view last;
  for (;;) {
    const std::size_t dot = rest.find('.');
    last = rest.substr(0, dot);
    if (!is_label(last)) return std::nullopt;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  // An address with a slip in it is no name.
  if (std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  return GatewayName{std::nullopt, std::string(text)};
}

}  // namespace culvert::config
