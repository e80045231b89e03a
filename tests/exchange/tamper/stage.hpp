// Two engines that go through all that they can do to each other, of which one is an insider (insider.hpp), and what must hold whatever
// that one says. Owns the list of what they do, the order of it, and the verdict.
#pragma once

#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/exchange/tamper/insider.hpp"

namespace culvert::test::tamper {

/// Something does not hold.
struct Broken : std::logic_error {
  explicit Broken(const std::string& what, std::string told = {}) : std::logic_error(what), transcript(std::move(told)) {}
  std::string transcript;  ///< of both hosts
};

/// A world with A, who begins, and B.
struct Scene {
  World world{7};
  Host *a = nullptr, *b = nullptr;
  std::vector<std::shared_ptr<void>> kept;  ///< what the hosts use
  std::vector<IpAddress> a_addresses{IpAddress::v4(0x0a090001), IpAddress::v4(0x0a090101)};
};

/// What happens behind the first SAs: a letter each, lower case where A does it, upper case where B does it.
///   c rekeys the CHILD SA       i rekeys the IKE SA       m makes another CHILD SA    t ends that one        z ends all, and comes again
///   d nothing, longer than DPD  e an SA has reached its soft limit                    l the data plane is lost
///   a its address goes away     s counters are set right  r sends the client away     x is switched off and on
inline constexpr std::string_view kEvents = "cimtzdelasrxCIMTZDELASRX";

struct Scenario {
  std::string_view name;
  std::uint8_t version = 1;
  void (*build)(Scene&);
  std::string_view events;                ///< that show all of it
  bool (*shown)(const Scene&) = nullptr;  ///< at the end of them: what makes it this scenario came about
};
std::span<const Scenario> scenarios();
/// A change of two sites: their CHILD SA is of what they say to each other themselves.
void in_transport_mode(config::GatewayConfig& a, config::GatewayConfig& b);
std::span<const Scenario> scenarios_v1();
std::span<const Scenario> scenarios_v2();

struct Play {
  const Scenario* scenario = nullptr;
  bool insider_begins = false;  ///< A is the insider, else B
  std::string events;
  bool twice = false, late = false, lossy = false;  ///< some datagrams come twice, out of order, not at all
  std::vector<Change> changes;
};
struct Outcome {
  bool up = false, up_after = false, shown = false;  ///< at first, behind the events, and what the scenario is about
  std::vector<Insider::Sent> sent;                   ///< until it fell silent
  std::string transcript;                            ///< of both
};
/// From the beginning to the end of everything. Throws Broken where something does not hold of the insider's victim.
Outcome perform(const Play& play);

/// Scenario, who is the insider and what the line does, how many events (0: the scenario's own), events, changes.
Play read_play(ByteView input);
Bytes write_play(const Play& play);

}  // namespace culvert::test::tamper
