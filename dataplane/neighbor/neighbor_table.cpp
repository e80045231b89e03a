#include "dataplane/neighbor/neighbor_table.hpp"

namespace culvert::dp {

NeighborTable::~NeighborTable() {
  for (auto& head : buckets_)
    for (Neighbor* n = head.load(); n != nullptr;) {
      const std::unique_ptr<Neighbor> owned(n);
      n = n->next.load();
    }
}

Neighbor* NeighborTable::add(const NeighborKey& key, bool pinned) {
  if (Neighbor* known = find(key)) {
    known->pinned = known->pinned || pinned;
    return known;
  }
  if (size_ >= kMaxEntries) return nullptr;
  auto entry = std::make_unique<Neighbor>();
  entry->key = key;
  if (key.address.family == Family::V4) entry->v4 = key.address.v4_host();
  entry->pinned = pinned;
  auto& head = buckets_[bucket(key)];
  entry->next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  head.store(entry.get(), std::memory_order_release);
  ++size_;
  return entry.release();
}

std::unique_ptr<Neighbor> NeighborTable::remove(Neighbor& entry) {
  std::atomic<Neighbor*>* link = &buckets_[bucket(entry.key)];
  while (Neighbor* n = link->load(std::memory_order_relaxed)) {
    if (n == &entry) {
      // `entry` keeps its own link, so that a reader that stands on it finds the rest of the chain.
      link->store(entry.next.load(std::memory_order_relaxed), std::memory_order_release);
      --size_;
      return std::unique_ptr<Neighbor>(&entry);
    }
    link = &n->next;
  }
  return nullptr;
}

void NeighborTable::for_each(const std::function<void(Neighbor&)>& visit) {
  for (auto& head : buckets_)
    for (Neighbor* n = head.load(std::memory_order_relaxed); n != nullptr; n = n->next.load(std::memory_order_relaxed)) visit(*n);
}

}  // namespace culvert::dp
