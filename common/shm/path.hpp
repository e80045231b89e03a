// A packet's way through the data plane, step by step: what it is asked and what it is told, in an order that can be read aloud.
// Owns the layout of a step, and the bound on their number. Part of the contract between the planes: fixed-size, pointer-free.
#pragma once

#include <array>
#include <cstdint>

#include "common/net/ip.hpp"
#include "common/shm/drop.hpp"
#include "common/types.hpp"

namespace culvert::shm {

enum class StepKind : std::uint8_t {
  Arrives,         ///< port; in clear
  ArrivesUnderSa,  ///< spi, slot, policy: an inbound SA; port: where the peer is
  IsForUs,         ///< address: the destination is an own one; number: a LocalUse
  InboundPolicy,   ///< policy (0: none matches), action; what came in clear is checked against the mirrored policies (RFC 4301 §5.2)
  TimeToLive,      ///< number: as it came
  Route,           ///< number: a RouteKind; port; address: the gateway, if there is one; limit: of how many it was
                   ///< chosen, 0: it is the only one. Of the destination, then of the SA's peer
  OutboundPolicy,  ///< policy (0: none matches), action: what is done (RFC 4301 §5.1); Discard, Bypass (in clear), Protect
  LeavesUnderSa,   ///< spi, slot, policy; number: the worker that owns it
  Size,            ///< number: of the packet; limit: what fits; action: a SizeVerdict
  Neighbor,        ///< address on port; number: a NeighborUse; mac: of Known
  Leaves,          ///< by port
  HandedOver,      ///< number: the worker that goes on with it
  Count_
};
enum class LocalUse : std::uint8_t { Esp, Ike, Keepalive, Icmp, Fragment, Malformed, Nobody };
enum class RouteKind : std::uint8_t { None, Local, Martian, OnLink, Gateway, Tunnel };
enum class NeighborUse : std::uint8_t { Known, Asked, Failed };  ///< Asked: packets wait for its answer
enum class SizeVerdict : std::uint8_t { Fits, Fragments, TooBig };

/// Fields that a step does not name are 0.
struct PathStep {
  StepKind kind{};
  std::uint8_t action = 0;  ///< of a policy: a PolicyAction
  std::uint16_t port = 0;   ///< index; of a Tunnel route: that of the tunnel
  PolicyId policy{};
  Spi spi{};
  std::uint32_t slot = 0;
  std::uint32_t number = 0, limit = 0;
  IpAddress address;
  std::array<std::uint8_t, 6> mac{};
};

/// At most kMax steps; what does not fit is left out. `dropped`: the reason of the end, Count_ if the packet goes on.
struct Path {
  static constexpr std::size_t kMax = 11;
  std::uint32_t count = 0;
  Drop dropped = Drop::Count_;
  std::uint8_t answered = 0;  ///< not 0: it stays here: it is for culvertd, or is answered
  std::array<PathStep, kMax> steps{};

  void add(const PathStep& step) {
    if (count < kMax) steps[count++] = step;
  }
};

}  // namespace culvert::shm
