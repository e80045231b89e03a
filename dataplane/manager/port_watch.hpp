// What happens to ports while the gateway runs: their links go down and come back, the interface beneath one gets another MTU, or goes
// away. Owns what was last seen of each port, and says what is new, once. Asks no device and logs nothing itself: Manager does both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/interface.hpp"

namespace culvert::dp {

class PortWatch {
 public:
  /// What a look has brought. `lines` are for the log, at most one a change.
  struct News {
    bool usable = true;     ///< frames may be sent. Until its link was seen up once, whatever it says: some devices say nothing of it
    bool returned = false;  ///< the link came up: who is behind it may be another now
    std::uint16_t mtu = 0;  ///< that may be sent from now on
    std::vector<std::string> lines;
    bool alarm = false;  ///< `lines` are warnings
  };

  /// `configured_mtu` of the port called `name`.
  void add(std::string name, std::uint16_t configured_mtu) { ports_.push_back({std::move(name), configured_mtu, configured_mtu}); }
  News look(std::size_t port, const PortState& now);
  [[nodiscard]] std::uint64_t changes(std::size_t port) const { return ports_[port].changes; }

 private:
  struct Known {
    std::string name;
    std::uint16_t configured_mtu, mtu;
    bool looked = false, seen_up = false, usable = true, gone = false;
    std::uint64_t changes = 0;
  };
  std::vector<Known> ports_;
};

}  // namespace culvert::dp
