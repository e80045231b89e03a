#include "common/config/selectors.hpp"

#include <algorithm>

namespace culvert::config {

namespace {
/// Packets have one family: what is listed for both pairs up within each. A dynamic side is of the family of the other one.
bool of_one_family(const SideSelector& local, const SideSelector& remote) {
  return local.dynamic || remote.dynamic || local.ts.first.family == remote.ts.first.family;
}
bool any_of_one_family(const Child& child) {
  return std::ranges::any_of(child.local_sides, [&](const SideSelector& local) {
    return std::ranges::any_of(child.remote_sides, [&](const SideSelector& remote) { return of_one_family(local, remote); });
  });
}
/// All addresses of a family, with the protocol and the ports of `ts`.
TrafficSelector all_of(Family family, const TrafficSelector& ts) {
  TrafficSelector out = ts;
  const Prefix all{{{}, family}, 0};
  out.first = all.first();
  out.last = all.last();
  return out;
}
}  // namespace

std::vector<Child> expand(const std::vector<Child>& children) {
  std::vector<Child> out;
  for (std::size_t entry = 0; entry < children.size(); ++entry) {
    const Child& written = children[entry];
    const std::size_t pairs = written.local_sides.size() * written.remote_sides.size();
    const bool any = any_of_one_family(written);
    Child one = written;
    one.entry = entry;
    if (pairs == 0) out.push_back(one);  // a finding says why
    for (std::size_t i = 0; i < written.local_sides.size(); ++i)
      for (std::size_t k = 0; k < written.remote_sides.size(); ++k) {
        if (pairs > 1) one.name = written.name + "/" + std::to_string(i + 1) + "x" + std::to_string(k + 1);
        one.local_ts = written.local_sides[i].ts;
        one.local_dynamic = written.local_sides[i].dynamic;
        one.remote_ts = written.remote_sides[k].ts;
        one.remote_dynamic = written.remote_sides[k].dynamic;
        const Family local = one.local_ts.first.family, remote = one.remote_ts.first.family;
        if (one.local_dynamic && !one.remote_dynamic) one.local_ts = all_of(remote, one.local_ts);
        if (one.remote_dynamic && !one.local_dynamic) one.remote_ts = all_of(local, one.remote_ts);
        if (!any || of_one_family(written.local_sides[i], written.remote_sides[k])) out.push_back(one);
      }
  }
  return out;
}

bool is_child(std::string_view name, std::string_view wanted) {
  return name == wanted || (name.size() > wanted.size() && name.starts_with(wanted) && name[wanted.size()] == '/');
}

bool waits_for_many(const Connection& c) {
  return c.remote_addrs.empty() &&
         (c.remote_id.pattern() || c.unique == Unique::Never || c.unique == Unique::No || is_eap(c.remote_auth.auth));
}

std::string text(const TrafficSelector& selector, bool dynamic) {
  const std::string all = selector.to_string();
  if (!dynamic) return all;
  const auto bracket = all.find('[');
  return "dynamic" + (bracket == std::string::npos ? "" : all.substr(bracket));
}

TrafficSelector at_address(const TrafficSelector& selector, const IpAddress& address) {
  TrafficSelector out = selector;
  out.first = out.last = address;
  return out;
}

std::optional<std::pair<TrafficSelector, TrafficSelector>> fixed_selectors(const Connection& connection, const Child& child) {
  std::pair<TrafficSelector, TrafficSelector> out{child.local_ts, child.remote_ts};
  if (child.local_dynamic) {
    if (connection.local_addrs.size() != 1 || !connection.vips.empty()) return std::nullopt;
    out.first = at_address(child.local_ts, connection.local_addrs.front());
  }
  if (child.remote_dynamic) {
    if (connection.remote_addrs.size() != 1 || !connection.remote_ranges.empty() || !connection.pools.empty()) return std::nullopt;
    out.second = at_address(child.remote_ts, connection.remote_addrs.front());
  }
  return out;
}

}  // namespace culvert::config
