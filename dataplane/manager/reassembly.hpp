// Reassembly of the IPv4 fragments of IKE's datagrams (RFC 791 §3.2): peers that fragment no IKE messages send long ones so.
// Owns the datagrams in the making, all of them bounded. Keeps nothing that can be seen not to be IKE's. Owns no clock.
//
// What lies ends the whole datagram: fragments that overlap (as RFC 5722 has it for IPv6), two ends, more than fits. A copy of a
// fragment is no lie. Datagrams come in one piece after the other: where there is no room, the oldest one gives way.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <variant>
#include <vector>

#include "common/shm/messages.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::dp {

class Reassembly {
 public:
  static constexpr std::size_t kMaxDatagrams = 128;      ///< in the making, in all: 1.2 MB ...
  static constexpr std::size_t kMaxOfSource = 4;         ///< ... and of one address
  static constexpr std::size_t kMaxParts = 32;           ///< of a datagram: 9,216 bytes over the smallest path, and some more
  static constexpr std::uint64_t kLife = 2'000'000'000;  ///< ns; its fragments come one behind the other

  /// A packet that was put together: the first fragment's header without options, then the whole UDP datagram.
  using Whole = std::vector<std::uint8_t>;
  struct Result {
    std::optional<Whole> whole{};
    std::size_t ended = 0;  ///< fragments that were given up by this, the new one included
    std::size_t used = 0;   ///< fragments that are in the whole one; or 1: the new one is a copy of one that is there
  };
  /// Takes a UDP fragment for an own address (parsed: Packet::fragment); copies what it needs.
  Result add(const Packet& fragment, std::uint64_t now);
  /// The number of fragments that are given up because of their age.
  std::size_t expire(std::uint64_t now);
  [[nodiscard]] std::size_t size() const { return datagrams_.size(); }

 private:
  struct Part {
    std::uint32_t begin, end;
  };
  struct Datagram {
    std::uint32_t source = 0, destination = 0;
    std::uint16_t id = 0;
    std::uint64_t since = 0;
    std::uint32_t total = 0;  ///< 0: the last fragment was not seen
    std::vector<Part> parts{};
    std::vector<std::uint8_t> bytes{};
  };
  using Place = std::list<Datagram>::iterator;
  Place find_or_make(const Packet& fragment, std::uint64_t now, std::size_t& ended);
  std::size_t end(Place place);
  std::list<Datagram> datagrams_;  ///< the oldest one first
};

}  // namespace culvert::dp
