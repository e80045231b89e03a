#include "common/config/selectors.hpp"

#include <algorithm>

#include "common/config/rounds.hpp"

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

bool go_together(const SideSelector& local, const SideSelector& remote) {
  return local.ts.protocol == remote.ts.protocol && (local.ts.first.family == remote.ts.first.family || (local.dynamic && remote.dynamic));
}

namespace {
std::vector<SideSelector> of_families(const std::vector<SideSelector>& side, const std::vector<SideSelector>& other) {
  std::vector<SideSelector> out;
  for (const SideSelector& s : side) {
    const std::size_t before = out.size();
    for (const Family family : {Family::V4, Family::V6})
      if (s.dynamic && std::ranges::any_of(other, [&](const SideSelector& o) { return !o.dynamic && o.ts.first.family == family; }))
        out.push_back({all_of(family, s.ts), true});
    if (out.size() == before) out.push_back(s);
  }
  return out;
}

/// Brings two that go together to the front, fixed ones if there are such: what is known without a peer has its policy before it comes.
void order(std::vector<SideSelector>& local, std::vector<SideSelector>& remote) {
  for (const bool fixed : {true, false})
    for (auto l = local.begin(); l != local.end(); ++l) {
      const auto r =
          std::ranges::find_if(remote, [&](const SideSelector& s) { return go_together(*l, s) && !(fixed && (l->dynamic || s.dynamic)); });
      if (r == remote.end()) continue;
      std::rotate(local.begin(), l, l + 1);
      std::rotate(remote.begin(), r, r + 1);
      return;
    }
}
}  // namespace

std::vector<Child> join(const std::vector<Child>& children) {
  std::vector<Child> out;
  for (std::size_t entry = 0; entry < children.size(); ++entry) {
    Child& one = out.emplace_back(children[entry]);
    one.entry = entry;
    auto local = of_families(one.local_sides, one.remote_sides), remote = of_families(one.remote_sides, one.local_sides);
    if (local.empty() || remote.empty()) continue;  // a finding says why
    order(local, remote);
    one.local_ts = local.front().ts;
    one.local_dynamic = local.front().dynamic;
    one.remote_ts = remote.front().ts;
    one.remote_dynamic = remote.front().dynamic;
    one.more_local.assign(local.begin() + 1, local.end());
    one.more_remote.assign(remote.begin() + 1, remote.end());
  }
  return out;
}

bool is_child(std::string_view name, std::string_view wanted) {
  return name == wanted || (name.size() > wanted.size() && name.starts_with(wanted) && name[wanted.size()] == '/');
}

bool waits_for_many(const Connection& c) {
  return c.remote_addrs.empty() && (c.remote_id.pattern() || c.unique == Unique::Never || c.unique == Unique::No || user_auth(c));
}

std::string text(const TrafficSelector& selector, bool dynamic) {
  const std::string all = selector.to_string();
  if (!dynamic) return all;
  const auto bracket = all.find('[');
  return "dynamic" + (bracket == std::string::npos ? "" : all.substr(bracket));
}

std::string text(const std::vector<SideSelector>& sides) {
  std::string out;
  for (const SideSelector& s : sides) out += (out.empty() ? "" : ", ") + text(s.ts, s.dynamic);
  return out;
}

TrafficSelector at_address(const TrafficSelector& selector, const IpAddress& address) {
  TrafficSelector out = selector;
  out.first = out.last = address;
  return out;
}

namespace {
std::optional<TrafficSelector> fixed_local(const Connection& c, const SideSelector& s) {
  if (!s.dynamic) return s.ts;
  if (c.local_addrs.size() != 1 || !c.vips.empty()) return std::nullopt;
  return at_address(s.ts, c.local_addrs.front());
}
std::optional<TrafficSelector> fixed_remote(const Connection& c, const SideSelector& s) {
  if (!s.dynamic) return s.ts;
  if (c.remote_addrs.size() != 1 || !c.remote_ranges.empty() || !c.pools.empty()) return std::nullopt;
  return at_address(s.ts, c.remote_addrs.front());
}
}  // namespace

std::optional<std::pair<TrafficSelector, TrafficSelector>> fixed_selectors(const Connection& connection, const Child& child) {
  const auto local = fixed_local(connection, {child.local_ts, child.local_dynamic});
  const auto remote = fixed_remote(connection, {child.remote_ts, child.remote_dynamic});
  if (!local || !remote) return std::nullopt;
  return std::pair(*local, *remote);
}

MoreSelectors fixed_more(const Connection& connection, const Child& child) {
  MoreSelectors out;
  std::vector<TrafficSelector> all;
  for (const SideSelector& s : child.more_local)
    if (const auto known = fixed_local(connection, s)) all.push_back(*known);
  const std::size_t locals = all.size();
  for (const SideSelector& s : child.more_remote)
    if (const auto known = fixed_remote(connection, s)) all.push_back(*known);
  if (all.size() > MoreSelectors::kMost) return out;  // a finding refuses it
  std::ranges::copy(all, out.all.begin());
  out.locals = static_cast<std::uint8_t>(locals);
  out.remotes = static_cast<std::uint8_t>(all.size() - locals);
  return out;
}

}  // namespace culvert::config
