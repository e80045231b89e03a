// Which configured connection a peer means, as far as it can be told: by addresses first, by identity once it is known.
// Owns the order of candidates. Reads the configuration and nothing else. Every first message of a stranger asks here: what that costs
// must not grow with the connections that name other peers.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <vector>

#include "common/config/config.hpp"

namespace culvert::ike {

class ConnectionsByPeer {
 public:
  /// Refers to the configuration, whose addresses of peers stay as they are.
  explicit ConnectionsByPeer(const config::GatewayConfig& config);

  /// Indices of the connections that a peer at `remote` may mean when it talks IKE of this version (0: of any) to our `local`, best first:
  /// those that name the peer's address before those that name a network or range of it, those before %any, then in the order of the
  /// configuration. No local_addrs: any address of ours.
  [[nodiscard]] std::vector<std::size_t> candidates(const Endpoint& local, const IpAddress& remote, std::uint8_t version) const;
  /// Whether there is one.
  [[nodiscard]] bool any(const Endpoint& local, const IpAddress& remote, std::uint8_t version) const;

 private:
  /// Each candidate, best first, until `take` says that it has enough.
  void visit(const Endpoint& local, const IpAddress& remote, std::uint8_t version, const std::function<bool(std::size_t)>& take) const;

  const config::GatewayConfig& config_;
  std::map<IpAddress, std::vector<std::size_t>> named_;
  std::vector<std::size_t> ranges_, anywhere_;
};

}  // namespace culvert::ike
