// Fuzzes what a port takes in before any SA is asked: frames, the headers of both families, ARP, neighbour discovery, ICMP.
//   input: an Ethernet frame; its source's checksums are mended where bit 0 of the last byte says so, so that what lies behind is reached.
// Buffers are of exact size on either side. What is answered is a whole packet with right checksums, and to the one who asked.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dataplane/nodes/arp.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "dataplane/nodes/mld.hpp"
#include "dataplane/nodes/nd.hpp"

namespace {

using namespace culvert;
using namespace culvert::dp;

constexpr std::uint16_t kHeadroom = 64, kTailroom = 64;
constexpr Neighbor::Mac kMac{2, 0, 0, 0, 0, 1};

void require(bool condition) {
  if (!condition) std::abort();
}

struct World {
  Interface interface{"lan", kMac, 1500, {{IpAddress::v4(0x0a010001), 24}, {*IpAddress::parse("2001:db8:1::1"), 64}}};
  NeighborTable neighbors;
  World() {
    interface.add_link_local();
    neighbors.add({IpAddress::v4(0x0a01000a), 0});
    neighbors.add({*IpAddress::parse("2001:db8:1::10"), 0});
  }
};

/// The checksums of the IP header and of ICMP, as a sender would have made them.
void mend(std::uint8_t* ip, std::uint32_t bytes) {
  Packet p;
  p.data = ip;
  p.length = bytes;
  if (bytes >= kIpv4HeaderBytes && ip[0] >> 4 == 4) {
    const std::uint32_t header = (ip[0] & 0x0fU) * 4U;
    if (header >= kIpv4HeaderBytes && header <= bytes) set_ipv4_checksum(ip, header);
  }
  if (!parse_ip(p) || (p.protocol != kProtocolIcmp && p.protocol != kProtocolIcmpv6) || p.length < p.l4_offset + 4U) return;
  std::uint8_t* icmp = ip + p.l4_offset;
  const std::uint32_t size = p.length - p.l4_offset;
  std::memset(icmp + 2, 0, 2);
  const auto sum = static_cast<std::uint16_t>(
      ~(p.family == Family::V4 ? sum_bytes(icmp, size) : upper_sum(Family::V6, ip, kProtocolIcmpv6, icmp, size)));
  std::memcpy(icmp + 2, &sum, sizeof sum);
}

/// An ICMP message of ours.
void whole(const Packet& said, const IpAddress& to) {
  Packet p = said;
  require(parse_ip(p) && p.length == said.length && destination_of(p) == to);
  const std::uint32_t size = p.length - p.l4_offset;
  require((p.family == Family::V4 ? sum_bytes(p.data + p.l4_offset, size)
                                  : upper_sum(Family::V6, p.data, kProtocolIcmpv6, p.data + p.l4_offset, size)) == 0xffff);
}

void discover(World& w, Packet& p) {
  const IpAddress asked_by = source_of(p);
  const NeighborVerdict v = nd_in(p, w.interface, 0, w.neighbors);
  require(!(v.reply && v.counted));
  if (v.reply) whole(p, asked_by.is_unspecified() ? *IpAddress::parse("ff02::1") : asked_by);
}

void take(World& w, const OwnAddresses& own, Packet& p) {
  if (!parse_ip(p)) return;
  require(p.l4_offset <= p.length && p.length != 0);
  (void)martian_source(p, own);
  if (p.family == Family::V6) (void)listens_to(w.interface, p.data + 24);
  if (is_neighbor_discovery(p)) return discover(w, p);
  if (is_mld_query(p)) (void)mld_query(p);
  const LocalKind kind = classify_local(p);
  if (kind == LocalKind::Ike) (void)begins_negotiation(p);
  const IpAddress source = source_of(p);
  if (kind == LocalKind::Icmp && icmp_echo_reply(p)) return whole(p, source);
  if (!icmp_error_allowed(p)) return;
  constexpr std::array kErrors{IcmpError::TimeExceeded, IcmpError::FragmentationNeeded, IcmpError::NetUnreachable,
                               IcmpError::HostUnreachable};
  const IcmpError error = kErrors.at(p.data[p.length - 1] % kErrors.size());
  if (icmp_error(p, error, w.interface.primary(p.family), 1400)) whole(p, source);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World w;
  static const OwnAddresses own(std::span(&w.interface, 1));
  static const std::array<Interface, 2> interfaces{Interface{.name = "wan"}, Interface{.name = "wan.5", .port = 0, .vlan = 5}};
  static const Vlans vlans(interfaces, 1);
  if (size < 1 || size > 4096) return 0;
  std::vector<std::uint8_t> frame(kHeadroom + size + kTailroom);
  std::copy_n(data, size, frame.begin() + kHeadroom);
  if ((data[size - 1] & 1) != 0 && size > kEthernetBytes)
    mend(frame.data() + kHeadroom + kEthernetBytes, static_cast<std::uint32_t>(size - kEthernetBytes));
  Packet p;
  p.data = frame.data() + kHeadroom;
  p.length = static_cast<std::uint32_t>(size);
  p.headroom = kHeadroom;
  p.tailroom = kTailroom;
  FrameVerdict v = classify_frame(p, load_mac(kMac.data()));
  if (v.kind == FrameKind::Tagged) v = enter_vlan(p, load_mac(kMac.data()), vlans);
  if (v.kind == FrameKind::Arp) {
    const NeighborVerdict a = arp_in(p, w.interface, 0, w.neighbors);
    require(!(a.reply && a.counted));
  } else if (v.kind == FrameKind::Ip) {
    take(w, own, p);
  }
  require(p.data >= frame.data() && p.data + p.length + p.tailroom == frame.data() + frame.size() && w.neighbors.size() == 2);
  return 0;
}
