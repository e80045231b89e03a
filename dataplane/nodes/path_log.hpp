// The ways of the next packets of a tunnel, as a worker really took them: step by step, with the reason of the end.
// Owns the paths of one pass, and those of packets whose crypto others do between two passes. While none is asked for, each hook is one
// branch on a flag. Never changes what becomes of a packet.
#pragma once

#include <array>
#include <cstddef>

#include "dataplane/drop.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "dataplane/nodes/tap.hpp"

namespace culvert::dp {

// Steps as they are told, of a forecast and of what happened.
shm::PathStep route_step(const NextHop& hop);
shm::PathStep policy_step(OutboundAction action, const SpdEntry* entry);
shm::PathStep sa_step(const OutboundSa& sa);
shm::PathStep size_step(const Packet& p, std::uint32_t mtu, const OutboundSa* sa);
shm::PathStep neighbor_step(const NextHop& hop, const IpAddress& next, std::uint64_t link);

class PathLog final : public DropObserver {
 public:
  explicit PathLog(Tap& tap) : tap_(tap) {}
  PathLog(const PathLog&) = delete;
  PathLog& operator=(const PathLog&) = delete;

  [[nodiscard]] bool on() const { return on_; }
  void begin_pass() { on_ = tap_.wants(shm::Capture::kPath); }
  /// Packets that came under an SA, before they are decrypted.
  void arrive(const Burst& burst);
  /// What policy says of a packet's way out; one that leaves under an SA that is watched has a path from here on, at the latest.
  void decided(const Packet& p, OutboundAction action, const NextHop& hop);
  /// A packet for an SA that another worker has chosen.
  void taken_over(const Packet& p);
  void note(const Packet& p, const shm::PathStep& step);
  void leaves(const Packet& p, const NextHop& hop, const IpAddress& to, std::uint64_t link);
  void stays(const Packet& p, const shm::PathStep& step);
  void dropped(const Packet& p, Drop reason) override;
  /// It goes on elsewhere: with another worker, or in fragments.
  void done(const Packet& p);
  void end_pass();

  // A packet whose crypto is spread (parcel.hpp).
  /// It is another object from here on.
  void moved(const Packet& from, const Packet& to);
  /// It is away: its path waits for it. Where kParked others do, it is told as far as it goes. Returns what resume() wants; 0: it has none.
  [[nodiscard]] std::uint16_t park(const Packet& p);
  /// It is back, in this pass. Each that park() gave a number to comes back once; whoever followed it may be gone.
  void resume(const Packet& p, std::uint16_t parked);
  static constexpr std::size_t kParked = 64;

 private:
  struct Entry {
    const Packet* packet = nullptr;
    Direction direction{};
    std::uint32_t slot = 0;
    Spi spi;
    shm::Path path;
  };
  struct Parked {
    Entry entry;
    std::uint32_t capture = 0;  ///< 0: nothing waits here
  };
  Entry* find(const Packet& p);
  Entry* begin(const Packet& p, Direction d);
  void emit(Entry& e);

  Tap& tap_;
  bool on_ = false;
  std::size_t count_ = 0;
  std::array<Entry, kBurstMax> entries_;
  std::array<Parked, kParked> parked_;
};

}  // namespace culvert::dp
