// The entries that an SPD is made of, each with a number and its place in the order. Owns the room for all of them, so that a number
// means an entry by one addition, whatever snapshot it is asked in; and the numbers that are free.
// A number is given again only when nobody holds its EntryRef any more, and every snapshot holds those of its entries: what a worker
// can see is never written. Numbers are taken and given back on the manager's thread only.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/shm/messages.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

/// A policy; or, of a policy for certain ports only, the Discard of packets that may be meant but hide their ports.
struct SpdEntry {
  PolicyId policy;
  shm::PolicyAction action{};
  bool acquire = false;
  bool overlapping = false;  ///< some address is on both sides
  PreparedSelector local;    ///< of our side
  RangeV6 local_v6{};
  /// Whether the address is on our side; `family` is that of the packet, in network order at `address`.
  [[nodiscard]] bool ours(Family family, const std::uint8_t* address) const {
    return family == Family::V4 ? load_be32(address) - local.first_v4 <= local.last_v4 - local.first_v4 : local_v6.contains(address);
  }
};

/// Of the entries that match a packet the one with the smallest rank wins; no two have the same.
struct SpdRank {
  std::uint64_t first = 0;   ///< the policy's priority and order
  std::uint64_t second = 0;  ///< how many policies were there before it, the most recent one first; and which of its entries
  SpdRank() = default;
  SpdRank(const shm::InstallPolicy& policy, std::uint64_t made, std::uint16_t entry)
      : first(std::uint64_t{policy.priority} << 32 | policy.order), second(~made << 16 | entry) {}
  friend auto operator<=>(const SpdRank&, const SpdRank&) = default;
};

class EntryPool;
/// Who holds it keeps the entry.
class SpdNumber {
 public:
  SpdNumber(std::shared_ptr<EntryPool> pool, std::uint32_t number) : value(number), pool_(std::move(pool)) {}
  ~SpdNumber();
  SpdNumber(const SpdNumber&) = delete;
  SpdNumber& operator=(const SpdNumber&) = delete;
  const std::uint32_t value;  ///< never 0
  [[nodiscard]] const SpdRank& rank() const;

 private:
  std::shared_ptr<EntryPool> pool_;
};
using EntryRef = std::shared_ptr<const SpdNumber>;

class EntryPool : public std::enable_shared_from_this<EntryPool> {
 public:
  /// Numbers go into 16 bits (flow_cache.hpp).
  static constexpr std::size_t kMost = 65500;

  EntryPool()
      : entries_(std::make_unique_for_overwrite<Room<SpdEntry>[]>(kMost)), ranks_(std::make_unique_for_overwrite<Room<SpdRank>[]>(kMost)) {}
  /// nullptr: all numbers are taken.
  EntryRef take(const SpdEntry& entry, SpdRank rank) {
    if (free_.empty() && used_ == kMost) return nullptr;
    std::uint32_t number = 0;
    if (free_.empty()) {
      number = ++used_;
    } else {
      number = free_.back();
      free_.pop_back();
    }
    std::construct_at(&entries_[number - 1].value, entry);
    std::construct_at(&ranks_[number - 1].value, rank);
    return std::make_shared<const SpdNumber>(shared_from_this(), number);
  }
  [[nodiscard]] const SpdEntry* entries() const { return &entries_[0].value; }  ///< the one of number 1, and those behind it
  [[nodiscard]] const SpdRank& rank(std::uint32_t number) const { return ranks_[number - 1].value; }
  [[nodiscard]] std::size_t taken() const { return used_ - free_.size(); }

 private:
  friend SpdNumber;
  /// Not written before it is used: what is not needed takes no memory.
  template <class T>
  union Room {
    Room() {}
    T value;
    static_assert(std::is_trivially_destructible_v<T>);
  };
  void give_back(std::uint32_t number) { free_.push_back(static_cast<std::uint16_t>(number)); }

  std::unique_ptr<Room<SpdEntry>[]> entries_;
  std::unique_ptr<Room<SpdRank>[]> ranks_;
  std::vector<std::uint16_t> free_;
  std::uint32_t used_ = 0;
};

inline const SpdRank& SpdNumber::rank() const { return pool_->rank(value); }
inline SpdNumber::~SpdNumber() { pool_->give_back(value); }

}  // namespace culvert::dp
