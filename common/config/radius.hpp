// The part of the schema that is about RADIUS servers, and what is checked of it across keys.
// Owns the section `radius`; which connections ask them is validate_auth.cpp's and schema.cpp's.
#pragma once

#include "common/config/section.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

inline constexpr std::size_t kMaxRadiusServers = 16;
inline constexpr std::uint32_t kMaxRadiusSockets = 16;  ///< of one server

Section<Radius> radius_section();
/// Two servers that are one; connections that ask servers, and there are none.
void validate_radius(const GatewayConfig& config, const Where& root);

}  // namespace culvert::config
