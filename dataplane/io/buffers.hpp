// Packet buffers: DPDK's mbufs behind the packet view, and the rings that pass them between threads.
// Owns the pool, and the note that travels with a buffer from one thread to another. No DPDK type leaves this header.
#pragma once

#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "common/shm/drop.hpp"
#include "common/types.hpp"
#include "dataplane/packet.hpp"

struct rte_mempool;
struct rte_ring;

namespace culvert::dp {

/// What the receiver of a handed-over buffer shall do.
enum class Handoff : std::uint8_t {
  EspIn,        ///< worker to owner worker: decapsulate
  EspOut,       ///< worker to owner worker: encapsulate under the SA `spi` in `slot` of `policy`
  Dummy,        ///< manager to owner worker: the same with an empty packet, which carries nothing
  Egress,       ///< to a worker: an IP packet of our own, or one that waited; route it, resolve, send
  Frame,        ///< to a worker: a whole Ethernet frame for `port`
  Unreachable,  ///< manager to worker: count `reason`, and tell the source "host unreachable" (ICMP)
  Ike,          ///< worker to manager: an IP packet with a UDP datagram for culvertd
  Resolve,      ///< worker to manager: send when `next_hop` on `port` has a MAC address
  Acquire,      ///< worker to manager: this packet wants the SA of `policy`
  GroupQuery,   ///< worker to manager: a query for listeners of groups (MLD) on interface `port`
  PathMtu,      ///< worker to manager: an ICMP error that says what fits on the way to a peer (path_mtu_claim)
};

/// Stands in the buffer's private area.
struct HandoffNote {
  Handoff kind{};
  Drop reason{};
  std::uint16_t port = 0;
  PolicyId policy;
  std::uint32_t slot = 0;
  Spi spi;
  IpAddress next_hop;
  bool from_tunnel = false;  ///< it arrived under an SA
  bool local = false;        ///< made here
  bool heard = false;        ///< Ike: it has brought a cookie of ours
  bool stray = false;        ///< ... of an SA that nobody here knows
  VrfId vrf = kDefaultVrf;   ///< Packet::vrf
};

class BufferPool {
 public:
  /// `count` buffers, each with room for an IP packet of `mtu` bytes and what ESP adds on either side. With `cached` each thread keeps some
  /// of those that it frees for itself.
  static std::expected<std::unique_ptr<BufferPool>, std::string> create(const std::string& name, unsigned count, unsigned mtu,
                                                                        bool cached = true);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// Fills `view` with an empty buffer (length 0, full headroom). False: none left.
  bool allocate(Packet& view);
  [[nodiscard]] rte_mempool* raw() const { return pool_; }
  /// For DropSink: frees buffers of any pool.
  static void release(void* context, std::span<void* const> handles);

 private:
  explicit BufferPool(rte_mempool* pool) : pool_(pool) {}
  rte_mempool* pool_;
};

/// Fills the view from its buffer.
void load_view(void* handle, Packet& view);
/// The same of one that was handed over: with the VRF that its note says.
void load_handed_over(void* handle, Packet& view);
/// Writes the view's bounds back into its buffer; before handing over and before transmitting.
void store_view(const Packet& view);
/// An Ethernet header (14 bytes) as it stands in memory: its first eight bytes, and its last eight, of which two are among the first.
struct FrameHeader {
  std::uint64_t first;
  std::uint64_t last;
};
/// For packets that leave alike: writes the header in front of each, which needs the headroom, and what is then sent into its buffer. The
/// buffers go to `handles`; the views are as before.
void store_frames(std::span<Packet* const> packets, FrameHeader header, void** handles);
/// Where a buffer says where its frame begins, and how long it is, as a whole and in this piece: as DPDK has it.
namespace bounds {
inline constexpr std::size_t kBeginAt = 16, kLengthAt = 36, kPieceAt = 40;
}
/// Of a frame that is written, from `begin` in its buffer on: says so to the buffer.
inline void set_bounds(void* handle, std::uint32_t begin, std::uint32_t length) {
  auto* const at = static_cast<std::uint8_t*>(handle);
  const auto first = static_cast<std::uint16_t>(begin), piece = static_cast<std::uint16_t>(length);
  std::memcpy(at + bounds::kBeginAt, &first, sizeof first);
  std::memcpy(at + bounds::kLengthAt, &length, sizeof length);
  std::memcpy(at + bounds::kPieceAt, &piece, sizeof piece);
}
HandoffNote& note_of(void* handle);

/// Cuts an IPv4 packet (view at its IP header, no DF) into fragments that fit `mtu`. Fills at most `out.size()` views, and
/// returns how many; 0: too many, or no buffers. The original stays as it is.
std::size_t fragment_ipv4(const Packet& packet, std::uint32_t mtu, BufferPool& pool, std::span<Packet> out);

/// The same of an IPv6 packet without extension headers, made here (RFC 8200 §4.5); `id` as nobody can guess it, another one for each
/// packet.
std::size_t fragment_ipv6(const Packet& packet, std::uint32_t mtu, std::uint32_t id, BufferPool& pool, std::span<Packet> out);

/// A bounded queue of buffers: many producers, one consumer, no lock.
class BufferRing {
 public:
  /// `size`: a power of two; it holds one less.
  static std::expected<std::unique_ptr<BufferRing>, std::string> create(const std::string& name, unsigned size);
  ~BufferRing();
  BufferRing(const BufferRing&) = delete;
  BufferRing& operator=(const BufferRing&) = delete;

  bool push(void* handle);
  std::size_t pop(std::span<void*> handles);
  [[nodiscard]] bool empty() const;
  [[nodiscard]] std::size_t size() const;

 private:
  explicit BufferRing(rte_ring* ring) : ring_(ring) {}
  rte_ring* ring_;
};

}  // namespace culvert::dp
