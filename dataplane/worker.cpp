// The packet path. It is longer than other files so that the whole of it stands in one place (400 lines elsewhere). From the wire:
//
//   receive -> classify_frame -+- ARP -> arp (of IPv6: input -> neighbor_discovery); tagged -> enter_vlan, and on as the VLAN's
//                              +- IP -> input -+- ESP -> decapsulate (hand over to the SA's owner) -+-> dispatch
//                                              +- IKE -> punt_ike                                   |
//                                              +- else -> check_clear ------------------------------+
//   dispatch -+- own address -> deliver (ICMP echo) ------------------+
//             +- else: TTL -> outbound <- generated_ (ICMP of ours) <-+- errors
//   outbound -+- protect (MTU, fragments) -> encapsulate (hand over to the SA's owner) -+-> send -> neighbour -> transmit
//             +- send_clear (route, MTU, fragments) ------------------------------------+
//
// The usual goes shorter ways, which must come to the same: from check_clear straight to the port's queue (worker_outbound.cpp), and from
// decapsulate (worker_inbound.cpp, where all that comes under an SA is until then).
// What ends here or goes to the manager or another worker, and what such a worker sends us, is in worker_ends.cpp, except where the path
// goes on (handed_over). Of SAs whose crypto is spread the path goes a detour from decapsulate and encapsulate on: worker_spread.cpp.
// Packet::tag holds the packet's Origin, Packet::tx_port the HopId of its destination, from protect on that of the peer that the SA leads
// to.
#include "dataplane/worker.hpp"

#include <algorithm>
#include <bit>
#include <ctime>
#include <utility>

#include "dataplane/io/idle.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/mld.hpp"
#include "dataplane/nodes/mss.hpp"
#include "dataplane/nodes/nd.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "dataplane/nodes/path_mtu.hpp"

namespace culvert::dp {

namespace {
// Per worker. ICMP errors: enough for traceroute and path MTU discovery of many, no amplifier. ARP: a large segment's worth.
constexpr std::uint32_t kIcmpRate = 1000, kIcmpBurst = 100;
constexpr std::uint32_t kArpRate = 5000, kArpBurst = 500;
// What routers say of tunnels' paths: each SA is told once in ten minutes, or a few times where hops become ever smaller.
constexpr std::uint32_t kPathMtuRate = 1000, kPathMtuBurst = 200;
constexpr std::uint32_t kCookieRate = 200000, kCookieBurst = 2000;  ///< asked for, and looked at, a second: a part of a worker's time
constexpr unsigned kTransmitTries = 4;
// So many packets are written to together: their headers and buffers stay in the first-level cache, and their pages in the TLB for stores,
// which has 16 entries, from step to step. Of a port whose driver copies packets no more are taken before they have gone the whole way; of
// others what only reads is done for all before. Of long packets half as many fill the cache. All are written to together where the crypto
// wants many, or where a pass has so many SAs that they must be loaded well ahead.
constexpr std::size_t kTogether = 8;
constexpr std::uint32_t kLong = 1024;
constexpr int kFewSas = 16;

std::uint64_t monotonic_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}
}  // namespace

Worker::Worker(unsigned id, const WorkerEnvironment& environment, CryptoEngine crypto, shm::WorkerCounters& counters)
    : id_(id),
      env_(environment),
      crypto_(std::move(crypto)),
      counters_(counters),
      drops_(counters, BufferPool::release, nullptr),
      esp_{crypto_, drops_, 0},
      icmp_budget_(kIcmpRate, kIcmpBurst),
      arp_budget_(kArpRate, kArpBurst),
      path_mtu_budget_(kPathMtuRate, kPathMtuBurst),
      punt_budget_(environment.hash_seed + id),
      cookies_(environment.cookie_secret, crypto_),
      cookie_budget_(kCookieRate, kCookieBurst),
      cookie_checks_(kCookieRate, kCookieBurst),
      flows_(*environment.fib, environment.hash_seed ^ id),
      flows_v6_(*environment.fib, environment.hash_seed ^ id),
      reassembly_({[this](Packet& view) { return env_.whole->allocate(view); },
                   [](void* handle) { BufferPool::release(nullptr, std::span(&handle, 1)); }}),
      early_(environment.awaited, BufferPool::release),
      tap_(environment.capture, id < environment.captures.size() ? &environment.captures[id] : nullptr, id, now_),
      paths_(tap_),
      watch_(counters),
      fragment_id_(static_cast<std::uint32_t>(environment.hash_seed + id * (0x10000U / shm::kMaxWorkers))),
      tx_(environment.ports.size()),
      vlans_(environment.interfaces, environment.ports.size()),
      board_(environment.boards != nullptr ? &(*environment.boards)[id] : nullptr) {
  for (std::size_t port = 0; port < tx_.size(); ++port) tx_[port].mac = load_mac(environment.interfaces[port].mac.data());
}

void Worker::run(const std::atomic<bool>& stop, config::Idle mode) {
  Idle idle(mode);
  env_.rcu->online(id_);
  while (!stop.load(std::memory_order_relaxed)) {
    const std::uint64_t before = __builtin_ia32_rdtsc();
    const bool busy = poll();
    counters_.polls.add(1);
    if (busy) {
      counters_.busy_polls.add(1);
      counters_.busy_cycles.add(__builtin_ia32_rdtsc() - before);
    }
    if (board_ == nullptr) {
      env_.rcu->quiescent(id_);
    } else {
      late_.report(*env_.rcu, id_, *board_);
    }
    if (idle.step(busy)) counters_.sleeps.add(1);
  }
  give_back();
  env_.rcu->offline(id_);
}

void Worker::begin_pass() {
  now_ = esp_.now_ns = monotonic_ns();
  policies_now_ = env_.spd->load(std::memory_order_acquire);
  tunnel_.sa = nullptr;
  last_.neighbor = nullptr;
  known_ = {};
  last_esp_.begin_pass(*env_.inbound);
  begin_opening();
  paths_.begin_pass();
  drops_.observe(paths_.on() ? &paths_ : nullptr);
}

bool Worker::poll() {
  std::size_t received = 0;
  const bool taken_up = early_.size() != 0 && take_up_early();
  for (std::uint16_t port = 0; port < env_.ports.size(); ++port) {
    if (id_ >= env_.ports[port]->queues()) continue;
    received += receive_all(port);
  }
  if (!env_.handoff.empty() && !env_.handoff[id_]->empty()) {
    std::array<void*, kBurstMax> handles;
    const std::size_t n = env_.handoff[id_]->pop(handles);
    watch_.start();
    begin_pass();
    received += n;
    handed_over(std::span(handles).first(n));
    finish_pass();
  }
  if (reassembly_.size() != 0) [[unlikely]]
    expire_fragments();
  const bool served = env_.boards != nullptr && env_.boards->used() && serve(received);
  return received != 0 || served || taken_up;
}

/// A pass over what a port has brought. Returns how many.
std::size_t Worker::receive_all(std::uint16_t port) {
  const bool few = env_.ports[port]->copies() && together_ != kBurstMax;
  std::size_t most = few ? together_ : kBurstMax, all = 0;
  watch_.start();
  while (all < kBurstMax) {
    const auto views = std::span(views_).subspan(all, std::min(most, kBurstMax - all));
    const std::size_t n = env_.ports[port]->receive(id_, views);
    if (n == 0) break;
    watch_.lap(shm::Node::Receive, n);
    if (all == 0) begin_pass();
    counters_.rx_packets.add(n);
    receive(port, views.first(n));
    all += n;
    if (n < views.size()) break;
    if (few) most = views[n - 1].length > kLong ? kTogether / 2 : kTogether;
  }
  if (all != 0) finish_pass();
  return all;
}

/// `Summed`: of a device that looks at checksums of IPv4 headers. `Udp`: the last ESP packet came in UDP.
template <bool Summed, bool Udp>
inline void Worker::classify(std::uint16_t port, std::span<Packet> packets, Burst& esp, Burst& clear) {
  const MacBits mac = tx_[port].mac;
  const VrfId vrf = env_.interfaces[port].vrf;
  const OwnAddresses& own = env_.own[vrf];
  const LastEsp last = last_esp_;
  const bool may_be_like = last.is_of(vrf);
  for (Packet& p : packets) {
    if (may_be_like && last.like_frame<Summed, Udp>(p, mac)) {
      set_origin(p, Origin::Clear);
      esp.push_back(&p);
    } else if (is_ipv4_to(p, mac) && parse_usual<Summed, kEthernetBytes>(p, vrf)) [[likely]] {
      if (own.contains_v4(load_be32(p.data + 16))) {
        input(p, own, esp, clear);
      } else {
        set_origin(p, Origin::Clear);
        clear.push_back(&p);  // its source is looked at where its flow is
      }
    } else {
      other_frame(p, mac, esp, clear);
    }
  }
}

void Worker::receive(std::uint16_t port, std::span<Packet> packets) {
  Burst esp;
  Burst clear;
  strangers_ = false;
  const bool sums = env_.ports[port]->sums();
  if (last_esp_.in_udp()) {
    sums ? classify<true, true>(port, packets, esp, clear) : classify<false, true>(port, packets, esp, clear);
  } else {
    sums ? classify<true, false>(port, packets, esp, clear) : classify<false, false>(port, packets, esp, clear);
  }
  watch_.lap(shm::Node::Classify, packets.size());
  Burst rest;
  if (!clear.empty()) {
    Burst leaving;
    const std::size_t asked = clear.size();
    check_clear(clear, leaving);
    watch_.lap(shm::Node::Policy, asked);
    if (!leaving.empty()) leave_under_sas(leaving);
    rest.append(clear);
  }
  if (!esp.empty()) decapsulate(esp, rest, true);
  if (!rest.empty()) dispatch(rest);
}

/// IPv6, ARP, what is of a VLAN, what is special about IPv4, and what ends here.
void Worker::other_frame(Packet& p, MacBits own, Burst& esp, Burst& clear) {
  p.tag = 0;
  p.vrf = env_.interfaces[p.rx_port].vrf;
  FrameVerdict v = classify_frame(p, own);
  if (v.kind == FrameKind::Tagged) {
    v = enter_vlan(p, own, vlans_);
    p.vrf = env_.interfaces[p.rx_port].vrf;
    if (p.rx_port >= tx_.size()) {
      traffic(p.rx_port).rx_packets.add(1);
      traffic(p.rx_port).rx_bytes.add(kEthernetBytes + kTagBytes + p.length);
    }
  }
  if (v.kind == FrameKind::Arp) return arp(p);
  if (v.kind != FrameKind::Ip) return drops_.drop(p, v.reason);
  if (!parse_ip(p)) return drops_.drop(p, Drop::RxMalformed);
  const OwnAddresses& addresses = env_.own[p.vrf];
  set_origin(p, Origin::Clear);
  if (p.family == Family::V4) return last_esp_.like(p) ? esp.push_back(&p) : input(p, addresses, esp, clear);
  if (!input_v6(p, addresses)) return;
  if (!addresses.contains_v6(p.data + 24)) return clear.push_back(&p);
  local(p, esp, clear);
}

VlanTraffic& Worker::traffic(std::uint16_t vlan_interface) {
  return env_.vlan_traffic[id_ * (env_.interfaces.size() - tx_.size()) + vlan_interface - tx_.size()];
}

/// A parsed IPv4 packet.
inline void Worker::input(Packet& p, const OwnAddresses& own, Burst& esp, Burst& clear) {
  set_origin(p, Origin::Clear);
  if (martian_source_v4(load_be32(p.data + 12), own)) [[unlikely]]
    return drops_.drop(p, Drop::RxMartian);
  if (!own.contains_v4(load_be32(p.data + 16))) return clear.push_back(&p);
  local(p, esp, clear);
}

/// A parsed packet for an own address.
[[gnu::noinline]] void Worker::local(Packet& p, Burst& esp, Burst& clear) {
  switch (classify_local(p)) {
    case LocalKind::Esp:
      strangers_ = true;
      return esp.push_back(&p);
    case LocalKind::Ike:
      return punt_ike(p);
    case LocalKind::Fragment:
      return reassemble(p, esp, clear);
    case LocalKind::Keepalive:
      return drops_.drop(p, Drop::NatKeepalive);
    case LocalKind::Malformed:
      return drops_.drop(p, Drop::PuntInvalid);
    case LocalKind::Icmp:
      if (path_mtu_claim(p)) return path_mtu(p);
      return clear.push_back(&p);
    case LocalKind::Other:
      return clear.push_back(&p);
  }
}

/// A fragment of ESP, AH or UDP: the last one that was missing becomes the whole packet.
void Worker::reassemble(Packet& p, Burst& esp, Burst& clear) {
  const Reassembly::Result result = reassembly_.add(p, now_);
  counters_.drops[static_cast<std::size_t>(Drop::LocalFragment)].add(result.ended);
  BufferPool::release(nullptr, std::span(&p.handle, 1));
  counters_.consumed.add(result.whole ? result.used - 1 : result.used);
  if (!result.whole) return;
  p = result.packet;
  set_origin(p, Origin::Clear);
  if (!parse_ip(p)) return drops_.drop(p, Drop::RxMalformed);
  local(p, esp, clear);
}

void Worker::expire_fragments() { counters_.drops[static_cast<std::size_t>(Drop::LocalFragment)].add(reassembly_.expire(monotonic_ns())); }

/// What is different of IPv6: groups, neighbour discovery, addresses of the link. False: the packet ends here.
bool Worker::input_v6(Packet& p, const OwnAddresses& own) {
  const bool to_group = p.data[24] == 0xff;
  const bool listening = to_group && listens_to(env_.interfaces[p.rx_port], p.data + 24);
  if (is_neighbor_discovery(p) && (listening || own.contains_v6(p.data + 24))) {
    neighbor_discovery(p);
    return false;
  }
  if (to_group) {
    if (listening && is_mld_query(p)) {
      group_query(p);
    } else {
      drops_.drop(p, Drop::RxNotForUs);
    }
    return false;
  }
  // A neighbour may speak to us by an address of the link; it goes no further.
  const bool on_link = is_link_local_v6(p.data + 8) && own.contains_v6(p.data + 24) && !own.contains_v6(p.data + 8);
  if (on_link || !martian_source_v6(p.data + 8, own)) return true;
  drops_.drop(p, Drop::RxMartian);
  return false;
}

/// Its owner remembers the way of an SA.
inline HopId Worker::way_of(OutboundSa& sa) const {
  if (sa.worker != id_) return env_.fib->way_to(sa.outer_vrf, peer_of(sa), sa.spi.value);
  const std::uint64_t where = sa.where();
  const auto epoch = static_cast<std::uint32_t>(env_.fib->epoch());
  if (sa.way.where != where || sa.way.epoch != epoch) [[unlikely]]
    sa.way = {where, epoch, env_.fib->way_to(sa.outer_vrf, peer_of(sa), sa.spi.value)};
  return sa.way.hop;
}
void Worker::find_tunnel(OutboundSa& sa) {
  tunnel_.sa = &sa;
  tunnel_.hop = way_of(sa);
  const NextHop& hop = env_.fib->hop(tunnel_.hop);
  tunnel_.outer_mtu = hop.leads_out() ? sa.outer_mtu(env_.interfaces[hop.port].mtu) : 0U;
  tunnel_.mtu = effective_mtu(sa, tunnel_.outer_mtu);
  if (sa.tfc_padding != PacketRules::kOff && sa.worker == id_) sa.pad_to = std::min<std::uint32_t>(sa.tfc_padding, tunnel_.mtu);
}

/// Policy and route on the way out of packets that check_clear has not seen: what we made. Before there are policies: the route alone, of
/// all packets.
void Worker::look_up_ways(Burst& packets) {
  if (policies_now_ != nullptr) {
    by_family(packets, [&](Burst& some, auto& flows, auto key_of) {
      flows.outbound(
          *policies_now_, some.size(), [&](std::size_t i) { return key_of(*some[i]); },
          [&](std::size_t i, const SpdEntry* entry, HopId hop) {
            some[i]->policy = entry;
            some[i]->tx_port = hop;
          });
    });
  } else {
    for (Packet* p : packets) {
      p->policy = nullptr;
      p->tx_port = way_to(*p);
    }
  }
  packets.filter([&](Packet& p) { return possible_destination(p); });
}

/// The route alone, of a packet on its way out.
HopId Worker::way_to(const Packet& p) const {
  if (p.family == Family::V6 && is_link_local_v6(p.data + 24) && is_local(origin_of(p))) return env_.fib->link(p.rx_port);
  return env_.fib->way_to(p.vrf, destination_of(p));
}

/// The way of a packet that has waited for a neighbour: where it was chosen among several, by that one.
HopId Worker::way_on(const Packet& p, const HandoffNote& note) const {
  const HopId member = env_.fib->has_groups() ? env_.fib->member(note.port, note.next_hop) : HopId{0};
  return member != 0 ? member : way_to(p);
}

/// Drops what is for a destination that there is not.
bool Worker::possible_destination(Packet& p) {
  if (env_.fib->hop(p.tx_port).kind != HopKind::Martian) [[likely]]
    return true;
  drops_.drop(p, Drop::RxMartian);
  return false;
}

void Worker::dispatch(Burst& packets) {
  const std::size_t all = packets.size();
  packets.filter([&](Packet& p) {
    if (env_.fib->hop(p.tx_port).kind == HopKind::Local) {
      deliver(p);
      return false;
    }
    if (policies_now_ == nullptr) {
      drops_.drop(p, Drop::PolicyDiscard);
      return false;
    }
    if (hops_left(p) <= 1) {
      refuse(p, Drop::TtlExpired, IcmpError::TimeExceeded);
      return false;
    }
    return true;
  });
  if (!packets.empty()) outbound(packets);
  watch_.lap(shm::Node::Forward, all);
}

void Worker::deliver(Packet& p) {
  if (p.fragment) return drops_.drop(p, Drop::LocalFragment);
  if (generated_.full()) return drops_.drop(p, Drop::IcmpRateLimited);  // parcels that are collected at once may bring more than a burst
  if (p.protocol != (p.family == Family::V4 ? kProtocolIcmp : kProtocolIcmpv6) || !icmp_echo_reply(p))
    return drops_.drop(p, Drop::LocalUnhandled);
  if (paths_.on()) [[unlikely]]
    paths_.stays(p, {.kind = shm::StepKind::IsForUs, .number = static_cast<std::uint32_t>(shm::LocalUse::Icmp), .address = source_of(p)});
  set_origin(p, answer_to(origin_of(p)));
  generated_.push_back(&p);
}

/// RFC 4301 §5.1, for what is forwarded and for what we made. Their policies are looked up.
void Worker::outbound(Burst& packets) {
  Burst protected_;
  const bool logged = paths_.on();
  for (Packet* packet : packets) {
    Packet& p = *packet;
    const SpdEntry* entry = p.policy;
    const Origin origin = origin_of(p);
    const bool wants_sa = entry != nullptr && entry->action == shm::PolicyAction::Protect;
    const bool same = wants_sa && within_one_network(*entry, p, env_.interfaces[p.rx_port]);
    const bool from_tunnel = wants_sa && origin == Origin::Tunnel && p.inbound != nullptr;
    const CameBy came_by = from_tunnel ? CameBy{p.inbound->policy, turns_back(env_.fib->hop(p.tx_port), p.rx_port)} : CameBy{};
    const OutboundAction action = outbound_action(entry, origin, came_by, same, env_.default_bypass);
    if (action == OutboundAction::Protect) p.outbound = sa_for(env_.policies[entry->policy.value], p, id_);
    if (logged) [[unlikely]]
      paths_.decided(p, action, env_.fib->hop(p.tx_port));
    switch (action) {
      case OutboundAction::Discard:
        drops_.drop(p, Drop::PolicyDiscard);
        break;
      case OutboundAction::Clear:
        send_clear(p);
        break;
      case OutboundAction::Protect:
        if (p.outbound == nullptr) {
          no_sa(p, *entry);
        } else {
          protected_.push_back(&p);
        }
        break;
    }
  }
  if (!protected_.empty()) protect(protected_);
}

/// Makes packets fit under their SA, then encapsulates. RFC 4301 §8.2.
void Worker::protect(Burst& packets) {
  packets.filter([&](Packet& p) { return fit_under_sa(p); });
  if (!packets.empty()) encapsulate(packets);
}

/// False: it does not fit, and was dealt with.
inline bool Worker::fit_under_sa(Packet& p) {
  const Tunnel& way = tunnel(*p.outbound);
  p.tx_port = way.hop;
  if (paths_.on()) [[unlikely]]
    note_way(p, way);
  if (opens_tcp(p)) [[unlikely]]
    if (const std::uint32_t most = p.outbound->largest_segment(way.mtu, p.l4_offset); most != 0) clamp_mss(p, most);
  if (p.length > way.mtu) [[unlikely]] {
    does_not_fit(p, way.mtu);
    return false;
  }
  if (!is_local(origin_of(p))) decrement_ttl(p);
  return true;
}

/// The way to the peer, and whether it fits, for whoever follows the packet.
void Worker::note_way(const Packet& p, const Tunnel& way) {
  paths_.taken_over(p);
  paths_.note(p, route_step(env_.fib->hop(way.hop)));
  paths_.note(p, size_step(p, way.mtu, p.outbound));
}

/// A packet that is too large under its SA.
void Worker::does_not_fit(Packet& p, std::uint32_t mtu) {
  const auto count = [&p](Drop reason) {  // this worker need not be the SA's owner
    p.outbound->counters->drop_shared(Direction::Outbound, reason);
    return reason;
  };
  if (mtu == 0) return refuse(p, count(Drop::NoRoute), IcmpError::NetUnreachable);
  const OutboundSa& sa = *p.outbound;
  if (size_verdict(p, mtu, &sa) == shm::SizeVerdict::TooBig) return refuse(p, count(Drop::TooBig), IcmpError::FragmentationNeeded, mtu);
  if (!is_local(origin_of(p))) decrement_ttl(p);
  if (sa.cut_after) return encapsulate_whole(p);
  const std::size_t n = fragment_ipv4(p, mtu, *env_.pool, fragments_);
  if (n == 0) return drops_.drop(p, count(Drop::FragmentFailed));
  counters_.generated.add(n);
  counters_.consumed.add(1);
  Burst fragments;
  for (std::size_t i = 0; i < n; ++i)
    if (parse_ip(fragments_[i])) fragments.push_back(&fragments_[i]);
  if (paths_.on()) [[unlikely]]
    paths_.done(p);
  encapsulate(fragments);
  BufferPool::release(nullptr, std::span(&p.handle, 1));
}

/// Encryption, and the copies of it that somebody asked for.
inline void Worker::seal(Burst& packets) {
  const bool tapped = tap_.on();
  if (tapped) [[unlikely]]
    tap_.before(packets, Direction::Outbound);
  const std::size_t all = packets.size();
  watch_.lap(shm::Node::Forward, 0);
  esp_out(packets, esp_);
  if (tapped) [[unlikely]]
    tap_.after(packets, Direction::Outbound, [this](const Packet& p) { return env_.fib->hop(p.tx_port).port; });
  watch_.lap(shm::Node::Encrypt, all);
}

/// A packet that is fragmented behind its encryption, by the SA's owner. Routers may do the same to it: DF is clear.
void Worker::encapsulate_whole(Packet& p) {
  Burst one;
  one.push_back(&p);
  if (!keep_own_outbound(one, true)) return;
  seal(one);
  if (!one.empty()) send_cut(p);
}

/// The second half of it.
void Worker::send_cut(Packet& p) {
  const NextHop& hop = env_.fib->hop(p.tx_port);
  const auto count = [&p](Drop reason) {
    p.outbound->counters->drop_shared(Direction::Outbound, reason);
    return reason;
  };
  if (!hop.leads_out()) return drops_.drop(p, count(Drop::NoRoute));
  ++fragment_id_;
  // Packets of several SAs with one peer may have one number. What AH protects must stay as it is (RFC 4302 §3.3.3.1.1.1).
  if (p.family == Family::V4 && !p.outbound->geometry.ah) store_be16(p.data + 4, static_cast<std::uint16_t>(fragment_id_));
  const std::uint32_t mtu = tunnel(*p.outbound).outer_mtu;
  const std::size_t n =
      p.family == Family::V4
          ? fragment_ipv4(p, mtu, *env_.pool, fragments_)
          : fragment_ipv6(p, mtu, (fragment_id_ * 0x9e3779b1U) ^ static_cast<std::uint32_t>(env_.hash_seed), *env_.pool, fragments_);
  if (n == 0) return drops_.drop(p, count(Drop::FragmentFailed));
  counters_.generated.add(n);
  counters_.consumed.add(1);
  for (std::size_t i = 0; i < n; ++i) send(fragments_[i], hop);
  BufferPool::release(nullptr, std::span(&p.handle, 1));
}

/// Packets for SAs that another worker owns go there, those of SAs that are spread go that way; if `cut`, to be fragmented after it. False:
/// there are no others.
bool Worker::keep_own_outbound(Burst& packets, bool cut) {
  Burst fat;
  packets.filter([&](Packet& p) {
    const OutboundSa& sa = *p.outbound;
    if (sa.worker == id_) {
      if (!sa.spread) [[likely]]
        return true;
      fat.push_back(&p);
    } else {
      hand_over(p, sa.worker, {.kind = Handoff::EspOut, .policy = sa.policy, .slot = sa.manager.slot, .spi = sa.spi});
    }
    return false;
  });
  if (!fat.empty()) [[unlikely]]
    spread(fat, packets, Direction::Outbound, cut);
  return !packets.empty();
}

void Worker::encapsulate(Burst& packets) {
  if (env_.handoff.size() > 1 && !keep_own_outbound(packets)) return;  // one worker owns all SAs
  seal(packets);
  send_all_sealed(packets);
}

void Worker::send_all_sealed(const Burst& packets) {
  for (std::span<Packet* const> rest(packets.begin(), packets.size()); !rest.empty();) {
    std::size_t n = 1;
    while (n < rest.size() && rest[n]->outbound == rest[0]->outbound) ++n;
    send_sealed(rest.first(n));
    rest = rest.subspan(n);
  }
  watch_.lap(shm::Node::Send, packets.size());
}

/// Packets of one SA, which leave by one way, to one neighbour.
void Worker::send_sealed(std::span<Packet* const> packets) {
  const NextHop& hop = env_.fib->hop(packets[0]->tx_port);
  const std::uint64_t link = hop.leads_out() ? link_to(*packets[0], hop) : 0;
  bool usual = Neighbor::state_of(link) == NeighborState::Reachable && hop.port < tx_.size() && !paths_.on();
  for (const Packet* p : packets) usual &= p->headroom >= kEthernetBytes;
  if (!usual) [[unlikely]] {
    for (Packet* p : packets) send(*p, hop);
    return;
  }
  const FrameHeader header = frame_header(Neighbor::mac_of(link), hop.port, ether_type(packets[0]->family));
  queue_frames(packets.size(), hop.port,
               [&](std::size_t at, std::size_t n, void** handles) { store_frames(packets.subspan(at, n), header, handles); });
}

void Worker::send_clear(Packet& p) {
  const Origin origin = origin_of(p);
  const NextHop& hop = env_.fib->hop(p.tx_port);
  const bool out = hop.leads_out();
  if (!out || p.length > env_.interfaces[hop.port].mtu) [[unlikely]]
    return out ? send_fragments(p, hop) : refuse(p, Drop::NoRoute, IcmpError::NetUnreachable);
  if (!is_local(origin)) decrement_ttl(p);
  send(p, hop);
}

/// A packet in clear that is too large for the port that it leaves by.
void Worker::send_fragments(Packet& p, const NextHop& hop) {
  const std::uint32_t mtu = env_.interfaces[hop.port].mtu;
  if (size_verdict(p, mtu, nullptr) == shm::SizeVerdict::TooBig) return refuse(p, Drop::TooBig, IcmpError::FragmentationNeeded, mtu);
  if (!is_local(origin_of(p))) decrement_ttl(p);
  const std::size_t n = fragment_ipv4(p, mtu, *env_.pool, fragments_);
  if (n == 0) return drops_.drop(p, Drop::FragmentFailed);
  counters_.generated.add(n);
  counters_.consumed.add(1);
  for (std::size_t i = 0; i < n; ++i) send(fragments_[i], hop);
  BufferPool::release(nullptr, std::span(&p.handle, 1));
}

/// The packet is final. It leaves by `hop`, or waits at the manager for the neighbour's MAC address.
inline void Worker::send(Packet& p, const NextHop& hop) {
  if (!hop.leads_out()) [[unlikely]]
    return drops_.drop(p, Drop::NoRoute);
  const std::uint64_t link = link_to(p, hop);
  if (paths_.on()) [[unlikely]]
    paths_.leaves(p, hop, destination_of(p), link);
  if (Neighbor::state_of(link) != NeighborState::Reachable) [[unlikely]]
    return send_later(p, hop, Neighbor::state_of(link));
  send_frame(p, hop.port, Neighbor::mac_of(link), ether_type(p.family));
}

/// What is known of the neighbour by which a packet leaves, as Neighbor::link says it. One that can be sent to is then in use.
std::uint64_t Worker::link_to(const Packet& p, const NextHop& hop) {
  Neighbor* neighbor = hop.neighbor != nullptr ? hop.neighbor : neighbor_of(p, hop.port);
  if (neighbor == nullptr) [[unlikely]]
    return 0;
  return neighbor->use();
}

/// Packets in a row often have one destination.
inline Neighbor* Worker::neighbor_of(const Packet& p, std::uint16_t port) {
  if (p.family == Family::V6) [[unlikely]]
    return env_.neighbors->find({destination_of(p), port});
  const std::uint32_t address = load_be32(p.data + 16);
  if (last_.neighbor == nullptr || last_.address != address || last_.port != port)
    last_ = {env_.neighbors->find_v4(address, port), address, port};
  return last_.neighbor;
}

/// Tags the packet, which is to go out by the port that is returned.
std::uint16_t Worker::leave_by_vlan(Packet& p, std::uint16_t interface, std::uint16_t type) {
  const Interface& vlan = env_.interfaces[interface];
  push_tag(p, vlan.vlan, type);
  traffic(interface).tx_packets.add(1);
  traffic(interface).tx_bytes.add(kEthernetBytes + p.length);
  return vlan.port;
}

void Worker::send_frame(Packet& p, std::uint16_t interface, MacBits to, std::uint16_t type) {
  if (p.headroom < kEthernetBytes + kTagBytes) [[unlikely]]
    return drops_.drop(p, Drop::NoBuffer);
  std::uint16_t port = interface;
  if (interface >= tx_.size()) [[unlikely]] {
    port = leave_by_vlan(p, interface, type);
    type = kEtherTypeVlan;
  }
  Packet* const one = &p;
  queue_frames(1, port,
               [&](std::size_t, std::size_t, void** handles) { store_frames(std::span(&one, 1), frame_header(to, port, type), handles); });
}

void Worker::transmit(std::uint16_t port) {
  TxQueue& queue = tx_[port];
  if (queue.size == 0) return;
  Port& device = *env_.ports[port];
  std::size_t sent = 0;
  const unsigned queues = device.usable() ? device.queues() : 0;
  if (queues == 0) [[unlikely]] {
    // A queue that nobody empties would keep what it has until the link returns, and then send it all: nothing is put there.
  } else if (id_ >= queues) {
    // The device has fewer queues than there are workers: another one's queue is used through its hand-over ring.
    for (; sent < queue.size; ++sent) {
      note_of(queue.handles[sent]) = {.kind = Handoff::Frame, .port = port};
      if (!env_.handoff[id_ % queues]->push(queue.handles[sent])) break;
    }
    counters_.handoff_out.add(sent);
  } else {
    for (unsigned tries = 0; sent < queue.size && tries < kTransmitTries; ++tries)
      sent += device.transmit(id_, std::span(queue.handles).subspan(sent, queue.size - sent));
    counters_.tx_packets.add(sent);
  }
  for (; sent < queue.size; ++sent) {
    Packet lost;
    lost.handle = queue.handles[sent];
    drops_.drop(lost, queues != 0 ? Drop::TxFull : Drop::PortDown);
  }
  queue.size = 0;
}

void Worker::finish_pass() {
  end_opening();
  if (!generated_.empty()) {
    Burst ours = generated_;
    generated_.clear();
    look_up_ways(ours);
    outbound(ours);
  }
  std::size_t leaving = 0;
  if (watch_.due()) [[unlikely]]
    for (const TxQueue& queue : tx_) leaving += queue.size;
  watch_.lap(shm::Node::Forward, 0);
  for (std::uint16_t port = 0; port < tx_.size(); ++port) transmit(port);
  drops_.flush();
  const bool spread = std::exchange(spread_, false), jobs = crypto_.take_jobs();
  many_sas_ = std::popcount(std::exchange(esp_.seen, 0)) > kFewSas;
  together_ = spread || jobs || many_sas_ ? kBurstMax : kTogether;
  watch_.lap(shm::Node::Transmit, leaving);
  watch_.end_pass();
  if (paths_.on()) [[unlikely]]
    paths_.end_pass();
  if (wake_manager_ && env_.manager != nullptr) env_.manager->wake();
  wake_manager_ = false;
}

/// Buffers from other workers and from the manager. Each was an IP packet, at its header, unless it says Frame.
void Worker::handed_over(std::span<void* const> handles) {
  Burst esp;
  Burst out;
  std::size_t used = 0;
  for (void* handle : handles) {
    Packet& p = views_[used++];
    load_handed_over(handle, p);
    const HandoffNote note = note_of(handle);
    set_origin(p, note.local ? (note.from_tunnel ? Origin::LocalToTunnel : Origin::LocalToClear)
                             : (note.from_tunnel ? Origin::Tunnel : Origin::Clear));
    if (note.kind == Handoff::Frame) {
      TxQueue& queue = tx_[note.port];
      queue.handles[queue.size++] = handle;
      if (queue.size == queue.handles.size()) transmit(note.port);
      continue;
    }
    if (note.kind == Handoff::Dummy) {
      if (make_dummy(p, note)) out.push_back(&p);
      continue;
    }
    if (!parse_ip(p)) {
      drops_.drop(p, Drop::RxMalformed);
      continue;
    }
    switch (note.kind) {
      case Handoff::EspIn:
        esp.push_back(&p);
        break;
      case Handoff::EspOut:
        p.outbound = chosen_sa(env_.policies[note.policy.value], note.spi, note.slot, id_);
        if (p.outbound == nullptr) {
          drops_.drop(p, Drop::PolicyNoSa);
        } else {
          set_origin(p, note.from_tunnel ? Origin::LocalToTunnel : Origin::LocalToClear);  // its TTL is decremented already
          out.push_back(&p);
        }
        break;
      case Handoff::Egress:
        send(p, env_.fib->hop(way_on(p, note)));
        break;
      case Handoff::Unreachable:
        if (env_.own[p.vrf].contains(source_of(p))) {
          drops_.drop(p, note.reason);
        } else {
          refuse(p, note.reason, IcmpError::HostUnreachable);
        }
        break;
      default:
        drops_.drop(p, Drop::RxMalformed);
        break;
    }
  }
  counters_.handoff_in.add(handles.size());
  if (!out.empty()) protect(out);
  Burst inner;
  strangers_ = true;
  if (!esp.empty()) decapsulate(esp, inner, false);
  if (!inner.empty()) dispatch(inner);
}

}  // namespace culvert::dp
