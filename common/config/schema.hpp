// The whole configuration file as one description: every key, its kind, its default, its help.
// Owns no check that spans several keys (validate.hpp).
#pragma once

#include "common/config/config.hpp"
#include "common/config/section.hpp"

namespace culvert::config {

inline constexpr std::size_t kMaxTunnels = 1024;
inline constexpr std::size_t kMaxNextHops = 16;       ///< of one route
inline constexpr std::uint8_t kMaxWeight = 100;       ///< of a next hop
inline constexpr std::size_t kMaxRoutes = 65536;      ///< of the data plane's FIB
inline constexpr std::size_t kMaxConnections = 4096;  ///< each has at least one child, and those are policies

const Section<GatewayConfig>& schema();

}  // namespace culvert::config
