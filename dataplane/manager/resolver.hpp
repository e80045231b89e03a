// Finding out MAC addresses: asks, waits, gives up, forgets. Owns the packets that wait for an answer, within bounds.
// A configured gateway is watched from the start: it may make itself known before anybody asks for it, and is asked for only when
// a packet wants it. Workers learn answers themselves (nodes/arp); this side sees it in the entry. Runs on the manager's thread only.
//
// One that is watched is asked whether or not it is in use: each 3 s while it answers, at once while it does not.
//
//     Incomplete --answer--> Reachable --30 s unheard and in use--> asked again, in use --kTries silent--> Failed
//         | kTries unanswered                | 120 s unused: removed                                           | kFailedHold
//         +--> Failed (packets waiting are refused: host unreachable) --kFailedHold--> removed, so that the next packet asks again
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "dataplane/io/rcu.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"

namespace culvert::dp {

class Resolver {
 public:
  static constexpr std::size_t kQueuePerNeighbor = 64, kQueueTotal = 1024;
  static constexpr std::uint64_t kMs = 1'000'000;
  // A neighbour that answered before is given longer: packets go on meanwhile, and a host that is short of CPU answers late.
  static constexpr std::uint64_t kRetry = 400 * kMs, kProbe = 1000 * kMs, kFailedHold = 1000 * kMs, kReachable = 30'000 * kMs,
                                 kUnused = 120'000 * kMs, kWatched = 3000 * kMs;
  static constexpr unsigned kTries = 4;

  struct Out {
    std::function<void(const NeighborKey&)> ask;           ///< send a request
    std::function<void(void* buffer)> resolved;            ///< send this packet now
    std::function<void(void* buffer, bool tell)> refused;  ///< end this packet; `tell` its source
  };
  /// The table's pinned entries are there already.
  Resolver(NeighborTable& table, Rcu& rcu, Out out);

  /// A packet wants `key`. Takes the buffer.
  void want(const NeighborKey& key, void* buffer, std::uint64_t now);
  /// From now on it is asked again and again, whether or not a packet wants it: one knows when it goes, and when it returns. For pinned
  /// ones.
  void watch(Neighbor& n) { progress_[&n].watched = true; }
  /// Entries may have been confirmed, or time has passed.
  void tick(std::uint64_t now);
  /// The link of `port` is back: whoever is behind it may be another now. Those in use are asked at once, and packets go on to where they
  /// were meanwhile; the others are forgotten, failures too.
  void renew(std::uint16_t port, std::uint64_t now);
  /// Ends all that waits.
  void give_up();

 private:
  struct Progress {
    std::vector<void*> waiting;
    unsigned tries = 0;
    std::uint64_t next_ns = 0;  ///< of the next request, or the end of Failed
    std::uint64_t heard_ns = 0, used_ns = 0;
    bool watched = false;
  };
  /// An entry, and its link when it was looked at: a worker may hear from it at any moment, and then its word stands.
  struct Seen {
    Neighbor* n;
    std::uint64_t link;
    [[nodiscard]] NeighborState state() const { return Neighbor::state_of(link); }
  };
  void step(const Seen& seen, Progress& p, std::uint64_t now);
  void fail(const Seen& seen, Progress& p, std::uint64_t now);
  void flush(Progress& p);
  void forget(const std::vector<Seen>& entries);

  NeighborTable& table_;
  Rcu& rcu_;
  Out out_;
  std::unordered_map<Neighbor*, Progress> progress_;
  std::size_t waiting_ = 0;
};

}  // namespace culvert::dp
