#include "dataplane/nodes/arp.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"

namespace culvert::dp {

namespace {
// htype 1, ptype 0x0800, hlen 6, plen 4: | op 2 | sha 6 | spa 4 | tha 6 | tpa 4 |
constexpr std::array<std::uint8_t, 6> kEthernetIpv4{0, 1, 8, 0, 6, 4};
constexpr std::uint32_t kOp = 6, kSha = 8, kSpa = 14, kTha = 18, kTpa = 24;
constexpr std::uint16_t kRequest = 1, kReply = 2;
}  // namespace

NeighborVerdict arp_in(Packet& p, const Interface& interface, std::uint16_t port, const NeighborTable& neighbors) {
  NeighborVerdict v{.reason = Drop::ArpInvalid, .counted = true};
  if (p.length < kArpBytes || !std::equal(kEthernetIpv4.begin(), kEthernetIpv4.end(), p.data)) return v;
  const std::uint16_t op = load_be16(p.data + kOp);
  Neighbor::Mac sender;
  std::copy_n(p.data + kSha, sender.size(), sender.begin());
  const IpAddress from = IpAddress::v4(load_be32(p.data + kSpa));
  const IpAddress target = IpAddress::v4(load_be32(p.data + kTpa));
  const bool group = (sender[0] & 1) != 0 || std::all_of(sender.begin(), sender.end(), [](std::uint8_t b) { return b == 0; });
  if ((op != kRequest && op != kReply) || group) return v;
  const auto own = [&](const IpAddress& a) {
    return std::any_of(interface.addresses.begin(), interface.addresses.end(), [&](const Prefix& prefix) { return prefix.address == a; });
  };
  if (own(from)) {
    if (sender != interface.mac) return v;  // somebody claims our address (RFC 5227 §2.4)
    v.counted = false;
    return v;
  }
  // A probe (RFC 5227 §1.1) has no sender address: it is answered, nothing is learned.
  const bool probe = from.is_unspecified();
  Neighbor* known = probe ? nullptr : neighbors.find({from, port});
  const bool asks_us = op == kRequest && own(target);
  // A host asks in the name of what it wants to send from, which may be an address of no network here (a virtual one, behind a route
  // of ours): it is answered, and learned where we have asked for it ourselves.
  if (!probe && !known && !asks_us && interface.network_of(from) == nullptr) return v;
  v.counted = false;
  if (known) {
    v.learned = known->state() != NeighborState::Reachable;
    known->confirm(sender);
  }
  if (!asks_us) return v;
  store_be16(p.data + kOp, kReply);
  std::copy(sender.begin(), sender.end(), p.data + kTha);
  std::memcpy(p.data + kTpa, p.data + kSpa, 4);
  std::copy(interface.mac.begin(), interface.mac.end(), p.data + kSha);
  store_be32(p.data + kSpa, target.v4_host());
  p.resize(kArpBytes);
  v.reply = true;
  v.to = sender;
  return v;
}

void arp_request(Packet& p, const Interface& interface, const IpAddress& source, const IpAddress& target) {
  p.resize(kArpBytes);
  std::copy(kEthernetIpv4.begin(), kEthernetIpv4.end(), p.data);
  store_be16(p.data + kOp, kRequest);
  std::copy(interface.mac.begin(), interface.mac.end(), p.data + kSha);
  store_be32(p.data + kSpa, source.v4_host());
  std::fill_n(p.data + kTha, 6, std::uint8_t{0});
  store_be32(p.data + kTpa, target.v4_host());
}

}  // namespace culvert::dp
