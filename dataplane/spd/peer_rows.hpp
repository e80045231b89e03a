// The entries of peers that come and go, found by the peer's side of a packet: so that one more, or one less, costs the same beside ten
// thousand others as beside none. The classifier, which must be built anew for each change, has all the others.
//
// Rows stand by (VRF, prefix of the remote side) in shards, ordered by hash and then by rank. A lookup asks once for each length of prefix
// that there is. Owns the shards and the bounds that keep a lookup short; a policy that does not fit in them goes to the classifier.
// A copy shares all shards, and a change makes a new one: what a worker can see is never written.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "dataplane/spd/flow_key.hpp"
#include "dataplane/spd/rules.hpp"

namespace culvert::dp {

/// `Key`: FlowKey or FlowKeyV6.
template <class Key>
class PeerRows {
 public:
  static constexpr std::size_t kLengths = 16;  ///< of prefixes, at once
  static constexpr std::size_t kAlike = 16;    ///< rows for one prefix

  /// All rows of a policy's rules of this family, or none: false.
  bool add(const SpdPolicy& policy);
  /// What add() has added.
  void remove(const SpdPolicy& policy);
  [[nodiscard]] bool empty() const { return rows_ == 0; }
  [[nodiscard]] std::size_t size() const { return rows_; }
  /// Where a row matches that is before what the classifier has found, out[i] is its entry's number.
  void lookup(std::span<const Key> keys, std::span<std::uint32_t> out, const EntryPool& pool) const;

 private:
  static constexpr bool kV4 = std::is_same_v<Key, FlowKey>;
  static constexpr unsigned kWidth = kV4 ? 32 : 128;
  static constexpr std::size_t kShards = 256;
  using Address = std::conditional_t<kV4, std::uint32_t, U128>;
  /// By which rows are found: the peers' side of a packet, as far as a prefix of this length says.
  struct Place {
    Address prefix;
    std::uint8_t length;
    VrfId vrf;
    [[nodiscard]] std::uint64_t hash() const;
    friend bool operator==(const Place&, const Place&) = default;
  };
  /// What the rules ask for, in host order.
  struct Asked {
    Address local, remote;
    std::uint16_t local_port, remote_port;
    std::uint8_t protocol;
    bool hidden;
    VrfId vrf;
    explicit Asked(const Key& key);
  };
  struct Row {
    Place place;
    Address first, last;  ///< of our side
    SpdRank rank;
    EntryRef entry;
    std::uint16_t number;                                              ///< the entry's
    std::uint16_t local_first, local_last, remote_first, remote_last;  ///< ports
    std::uint8_t protocol;
    Ports ports;
    [[nodiscard]] bool matches(const Asked& asked) const;
  };
  struct Shard {
    std::vector<std::uint32_t> hashes;  // of rows, side by side
    std::vector<Row> rows;
    [[nodiscard]] std::size_t find(std::uint32_t hash) const;
  };
  static Address masked(Address a, unsigned length) { return length == 0 ? 0 : a & ~Address{0} << (kWidth - length); }
  static std::vector<Row> rows_of(const SpdPolicy& policy);
  bool put(Row row);
  void take(const Row& row);
  void count(std::uint8_t length, int by);

  std::vector<std::shared_ptr<const Shard>> shards_;  ///< kShards, or none as long as there was no row
  std::array<std::uint32_t, kWidth + 1> by_length_{};
  std::array<std::uint8_t, kLengths> lengths_{};  ///< those that there are
  std::size_t n_lengths_ = 0, rows_ = 0;
};
extern template class PeerRows<FlowKey>;
extern template class PeerRows<FlowKeyV6>;

}  // namespace culvert::dp
