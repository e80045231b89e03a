// The packet view: what a node knows of a packet, without knowing where its bytes live.
// Owns nothing: the bytes belong to an rte_mbuf (in the worker) or to a test. A worker keeps one array of these per burst and
// fills it from mbufs on receive, so the views stay in the first-level cache. Never includes a DPDK header.
//
//     headroom | IP header ... payload | tailroom
//              ^ data          length
//
// `data` is at the IP header in every node: receive strips the Ethernet header (it becomes headroom), transmit prepends one.
// `length` is the IP packet's own length: receive has cut Ethernet's padding.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/net/ip.hpp"
#include "common/types.hpp"

namespace culvert::dp {

struct InboundSa;
struct OutboundSa;
struct SpdEntry;

/// Packets that one pass through the nodes takes at most.
inline constexpr std::size_t kBurstMax = 64;

/// Wire integers; unaligned, big-endian. In nodes only on bytes whose presence was checked.
inline std::uint16_t load_be16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap16(v);
}
inline std::uint32_t load_be32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}
inline std::uint64_t load_be64(const std::uint8_t* p) {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
}
inline void store_be16(std::uint8_t* p, std::uint16_t v) {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be32(std::uint8_t* p, std::uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be64(std::uint8_t* p, std::uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

/// A MAC address as one number: its first byte is the lowest, the upper 16 bits are 0.
using MacBits = std::uint64_t;
inline MacBits load_mac(const std::uint8_t* p) {
  std::uint32_t low;
  std::uint16_t high;
  std::memcpy(&low, p, sizeof low);
  std::memcpy(&high, p + 4, sizeof high);
  return low | MacBits{high} << 32;
}

struct alignas(64) Packet {
  std::uint8_t* data = nullptr;    ///< first byte of the IP header
  void* handle = nullptr;          ///< the rte_mbuf, or whatever a test keeps here
  InboundSa* inbound = nullptr;    ///< the SA that it arrived under; nullptr: it arrived in clear, or is not looked up yet
  OutboundSa* outbound = nullptr;  ///< the SA that it shall leave under (from the SPD)
  std::uint32_t length = 0;        ///< bytes from `data`
  std::uint16_t headroom = 0;      ///< writable bytes before `data`
  std::uint16_t tailroom = 0;      ///< writable bytes behind the packet
  std::uint16_t rx_port = 0;
  std::uint16_t tx_port = 0;  ///< set by forwarding
  // Filled by parse_ip():
  std::uint16_t l4_offset = 0;  ///< of what follows the IP header, from `data`
  Family family = Family::None;
  std::uint8_t tag = 0;  ///< for the worker; nodes leave it alone
  // What tells a flow beside its addresses: one word (flow_word). Filled by parse_ip(), but for the VRF.
  alignas(8) std::uint16_t source_port = 0;  ///< host order; 0 where the protocol has none, or a fragment hides it
  std::uint16_t destination_port = 0;
  std::uint8_t protocol = 0;         ///< of the upper layer
  bool ports_hidden = false;         ///< its protocol has ports, but not here: a fragment other than the first, or too short
  VrfId vrf = kDefaultVrf;           ///< where its addresses mean something: that of the port, then of what was inside of the SA
  bool fragment = false;             ///< any fragment, the first included
  const SpdEntry* policy = nullptr;  ///< what the SPD says of its way out, in the snapshot of this pass; for the worker, too

  /// `tag` of a packet that has just come by a port with Port::sums(), whose device found the IPv4 header's checksum right.
  static constexpr std::uint8_t kSummed = 0xff;

  /// Ports in host order, the source's lower; then protocol, `ports_hidden`, `vrf`, `fragment`, a byte each.
  [[nodiscard]] std::uint64_t flow_word() const {
    std::uint64_t word;
    std::memcpy(&word, &source_port, sizeof word);
    return word;
  }
  void set_flow_word(std::uint64_t word) { std::memcpy(&source_port, &word, sizeof word); }
  /// Of a whole packet; `ports` as in flow_word().
  void set_flow_word(std::uint32_t ports, std::uint8_t upper, VrfId in) {
    set_flow_word(ports | std::uint64_t{upper} << 32 | std::uint64_t{in} << 48);
  }

  /// Moves the start forward: the first `n` bytes become headroom. `n` <= length.
  void pull(std::uint32_t n) {
    data += n;
    length -= n;
    headroom = static_cast<std::uint16_t>(headroom + n);
  }
  /// Makes room for `n` bytes in front. `n` <= headroom.
  void push(std::uint32_t n) {
    data -= n;
    length += n;
    headroom = static_cast<std::uint16_t>(headroom - n);
  }
  /// Sets the length; a longer one takes from the tailroom, which must suffice.
  void resize(std::uint32_t n) {
    tailroom = static_cast<std::uint16_t>(tailroom + length - n);
    length = n;
  }
};
static_assert(sizeof(Packet) == 64 && offsetof(Packet, fragment) == offsetof(Packet, source_port) + 7);

/// Up to kBurstMax packets in order of arrival. A node that drops some keeps the rest in order.
class Burst {
 public:
  void push_back(Packet* p) {
    assert(size_ < kBurstMax);
    packets_[size_++] = p;
  }
  /// Both together must fit.
  void append(const Burst& other) {
    assert(size_ + other.size_ <= kBurstMax);
    std::copy_n(other.packets_.begin(), other.size_, packets_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += other.size_;
  }
  /// Those from `at` on, `most` at most.
  [[nodiscard]] Burst part(std::size_t at, std::size_t most) const {
    Burst out;
    out.size_ = std::min(size_ - at, most);
    std::copy_n(packets_.begin() + static_cast<std::ptrdiff_t>(at), out.size_, out.packets_.begin());
    return out;
  }
  void clear() { size_ = 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool full() const { return size_ == kBurstMax; }
  Packet*& operator[](std::size_t i) { return packets_[i]; }
  Packet* operator[](std::size_t i) const { return packets_[i]; }
  Packet** begin() { return packets_.data(); }
  Packet** end() { return packets_.data() + size_; }
  [[nodiscard]] Packet* const* begin() const { return packets_.data(); }
  [[nodiscard]] Packet* const* end() const { return packets_.data() + size_; }
  /// Keeps the first `n`.
  void truncate(std::size_t n) { size_ = n; }
  /// Keeps those for which `keep(Packet&)` is true; it must have taken care of the others (DropSink).
  template <class Keep>
  void filter(Keep&& keep) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      Packet* p = packets_[i];
      if (keep(*p)) packets_[kept++] = p;
    }
    size_ = kept;
  }

 private:
  std::array<Packet*, kBurstMax> packets_;
  std::size_t size_ = 0;
};

}  // namespace culvert::dp
