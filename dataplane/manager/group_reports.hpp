// When which port says what groups it hears (RFC 3810 §6, as a host). Owns the times: one answer at most is due on each interface. For the
// manager's thread; sends nothing itself.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "dataplane/interface.hpp"
#include "dataplane/nodes/mld.hpp"

namespace culvert::dp {

class GroupReports {
 public:
  using Write = std::function<Neighbor::Mac(Packet&)>;
  /// `send`: makes a packet by what it is given, and sends it by the interface. `seed`: random.
  GroupReports(std::span<const Interface> interfaces, std::function<void(std::uint16_t interface, const Write&)> send, std::uint64_t seed)
      : interfaces_(interfaces),
        send_(std::move(send)),
        random_(static_cast<std::minstd_rand::result_type>(seed | 1)),
        of_(interfaces.size()) {}

  /// The interface has got a link: said at once, and once more (§6.1; robustness 2, §9.1).
  void joined(std::uint16_t interface, std::uint64_t now);
  /// A router asks: answered after a random part of the time that it gives (§6.2). An answer that is due sooner is one to this, too.
  void asked(std::uint16_t interface, const MldQuery& query, std::uint64_t now);
  void tick(std::uint64_t now);

  static constexpr std::uint64_t kMs = 1'000'000, kAgain = 1000 * kMs;  ///< §9.11

 private:
  struct Due {
    std::uint64_t again_ns = 0, answer_ns = 0;  ///< 0: none
    bool v1 = false;                            ///< the answer is for a router of MLDv1
  };
  void report(std::uint16_t interface, bool joined);
  void report_v1(std::uint16_t interface);

  std::span<const Interface> interfaces_;
  std::function<void(std::uint16_t, const Write&)> send_;
  std::minstd_rand random_;
  std::vector<Due> of_;
};

}  // namespace culvert::dp
