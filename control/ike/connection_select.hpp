// Which configured connection a peer means, as far as it can be told: by addresses first, by identity once it is known.
// Owns the order of candidates. Reads the configuration and nothing else.
#pragma once

#include <cstddef>
#include <vector>

#include "common/config/config.hpp"

namespace culvert::ike {

/// Indices of the connections that a peer at `remote` may mean when it talks IKE of this version (0: of any) to our `local`, best first:
/// those that name the peer's address before those that name a network or range of it, those before %any, then in the order of the
/// configuration. No local_addrs: any address of ours.
std::vector<std::size_t> candidates(const config::GatewayConfig& config, const Endpoint& local, const IpAddress& remote,
                                    std::uint8_t version);

}  // namespace culvert::ike
