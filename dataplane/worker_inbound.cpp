// Packets that come under an SA, from the look for it to the port that they leave by, or to dispatch() (worker.cpp), which then has the
// rest of the path for them. Two ways lead there:
//
//   decapsulate -> esp_in_... -+- plain packet of a known flow: forward_plain -> the port's queue
//                              +- else: its view is made; opened -> ways_from_tunnel -+- flow in clear: send_all_opened -> the port's queue
//                                                                                     +- else: dispatch
// The first one must come to the same as the second, which must come to the same as dispatch().
#include <utility>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/mss.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

/// Forwards inner packets. Adds to `inner` those that there is more to say about; their destinations and policies are looked up.
void Worker::decapsulate(Burst& esp, Burst& inner, bool may_hand_over) {
  if (strangers_) {
    esp_in_lookup(esp, *env_.inbound, drops_, &early_, now_);
    if (esp.empty()) return;
    last_esp_.note(*esp[esp.size() - 1]);
  }
  if (env_.handoff.size() > 1) keep_own(esp, may_hand_over);  // one worker owns all SAs
  const bool tapped = tap_.on();
  if (tapped) [[unlikely]]
    tap_.before(esp, Direction::Inbound);
  if (paths_.on()) [[unlikely]]
    paths_.arrive(esp);
  watch_.lap(shm::Node::FindSa, esp.size());
  EspBatch batch;
  esp_in_prepare(esp, batch, esp_);
  const std::size_t most = tapped ? esp.size() : together_;
  for (std::size_t at = 0; at < esp.size(); at += most) {
    Burst some = esp.part(at, most);
    crypto_.decrypt(std::span(batch.ops).subspan(at, some.size()));
    finish(some, batch, at, inner, tapped);
  }
}

/// Packets that came before their SA: they go on as if they came now. True: there were some, or some are waiting too long.
bool Worker::take_up_early() {
  watch_.start();
  begin_pass();
  const std::size_t before = early_.size();
  const std::size_t n = early_.give(views_, *env_.inbound, now_, drops_);
  counters_.early.add(n);
  Burst esp, inner;
  for (Packet& p : std::span(views_).first(n)) esp.push_back(&p);
  strangers_ = true;
  if (n != 0) decapsulate(esp, inner, true);
  if (!inner.empty()) dispatch(inner);
  finish_pass();
  return early_.size() != before;
}

/// ESP packets of SAs that another worker owns go there.
void Worker::keep_own(Burst& esp, bool may_hand_over) {
  Burst fat;
  esp.filter([&](Packet& p) {
    if (p.inbound->worker == id_) {
      if (!p.inbound->spread) [[likely]]
        return true;
      fat.push_back(&p);
    } else if (may_hand_over) {
      hand_over(p, p.inbound->worker, {.kind = Handoff::EspIn});
    } else {
      drops_.drop(p, Drop::EspNoSa);  // replaced on its way here
    }
    return false;
  });
  if (!fat.empty()) [[unlikely]]
    spread(fat, esp, Direction::Inbound, false);
}

/// Packets on their way out of a tunnel, those in a row that leave by one port together.
class Worker::Leaving {
 public:
  explicit Leaving(Worker& worker) : worker_(worker) {}

  /// What opened() would come to with a plain packet of a flow that is known. False: it must.
  bool takes(Packet& p, const Opened& o, const FlowCache<>::Flow& flow) {
    const bool in_clear = flow.forwards() && (flow.protect == 0 || flow.protect == o.policy);
    if (!in_clear || o.ip[8] <= 1 || opens_tcp_v4(o.ip, o.length)) [[unlikely]]
      return false;
    turn_to(flow.hop, Family::V4);
    if (p.rx_port == hop_->port || !reaches(o)) [[unlikely]]
      return false;
    p.data = o.ip;  // of IPv4 it is outside, too
    p.length = o.length;
    add(p);
    return true;
  }
  /// The same, whose view is made, of a packet with a way out. False: send_clear() must.
  bool takes(Packet& p) {
    turn_to(p.tx_port, p.family);
    if (p.length > mtu_ || p.headroom < kEthernetBytes) [[unlikely]]
      return false;
    link_ = worker_.link_to(p, *hop_);
    if (Neighbor::state_of(link_) != NeighborState::Reachable) [[unlikely]]
      return false;
    add(p);
    return true;
  }
  void flush() {
    if (n_ == 0) return;
    const FrameHeader header = worker_.frame_header(0, hop_->port, ether_type(family_));
    worker_.queue_frames(std::exchange(n_, 0), hop_->port, [&](std::size_t at, std::size_t n, void** handles) {
      store_forwarded(std::span(run_).subspan(at, n), to_.data() + at, header, handles);
    });
  }

 private:
  void turn_to(HopId id, Family family) {
    const std::uint32_t way = id | std::uint32_t{static_cast<std::uint8_t>(family)} << 16;
    if (way == way_) [[likely]]
      return;
    flush();
    way_ = way;
    family_ = family;
    hop_ = &worker_.env_.fib->hop(id);
    // A VLAN's packets are tagged one by one.
    mtu_ = hop_->leads_out() && hop_->port < worker_.tx_.size() ? std::uint32_t{worker_.env_.interfaces[hop_->port].mtu} : 0;
    link_ = 0;
  }
  /// Whether it fits, and its neighbour has an address.
  bool reaches(const Opened& o) {
    if (o.length > mtu_) [[unlikely]]
      return false;
    const auto address = static_cast<std::uint32_t>(o.key.second);
    if (address != last_ || link_ == 0) {
      last_ = address;
      Neighbor* neighbor = hop_->neighbor != nullptr ? hop_->neighbor : worker_.env_.neighbors->find_v4(o.key.destination(), hop_->port);
      link_ = neighbor != nullptr ? neighbor->use() : 0;
    }
    return Neighbor::state_of(link_) == NeighborState::Reachable;
  }
  void add(Packet& p) {
    run_[n_] = &p;
    to_[n_++] = Neighbor::mac_of(link_);
  }

  Worker& worker_;
  std::size_t n_ = 0;
  const NextHop* hop_ = nullptr;
  std::uint32_t mtu_ = 0;
  std::uint32_t last_ = 0;  // destination of an IPv4 packet, as it stands there, whose neighbour link_ is
  std::uint64_t link_ = 0;
  std::uint32_t way_ = 0;  // the hop, and the family
  Family family_ = Family::None;
  std::array<Packet*, kBurstMax> run_;
  std::array<MacBits, kBurstMax> to_;
};

/// Sends plain packets of flows that are forwarded in clear, each to its neighbour. Makes the views of the others, and does with them what
/// opened() says; packets of a flow stay in order.
inline void Worker::forward_plain(const Burst& packets, const OpenedBurst& found, Burst& inner) {
  const std::size_t all = packets.size();
  std::array<const FlowCache<>::Flow*, kBurstMax> flows;
  for (std::size_t i = 0; i < all; ++i) flows[i] = found[i].ip != nullptr ? flows_.prefetch(found[i].key) : nullptr;
  const std::uint64_t serial = flows_.serial_of(*policies_now_);
  Leaving leaving(*this);
  Burst others;
  const auto finish_others = [&] {
    leaving.flush();
    opened(others, inner);
    others.clear();
  };
  for (std::size_t i = 0; i < all; ++i) {
    Packet& p = *packets[i];
    const Opened& o = found[i];
    bool known = flows[i] != nullptr && flows[i]->is(o.key, serial);
    if (known && !others.empty()) [[unlikely]] {
      finish_others();
      known = flows[i]->is(o.key, serial);  // others have been put into the cache
    }
    if (known && leaving.takes(p, o, *flows[i])) [[likely]]
      continue;
    settle(p, o);
    others.push_back(&p);
  }
  leaving.flush();
  if (!others.empty()) [[unlikely]]
    finish_others();
}

/// Behind the crypto, packets of whose first one `from` is the operation. `tapped`: somebody asked for copies before it; then they are the
/// whole batch. Adds to `inner` as decapsulate() does.
void Worker::finish(Burst& esp, const EspBatch& batch, std::size_t from, Burst& inner, bool tapped) {
  const std::size_t sealed = esp.size();
  OpenedBurst found;
  esp_in_finish(esp, batch, from, esp_, found);
  if (tapped || paths_.on() || policies_now_ == nullptr) [[unlikely]] {
    for (std::size_t i = 0; i < esp.size(); ++i) settle(*esp[i], found[i]);
    if (tapped) tap_.after(esp, Direction::Inbound, [](const Packet& p) { return p.rx_port; });
    watch_.lap(shm::Node::Decrypt, sealed);
    const std::size_t all = esp.size();
    opened(esp, inner);
    return watch_.lap(shm::Node::Route, all);
  }
  watch_.lap(shm::Node::Decrypt, sealed);
  const std::size_t all = esp.size();
  forward_plain(esp, found, inner);
  watch_.lap(shm::Node::Route, all);
}

/// What came out of a tunnel, decrypted and checked. Adds to `inner` as decapsulate() says.
void Worker::opened(Burst& packets, Burst& inner) {
  const OwnAddresses* const own = env_.own.data();
  packets.filter([&](Packet& p) {
    set_origin(p, Origin::Tunnel);
    if (opens_tcp(p)) [[unlikely]]
      clamp_opened(p);
    if (!martian_source(p, own[p.vrf])) [[likely]]
      return true;
    drops_.drop(p, Drop::RxMartian);
    return false;
  });
  ways_from_tunnel(packets, inner);
}

/// A connection that comes out of a tunnel shall send nothing back that does not fit into it.
void Worker::clamp_opened(Packet& p) {
  OutboundSa* back = env_.policies[p.inbound->manager.policy.value].current.load(std::memory_order_acquire);
  if (back == nullptr) return;
  const std::uint32_t most = back->largest_segment(tunnel(*back).mtu, p.l4_offset);
  if (most != 0) clamp_mss(p, most);
}

/// The same of what came out of a tunnel, of which the usual is forwarded at once.
void Worker::ways_from_tunnel(Burst& packets, Burst& inner) {
  if (policies_now_ == nullptr) {
    look_up_ways(packets);
    return inner.append(packets);
  }
  Burst others, leaving;
  const bool followed = paths_.on();
  const InboundSa* sa = nullptr;
  PolicyId came_by;
  by_family(packets, [&](Burst& some, auto& flows, auto key_of) {
    flows.template recall<false>(
        *policies_now_, some.size(), [&](std::size_t i) { return key_of(*some[i]); },
        [&](std::size_t i, auto& flow) {
          Packet& p = *some[i];
          p.tx_port = flow.hop;
          if (p.inbound != sa) {
            sa = p.inbound;
            came_by = sa->manager.policy;
          }
          note_forwarded(flow);
          if (!followed && forward_at_once(p, flow, came_by)) [[likely]]
            return leaving.push_back(&p);
          p.policy = flow.outbound_entry(*policies_now_);
          others.push_back(&p);
        });
  });
  send_all_opened(leaving);
  others.filter([&](Packet& p) { return possible_destination(p); });
  inner.append(others);
}

/// Whether a packet leaves in clear, since no policy means it, or the one that it came by does: dispatch() and outbound() would come to
/// send_clear(), too. False: they must look at it.
template <class Flow>
inline bool Worker::forward_at_once(const Packet& p, const Flow& flow, PolicyId came_by) const {
  const NextHop& hop = env_.fib->hop(flow.hop);
  if (!hop.leads_out() || p.data[Flow::kHopsAt] <= 1) [[unlikely]]
    return false;
  return flow.outbound == 0 || settled_clear(PolicyId{flow.protect}, {came_by, turns_back(hop, p.rx_port)});
}

/// Remembers of a flow, of whose packets one has come this far, what Flow::forwards() says.
template <class Flow>
inline void Worker::note_forwarded(Flow& flow) const {
  if (flow.mirrored == Flow::kNotAsked && (flow.outbound == 0 || flow.protect != 0) && env_.fib->hop(flow.hop).leads_out())
    flow.mirrored = Flow::kForwards;
}

/// What send_clear() would do with each packet of tunnels with a way out.
void Worker::send_all_opened(const Burst& packets) {
  Leaving leaving(*this);
  for (Packet* p : packets) {
    if (leaving.takes(*p)) [[likely]]
      continue;
    leaving.flush();
    send_clear(*p);
  }
  leaving.flush();
}

}  // namespace culvert::dp
