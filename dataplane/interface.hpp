// What the nodes know of a port, or a VLAN of one: its addresses and sizes; and of a tunnel interface, which is a name and addresses and
// has no device. Owns no packet; fixed from start to end, but for the MTU, which follows the device's.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "common/net/ip.hpp"
#include "common/types.hpp"

namespace culvert::dp {

/// Bytes, written by the manager while workers read. A packet that is judged by the former value is one that was a moment earlier.
class SharedMtu {
 public:
  SharedMtu(std::uint16_t bytes = 1500) : bytes_(bytes) {}  // NOLINT(google-explicit-constructor): it is a number
  SharedMtu(const SharedMtu& other) : SharedMtu(std::uint16_t{other}) {}
  SharedMtu& operator=(const SharedMtu& other) {
    bytes_.store(other, std::memory_order_relaxed);
    return *this;
  }
  operator std::uint16_t() const { return bytes_.load(std::memory_order_relaxed); }  // NOLINT(google-explicit-constructor)

 private:
  std::atomic<std::uint16_t> bytes_;
};

struct Interface {
  std::string name;
  std::array<std::uint8_t, 6> mac{};
  SharedMtu mtu{};                ///< of IP
  std::vector<Prefix> addresses;  ///< own addresses with their networks
  std::uint16_t port = 0;         ///< of a VLAN: the port whose frames with its tag are meant
  std::uint16_t vlan = 0;         ///< the number in the tag; 0: none
  VrfId vrf = kDefaultVrf;

  /// The address of a family that this router speaks with on this port; unspecified without one.
  [[nodiscard]] IpAddress primary(Family family) const {
    for (const Prefix& p : addresses)
      if (p.address.family == family) return p.address;
    return {};
  }
  [[nodiscard]] bool has(Family family) const { return !primary(family).is_unspecified(); }
  /// RFC 4291 §2.5.6: a port with IPv6 addresses has one more, made of its MAC address, that is good on its link only.
  void add_link_local() {
    if (!has(Family::V6)) return;
    IpAddress a{{0xfe, 0x80}, Family::V6};
    const std::array<std::uint8_t, 8> id{static_cast<std::uint8_t>(mac[0] ^ 2), mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    std::copy(id.begin(), id.end(), a.bytes.begin() + 8);
    addresses.push_back({a, 64});
  }
  /// The network of ours on this port that `a` is in; nullptr: none.
  [[nodiscard]] const Prefix* network_of(const IpAddress& a) const {
    for (const Prefix& p : addresses)
      if (p.contains(a)) return &p;
    return nullptr;
  }
};

/// Which interface a tagged frame came in by. Interfaces are numbered: the ports, then their VLANs.
class Vlans {
 public:
  static constexpr std::uint16_t kUnknown = 0xffff, kIds = 4096;
  Vlans(std::span<const Interface> interfaces, std::size_t ports) : ports_(ports) {
    for (std::size_t i = ports; i < interfaces.size(); ++i) {
      auto& known = ports_[interfaces[i].port];
      if (known.empty()) known.assign(kIds, kUnknown);
      known[interfaces[i].vlan] = static_cast<std::uint16_t>(i);
    }
  }
  /// `id` < kIds. 0 is no VLAN: such a tag only tells a priority (IEEE 802.1Q §6.9).
  [[nodiscard]] std::uint16_t of(std::uint16_t port, std::uint16_t id) const {
    return id == 0 ? port : ports_[port].empty() ? kUnknown : ports_[port][id];
  }

 private:
  std::vector<std::vector<std::uint16_t>> ports_;  ///< of those with VLANs: interfaces by id
};

/// A port's device at one moment.
struct PortState {
  bool up = false;        ///< it has a link
  bool gone = false;      ///< the interface beneath it exists no more
  std::uint16_t mtu = 0;  ///< of IP that the interface beneath carries; 0: the configured one, as far as is known
};

/// All own addresses of a VRF; small, read per packet.
class OwnAddresses {
 public:
  explicit OwnAddresses(std::span<const Interface> interfaces, std::span<const Interface> tunnels = {}, VrfId vrf = kDefaultVrf) {
    for (const auto& some : {interfaces, tunnels})
      for (const Interface& i : some)
        if (i.vrf == vrf)
          for (const Prefix& p : i.addresses) add(p.address);
  }
  [[nodiscard]] bool contains_v4(std::uint32_t host_order) const {
    if ((filter_ & bit_of(host_order)) == 0) [[likely]]
      return false;
    for (const std::uint32_t a : v4_)
      if (a == host_order) return true;
    return false;
  }
  /// `address`: 16 bytes in network order.
  [[nodiscard]] bool contains_v6(const std::uint8_t* address) const {
    for (const auto& a : v6_)
      if (std::memcmp(a.data(), address, a.size()) == 0) return true;
    return false;
  }
  [[nodiscard]] bool contains(const IpAddress& a) const { return std::ranges::find(list_, a) != list_.end(); }
  [[nodiscard]] std::span<const IpAddress> all() const { return list_; }

 private:
  void add(const IpAddress& address) {
    list_.push_back(address);
    if (address.family == Family::V6) v6_.push_back(address.bytes);
    if (address.family != Family::V4) return;
    v4_.push_back(address.v4_host());
    filter_ |= bit_of(address.v4_host());
  }
  static std::uint64_t bit_of(std::uint32_t address) { return std::uint64_t{1} << ((address * 0x9e3779b1U) >> 26); }
  std::uint64_t filter_ = 0;  ///< of all own addresses: most others are told apart by it alone
  std::vector<IpAddress> list_;
  std::vector<std::uint32_t> v4_;
  std::vector<std::array<std::uint8_t, 16>> v6_;
};

}  // namespace culvert::dp
