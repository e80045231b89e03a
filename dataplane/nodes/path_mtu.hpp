// The path MTU of a tunnel, as routers on its way tell it (RFC 1191, RFC 4301 §8.2): what an ICMP error that quotes a packet of ours says.
// Owns the way from bytes to what is claimed, and believes nothing of it: whoever knows the SAs judges (Commands::learn_path_mtu).
#pragma once

#include <cstdint>
#include <optional>

#include "common/types.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::dp {

/// No path is narrower than what every host must take in (RFC 791), or every link must carry (RFC 8200 §5), whatever a router says.
constexpr std::uint32_t path_mtu_floor(Family f) { return f == Family::V6 ? 1280 : 576; }
/// RFC 1191 §6.3: how long a smaller path MTU is believed.
inline constexpr std::uint64_t kPathMtuLife = 600'000'000'000;
/// Of the packets that an SA has sent last, an error may quote one of so many: what a fast one sends in the time of a few round trips.
inline constexpr std::uint32_t kQuotedWindow = 1U << 20;

/// An outer packet of ours did not fit.
struct PathMtuClaim {
  IpAddress local, remote;                        ///< of the packet: its source and destination
  std::uint16_t local_port = 0, remote_port = 0;  ///< 0 without UDP
  std::uint8_t protocol = 0;                      ///< ESP, AH or UDP
  Spi spi;
  VrfId vrf = kDefaultVrf;                ///< by which the error came in
  std::optional<std::uint32_t> sequence;  ///< as far as it was quoted: not of AH where a router quotes no more than it must
  std::uint32_t length = 0;               ///< of the packet
  std::uint32_t mtu = 0;  ///< what would have fitted; of a router that does not say, the next smaller usual one (RFC 1191 §7)
};

/// What a parsed packet for an own address says of a packet of ESP, AH, or ESP in UDP; nothing: it is no such error, or malformed.
std::optional<PathMtuClaim> path_mtu_claim(const Packet& p);

}  // namespace culvert::dp
