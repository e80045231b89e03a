#include "dataplane/nodes/nd.hpp"

#include <algorithm>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

namespace {
// ICMPv6: type, code, checksum, four bytes (flags of an advertisement), target; then options: type, length in units of 8, data.
constexpr std::uint8_t kSolicit = 135, kAdvertise = 136;
constexpr std::uint32_t kTarget = 8, kOptions = 24, kOptionBytes = 8;
constexpr std::uint8_t kSourceMac = 1, kTargetMac = 2;
constexpr std::uint8_t kRouter = 0x80, kSolicited = 0x40, kOverride = 0x20;
constexpr std::uint8_t kHopLimit = 255;  // proves that it comes from this link (RFC 4861 §7.1)
constexpr IpAddress kAllNodes{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, Family::V6};

Neighbor::Mac group_mac(const IpAddress& a) { return {0x33, 0x33, a.bytes[12], a.bytes[13], a.bytes[14], a.bytes[15]}; }

/// The MAC address in the option of `type`; nullptr: there is none. `sound` becomes false where an option has no length.
const std::uint8_t* mac_option(const std::uint8_t* icmp, std::uint32_t bytes, std::uint8_t type, bool& sound) {
  const std::uint8_t* found = nullptr;
  for (std::uint32_t at = kOptions; at < bytes;) {
    const std::uint32_t size = at + 2 <= bytes ? icmp[at + 1] * 8U : 0U;
    sound = size != 0 && at + size <= bytes;
    if (!sound) return nullptr;
    if (icmp[at] == type && size == kOptionBytes && found == nullptr) found = icmp + at + 2;
    at += size;
  }
  return found;
}

bool usable(const Neighbor::Mac& mac) {
  return (mac[0] & 1) == 0 && std::any_of(mac.begin(), mac.end(), [](std::uint8_t b) { return b != 0; });
}

/// Header, message and the option with our MAC address, at `p.data`; the checksum with them.
void write(Packet& p, const Interface& interface, std::uint8_t type, const IpAddress& source, const IpAddress& destination,
           const IpAddress& target, std::uint8_t flags) {
  p.resize(kSolicitationBytes);
  std::uint8_t* ip = p.data;
  std::memset(ip, 0, kSolicitationBytes);
  ip[0] = 0x60;
  store_be16(ip + 4, kSolicitationBytes - kIpv6HeaderBytes);
  ip[6] = kProtocolIcmpv6;
  ip[7] = kHopLimit;
  std::copy_n(source.bytes.begin(), 16, ip + 8);
  std::copy_n(destination.bytes.begin(), 16, ip + 24);
  std::uint8_t* icmp = ip + kIpv6HeaderBytes;
  icmp[0] = type;
  icmp[4] = flags;
  std::copy_n(target.bytes.begin(), 16, icmp + kTarget);
  icmp[kOptions] = type == kSolicit ? kSourceMac : kTargetMac;
  icmp[kOptions + 1] = 1;
  std::copy(interface.mac.begin(), interface.mac.end(), icmp + kOptions + 2);
  const auto sum = static_cast<std::uint16_t>(~upper_sum(Family::V6, ip, kProtocolIcmpv6, icmp, kSolicitationBytes - kIpv6HeaderBytes));
  std::memcpy(icmp + 2, &sum, sizeof sum);
  p.family = Family::V6;
  p.l4_offset = kIpv6HeaderBytes;
  p.protocol = kProtocolIcmpv6;
}
}  // namespace

IpAddress solicited_node(const IpAddress& a) {
  IpAddress out{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}, Family::V6};
  std::copy_n(a.bytes.begin() + 13, 3, out.bytes.begin() + 13);
  return out;
}

bool is_neighbor_discovery(const Packet& p) {
  return p.family == Family::V6 && p.protocol == kProtocolIcmpv6 && !p.fragment && p.length > p.l4_offset &&
         (p.data[p.l4_offset] == kSolicit || p.data[p.l4_offset] == kAdvertise);
}

bool listens_to(const Interface& interface, const std::uint8_t* multicast) {
  const IpAddress group = address_from(Family::V6, multicast);
  constexpr IpAddress kRouters{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, Family::V6};
  if (!interface.has(Family::V6)) return false;
  if (group == kAllNodes || group == kRouters) return true;
  return std::ranges::any_of(interface.addresses,
                             [&](const Prefix& p) { return p.address.family == Family::V6 && solicited_node(p.address) == group; });
}

NeighborVerdict nd_in(Packet& p, const Interface& interface, std::uint16_t port, const NeighborTable& neighbors) {
  NeighborVerdict v{.reason = Drop::NdInvalid, .counted = true};
  std::uint8_t* icmp = p.data + p.l4_offset;
  const std::uint32_t bytes = p.length - p.l4_offset;
  if (p.data[7] != kHopLimit || bytes < kOptions || icmp[1] != 0 || upper_sum(Family::V6, p.data, kProtocolIcmpv6, icmp, bytes) != 0xffff)
    return v;
  const bool asks = icmp[0] == kSolicit;
  const IpAddress from = source_of(p), to = destination_of(p), target = address_from(Family::V6, icmp + kTarget);
  const bool probe = asks && from.is_unspecified();  // somebody makes sure that an address is free (RFC 4862 §5.4)
  bool sound = true;
  const std::uint8_t* option = mac_option(icmp, bytes, asks ? kSourceMac : kTargetMac, sound);
  if (!sound || target.bytes[0] == 0xff || (probe && (option != nullptr || to != solicited_node(target)))) return v;
  if (!asks && to.bytes[0] == 0xff && (icmp[4] & kSolicited) != 0) return v;
  Neighbor::Mac mac{};
  if (option != nullptr) std::copy_n(option, mac.size(), mac.begin());
  if (option != nullptr && !usable(mac)) return v;
  const IpAddress who = asks ? from : target;
  const auto own = [&](const IpAddress& a) {
    return std::ranges::find(interface.addresses, a, &Prefix::address) != interface.addresses.end();
  };
  if (!probe && own(who)) {
    v.counted = mac != interface.mac;  // somebody claims our address
    return v;
  }
  const bool asks_us = asks && own(target);
  Neighbor* known = probe ? nullptr : neighbors.find({who, port});
  if (!probe && known == nullptr && !asks_us && interface.network_of(who) == nullptr) return v;
  v.counted = false;
  if (known != nullptr && option != nullptr) {
    // RFC 4861 §7.2.5: without the override flag a MAC address that we have is not replaced.
    const std::uint64_t link = known->link.load(std::memory_order_acquire);
    const bool reachable = Neighbor::state_of(link) == NeighborState::Reachable;
    if (asks || !reachable || (icmp[4] & kOverride) != 0 || Neighbor::mac_of(link) == load_mac(mac.data())) {
      v.learned = !reachable;
      known->confirm(mac);
    }
  }
  if (!asks_us || p.length + p.tailroom < kSolicitationBytes || p.headroom < kEthernetBytes) return v;
  if (option == nullptr) std::copy_n(p.data - kEthernetBytes + 6, mac.size(), mac.begin());  // the frame's source
  write(p, interface, kAdvertise, target, probe ? kAllNodes : from, target,
        static_cast<std::uint8_t>(kRouter | kOverride | (probe ? 0 : kSolicited)));
  v.to = probe ? group_mac(kAllNodes) : mac;
  v.reply = true;
  return v;
}

Neighbor::Mac nd_solicitation(Packet& p, const Interface& interface, const IpAddress& source, const IpAddress& target) {
  const IpAddress group = solicited_node(target);
  write(p, interface, kSolicit, source, group, target, 0);
  return group_mac(group);
}

Neighbor::Mac nd_announcement(Packet& p, const Interface& interface, const IpAddress& address) {
  write(p, interface, kAdvertise, address, kAllNodes, address, static_cast<std::uint8_t>(kRouter | kOverride));
  return group_mac(kAllNodes);
}

}  // namespace culvert::dp
