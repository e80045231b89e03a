// Stands in for the IKE engine in tests of the shell around it: a test links this instead of the real one. It does what the
// test puts into `actions`, and remembers what it was told.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/ike/engine.hpp"

namespace culvert::test {

struct FakeEngine {
  ike::Services* services = nullptr;
  std::vector<ike::Action> actions;
  std::optional<ike::TimePoint> deadline;
  std::vector<ike::IkeSaInfo> sas;
  std::size_t newcomers = 0;
  std::vector<ike::LonePairs> lone;
  std::vector<ike::PoolInfo> pools;
  std::vector<ike::ConnectionStatus> connections;
  std::map<std::string, std::vector<ike::Failure>> failures;
  std::vector<ike::Failure> strangers;
  ike::WatchList watches;
  ike::FailureBook::Counts failure_counts{};
  ike::CommandResult answer{true, "done"};
  std::function<void()> on_datagram;  ///< runs in on_datagram
  std::function<void()> on_command;   ///< runs in initiate, terminate, rekey

  struct Installed {
    ike::JobId job;
    bool ok;
    std::string error;
  };
  std::vector<std::string> calls;  ///< names of the functions that were called
  std::vector<ike::OrphanSa> orphans;
  std::vector<ike::Datagram> datagrams;
  std::vector<Installed> installed;
  std::vector<ike::SaExpired> expired;
  std::vector<ike::PairMoved> moved;
  std::vector<Spi> traffic;
  std::vector<ike::DhResult> dh;
  std::vector<ike::RadiusAnswer> radius;

  [[nodiscard]] std::size_t count(const std::string& call) const;
};
/// The one of the test that runs. `reset_engine` before a Gateway is made.
FakeEngine& engine();
void reset_engine();

}  // namespace culvert::test
