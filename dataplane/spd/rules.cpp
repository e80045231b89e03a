#include "dataplane/spd/rules.hpp"

#include <algorithm>
#include <array>

namespace culvert::dp {

U128 number_of(const IpAddress& a) {
  U128 out = 0;
  for (const std::uint8_t b : a.view()) out = out << 8 | b;
  return out;
}

std::vector<NumberPrefix> prefixes(const TrafficSelector& ts) {
  const unsigned width = static_cast<unsigned>(ts.first.size()) * 8;
  const U128 last = number_of(ts.last);
  std::vector<NumberPrefix> out;
  for (U128 at = number_of(ts.first);;) {
    // As many host bits as are 0 in `at`, and lead no further than `last`.
    unsigned host = 0;
    U128 end = at;
    const auto until = [&](unsigned bits) -> U128 { return at | ((U128{2} << (bits - 1)) - 1); };
    while (host < width && (at >> host & 1) == 0 && until(host + 1) <= last) end = until(++host);
    out.push_back({at, width - host});
    if (end >= last) return out;
    at = end + 1;
  }
}

std::vector<SelectorPair> pairs_of(const shm::InstallPolicy& p) {
  std::vector<TrafficSelector> local{p.local_ts}, remote{p.remote_ts};
  local.insert(local.end(), p.more.local().begin(), p.more.local().end());
  remote.insert(remote.end(), p.more.remote().begin(), p.more.remote().end());
  std::vector<SelectorPair> out;
  for (const TrafficSelector& l : local)
    for (const TrafficSelector& r : remote)
      if (can_pair(l, r)) out.push_back({l, r});
  std::ranges::stable_partition(out, &SelectorPair::any_port);
  return out;
}

std::shared_ptr<SpdPolicy> prepare(const shm::InstallPolicy& policy, std::uint64_t made, EntryPool& pool) {
  auto out = std::make_shared<SpdPolicy>(SpdPolicy{policy, made, {}});
  if (!policy.tunnel.view().empty()) return out;
  std::uint16_t entries = 0;
  const auto take = [&](const SpdEntry& entry) { return pool.take(entry, SpdRank(policy, made, entries++)); };
  const std::vector<SelectorPair> pairs = pairs_of(policy);
  std::array<EntryRef, 2> shared{};  // what no side decides about: entries without ports, and with them
  for (const SelectorPair& pair : pairs) {
    EntryRef entry = pair.overlaps() ? nullptr : shared[pair.any_port() ? 0 : 1];
    if (!entry)
      entry = take(
          {policy.policy, policy.action, policy.acquire, pair.overlaps(), PreparedSelector::from(pair.local), RangeV6::from(pair.local)});
    if (!entry) return nullptr;
    if (!pair.overlaps()) shared[pair.any_port() ? 0 : 1] = entry;
    out->rules.push_back({pair, pair.any_port() ? Ports::Either : Ports::Seen, std::move(entry)});
  }
  if (pairs.back().any_port()) return out;
  const EntryRef hidden = take({policy.policy, shm::PolicyAction::Discard, false, false, {}});
  if (!hidden) return nullptr;
  for (const SelectorPair& pair : pairs)
    if (!pair.any_port()) out->rules.push_back({pair, Ports::Hidden, hidden});
  return out;
}

}  // namespace culvert::dp
