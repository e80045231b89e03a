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
constexpr std::uint32_t kFrameFront = kEthernetBytes + OutboundRow::kFront;

/// Whether there is nothing special about a packet that is to go under a usual SA: it fits, has room, and opens no connection.
bool is_simple(const Packet& p, std::uint32_t mtu) {
  return p.length <= mtu && p.headroom >= kFrameFront && p.tailroom >= OutboundRow::kRoomy && p.family == Family::V4 && !opens_tcp(p);
}
/// How many of the first ones are, and go under the SA of the first one.
std::size_t simple_ones(std::span<Packet* const> packets, std::uint32_t mtu) {
  const OutboundSa* const sa = packets[0]->outbound;
  std::size_t n = 0;
  while (n < packets.size() && packets[n]->outbound == sa && is_simple(*packets[n], mtu)) ++n;
  return n;
}
/// What the crypto refused of a row.
struct Unsealed {
  std::uint64_t packets = 0, bytes = 0;

  /// Drops that of some packets; the slots of the others come to the front. Returns how many they are.
  [[gnu::noinline]] std::size_t drop(std::span<Packet* const> some, std::span<const CryptoOp> ops, void** slots, DropSink& drops) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (ops[i].ok) {
        slots[kept++] = slots[i];
        continue;
      }
      packets += 1;
      bytes += some[i]->length;
      some[i]->outbound->counters->drop(Direction::Outbound, Drop::CryptoFailed);
      drops.drop(*some[i], Drop::CryptoFailed);
    }
    return kept;
  }
};
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
        [&](std::size_t i) { return possible_source(*some[i]); });
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
  if (together_ == kBurstMax || tap_.on()) return protect(packets);
  Burst others;
  for (std::span<Packet* const> rest(packets.begin(), packets.size()); !rest.empty();) {
    const std::size_t row = simple_ones(rest, tunnel(*rest[0]->outbound).mtu);
    if (row >= kWorthARow) {
      if (!others.empty()) [[unlikely]]
        protect(others);
      others.clear();
      if (seal_row(rest.first(row))) [[likely]] {
        rest = rest.subspan(row);
        continue;
      }
    }
    const std::size_t n = std::max<std::size_t>(row, 1);
    for (Packet* p : rest.first(n)) others.push_back(p);
    rest = rest.subspan(n);
  }
  if (!others.empty()) protect(others);
}

/// Packets of one SA, each of which is_simple(): what protect() would do with them, a few at a time, so that all that is written to a
/// packet is written while its page is at hand. False: nothing was done, for the SA or the way is not usual.
bool Worker::seal_row(std::span<Packet* const> packets) {
  OutboundSa& sa = *packets[0]->outbound;
  const NextHop& hop = env_.fib->hop(tunnel(sa).hop);
  if (sa.worker != id_ || sa.spread || !hop.leads_out() || hop.port >= tx_.size() || !OutboundRow::usual(sa, packets.size())) return false;
  OutboundRow row(sa);
  Neighbor* const neighbor = hop.neighbor != nullptr ? hop.neighbor : env_.neighbors->find_v4(row.header.destination(), hop.port);
  const std::uint64_t link = neighbor != nullptr ? neighbor->use() : 0;
  if (Neighbor::state_of(link) != NeighborState::Reachable) return false;
  esp_.see(&sa);
  prefetch_keys(sa.keys, packets[0]->length);
  const FrameHeader header = frame_header(Neighbor::mac_of(link), hop.port, kEtherTypeIpv4);
  std::array<CryptoOp, kBurstMax> ops;
  Unsealed unsealed;
  for (std::size_t at = 0; at < packets.size(); at += together_) {
    const auto some = packets.subspan(at, std::min(together_, packets.size() - at));
    void** const slots = slots_for(some.size(), hop.port);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const Packet& p = *some[i];
      std::uint8_t* const ip = p.data;
      decrement_ttl_v4(ip);
      const std::uint32_t total = row.write(ip, p.length, OutboundRow::first_of(ip), kProtocolIpip, ops[i]);
      std::memcpy(ip - kFrameFront, &header.first, sizeof header.first);
      std::memcpy(ip - OutboundRow::kFront - sizeof header.last, &header.last, sizeof header.last);
      set_bounds(p.handle, p.headroom - kFrameFront, total + kEthernetBytes);
      slots[i] = p.handle;
    }
    watch_.lap(shm::Node::Forward, 0);
    crypto_.encrypt(std::span(ops).first(some.size()));
    watch_.lap(shm::Node::Encrypt, some.size());
    bool all = true;
    for (std::size_t i = 0; i < some.size(); ++i) all &= ops[i].ok;
    const std::size_t kept = all ? some.size() : unsealed.drop(some, ops, slots, drops_);
    queued(kept, hop.port);
    watch_.lap(shm::Node::Send, kept);
  }
  row.take(sa);
  sa.counters->packets.add(packets.size() - unsealed.packets);
  sa.counters->bytes.add(row.bytes - unsealed.bytes);
  sa.counters->sequence.set(sa.sequence());
  sa.counters->last_used_ns.set(esp_.now_ns);
  return true;
}

}  // namespace culvert::dp
