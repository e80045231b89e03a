// The security policy database (RFC 4301 §4.4.1) as the packet path asks it: a snapshot, built by the manager, never changed.
// Owns DPDK's acl behind it. A new set of policies is a new Spd, swapped in under RCU.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/shm/messages.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/sa.hpp"

struct rte_acl_ctx;

namespace culvert::dp {

/// What a packet is looked up by, in the layout that the classifier reads; network byte order.
struct FlowKey {
  std::uint8_t protocol = 0;
  std::uint8_t zero[3]{};
  std::uint32_t source = 0, destination = 0;
  std::uint16_t source_port = 0, destination_port = 0;

  /// As the packet goes: local -> remote.
  static FlowKey outbound(const Packet& p) { return make(p, 12, 16, p.source_port, p.destination_port); }
  /// Mirrored, for a packet that came in: its source is the remote side.
  static FlowKey inbound(const Packet& p) { return make(p, 16, 12, p.destination_port, p.source_port); }

  /// All of it as two numbers, to compare and to hash.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> words() const {
    std::array<std::uint64_t, 2> w;
    std::memcpy(w.data(), static_cast<const void*>(this), sizeof w);
    return {w[0], w[1]};
  }
  friend bool operator==(const FlowKey& a, const FlowKey& b) { return a.words() == b.words(); }

 private:
  static FlowKey make(const Packet& p, std::size_t source_at, std::size_t destination_at, std::uint16_t sport, std::uint16_t dport) {
    FlowKey k;
    k.protocol = p.protocol;
    std::memcpy(&k.source, p.data + source_at, 4);
    std::memcpy(&k.destination, p.data + destination_at, 4);
    k.source_port = __builtin_bswap16(sport);
    k.destination_port = __builtin_bswap16(dport);
    return k;
  }
};
static_assert(sizeof(FlowKey) == 16);

/// What the packet path must remember of a policy across snapshots; indexed by PolicyId, lives as long as the process.
struct PolicyState {
  std::atomic<OutboundSa*> current{nullptr};       ///< written by the manager
  std::atomic<std::uint64_t> acquire_ns{0};        ///< when a worker reported last
};

struct SpdEntry {
  PolicyId policy;
  shm::PolicyAction action{};
  bool acquire = false;
  bool overlapping = false;          ///< some address is on both sides
  PreparedSelector local;            ///< of our side
};

class Spd {
 public:
  /// A range of addresses is cut into prefixes; a policy that needs more than this many pairs of them is refused.
  static constexpr std::size_t kMaxRules = 256;
  /// AckResult::Ok if this policy can be part of an Spd: selectors of one family that is carried, ranges in order, not too many
  /// prefixes.
  static shm::AckResult check(const shm::InstallPolicy& policy);

  /// All must have passed check(). Fails when DPDK has no memory for it.
  static std::expected<std::unique_ptr<Spd>, std::string> build(std::span<const shm::InstallPolicy> policies);
  ~Spd();
  Spd(const Spd&) = delete;
  Spd& operator=(const Spd&) = delete;

  /// The entry that wins for each key; nullptr: none matches. `out` is as long as `keys`, at most kBurstMax.
  void lookup(std::span<const FlowKey> keys, std::span<const SpdEntry*> out) const;
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// Of this snapshot; never 0 and never reused, unlike its address.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }

 private:
  explicit Spd(std::uint64_t serial) : serial_(serial) {}
  std::uint64_t serial_;
  rte_acl_ctx* acl_ = nullptr;
  std::vector<SpdEntry> entries_;
};

}  // namespace culvert::dp
