// Packets in clear, from the look at their policies to the port that they leave by under an SA, or to dispatch() (worker.cpp), which then
// has the rest of the path for them. Two ways lead out:
//
//   check_clear -+- the flow alone decides: leave_under_sas -+- in a row of a usual SA: seal_row -> the port's queue
//                |                                           +- else: protect
//                +- else: dispatch
// What is said and written here must come to the same as what protect() and dispatch() come to.
#include <algorithm>
#include <array>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/mss.hpp"
#include "dataplane/nodes/outbound_row.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kWorthARow = 3;  // packets
constexpr std::uint32_t kMostFront = kEthernetBytes + OutboundRow<true>::kFront;

/// Whether there is nothing special about a packet that is to go under a usual SA: it fits, has room, and opens no connection.
bool is_simple(const Packet& p, std::uint32_t mtu) {
  return p.length <= mtu && p.headroom >= kMostFront && p.tailroom >= OutboundRow<true>::kRoomy && p.family == Family::V4 && !opens_tcp(p);
}

/// What was sealed, counted of packets in a row under one SA together.
class Sealed {
 public:
  explicit Sealed(std::uint64_t now_ns) : now_ns_(now_ns) {}

  void count(const Packet& p) {
    if (p.outbound != sa_) [[unlikely]] {
      end();
      sa_ = p.outbound;
    }
    packets_ += 1;
    bytes_ += p.length;
  }
  void end() {
    if (packets_ == 0) return;
    sa_->counters->packets.add(packets_);
    sa_->counters->bytes.add(bytes_);
    sa_->counters->sequence.set(sa_->sequence());
    sa_->counters->last_used_ns.set(now_ns_);
    packets_ = bytes_ = 0;
  }

 private:
  const std::uint64_t now_ns_;
  OutboundSa* sa_ = nullptr;
  std::uint64_t packets_ = 0, bytes_ = 0;
};
/// Drops what the crypto has refused of some packets; the slots of the others come to the front. Returns how many they are.
[[gnu::noinline]] std::size_t drop_refused(std::span<Packet* const> some, std::span<const CryptoOp> ops, void** slots, Sealed& sealed,
                                           DropSink& drops) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < some.size(); ++i) {
    if (ops[i].ok) {
      slots[kept++] = slots[i];
      sealed.count(*some[i]);
      continue;
    }
    some[i]->outbound->counters->drop(Direction::Outbound, Drop::CryptoFailed);
    drops.drop(*some[i], Drop::CryptoFailed);
  }
  return kept;
}
}  // namespace

/// RFC 4301 §5.2: what should have come under an SA may not come in clear. Asks for the ways out in the same look, and looks at the sources
/// of flows that are not settled. `leaving`: what is to be encapsulated, with its SA; `packets`: what there is more to say about.
void Worker::check_clear(Burst& packets, Burst& leaving) {
  const auto possible_source = [this](Packet& p) {
    if (p.family == Family::V6 || !martian_source_v4(load_be32(p.data + 12), env_.own[p.vrf])) [[likely]]
      return true;
    drops_.drop(p, Drop::RxMartian);
    return false;
  };
  if (policies_now_ == nullptr) {
    packets.filter(possible_source);
    return look_up_ways(packets);
  }
  Burst others;
  std::array<const SpdEntry*, kBurstMax> mirrored;
  const bool followed = paths_.on();
  PolicySa last;
  by_family(packets, [&](Burst& some, auto& flows, auto key_of) {
    flows.template recall<true>(
        *policies_now_, some.size(), [&](std::size_t i) { return key_of(*some[i]); },
        [&](std::size_t i, const auto& flow) {
          Packet& p = *some[i];
          if (!followed && protect_at_once(p, flow, last)) [[likely]]
            return leaving.push_back(&p);
          p.policy = flow.outbound_entry(*policies_now_);
          p.tx_port = flow.hop;
          mirrored[others.size()] = flow.mirrored_entry(*policies_now_);
          others.push_back(&p);
        },
        [&](std::size_t i) { return possible_source(*some[i]); }, [&](auto flows_there) { load_ahead(flows_there); });
  });
  packets.clear();
  if (others.empty()) [[likely]]
    return;
  std::size_t i = 0;
  others.filter([&](Packet& p) {
    const SpdEntry* entry = mirrored[i++];
    if (!possible_destination(p)) return false;
    const bool same =
        entry != nullptr && entry->action == shm::PolicyAction::Protect && within_one_network(*entry, p, env_.interfaces[p.rx_port]);
    const InboundVerdict v = inbound_verdict(entry, same);
    if (v.by_bypass) set_origin(p, Origin::ClearByBypass);
    if (!v.accept) drops_.drop(p, v.reason);
    return v.accept;
  });
  packets.append(others);
}

/// Where passes have many SAs: starts loading those that flows lead to, a step of the way for all of them before the next one.
template <class Flows>
inline void Worker::load_ahead(const Flows& flows) const {
  if (!many_sas_) [[likely]]
    return;
  for (const auto* f : flows)
    if (f->settled()) __builtin_prefetch(&env_.policies[f->protect]);
  for (const auto* f : flows) {
    if (!f->settled()) continue;
    const OutboundSa* sa = env_.policies[f->protect].current.load(std::memory_order_acquire);
    if (sa == nullptr) continue;
    __builtin_prefetch(sa);
    __builtin_prefetch(&sa->header_bytes);
  }
}

/// Of a packet in clear of a flow of which all are protected, whatever else they are: its SA, which check_clear(), dispatch() and
/// outbound() would come to. False: they must.
template <class Flow>
inline bool Worker::protect_at_once(Packet& p, const Flow& flow, PolicySa& last) {
  if (!flow.settled() || p.data[Flow::kHopsAt] <= 1) [[unlikely]]
    return false;
  if (flow.protect != last.policy) [[unlikely]] {
    const PolicyState& policy = env_.policies[flow.protect];
    OutboundSa* own = youngest_own(policy, id_);
    OutboundSa* sa = own != nullptr && !own->expired() ? own : policy.current.load(std::memory_order_acquire);
    const bool whole = sa != nullptr && !sa->narrow.load(std::memory_order_relaxed);
    last = {whole ? sa : nullptr, flow.protect};
    if (whole) sa->prefetch();
  }
  p.outbound = last.sa;
  if (last.sa != nullptr) [[likely]]
    return true;
  p.outbound = sa_for(env_.policies[flow.protect], p, id_);
  return p.outbound != nullptr;
}

/// Packets in clear that go under the SAs that they have: those in rows by seal_row(), the others by protect(). All of an SA stay in order.
void Worker::leave_under_sas(Burst& packets) {
  if (tap_.on()) [[unlikely]]
    return protect(packets);
  Burst others;
  for (std::span<Packet* const> rest(packets.begin(), packets.size()); !rest.empty();) {
    const Row row = row_of(rest);
    if (row.packets >= kWorthARow) [[likely]] {
      if (!others.empty()) [[unlikely]]
        protect(others);
      others.clear();
      as_row(*rest[0]->outbound, [&]<bool kUdp>() { seal_row<kUdp>(rest.first(row.packets), row); });
      rest = rest.subspan(row.packets);
      continue;
    }
    const std::size_t n = std::max<std::size_t>(row.packets, 1);
    for (Packet* p : rest.first(n)) others.push_back(p);
    rest = rest.subspan(n);
  }
  if (!others.empty()) protect(others);
}

/// How many of the first packets are simple, go under usual SAs of ours, and to one neighbour; and starts loading what they need of them.
Worker::Row Worker::row_of(std::span<Packet* const> packets) {
  Row row;
  const OutboundSa* last = nullptr;
  std::uint32_t mtu = 0;
  for (; row.packets < packets.size(); ++row.packets) {
    const Packet& p = *packets[row.packets];
    if (p.outbound != last) [[unlikely]] {
      OutboundSa& sa = *p.outbound;
      const Tunnel& way = tunnel(sa);  // which also says how far it pads
      if (sa.worker != id_ || sa.spread || !usual_row(sa, kBurstMax)) break;
      if (last == nullptr) {
        const NextHop& hop = env_.fib->hop(way.hop);
        if (!hop.leads_out() || hop.port >= tx_.size()) break;
        row.hop = way.hop;
        Neighbor* const neighbor =
            hop.neighbor != nullptr ? hop.neighbor : env_.neighbors->find_v4(OuterHeader(sa).destination(), hop.port);
        row.link = neighbor != nullptr ? neighbor->use() : 0;
        if (Neighbor::state_of(row.link) != NeighborState::Reachable) break;
      } else if (sa.udp != last->udp || way.hop != row.hop || env_.fib->hop(way.hop).neighbor == nullptr) {
        break;
      }
      esp_.see(&sa);
      prefetch_keys(sa.keys, sa.key_lines, false, p.length);
      __builtin_prefetch(sa.counters, 1);
      last = &sa;
      mtu = way.mtu;
    }
    if (!is_simple(p, mtu)) [[unlikely]]
      break;
  }
  return row;
}

/// Packets of a row: what protect() would do with them, a few at a time, so that all that is written to a packet is written while its page
/// is at hand.
template <bool kUdp>
void Worker::seal_row(std::span<Packet* const> packets, const Row& row) {
  using Outer = OutboundRow<kUdp>;
  constexpr std::uint32_t kFrameFront = kEthernetBytes + Outer::kFront;
  const std::uint16_t port = env_.fib->hop(row.hop).port;
  const FrameHeader header = frame_header(Neighbor::mac_of(row.link), port, kEtherTypeIpv4);
  std::array<CryptoOp, kBurstMax> ops;
  OutboundSa* sa = packets[0]->outbound;
  Outer of_sa(*sa);
  Sealed sealed(esp_.now_ns);
  for (std::size_t at = 0; at < packets.size(); at += together_) {
    const auto some = packets.subspan(at, std::min(together_, packets.size() - at));
    void** const slots = slots_for(some.size(), port);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const Packet& p = *some[i];
      if (p.outbound != sa) [[unlikely]] {
        of_sa.take(*sa);
        sa = p.outbound;
        of_sa = Outer(*sa);
      }
      std::uint8_t* const ip = p.data;
      decrement_ttl_v4(ip);
      const std::uint32_t total = of_sa.write(ip, p.length, Outer::first_of(ip), kProtocolIpip, ops[i]);
      std::memcpy(ip - kFrameFront, &header.first, sizeof header.first);
      std::memcpy(ip - Outer::kFront - sizeof header.last, &header.last, sizeof header.last);
      set_bounds(p.handle, p.headroom - kFrameFront, total + kEthernetBytes);
      slots[i] = p.handle;
    }
    watch_.lap(shm::Node::Forward, 0);
    crypto_.encrypt(std::span(ops).first(some.size()));
    watch_.lap(shm::Node::Encrypt, some.size());
    bool all = true;
    for (std::size_t i = 0; i < some.size(); ++i) all &= ops[i].ok;
    std::size_t kept = some.size();
    if (all) [[likely]] {
      for (const Packet* p : some) sealed.count(*p);
    } else {
      kept = drop_refused(some, ops, slots, sealed, drops_);
    }
    queued(kept, port);
    watch_.lap(shm::Node::Send, kept);
  }
  of_sa.take(*sa);
  sealed.end();
}

}  // namespace culvert::dp
