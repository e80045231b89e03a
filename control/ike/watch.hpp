// Who is watched: connections and peer addresses whose every message an operator wants to see, each for a limited time.
// Owns the list and its bounds; the lines are made in trace.hpp of ikev1 and of ikev2. A watch ends by itself; nothing is kept of it then.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/net/ip.hpp"
#include "control/ike/reasons.hpp"

namespace culvert::ike {

/// Of a connection, or of a peer's address in a VRF, whichever is set.
struct Watch {
  std::string connection;
  std::optional<IpAddress> peer;
  TimePoint until{};
  VrfId vrf = kDefaultVrf;  ///< of `peer`

  [[nodiscard]] bool same_target(const Watch& other) const {
    return connection == other.connection && peer == other.peer && vrf == other.vrf;
  }
};

class WatchList {
 public:
  static constexpr std::size_t kMax = 16;
  static constexpr std::chrono::hours kLongest{24};

  /// The same target again: its time is set anew. False: there are kMax others.
  bool add(TimePoint now, Watch watch);
  /// False: it was not watched.
  bool remove(TimePoint now, const Watch& target);
  /// Without those whose time is over.
  [[nodiscard]] std::vector<Watch> active(TimePoint now) const;
  /// Costs nothing while nobody is watched.
  [[nodiscard]] bool matches(TimePoint now, std::string_view connection, const Endpoint& peer) const;
  [[nodiscard]] bool empty() const { return watches_.empty(); }

 private:
  void forget_old(TimePoint now);
  std::vector<Watch> watches_;
};

}  // namespace culvert::ike
