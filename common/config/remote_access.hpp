// The part of the schema that is about users and virtual addresses, and what is checked of it across keys.
// Owns `pools`, `local.xauth` and `remote.xauth`; the rest of a connection is schema.cpp's.
#pragma once

#include "common/config/section.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

inline constexpr std::size_t kMaxPools = 256;
inline constexpr std::uint64_t kMaxPoolSize = 65536;  ///< addresses of one pool: four times what there may be ISAKMP SAs

Section<XauthClient> xauth_client_section();
Section<XauthServer> xauth_server_section();
Section<Pool> pool_section();
Kind<SecretRef> users_file();
Kind<std::string> user_pattern();                  ///< %any, a name, or a part of it with * in front or behind
Kind<std::vector<IpAddress>> virtual_addresses();  ///< at most one of each family

void validate_remote_access(const GatewayConfig& config, const Where& root);

}  // namespace culvert::config
