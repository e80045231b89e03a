// Reassembly of packets for an own address (RFC 791 §3.2, RFC 8200 §4.5): ESP and AH whose outer packets were fragmented on their way or by
// the peer (RFC 4303 §3.4.1), also in UDP, and IKE's long datagrams. Owns the packets in the making, all of them bounded, each in one large
// buffer from the start: what comes out is linear. Keeps nothing that can be seen to be for nobody here. Owns no clock. (rte_ip_frag would
// keep a buffer of the ports' pool for every fragment that a stranger sends, give none of them up for newer ones, so that a few thousand a
// second shut out everybody, and hand back chains.)
//
// What lies ends the whole packet: fragments that overlap (RFC 5722), two ends, more than fits. A copy of a
// fragment is no lie. Packets come in one piece after the other: where there is no room, the oldest one gives way.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

class Reassembly {
 public:
  static constexpr std::size_t kMaxPackets = 128;        ///< in the making, in all ...
  static constexpr std::size_t kMaxOfSource = 16;        ///< ... and from one address
  static constexpr std::size_t kMaxParts = 32;           ///< of a packet
  static constexpr std::uint32_t kMaxBytes = 16000;      ///< of a packet, behind its header
  static constexpr std::uint64_t kLife = 2'000'000'000;  ///< ns; its fragments come one behind the other
  static constexpr std::uint32_t kHeaderRoom = 60;       ///< the longest IPv4 header; of IPv6 the extension headers end here
  static constexpr std::uint32_t kBufferBytes = kHeaderRoom + kMaxBytes;  ///< what a buffer must have room for

  /// Where buffers come from and go to. `allocate` fills the view of an empty one; false: there is none.
  struct Buffers {
    std::function<bool(Packet&)> allocate;
    std::function<void(void* handle)> release;
  };
  explicit Reassembly(Buffers buffers);
  Reassembly(const Reassembly&) = delete;
  Reassembly& operator=(const Reassembly&) = delete;
  ~Reassembly();

  struct Result {
    bool whole = false;
    Packet packet{};  ///< of a whole one: all of it, not parsed; its buffer is the caller's. Congestion experienced by a part is its (RFC
                      ///< 3168 §5.3)
    std::size_t ended = 0;  ///< fragments that were given up by this, the new one included
    std::size_t used = 0;   ///< fragments that are in the whole one; or 1: the new one is a copy of one that is there
  };
  /// Takes a fragment for an own address (parsed: Packet::fragment); copies what it needs.
  Result add(const Packet& fragment, std::uint64_t now);
  /// The number of fragments that are given up because of their age.
  std::size_t expire(std::uint64_t now);
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Fragments of all packets in the making.
  [[nodiscard]] std::size_t fragments() const;

 private:
  struct Part {
    std::uint32_t begin, end;
  };
  struct Making {
    std::uint64_t id = 0;  ///< and protocol, and VRF
    IpAddress source, destination;
    std::uint32_t total = 0;    ///< behind the header; 0: the last fragment was not seen
    std::uint32_t reached = 0;  ///< the highest end of a part
    std::uint32_t there = 0;    ///< bytes of all parts
    std::uint64_t since = 0;
    std::uint8_t header_bytes = 0;  ///< 0: the first fragment was not seen
    bool congested = false;
    std::uint8_t parts = 0;
    std::array<Part, kMaxParts> part;
    Packet buffer;  ///< of a header as long as can be, and what is behind it
  };
  static constexpr std::size_t kNowhere = kMaxPackets;
  /// Its place; kNowhere: there is no buffer.
  std::size_t find_or_make(const Packet& fragment, std::uint64_t now, std::size_t& ended);
  Making& at(std::size_t place) { return (*all_)[order_[place]]; }
  std::size_t end(std::size_t place);
  void forget(std::size_t place);
  void take(Making& m, const Packet& fragment, Part part);
  Packet finished(Making& m) const;

  Buffers buffers_;
  std::unique_ptr<std::array<Making, kMaxPackets>> all_;
  // By place. The first size_ places are of packets in the making, the oldest one first; those behind are free.
  std::array<std::uint8_t, kMaxPackets> order_;
  std::array<std::uint64_t, kMaxPackets> addresses_{};  ///< source and destination; of IPv6 folded, and told apart in Making
  std::size_t size_ = 0;
};

}  // namespace culvert::dp
