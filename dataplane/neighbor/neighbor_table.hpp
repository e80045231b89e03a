// Who has which MAC address: the neighbour table, read by every worker for every packet sent.
// Owns entries and their lookup. Entries are added and removed by one thread (the manager); any worker may confirm one. Removal
// only unlinks: the caller frees after the workers' quiescent states. No lock, no reference counting.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/net/ip.hpp"
#include "common/shm/drop.hpp"
#include "dataplane/packet.hpp"

namespace culvert::dp {

struct NeighborKey {
  IpAddress address;
  std::uint16_t port = 0;
  friend bool operator==(const NeighborKey&, const NeighborKey&) = default;
};

enum class NeighborState : std::uint8_t {
  Incomplete,  ///< asked, not answered: packets wait
  Reachable,   ///< has a MAC address
  Failed,      ///< did not answer: packets are refused until the entry is asked again
};

struct Neighbor {
  NeighborKey key;
  std::uint32_t v4 = 0;                ///< key.address in host order, of an IPv4 entry
  bool pinned = false;                 ///< a gateway of the configuration: never removed
  std::atomic<std::uint64_t> link{0};  ///< state << 48 | MAC, as one value so that readers need no lock
  std::atomic<bool> used{false};       ///< set by workers, cleared by the manager
  std::atomic<bool> confirmed{false};  ///< set by the worker that heard from it, cleared by the manager
  std::atomic<Neighbor*> next{nullptr};

  using Mac = std::array<std::uint8_t, 6>;
  static std::uint64_t encode(NeighborState state, const Mac& mac) {
    return load_mac(mac.data()) | std::uint64_t{static_cast<std::uint8_t>(state)} << 48;
  }
  static MacBits mac_of(std::uint64_t link) { return link & 0xffff'ffff'ffffU; }
  static NeighborState state_of(std::uint64_t link) { return static_cast<NeighborState>(link >> 48); }
  [[nodiscard]] NeighborState state() const { return state_of(link.load(std::memory_order_acquire)); }
  /// Worker: `link`, for a packet that leaves. One that can be sent to is then in use.
  std::uint64_t use() {
    const std::uint64_t now = link.load(std::memory_order_acquire);
    if (state_of(now) == NeighborState::Reachable && !used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
    return now;
  }
  /// It was heard from: usable from now on. In this order: who sees the link finds it confirmed.
  void confirm(const Mac& mac) {
    confirmed.store(true);
    link.store(encode(NeighborState::Reachable, mac));
  }
  /// Manager: it is `to` from now on. False, and nothing is done: a worker heard from it since the link was `seen`.
  bool become(NeighborState to, std::uint64_t seen) {
    const std::uint64_t made = encode(to, {});
    if (confirmed.load() || !link.compare_exchange_strong(seen, made)) return false;
    if (!confirmed.load()) return true;
    std::uint64_t expected = made;
    link.compare_exchange_strong(expected, seen);  // the same address was heard meanwhile: the exchange could not see that
    return false;
  }
};

/// What a message of ARP or of neighbour discovery asks of its worker.
struct NeighborVerdict {
  Drop reason{};         ///< if `counted`
  bool counted = false;  ///< it is refused; else it was fine, and ends here if it is not answered
  bool reply = false;    ///< the packet has become the answer: send it to `to`
  bool learned = false;  ///< an entry for which packets may wait has become usable
  Neighbor::Mac to{};
};

class NeighborTable {
 public:
  static constexpr std::size_t kMaxEntries = 8192;  ///< bounds memory against scans of our networks

  NeighborTable() = default;
  NeighborTable(const NeighborTable&) = delete;
  NeighborTable& operator=(const NeighborTable&) = delete;
  ~NeighborTable();

  [[nodiscard]] Neighbor* find(const NeighborKey& key) const {
    for (Neighbor* n = buckets_[bucket(key)].load(std::memory_order_acquire); n != nullptr; n = n->next.load(std::memory_order_acquire))
      if (n->key == key) return n;
    return nullptr;
  }
  /// The same for an IPv4 address in host order, without assembling a key.
  [[nodiscard]] Neighbor* find_v4(std::uint32_t address, std::uint16_t port) const {
    const std::uint64_t wire = __builtin_bswap32(address);
    for (Neighbor* n = buckets_[bucket(wire, 0, port)].load(std::memory_order_acquire); n != nullptr;
         n = n->next.load(std::memory_order_acquire))
      if (n->v4 == address && n->key.port == port && n->key.address.family == Family::V4) return n;
    return nullptr;
  }
  /// Manager: the entry for `key`, new ones Incomplete; nullptr when the table is full.
  Neighbor* add(const NeighborKey& key, bool pinned = false);
  /// Manager: takes an entry out; workers may still hold it for a moment. Not for pinned ones.
  std::unique_ptr<Neighbor> remove(Neighbor& entry);
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Manager: every entry. The callback may not add or remove.
  void for_each(const std::function<void(Neighbor&)>& visit);

 private:
  static constexpr std::size_t kBuckets = 4096;
  static std::size_t bucket(const NeighborKey& key) {
    std::uint64_t a;
    std::uint64_t b;
    std::memcpy(&a, key.address.bytes.data(), sizeof a);
    std::memcpy(&b, key.address.bytes.data() + 8, sizeof b);
    return bucket(a, b, key.port);
  }
  static std::size_t bucket(std::uint64_t a, std::uint64_t b, std::uint16_t port) {
    return static_cast<std::size_t>(((a ^ (b << 1) ^ (std::uint64_t{port} << 48)) * 0x9e3779b97f4a7c15U) >> 52);
  }
  std::array<std::atomic<Neighbor*>, kBuckets> buckets_{};
  std::size_t size_ = 0;
};

}  // namespace culvert::dp
