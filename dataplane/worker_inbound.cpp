// Packets that come under an SA, from the look for it to the port that they leave by, or to dispatch() (worker.cpp), which then has the
// rest of the path for them. Two ways lead there:
//
//   decapsulate -> esp_in_... -+- plain packet of a known flow: Opening -> the port's queue
//                              +- else: its view is made; opened -> ways_from_tunnel -+- flow in clear: send_all_opened -> the port's queue
//                                                                                     +- else: dispatch
// The first one must come to the same as the second, which must come to the same as dispatch().
#include <utility>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/inbound_rows.hpp"
#include "dataplane/nodes/mss.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

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

/// Packets on their way out of a tunnel. What those in a row that leave by one way have alike is asked once; each is written to in one
/// step.
class Worker::Leaving {
 public:
  explicit Leaving(Worker& worker) : worker_(worker) {}

  void begin_pass() { way_ = 0; }

  /// What opened() would come to with a plain packet of a flow that is known. False: it must.
  bool takes(const Packet& p, const Opened& o, const FlowCache<>::Flow& flow) {
    const bool in_clear = flow.forwards() && (flow.protect == 0 || flow.protect == o.policy);
    if (!in_clear || o.ip[8] <= 1 || opens_tcp_v4(o.ip, o.length)) [[unlikely]]
      return false;
    turn_to(flow.hop, Family::V4);
    if (p.rx_port == hop_->port || o.length > mtu_) [[unlikely]]
      return false;
    const std::uint64_t link = link_to(o);
    if (Neighbor::state_of(link) != NeighborState::Reachable) [[unlikely]]
      return false;
    decrement_ttl_v4(o.ip);
    add(p.handle, o.ip, static_cast<std::uint32_t>(o.ip - p.data) + p.headroom, o.length, link);
    return true;
  }
  /// The same, whose view is made, of a packet with a way out. False: send_clear() must.
  bool takes(Packet& p) {
    turn_to(p.tx_port, p.family);
    if (p.length > mtu_ || p.headroom < kEthernetBytes) [[unlikely]]
      return false;
    const std::uint64_t link = worker_.link_to(p, *hop_);
    if (Neighbor::state_of(link) != NeighborState::Reachable) [[unlikely]]
      return false;
    decrement_ttl(p);
    add(p.handle, p.data, p.headroom, p.length, link);
    return true;
  }

 private:
  void turn_to(HopId id, Family family) {
    const std::uint32_t way = id | std::uint32_t{static_cast<std::uint8_t>(family)} << 16;
    if (way != way_) [[unlikely]]
      turn(id, family, way);
  }
  void turn(HopId id, Family family, std::uint32_t way) {
    way_ = way;
    hop_ = &worker_.env_.fib->hop(id);
    // A VLAN's packets are tagged one by one.
    const bool usual = hop_->leads_out() && hop_->port < worker_.tx_.size();
    mtu_ = usual ? std::uint32_t{worker_.env_.interfaces[hop_->port].mtu} : 0;
    if (!usual) return;
    header_ = worker_.frame_header(0, hop_->port, ether_type(family));
    queue_ = &worker_.tx_[hop_->port];
  }
  /// Worker::link_to() of a plain packet.
  std::uint64_t link_to(const Opened& o) {
    const auto address = static_cast<std::uint32_t>(o.key.second);
    KnownNeighbor& known = worker_.known_[address >> 24 & (worker_.known_.size() - 1)];  // by its last byte
    const std::uint64_t what = address | std::uint64_t{way_} << 32;
    if (known.what != what) [[unlikely]] {
      Neighbor* neighbor = hop_->neighbor != nullptr ? hop_->neighbor : worker_.env_.neighbors->find_v4(o.key.destination(), hop_->port);
      known = {what, neighbor != nullptr ? neighbor->use() : 0};
    }
    return known.link;
  }
  void add(void* handle, std::uint8_t* ip, std::uint32_t headroom, std::uint32_t length, std::uint64_t link) {
    const std::uint64_t first = Neighbor::mac_of(link) | header_.first;
    std::memcpy(ip - kEthernetBytes, &first, sizeof first);
    std::memcpy(ip - sizeof header_.last, &header_.last, sizeof header_.last);
    set_bounds(handle, headroom - kEthernetBytes, length + kEthernetBytes);
    queue_->handles[queue_->size++] = handle;
    if (queue_->size == queue_->handles.size()) [[unlikely]]
      worker_.transmit(hop_->port);
  }

  Worker& worker_;
  const NextHop* hop_ = nullptr;
  TxQueue* queue_ = nullptr;
  std::uint32_t mtu_ = 0;
  FrameHeader header_{};   // without an address to go to
  std::uint32_t way_ = 0;  // the hop, and the family
};

/// What comes behind the crypto: plain packets of flows that are forwarded in clear are sent, each to its neighbour; the views of the
/// others are made, and opened() says what becomes of them. Packets of a flow stay in order.
class Worker::Opening {
 public:
  explicit Opening(Worker& worker) : worker_(worker), rows_(worker.esp_), leaving_(worker) {}

  void begin_pass() { leaving_.begin_pass(); }
  /// What was asked of SAs and counted is no more than until here.
  void end() { rows_.end(); }
  /// The row of the packet that was finished last.
  [[nodiscard]] const InboundRow& row() const { return rows_.row(); }
  /// Some packets of a batch, from number `from` on. Adds to `inner` as decapsulate() does.
  [[gnu::always_inline]] void finish(const EspBatch& batch, std::span<Packet* const> some, std::size_t from, Burst& inner) {
    const std::size_t kept = rows_.open(
        batch, some, from, [flows = worker_.flows_.finder(), all = found_.data()](std::size_t n, Packet& p, const Opened& opened) {
          Found& found = all[n];
          found.packet = &p;
          found.opened = opened;
          found.flow = nullptr;
          if (opened.ip != nullptr) [[likely]]
            __builtin_prefetch(found.flow = flows.find(opened.key));
        });
    worker_.watch_.lap(shm::Node::Decrypt, some.size());
    forward(kept, inner);
    worker_.watch_.lap(shm::Node::Route, kept);
  }

 private:
  [[gnu::always_inline]] void forward(std::size_t all, Burst& inner) {
    const std::uint64_t serial = worker_.flows_.serial_of(*worker_.policies_now_);
    for (const Found& f : std::span(found_).first(all)) {
      Packet& p = *f.packet;
      bool known = f.flow != nullptr && f.flow->is(f.opened.key, serial);
      if (known && !others_.empty()) [[unlikely]] {
        finish_others(inner);
        known = f.flow->is(f.opened.key, serial);  // others have been put into the cache
      }
      if (known && leaving_.takes(p, f.opened, *f.flow)) [[likely]]
        continue;
      settle(p, f.opened);
      others_.push_back(&p);
    }
    finish_others(inner);
  }
  void finish_others(Burst& inner) {
    if (others_.empty()) [[likely]]
      return;
    worker_.opened(others_, inner);
    others_.clear();
  }

  Worker& worker_;
  InboundRows rows_;
  Leaving leaving_;
  Burst others_;
  struct alignas(64) Found {
    Opened opened;
    Packet* packet;
    const FlowCache<>::Flow* flow;  // where it would be; nullptr: it is not plain
  };
  std::array<Found, kBurstMax> found_;
};

std::unique_ptr<Worker::Opening, Worker::EndOpening> Worker::make_opening() {
  return std::unique_ptr<Opening, EndOpening>(new Opening(*this));
}
void Worker::EndOpening::operator()(Opening* opening) const { delete opening; }
void Worker::begin_opening() { opening_->begin_pass(); }
void Worker::end_opening() { opening_->end(); }

/// Forwards inner packets. Adds to `inner` those that there is more to say about; their destinations and policies are looked up.
void Worker::decapsulate(Burst& esp, Burst& inner, bool may_hand_over) {
  if (strangers_) {
    opening_->end();  // some of them may have moved
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
  const InboundRow& row = opening_->row();
  if (strangers_ || esp.empty() || esp[0]->inbound != row.sa || !row.usual || esp_in_prepare_alike(esp, row, batch) != esp.size())
    esp_in_prepare(esp, batch, esp_, !strangers_);  // without strangers all are like the last one
  if (tapped || paths_.on() || policies_now_ == nullptr) [[unlikely]] {
    crypto_.decrypt(std::span(batch.ops).first(esp.size()));
    return finish(esp, batch, inner, tapped);
  }
  for (std::size_t at = 0; at < esp.size(); at += together_) {
    const auto some = std::span<Packet* const>(esp.begin(), esp.size()).subspan(at, std::min(together_, esp.size() - at));
    crypto_.decrypt(std::span(batch.ops).subspan(at, some.size()));
    opening_->finish(batch, some, at, inner);
  }
}

/// Behind the crypto of a whole batch. `tapped`: somebody asked for copies before it. Adds to `inner` as decapsulate() does.
void Worker::finish(Burst& esp, const EspBatch& batch, Burst& inner, bool tapped) {
  const std::size_t sealed = esp.size();
  if (!tapped && !paths_.on() && policies_now_ != nullptr) [[likely]]
    return opening_->finish(batch, std::span<Packet* const>(esp.begin(), sealed), 0, inner);
  esp_in_finish(esp, batch, esp_);
  if (tapped) tap_.after(esp, Direction::Inbound, [](const Packet& p) { return p.rx_port; });
  watch_.lap(shm::Node::Decrypt, sealed);
  const std::size_t all = esp.size();
  opened(esp, inner);
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
  OutboundSa* back = env_.policies[p.inbound->policy.value].current.load(std::memory_order_acquire);
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
            came_by = sa->policy;
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
    send_clear(*p);
  }
}

}  // namespace culvert::dp
