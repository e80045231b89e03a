#include "dataplane/spd/peer_rows.hpp"

#include <algorithm>

namespace culvert::dp {

template <class Key>
std::uint64_t PeerRows<Key>::Place::hash() const {
  std::uint64_t mixed = (std::uint64_t{length} << 8 | vrf) * 0x9e3779b97f4a7c15U;
  const auto mix = [&](std::uint64_t word) {
    mixed = (mixed ^ word) * 0xc2b2ae3d27d4eb4fU;
    mixed ^= mixed >> 29;
  };
  mix(static_cast<std::uint64_t>(prefix));
  if constexpr (!kV4) mix(static_cast<std::uint64_t>(prefix >> 64));
  return mixed * 0x165667b19e3779f9U;
}

template <class Key>
PeerRows<Key>::Asked::Asked(const Key& key)
    : local(0),
      remote(0),
      local_port(key.source_port()),
      remote_port(key.destination_port()),
      protocol(key.protocol()),
      hidden(key.ports_hidden()),
      vrf(key.vrf()) {
  if constexpr (kV4) {
    local = key.source();
    remote = key.destination();
  } else {
    const auto number = [](const V6Bytes& a) { return U128{load_be64(a.data())} << 64 | load_be64(a.data() + 8); };
    local = number(key.source());
    remote = number(key.destination());
  }
}

template <class Key>
bool PeerRows<Key>::Row::matches(const Asked& asked) const {
  if (static_cast<Address>(asked.local - first) > static_cast<Address>(last - first)) return false;
  if (protocol != 0 && protocol != asked.protocol) return false;
  if (ports != Ports::Either && asked.hidden != (ports == Ports::Hidden)) return false;
  return ports != Ports::Seen || (asked.local_port >= local_first && asked.local_port <= local_last && asked.remote_port >= remote_first &&
                                  asked.remote_port <= remote_last);
}

template <class Key>
std::size_t PeerRows<Key>::Shard::find(std::uint32_t hash) const {
  return static_cast<std::size_t>(std::ranges::lower_bound(hashes, hash) - hashes.begin());
}

template <class Key>
std::vector<typename PeerRows<Key>::Row> PeerRows<Key>::rows_of(const SpdPolicy& policy) {
  std::vector<Row> out;
  for (const SpdRule& rule : policy.rules) {
    const auto& [l, r] = rule.pair;
    if ((l.first.family == Family::V4) != kV4) continue;
    for (const NumberPrefix& p : prefixes(r))
      out.push_back({{static_cast<Address>(p.address), static_cast<std::uint8_t>(p.length), policy.policy.vrf},
                     static_cast<Address>(number_of(l.first)),
                     static_cast<Address>(number_of(l.last)),
                     rule.entry->rank(),
                     rule.entry,
                     static_cast<std::uint16_t>(rule.entry->value),
                     l.port_first,
                     l.port_last,
                     r.port_first,
                     r.port_last,
                     rule.pair.protocol(),
                     rule.ports});
  }
  return out;
}

template <class Key>
bool PeerRows<Key>::add(const SpdPolicy& policy) {
  const std::vector<Row> rows = rows_of(policy);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (!put(rows[i])) {
      while (i > 0) take(rows[--i]);
      return false;
    }
  return true;
}

template <class Key>
void PeerRows<Key>::remove(const SpdPolicy& policy) {
  for (const Row& row : rows_of(policy)) take(row);
}

template <class Key>
bool PeerRows<Key>::put(Row row) {
  const std::uint64_t hash = row.place.hash();
  const auto low = static_cast<std::uint32_t>(hash);
  if (by_length_[row.place.length] == 0 && n_lengths_ == kLengths) return false;
  if (shards_.empty()) shards_.resize(kShards);
  auto& shard = shards_[hash >> 56];
  const std::size_t first = shard ? shard->find(low) : 0;
  std::size_t at = first, alike = 0;
  for (std::size_t i = first; shard && i < shard->rows.size() && shard->hashes[i] == low; ++i, ++alike)
    if (shard->rows[i].rank < row.rank) at = i + 1;
  if (alike >= kAlike) return false;
  auto changed = shard ? std::make_shared<Shard>(*shard) : std::make_shared<Shard>();
  const auto offset = static_cast<std::ptrdiff_t>(at);
  changed->hashes.insert(changed->hashes.begin() + offset, low);
  count(row.place.length, 1);
  changed->rows.insert(changed->rows.begin() + offset, std::move(row));
  shard = std::move(changed);
  return true;
}

template <class Key>
void PeerRows<Key>::take(const Row& row) {
  const std::uint64_t hash = row.place.hash();
  const auto low = static_cast<std::uint32_t>(hash);
  auto& shard = shards_[hash >> 56];
  std::size_t at = shard->find(low);
  while (shard->rows[at].entry != row.entry || !(shard->rows[at].place == row.place)) ++at;
  if (shard->rows.size() == 1) {
    shard.reset();
  } else {
    auto changed = std::make_shared<Shard>(*shard);
    changed->hashes.erase(changed->hashes.begin() + static_cast<std::ptrdiff_t>(at));
    changed->rows.erase(changed->rows.begin() + static_cast<std::ptrdiff_t>(at));
    shard = std::move(changed);
  }
  count(row.place.length, -1);
}

template <class Key>
void PeerRows<Key>::count(std::uint8_t length, int by) {
  const bool was = by_length_[length] != 0;
  by_length_[length] += static_cast<std::uint32_t>(by);
  rows_ += static_cast<std::size_t>(by);
  const auto end = lengths_.begin() + static_cast<std::ptrdiff_t>(n_lengths_);
  if (!was) {
    lengths_[n_lengths_++] = length;
  } else if (by_length_[length] == 0) {
    *std::find(lengths_.begin(), end, length) = lengths_[--n_lengths_];
  }
}

template <class Key>
void PeerRows<Key>::lookup(std::span<const Key> keys, std::span<std::uint32_t> out, const EntryPool& pool) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Asked asked(keys[i]);
    const SpdRank* best = out[i] != 0 ? &pool.rank(out[i]) : nullptr;
    for (std::size_t n = 0; n < n_lengths_; ++n) {
      const Place place{masked(asked.remote, lengths_[n]), lengths_[n], asked.vrf};
      const std::uint64_t hash = place.hash();
      const auto low = static_cast<std::uint32_t>(hash);
      const Shard* shard = shards_[hash >> 56].get();
      if (shard == nullptr) continue;
      for (std::size_t at = shard->find(low); at < shard->rows.size() && shard->hashes[at] == low; ++at) {
        const Row& row = shard->rows[at];
        if (best != nullptr && !(row.rank < *best)) break;
        if (!(row.place == place) || !row.matches(asked)) continue;
        best = &row.rank;
        out[i] = row.number;
        break;
      }
    }
  }
}

template class PeerRows<FlowKey>;
template class PeerRows<FlowKeyV6>;

}  // namespace culvert::dp
