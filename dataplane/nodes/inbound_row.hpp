// What all packets in a row under one inbound SA have alike, taken out of the SA once, so that each of them costs a few comparisons in
// registers. For the usual kind of SA only; what is said here must come to the same as what esp_in.cpp asks of any packet. Owns nothing,
// and is good within one burst.
#pragma once

#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "dataplane/sad/sa.hpp"

namespace culvert::dp {

/// What is asked of an SA before and behind the crypto, asked once for packets of it in a row. Not worth it for one.
struct InboundRow {
  InboundSa* sa = nullptr;
  bool usual = false;  ///< ESP over IPv4, native or in UDP, in tunnel mode, without extended sequence numbers
  std::uint8_t iv = 0, align = 0;
  bool copy_dscp = false;
  bool follows = false;                   ///< a packet from elsewhere says that the peer has moved
  std::uint32_t shim = 0;                 ///< of UDP, between the outer IP header and that of ESP
  std::uint32_t front = 0;                ///< of a packet, from the ESP header on
  std::uint32_t overhead = 0;             ///< the same, with the ICV
  std::uint64_t flow = 0;                 ///< outside, as Packet::flow_word()
  std::uint64_t ends = 0;                 ///< outer source and destination, as in the packet
  std::uint64_t inside = 0;               ///< the VRF, as in a FlowKey
  std::uint32_t policy = 0;               ///< the number of the SA's
  std::uint32_t source = 0, sources = 0;  ///< inner addresses that the SA's selectors admit: so many more than this one
  std::uint32_t destination = 0, destinations = 0;

  void ask(InboundSa& of) {
    sa = &of;
    const EspGeometry& g = of.geometry;
    const bool marker = of.udp && of.local_port == kIkePort;
    usual = of.outer_family == Family::V4 && !marker && !g.ah && !g.transport && !g.esn && !of.expired();
    shim = of.udp ? kUdpHeaderBytes : 0;
    iv = g.iv;
    align = g.align;
    front = kEspHeaderBytes + g.iv;
    overhead = front + g.icv;
  }
  void expect_outside() {
    flow = sa->remote_port | std::uint32_t{sa->local_port} << 16 | std::uint64_t{sa->outer_protocol} << 32 |
           std::uint64_t{sa->outer_vrf} << 48;
    std::uint32_t remote, local;
    std::memcpy(&remote, sa->match.remote_address.data(), sizeof remote);
    std::memcpy(&local, sa->match.local_address.data(), sizeof local);
    ends = remote | std::uint64_t{local} << 32;
  }
  /// Whether the packet, as it came, is from where the SA's are expected, to where they are.
  [[nodiscard]] bool from_peer(const Packet& p) const {
    std::uint64_t its;
    std::memcpy(&its, p.data + 12, sizeof its);
    return its == ends && p.flow_word() == flow && p.family == Family::V4;
  }
  /// Whether it is as long as its UDP header says, if that is expected.
  [[nodiscard]] bool whole(const Packet& p) const { return shim == 0 || load_be16(p.data + p.l4_offset + 4) == p.length - p.l4_offset; }
  /// `packets`: that may come; if a mark is near, each is asked about it. Usual is then only an SA whose selectors ask for addresses
  /// alone.
  void expect_inside(std::size_t packets) {
    const PreparedSelector &theirs = sa->match.source, &ours = sa->match.destination;
    follows = sa->follows.load(std::memory_order_relaxed);
    usual = usual && theirs.family == Family::V4 && ours.family == Family::V4 && theirs.any_upper && ours.any_upper &&
            sa->usage.packets + packets < sa->usage.packets_mark && sa->usage.bytes + packets * kMaxIpLength < sa->usage.bytes_mark;
    copy_dscp = sa->copy_dscp;
    inside = std::uint64_t{sa->vrf} << 16;
    policy = sa->policy.value;
    source = theirs.first_v4;
    sources = theirs.last_v4 - theirs.first_v4;
    destination = ours.first_v4;
    destinations = ours.last_v4 - ours.first_v4;
  }
  /// Inner addresses as they stand in the packet. False: nothing is said.
  [[nodiscard]] bool admits(std::uint32_t from, std::uint32_t to) const {
    return __builtin_bswap32(from) - source <= sources && __builtin_bswap32(to) - destination <= destinations;
  }
};

}  // namespace culvert::dp
