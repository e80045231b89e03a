// The segment: one sealed memfd that the data plane makes and culvertd maps. Owns where everything lies, and the refusal of
// a segment of another layout. Holds no pointers. Only the data plane writes records and counters, which culvertd only reads; of the
// inbound SPIs that are awaited it is the other way round.
//
//     SegmentHeader | rings | inbound SaRecord[n] | outbound SaRecord[n] | WorkerCounters[w] | PortCounters[p] |
//     ManagerCounters | CaptureRing[w] | awaited SPI[n]
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "common/shm/drop.hpp"
#include "common/shm/messages.hpp"
#include "common/shm/ring.hpp"

namespace culvert::shm {

inline constexpr std::uint64_t kSegmentMagic = 0x43554c5645525431;  // "CULVERT1"
inline constexpr std::uint32_t kMaxWorkers = 64;
inline constexpr std::uint32_t kMaxPorts = 32, kMaxVlans = 1024;
inline constexpr std::uint32_t kMaxSaCapacity = 1U << 20;
inline constexpr std::uint32_t kCommandSlots = 1024, kEventSlots = 4096, kDatagramSlots = 1024, kCaptureSlots = 1024;

/// A counter with one writer and any number of readers: plain loads and stores, never a locked instruction.
class Counter {
 public:
  void add(std::uint64_t n) { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { v_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return v_.load(std::memory_order_relaxed); }
  /// For what several threads count, never with add() beside it.
  void add_shared(std::uint64_t n) { v_.fetch_add(n, std::memory_order_relaxed); }
  /// Of a writer and its reader: whoever sees this value sees all that was counted before.
  void publish(std::uint64_t n) { v_.store(n, std::memory_order_release); }
  [[nodiscard]] std::uint64_t observe() const { return v_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> v_{0};
};

/// Counted by the SA's owner worker, but for drops before a packet reaches its owner. Bytes are those of inner packets.
struct SaCounters {
  Counter packets, bytes;
  Counter sequence;      ///< highest sequence number sent, or authenticated
  Counter last_used_ns;  ///< CLOCK_MONOTONIC of the latest good packet, to within a burst or so; 0: none
  Counter refused;       ///< inbound: took a sequence number, being authentic and new, and was dropped by a later check
  Counter reordered;     ///< inbound: good or refused, and came after a packet with a higher sequence number
  Counter skipped;       ///< inbound, by the manager: sequence numbers that the peer was to leave out
  Counter reserved[1];
  Counter drops[kSaDropSlots];  ///< by kSaDropSlot

  void drop(Direction d, Drop reason) { slot(d, reason).add(1); }
  /// By another worker than the owner, or by any: of a reason that is never counted by drop().
  void drop_shared(Direction d, Drop reason) { slot(d, reason).add_shared(1); }
  [[nodiscard]] std::uint64_t dropped(Direction d, Drop reason) const {
    return drops[kSaDropSlot[static_cast<std::size_t>(d)][static_cast<std::size_t>(reason)]].get();
  }
  /// Sequence numbers that have not come although a higher one has: on their way, or lost. Exact once the sender pauses.
  [[nodiscard]] std::uint64_t missing() const {
    const std::uint64_t top = sequence.observe();
    const std::uint64_t came = packets.get() + refused.get() + skipped.get();
    return top > came ? top - came : 0;
  }
  /// Before the SA is installed.
  void reset() {
    for (Counter* c : {&packets, &bytes, &sequence, &last_used_ns, &refused, &reordered, &skipped}) c->set(0);
    for (Counter& c : drops) c.set(0);
  }

 private:
  Counter& slot(Direction d, Drop reason) { return drops[kSaDropSlot[static_cast<std::size_t>(d)][static_cast<std::size_t>(reason)]]; }
};

/// One SA as seen from outside. Written by the manager under the seqlock `version` (odd while it writes), counters by the
/// owner worker. No key material.
struct alignas(64) SaRecord {
  std::atomic<std::uint32_t> version;
  Spi spi;  ///< 0: the slot is free
  std::uint32_t slot;
  PolicyId policy;
  std::uint64_t pair;
  Endpoint local, remote;
  TrafficSelector local_ts, remote_ts;
  EspSuite suite;
  SaMode mode;
  Lifetime soft, hard;
  std::uint64_t installed_ns;  ///< CLOCK_MONOTONIC
  std::uint16_t worker;
  Direction direction;
  bool current;  ///< outbound: the one that its policy uses
  PeerTag peer;
  Name name;
  std::uint16_t mtu;       ///< outbound: the largest inner packet; 0: unknown, or no way leads to the peer
  VrfId vrf;               ///< of the packets inside
  std::uint16_t path_mtu;  ///< outbound: of outer packets, as a router on the way said lately; 0: none did
  MoreSelectors more;
  alignas(64) SaCounters counters;
};

/// Steps of a worker's path, whose cycles are counted in one pass of many.
enum class Node : std::uint8_t { Receive, Classify, Policy, FindSa, Decrypt, Route, Forward, Encrypt, Send, Transmit, Count_ };
struct NodeInfo {
  std::string_view name, help;
};
inline constexpr std::array<NodeInfo, static_cast<std::size_t>(Node::Count_)> kNodeTable{{
    {"receive", "take packets from the port's queue"},
    {"classify", "Ethernet and IP headers, what is for an own address"},
    {"policy", "what came in clear against the policies"},
    {"find_sa", "the SA of an ESP or AH packet, hand-over to its worker"},
    {"decrypt", "checks, integrity, decryption, inner header"},
    {"route", "policy and route of what came out of a tunnel"},
    {"forward", "what is done: own addresses, TTL, policy, size"},
    {"encrypt", "outer header, encryption, integrity"},
    {"send", "neighbour and Ethernet header of what was encrypted"},
    {"transmit", "give packets to the ports' queues"},
}};
/// Packets through a step and the cycles that they took, of the passes that were measured.
struct NodeCounters {
  Counter packets, cycles;
};

struct alignas(64) WorkerCounters {
  std::array<Counter, kDropReasons> drops;
  Counter rx_packets, tx_packets, polls, busy_polls, sleeps, busy_cycles, handoff_in, handoff_out;
  // Of SAs whose crypto is spread: parcels and packets of this owner, packets that it had no parcel for, packets of other owners.
  Counter parcels, spread_out, spread_full, spread_in;
  Counter spread_late;   ///< parcels that took longer than a worker needs which has its core (dataplane/nodes/parcel.hpp)
  Counter spread_since;  ///< when the oldest parcel that is under way was issued, CLOCK_MONOTONIC in ns; 0: none is
  // What makes the balance: over all threads rx + generated = tx + drops + consumed, but for what is between two threads or waits.
  Counter generated;  ///< packets made here: ICMP errors (sent, or over their rate limit), fragments
  Counter consumed;   ///< packets that have done their work: ARP that was learnt from, what was cut into fragments
  Counter early;      ///< packets that came before their SA, and went on when it was there
  Counter cookies;    ///< first messages of IKEv2 that were answered with a cookie here, and sent back as that
  std::array<NodeCounters, static_cast<std::size_t>(Node::Count_)> nodes;
};
/// Of the data plane's manager thread: what ends there, on its way between workers or to and from culvertd.
struct alignas(64) ManagerCounters {
  std::array<Counter, kDropReasons> drops;
  Counter generated;  ///< ARP requests, datagrams of culvertd
  Counter consumed;   ///< what culvertd has got
};
/// Of a port or, behind all ports, of a VLAN: of those what workers count, ARP requests and neighbour solicitations of ours left out.
struct alignas(64) PortCounters {
  Name name;
  Counter rx_packets, rx_bytes, tx_packets, tx_bytes, rx_missed, rx_errors, tx_errors, rx_nombuf;
  Counter link_up;       ///< 0 or 1
  Counter link_changes;  ///< how often it went down or came back
  Counter mtu;           ///< of IP that is sent: the configured one, or less while the interface beneath carries less
  Counter flow_rules;    ///< SAs whose packets the device brings to their workers, by SPI
  Counter flow_refused;  ///< SAs for which it took no rule, since the start; of a port with one queue neither is counted
};

struct SegmentHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t workers, ports, sa_capacity;  ///< ports: and VLANs; sa_capacity: a power of two; SAs of each direction
  std::uint64_t layout_hash;
  std::uint64_t total_bytes;
  std::uint64_t boot_id;  ///< random at each start of the data plane: another one means that all SAs are gone
  std::uint64_t tsc_hz;
  std::uint64_t vrfs;  ///< config::vrf_fingerprint() of its configuration: who counts them otherwise must not attach
};

using CommandRing = RingMemory<Message, kCommandSlots>;
using EventRing = RingMemory<Message, kEventSlots>;
using DatagramRing = RingMemory<Datagram, kDatagramSlots>;

/// From one worker; never reset: what is in it when a capture begins is of another one.
using CaptureRing = RingMemory<Captured, kCaptureSlots>;

struct SegmentRings {
  CommandRing command;  ///< culvertd -> data plane; slots carry keys and are wiped when consumed
  EventRing event;      ///< data plane -> culvertd
  DatagramRing punt;    ///< data plane -> culvertd
  DatagramRing inject;  ///< culvertd -> data plane
};

/// FNV-1a over the sizes and offsets of everything above.
std::uint64_t layout_hash();

/// A mapped segment. Unmaps on destruction; locked in memory and left out of core dumps.
class Segment {
 public:
  /// The data plane's side: makes, sizes, seals and maps a memfd. `workers` 1..kMaxWorkers, `ports` 0..kMaxPorts + kMaxVlans,
  /// `sa_capacity` a power of two to kMaxSaCapacity.
  static std::expected<Segment, std::string> create(std::uint32_t workers, std::uint32_t ports, std::uint32_t sa_capacity,
                                                    std::uint64_t vrfs = 0);
  /// culvertd's side: maps `fd` after checking its seals, size, magic, version and layout hash. Takes the descriptor in any case.
  static std::expected<Segment, std::string> attach(int fd);

  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const SegmentHeader& header() const { return header_; }  ///< a private copy: the other side cannot change it
  [[nodiscard]] SegmentRings& rings() const;
  [[nodiscard]] std::span<SaRecord> records(Direction direction) const;
  [[nodiscard]] std::span<WorkerCounters> workers() const;
  [[nodiscard]] std::span<PortCounters> ports() const;
  [[nodiscard]] ManagerCounters& manager() const;
  [[nodiscard]] std::span<CaptureRing> captures() const;  ///< one a worker
  /// By slot: the SPI that a peer was told for an inbound SA that is not there yet, whose packets wait for it for a moment; or 0.
  [[nodiscard]] std::span<std::atomic<std::uint32_t>> awaited() const;
  /// Empties all four rings and wipes their slots. Only when no other process uses them.
  void reset_rings();

 private:
  Segment(int fd, void* base, const SegmentHeader& header) : fd_(fd), base_(base), header_(header) {}
  int fd_ = -1;
  void* base_ = nullptr;
  SegmentHeader header_{};
};

/// What a record says, without its counters. `read_record` copies it consistently; false if the slot is free or
/// was being written for too long.
struct SaSnapshot {
  Spi spi;
  std::uint32_t slot = 0;
  PolicyId policy;
  std::uint64_t pair = 0;
  Endpoint local, remote;
  TrafficSelector local_ts, remote_ts;
  EspSuite suite;
  SaMode mode = SaMode::Tunnel;
  Lifetime soft, hard;
  std::uint64_t installed_ns = 0;
  std::uint16_t worker = 0;
  Direction direction{};
  bool current = false;
  Name name;
  PeerTag peer{};
  std::uint16_t mtu = 0, path_mtu = 0;
  VrfId vrf = kDefaultVrf;
  MoreSelectors more{};
};
bool read_record(const SaRecord& record, SaSnapshot& out);
/// The manager's side of the seqlock.
void write_record(SaRecord& record, const SaSnapshot& value);

}  // namespace culvert::shm
