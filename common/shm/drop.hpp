// Every way in which a packet can end without being sent: one row a reason, with its counter, its severity and its help text.
// The data plane counts; culvertd prints and exports. Order is part of the contract: append only, before Count_.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/types.hpp"

namespace culvert {

// clang-format off
#define CULVERT_DROPS(X) \
  X(RxMalformed,        "rx_malformed",         "frame too short, or an IP header whose version, length or checksum is wrong") \
  X(RxNotForUs,         "rx_not_for_us",        "frame of an ether type that is not handled, or for another host's MAC address") \
  X(RxMartian,          "rx_martian",           "source or destination address that may not appear: loopback, multicast source, own address as source, 0.0.0.0") \
  X(LocalUnhandled,     "local_unhandled",      "for an own address, but of a protocol or port that nobody here serves") \
  X(LocalFragment,      "local_fragment",       "IP fragment for an own address, of something that is neither IKE nor ESP or AH, or of a packet that lied (overlaps) or never was complete") \
  X(ArpInvalid,         "arp_invalid",          "ARP packet that is malformed or claims an own address") \
  X(TtlExpired,         "ttl_expired",          "TTL ran out; answered with ICMP time exceeded, rate-limited") \
  X(NoRoute,            "no_route",             "no route to the destination; answered with ICMP unreachable, rate-limited") \
  X(NeighborUnresolved, "neighbor_unresolved",  "next hop did not answer ARP or neighbour solicitations, or too many packets wait for it") \
  X(TooBig,             "too_big",              "larger than the effective MTU with DF set; answered with ICMP fragmentation needed") \
  X(FragmentFailed,     "fragment_failed",      "could not be fragmented") \
  X(PolicyDiscard,      "policy_discard",       "a policy says discard, or no policy matches and the default is discard, or a fragment hides the ports that a policy asks for") \
  X(PolicyNoSa,         "policy_no_sa",         "a policy says protect and there is no SA yet (an acquire was reported if the policy asks for it)") \
  X(PolicyClear,        "policy_clear",         "arrived in clear although policy says that it must be protected (RFC 4301 section 5.2)") \
  X(EspRunt,            "esp_runt",             "ESP or AH packet too short for its suite, or not aligned to its block size") \
  X(EspNoSa,            "esp_no_sa",            "no SA with this SPI") \
  X(EspWrongPeer,       "esp_wrong_peer",       "the SPI's SA belongs to other outer addresses, another VRF or another encapsulation") \
  X(EspReplay,          "esp_replay",           "sequence number seen before (RFC 4303 section 3.4.3)") \
  X(EspOld,             "esp_old",              "sequence number left of the anti-replay window") \
  X(EspAuth,            "esp_auth",             "integrity check value is wrong") \
  X(EspPadding,         "esp_padding",          "padding or pad length is wrong after decryption") \
  X(EspNextHeader,      "esp_next_header",      "next header that a tunnel-mode SA does not carry") \
  X(EspDummy,           "esp_dummy",            "dummy packet (next header 59), as sent for traffic-flow confidentiality") \
  X(EspInner,           "esp_inner",            "inner packet is malformed") \
  X(EspSelector,        "esp_selector",         "inner packet is outside of the SA's traffic selectors (RFC 4301 section 5.2)") \
  X(EspExpired,         "esp_expired",          "the SA's hard lifetime has ended") \
  X(EspSequence,        "esp_sequence",         "the outbound SA's sequence numbers are used up") \
  X(CryptoFailed,       "crypto_failed",        "the crypto library reported a failure") \
  X(NatKeepalive,       "nat_keepalive",        "NAT keepalive of a peer (RFC 3948 section 2.3)") \
  X(PuntFull,           "punt_full",            "ring to culvertd full, or its rate limit reached") \
  X(PuntInvalid,        "punt_invalid",         "UDP datagram for IKE that is malformed or too large") \
  X(HandoffFull,        "handoff_full",         "ring to another thread of the data plane full, mostly to the SA's owner worker") \
  X(NoBuffer,           "no_buffer",            "no packet buffer, or no room in one") \
  X(TxFull,             "tx_full",              "transmit queue full") \
  X(IcmpRateLimited,    "icmp_rate_limited",    "ICMP answer not sent because of its rate limit") \
  X(EspEcn,             "esp_ecn",              "outer congestion mark (CE) on an inner packet that cannot carry it (RFC 6040 section 4.2)") \
  X(ArpRateLimited,     "arp_rate_limited",     "ARP packet or neighbour discovery beyond what one worker takes a second") \
  X(InjectInvalid,      "inject_invalid",       "datagram of culvertd that is too large, or from an address or port that is not for IKE here") \
  X(EspTransport,       "esp_transport",        "for a transport-mode SA, but a fragment, with IP options or extension headers, or not between the SA's own two addresses (RFC 4301 section 4.1)") \
  X(PortDown,           "port_down",            "the port that it would leave by has no link, or is being reset") \
  X(NdInvalid,          "nd_invalid",           "IPv6 neighbour discovery, or a query for listeners of groups (MLD), that is malformed, comes from beyond the link, or claims an own address") \
  X(IcmpIgnored,        "icmp_ignored",         "ICMP that says of a packet that it was too large, which no SA of ours has sent, or which would have fitted; or too many of them") \
  X(VlanUnknown,        "vlan_unknown",         "frame with the tag of a VLAN that its port does not have")
// clang-format on

enum class Drop : std::uint8_t {
#define X(id, name, help) id,
  CULVERT_DROPS(X)
#undef X
      Count_
};
inline constexpr std::size_t kDropReasons = static_cast<std::size_t>(Drop::Count_);

struct DropInfo {
  std::string_view name;  ///< metric label and CLI name
  std::string_view help;
};
inline constexpr std::array<DropInfo, kDropReasons> kDropTable{{
#define X(id, name, help) {name, help},
    CULVERT_DROPS(X)
#undef X
}};
constexpr const DropInfo& info(Drop d) { return kDropTable[static_cast<std::size_t>(d)]; }

/// What an SA's counters tell apart, by direction: what is dropped after the SA was found (inbound) or chosen (outbound), and until it has
/// done its work. The last slot of each is for all other reasons. Part of the contract, too.
inline constexpr std::size_t kSaDropSlots = 16;
inline constexpr std::string_view kOtherDrop = "other";
inline constexpr std::array kInboundSaDrops{Drop::EspWrongPeer, Drop::EspExpired,  Drop::EspRunt,  Drop::EspReplay,  Drop::EspOld,
                                            Drop::EspAuth,      Drop::EspPadding,  Drop::EspDummy, Drop::EspInner,   Drop::EspNextHeader,
                                            Drop::EspEcn,       Drop::EspSelector, Drop::NoBuffer, Drop::HandoffFull};
inline constexpr std::array kOutboundSaDrops{Drop::EspSequence, Drop::EspExpired,     Drop::EspTransport,
                                             Drop::NoBuffer,    Drop::CryptoFailed,   Drop::TooBig,
                                             Drop::NoRoute,     Drop::FragmentFailed, Drop::HandoffFull};
static_assert(kInboundSaDrops.size() < kSaDropSlots && kOutboundSaDrops.size() < kSaDropSlots);
constexpr std::span<const Drop> sa_drops(Direction d) {
  return d == Direction::Inbound ? std::span<const Drop>(kInboundSaDrops) : std::span<const Drop>(kOutboundSaDrops);
}
/// Where an SA counts `reason`: by direction and reason.
inline constexpr auto kSaDropSlot = [] {
  std::array<std::array<std::uint8_t, kDropReasons>, 2> t{};
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    auto& of = t[static_cast<std::size_t>(d)];
    of.fill(kSaDropSlots - 1);
    std::uint8_t slot = 0;
    for (const Drop reason : sa_drops(d)) of[static_cast<std::size_t>(reason)] = slot++;
  }
  return t;
}();

}  // namespace culvert
