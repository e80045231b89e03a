// What the nodes know of a port: its addresses and sizes. Owns no device and no packet; fixed from start to end.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/net/ip.hpp"

namespace culvert::dp {

struct Interface {
  std::string name;
  std::array<std::uint8_t, 6> mac{};
  std::uint16_t mtu = 1500;              ///< of IP
  std::vector<Prefix> addresses;         ///< own addresses with their networks

  /// The address that this router speaks with on this port; unspecified without one.
  [[nodiscard]] IpAddress primary() const { return addresses.empty() ? IpAddress{} : addresses.front().address; }
  /// The network of ours on this port that `a` is in; nullptr: none.
  [[nodiscard]] const Prefix* network_of(const IpAddress& a) const {
    for (const Prefix& p : addresses)
      if (p.contains(a)) return &p;
    return nullptr;
  }
};

/// All own addresses; small, read per packet.
class OwnAddresses {
 public:
  explicit OwnAddresses(std::span<const Interface> interfaces) {
    for (const Interface& i : interfaces)
      for (const Prefix& p : i.addresses) {
        list_.push_back(p.address);
        if (p.address.family == Family::V4) v4_.push_back(p.address.v4_host());
      }
  }
  [[nodiscard]] bool contains_v4(std::uint32_t host_order) const {
    for (const std::uint32_t a : v4_)
      if (a == host_order) return true;
    return false;
  }
  [[nodiscard]] std::span<const IpAddress> all() const { return list_; }

 private:
  std::vector<IpAddress> list_;
  std::vector<std::uint32_t> v4_;
};

}  // namespace culvert::dp
