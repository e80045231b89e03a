// One worker: the whole packet path, for one thread. worker.cpp reads from top to bottom as a packet travels.
// Owns its views, its bursts in the making and its transmit queues. Must never allocate, lock, log or make a system call per
// packet (except what the device driver does). Everything that it shares with others is in WorkerEnvironment.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/config/config.hpp"
#include "dataplane/crypto/engine.hpp"
#include "dataplane/drop.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/io/rcu.hpp"
#include "dataplane/io/waker.hpp"
#include "dataplane/neighbor/neighbor_table.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/early.hpp"
#include "dataplane/nodes/esp.hpp"
#include "dataplane/nodes/icmp.hpp"
#include "dataplane/nodes/ike_cookie.hpp"
#include "dataplane/nodes/ike_talks.hpp"
#include "dataplane/nodes/last_esp.hpp"
#include "dataplane/nodes/parcel.hpp"
#include "dataplane/nodes/path_log.hpp"
#include "dataplane/nodes/policy_rules.hpp"
#include "dataplane/nodes/reassembly.hpp"
#include "dataplane/nodes/stopwatch.hpp"
#include "dataplane/nodes/tap.hpp"
#include "dataplane/nodes/token_bucket.hpp"
#include "dataplane/sad/sa_table.hpp"
#include "dataplane/spd/flow_cache.hpp"

namespace culvert::dp {

/// What one worker has carried over one VLAN; bytes with Ethernet header and tag.
struct alignas(64) VlanTraffic {
  shm::Counter rx_packets, rx_bytes, tx_packets, tx_bytes;
};

/// What workers share, with each other and with the manager. Outlives them.
struct WorkerEnvironment {
  std::span<const std::unique_ptr<Port>> ports;
  std::span<const Interface> interfaces;  ///< the ports, then their VLANs
  std::span<const OwnAddresses> own;      ///< by VRF
  const Fib* fib = nullptr;
  const NeighborTable* neighbors = nullptr;
  const std::atomic<const Spd*>* spd = nullptr;  ///< nullptr inside: no culvertd has sent all its policies yet; nothing is forwarded
  std::span<PolicyState> policies;               ///< by PolicyId, kMaxPolicies + 1
  const InboundTable* inbound = nullptr;
  std::span<const std::atomic<std::uint32_t>> awaited{};  ///< inbound SPIs whose SA is to come, by slot
  BufferPool* pool = nullptr;
  BufferPool* whole = nullptr;                           ///< of Reassembly::kBufferBytes and more
  std::span<const std::unique_ptr<BufferRing>> handoff;  ///< to each worker
  ParcelBoards* boards = nullptr;                        ///< of all workers; nullptr: each does the crypto of all its SAs itself
  BufferRing* ike = nullptr;                             ///< to the manager: for culvertd
  IkeTalks* talks = nullptr;                             ///< the manager writes what workers read
  BufferRing* slow = nullptr;                            ///< to the manager: Resolve and Acquire
  Waker* manager = nullptr;
  Rcu* rcu = nullptr;
  const CaptureSwitch* capture = nullptr;
  std::span<shm::CaptureRing> captures;  ///< of each worker
  bool default_bypass = false;
  std::uint64_t hash_seed = 0;            ///< random
  Cookies::Secret cookie_secret{};        ///< random
  std::span<VlanTraffic> vlan_traffic{};  ///< by worker, then by VLAN
};

class Worker {
 public:
  Worker(unsigned id, const WorkerEnvironment& environment, CryptoEngine crypto, shm::WorkerCounters& counters);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// One pass over all ports and the hand-over ring. True: there was something to do. The thread must be online in the Rcu, if
  /// there is one.
  bool poll();
  /// poll() until `stop`, idling as `idle` says.
  void run(const std::atomic<bool>& stop, config::Idle idle);
  /// Finishes with all of its own packets whose crypto is spread; waits for who has begun some of it. On its own thread.
  void give_back();
  /// Packets that it keeps between two passes. Only while it does not run.
  [[nodiscard]] std::size_t held() const { return reassembly_.fragments() + early_.size(); }

 private:
  struct TxQueue {
    std::array<void*, kBurstMax> handles;
    std::size_t size = 0;
    MacBits mac = 0;  // of the port
  };
  /// Where an SA's packets go.
  struct Tunnel {
    const OutboundSa* sa = nullptr;
    HopId hop = 0;  // to the peer
    std::uint32_t outer_mtu = 0;
    std::uint32_t mtu = 0;  // of what goes in; 0: there is no route
  };
  /// Packets that leave to one neighbour.
  struct Row {
    std::size_t packets = 0;
    HopId hop = 0;
    std::uint64_t link = 0;  // Neighbor::link
  };

  /// Of a policy, within a pass: the SA that takes all of its packets.
  struct PolicySa {
    OutboundSa* sa = nullptr;  // nullptr: there is none
    std::uint16_t policy = 0;  // 0: none was asked for
  };

  class Leaving;
  class Opening;
  struct EndOpening {
    void operator()(Opening* opening) const;
  };
  /// A neighbour that IPv4 packets have been sent to in this pass.
  struct KnownNeighbor {
    std::uint64_t what = 0;  // their destination, as it stands in them, and their way
    std::uint64_t link = 0;  // as Neighbor::link says it
  };

  struct LastNeighbor {
    Neighbor* neighbor = nullptr;
    std::uint32_t address = 0;
    std::uint16_t port = 0;
  };

  // In the order of the path.
  std::size_t receive_all(std::uint16_t port);
  void receive(std::uint16_t port, std::span<Packet> packets);
  template <bool Summed, bool Udp>
  void classify(std::uint16_t port, std::span<Packet> packets, Burst& esp, Burst& clear);
  void handed_over(std::span<void* const> handles);
  bool make_dummy(Packet& p, const HandoffNote& note);
  void other_frame(Packet& p, MacBits own, Burst& esp, Burst& clear);
  void arp(Packet& p);
  void input(Packet& p, const OwnAddresses& own, Burst& esp, Burst& clear);
  void local(Packet& p, Burst& esp, Burst& clear);
  void reassemble(Packet& p, Burst& esp, Burst& clear);
  void expire_fragments();
  bool input_v6(Packet& p, const OwnAddresses& own);
  void neighbor_discovery(Packet& p);
  void group_query(Packet& p);
  void heard(Packet& p, const NeighborVerdict& verdict, std::uint16_t ether_type);
  void punt_ike(Packet& p);
  [[nodiscard]] PuntKind later_message(const Packet& p) const;
  void ask_for_cookie(Packet& p, const FirstMessage& m);
  void path_mtu(Packet& p);
  void decapsulate(Burst& esp, Burst& inner, bool may_hand_over);
  bool take_up_early();
  void keep_own(Burst& esp, bool may_hand_over);
  void finish(Burst& esp, const EspBatch& batch, Burst& inner, bool tapped);
  void opened(Burst& packets, Burst& inner);
  std::unique_ptr<Opening, EndOpening> make_opening();
  void begin_opening();
  void end_opening();
  void check_clear(Burst& packets, Burst& leaving);
  template <class Flow>
  bool protect_at_once(Packet& p, const Flow& flow, PolicySa& last);
  void leave_under_sas(Burst& packets);
  Row row_of(std::span<Packet* const> packets);
  template <bool kUdp>
  void seal_row(std::span<Packet* const> packets, const Row& row);
  void dispatch(Burst& packets);
  void deliver(Packet& p);
  void outbound(Burst& packets);
  void protect(Burst& packets);
  bool fit_under_sa(Packet& p);
  void note_way(const Packet& p, const Tunnel& way);
  void does_not_fit(Packet& p, std::uint32_t mtu);
  void seal(Burst& packets);
  void encapsulate(Burst& packets);
  void encapsulate_whole(Packet& p);
  void send_cut(Packet& p);
  bool keep_own_outbound(Burst& packets, bool cut = false);
  void send_clear(Packet& p);
  void send_fragments(Packet& p, const NextHop& hop);
  void send_all_sealed(const Burst& packets);
  void send_sealed(std::span<Packet* const> packets);
  void send(Packet& p, const NextHop& hop);
  void send_later(Packet& p, const NextHop& hop, NeighborState state);
  void send_frame(Packet& p, std::uint16_t interface, MacBits to, std::uint16_t type);
  [[nodiscard]] FrameHeader frame_header(MacBits to, std::uint16_t port, std::uint16_t type) const {
    const MacBits from = tx_[port].mac;
    return {to | from << 48, from | MacBits{__builtin_bswap16(type)} << 48};
  }
  /// The slots of the port's queue for the handles of so many frames, at most kBurstMax, that are then queued().
  void** slots_for(std::size_t count, std::uint16_t port) {
    TxQueue& queue = tx_[port];
    if (queue.size + count > queue.handles.size()) [[unlikely]]
      transmit(port);
    return queue.handles.data() + queue.size;
  }
  void queued(std::size_t count, std::uint16_t port) {
    TxQueue& queue = tx_[port];
    queue.size += count;
    if (queue.size == queue.handles.size()) [[unlikely]]
      transmit(port);
  }
  template <class Store>
  void queue_frames(std::size_t count, std::uint16_t port, Store&& store);
  std::uint16_t leave_by_vlan(Packet& p, std::uint16_t interface, std::uint16_t type);
  void transmit(std::uint16_t port);
  void begin_pass();
  void finish_pass();

  // SAs whose crypto is spread (worker_spread.cpp).
  void spread(Burst& packets, Burst& rest, Direction d, bool cut);
  bool serve(std::size_t received);
  bool collect();
  void collect(Parcel& parcel);
  void work_on(Parcel& parcel, bool fetch);

  // Ends of packets.
  void refuse(Packet& p, Drop reason, IcmpError error, std::uint32_t mtu = 0);
  void no_sa(Packet& p, const SpdEntry& entry);
  void to_manager(Packet& p, BufferRing* ring, Drop if_full);
  void hand_over(Packet& p, unsigned worker, HandoffNote note);

  template <class Ask>
  void by_family(Burst& packets, Ask&& ask);
  void look_up_ways(Burst& packets);
  void ways_from_tunnel(Burst& packets, Burst& inner);
  template <class Flow>
  [[nodiscard]] bool forward_at_once(const Packet& p, const Flow& flow, PolicyId came_by) const;
  template <class Flow>
  void note_forwarded(Flow& flow) const;
  template <class Flows>
  void load_ahead(const Flows& flows) const;
  void send_all_opened(const Burst& packets);
  [[nodiscard]] HopId way_to(const Packet& p) const;
  [[nodiscard]] HopId way_on(const Packet& p, const HandoffNote& note) const;
  bool possible_destination(Packet& p);
  /// The way to the peer, and the largest packet that fits under `sa` on the port that it is behind.
  const Tunnel& tunnel(OutboundSa& sa) {
    if (&sa != tunnel_.sa) [[unlikely]]
      find_tunnel(sa);
    return tunnel_;
  }
  void find_tunnel(OutboundSa& sa);
  HopId way_of(OutboundSa& sa) const;
  void clamp_opened(Packet& p);
  Neighbor* neighbor_of(const Packet& p, std::uint16_t port);
  std::uint64_t link_to(const Packet& p, const NextHop& hop);
  [[nodiscard]] IpAddress error_source(const Packet& p) const;
  VlanTraffic& traffic(std::uint16_t vlan_interface);

  const unsigned id_;
  const WorkerEnvironment& env_;
  CryptoEngine crypto_;
  shm::WorkerCounters& counters_;
  DropSink drops_;
  EspContext esp_;
  TokenBucket icmp_budget_;
  TokenBucket arp_budget_;
  TokenBucket path_mtu_budget_;
  PuntLimiter punt_budget_;
  Cookies cookies_;
  TokenBucket cookie_budget_, cookie_checks_;
  std::uint64_t now_ = 0;              // CLOCK_MONOTONIC in ns, once a pass
  const Spd* policies_now_ = nullptr;  // the snapshot of this pass
  FlowCache<> flows_;
  FlowCache<FlowKeyV6> flows_v6_;
  Reassembly reassembly_;
  EarlyPackets early_;
  Tap tap_;
  PathLog paths_;
  Stopwatch watch_;
  bool wake_manager_ = false;
  bool spread_ = false;               // packets of this pass were
  bool many_sas_ = false;             // packets of the pass before had
  std::size_t together_ = kBurstMax;  // packets whose bytes are written at once
  std::uint32_t fragment_id_;         // of the latest packet that was fragmented outside
  Tunnel tunnel_;                     // the one asked for last, within a pass
  LastEsp last_esp_;
  bool strangers_ = false;  // some ESP packet that is on its way to decapsulate() has no SA yet
  LastNeighbor last_;       // the one sent to last, within a pass
  std::array<KnownNeighbor, 16> known_;
  std::array<Packet, kBurstMax> views_;
  std::array<Packet, kBurstMax> fragments_;
  Burst generated_;          // ICMP of our own, to be sent at the end of the pass
  std::vector<TxQueue> tx_;  // of each port
  std::unique_ptr<Opening, EndOpening> opening_ = make_opening();
  const Vlans vlans_;
  ParcelBoard* const board_;  // nullptr: nothing is spread
  LateQuiescence late_;
  std::uint64_t oldest_since_ = 0;  // as spread_since says it
};

/// Calls ask(burst, cache, key_of) for the packets of each family that is there.
template <class Ask>
void Worker::by_family(Burst& packets, Ask&& ask) {
  const auto v4 = [&] { ask(packets, flows_, [](const Packet& p) { return FlowKey::outbound(p); }); };
  bool mixed = false;
  for (const Packet* p : packets) mixed |= p->family != Family::V4;
  if (!mixed) [[likely]]
    return v4();
  Burst v6;
  packets.filter([&](Packet& p) {
    if (p.family == Family::V4) return true;
    v6.push_back(&p);
    return false;
  });
  if (!packets.empty()) v4();
  ask(v6, flows_v6_, [](const Packet& p) { return FlowKeyV6::outbound(p); });
  // What we say to a neighbour by an address of the link goes back to the port that it came from.
  for (Packet* p : v6)
    if (is_link_local_v6(p->data + 24) && is_local(origin_of(*p))) p->tx_port = env_.fib->link(p->rx_port);
  packets.append(v6);
}

/// Puts so many packets, each with the headroom, into the queue of the port that they leave by: store(at, n, handles) writes the frames of
/// n of them, from the one number `at` on.
template <class Store>
inline void Worker::queue_frames(std::size_t count, std::uint16_t port, Store&& store) {
  TxQueue& queue = tx_[port];
  for (std::size_t at = 0, n; at < count; at += n) {
    n = std::min(count - at, queue.handles.size() - queue.size);
    store(at, n, queue.handles.data() + queue.size);
    queue.size += n;
    if (queue.size == queue.handles.size()) [[unlikely]]
      transmit(port);
  }
}

}  // namespace culvert::dp
