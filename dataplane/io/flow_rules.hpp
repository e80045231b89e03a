// Rules in a NIC that put ESP onto the queue of the worker that owns its SA, by the SPI (rte_flow), so that no packet of it is handed over
// between workers. Owns the rules of one port, which come and go with inbound SAs. Where the device refuses them, RSS decides as ever: it
// is said once, counted, and the device is not asked again. For the manager's thread. Must never fail an SA.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "common/net/ip.hpp"
#include "common/types.hpp"

struct rte_flow;

namespace culvert::dp {

/// What is steered, and where to.
struct SteeredSa {
  Spi spi;
  Family outer{};
  bool udp = false;         ///< ESP in UDP (RFC 3948)
  std::uint16_t queue = 0;  ///< of the worker that owns the SA
  std::uint16_t vlan = 0;   ///< the id in the tag that its packets have; 0: none
};

class FlowRules {
 public:
  static constexpr std::size_t kMax = 4096;  ///< of one port: what devices have room for, and no more to do again after a reset

  /// `port`: DPDK's number, started; `name`: for the log.
  FlowRules(std::uint16_t port, std::string name) : port_(port), name_(std::move(name)) {}

  /// Asks the device for a rule.
  void add(const SteeredSa& sa);
  /// Takes it back, if there is one.
  void remove(Spi spi);
  /// The device is about to be stopped, by which it forgets its rules.
  void suspend();
  /// It runs again: asks it for all that it had.
  void resume();

  [[nodiscard]] std::uint64_t count() const { return rules_.size(); }
  /// SAs that have had none, since the start.
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  enum class Answer : std::uint8_t { NotAsked, Takes, Refuses };
  struct Rule {
    SteeredSa sa;
    rte_flow* flow;  ///< nullptr: while the device is stopped
  };
  rte_flow* make(const SteeredSa& sa);

  std::uint16_t port_;
  std::string name_;
  std::array<Answer, 8> answers_{};  ///< by kind: family, whether in UDP, whether with a tag
  bool full_ = false;                ///< it took none more, until one is removed
  bool suspended_ = false;
  std::unordered_map<std::uint32_t, Rule> rules_;  ///< by SPI
  std::uint64_t refused_ = 0;
};

}  // namespace culvert::dp
