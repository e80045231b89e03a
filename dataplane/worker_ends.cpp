// Where packets end: answered, refused with ICMP, dropped, or handed to the manager or to another worker. The ways that lead here are in
// worker.cpp. Nothing here is met by a packet that goes its usual way.
#include "dataplane/nodes/arp.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/nd.hpp"
#include "dataplane/worker.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint64_t kAcquireInterval = 1'000'000'000;

/// Whether a message of ICMP from `own` may come out of the other end of the tunnel.
bool admits(const PreparedSelector& ours, const RangeV6& ours_v6, const IpAddress& own) {
  if (own.family == Family::V4) return ours.matches_v4(own.v4_host(), kProtocolIcmp, 0, false);
  return ours_v6.contains(own.bytes.data()) && ours.matches_upper(kProtocolIcmpv6, 0, false);
}
bool admits(const InboundSa& sa, const IpAddress& own) {
  return admits(sa.match.destination, sa.match.destination_v6, own) ||
         (sa.more && std::ranges::any_of(sa.more->destinations, [&](const auto& s) { return admits(s.selector, s.v6, own); }));
}
}  // namespace

void Worker::arp(Packet& p) {
  if (!arp_budget_.take(now_)) return drops_.drop(p, Drop::ArpRateLimited);
  heard(p, arp_in(p, env_.interfaces[p.rx_port], p.rx_port, *env_.neighbors), kEtherTypeArp);
}

void Worker::neighbor_discovery(Packet& p) {
  if (!arp_budget_.take(now_)) return drops_.drop(p, Drop::ArpRateLimited);
  heard(p, nd_in(p, env_.interfaces[p.rx_port], p.rx_port, *env_.neighbors), kEtherTypeIpv6);
}

/// RFC 3810: a router asks which groups we hear. The manager answers.
void Worker::group_query(Packet& p) {
  if (env_.slow == nullptr || !arp_budget_.take(now_)) return drops_.drop(p, Drop::ArpRateLimited);
  note_of(p.handle) = {.kind = Handoff::GroupQuery, .port = p.rx_port};
  to_manager(p, env_.slow, Drop::ArpRateLimited);
}

void Worker::heard(Packet& p, const NeighborVerdict& v, std::uint16_t ether_type) {
  wake_manager_ |= v.learned;
  if (v.reply) return send_frame(p, p.rx_port, load_mac(v.to.data()), ether_type);
  if (v.counted) return drops_.drop(p, v.reason);
  counters_.consumed.add(1);
  BufferPool::release(nullptr, std::span(&p.handle, 1));
}

/// Those who have a tunnel come first, then those who have begun; who brings a cookie of ours counts as one of these. Of those who begin
/// with IKEv2 culvertd gets a few: the others are asked for one here.
void Worker::punt_ike(Packet& p) {
  if (env_.ike == nullptr) return drops_.drop(p, Drop::PuntFull);
  const auto first = begins_negotiation(p) ? read_first_message(p) : std::nullopt;
  const bool heard = first && first->cookie.size() == Cookies::kBytes && cookie_checks_.take(now_) && cookies_.good(p, *first, now_);
  const PuntKind kind = heard ? PuntKind::Begun : !begins_negotiation(p) ? later_message(p) : first ? PuntKind::Askable : PuntKind::First;
  if (!punt_budget_.take(source_of(p), kind, now_, p.vrf)) {
    if (kind == PuntKind::Askable) return ask_for_cookie(p, *first);
    return drops_.drop(p, Drop::PuntFull);
  }
  note_of(p.handle) = {.kind = Handoff::Ike, .port = p.rx_port, .heard = heard, .stray = kind == PuntKind::Stray, .vrf = p.vrf};
  to_manager(p, env_.ike, Drop::PuntFull);
}

/// Of one that names both SPIs: whether there is such a negotiation or SA.
PuntKind Worker::later_message(const Packet& p) const {
  const std::uint8_t* udp = p.data + p.l4_offset;
  const std::uint32_t front = kUdpHeaderBytes + (p.destination_port == kNatTPort ? 4U : 0U);
  const auto known = env_.talks->known(ByteView(udp + front, load_be16(udp + 4) - front));
  return known == IkeTalks::Known::Keyed ? PuntKind::Keyed : known == IkeTalks::Known::Begun ? PuntKind::Begun : PuntKind::Stray;
}

/// Never by an SA: IKE goes past the policies (RFC 4301 §4.4.1).
void Worker::ask_for_cookie(Packet& p, const FirstMessage& m) {
  if (p.source_port == 0 || !cookie_budget_.take(now_) || !cookies_.ask(p, m, now_)) return drops_.drop(p, Drop::PuntFull);
  set_origin(p, Origin::LocalToClear);
  p.tx_port = way_to(p);
  if (!env_.fib->hop(p.tx_port).leads_out()) return drops_.drop(p, Drop::NoRoute);
  counters_.cookies.add(1);
  send_clear(p);
}

/// RFC 4301 §8.2.1: a router says that a packet of an SA did not fit. The manager knows whether it was one.
void Worker::path_mtu(Packet& p) {
  if (env_.slow == nullptr || !path_mtu_budget_.take(now_)) return drops_.drop(p, Drop::IcmpIgnored);
  note_of(p.handle) = {.kind = Handoff::PathMtu, .port = p.rx_port, .vrf = p.vrf};
  to_manager(p, env_.slow, Drop::IcmpIgnored);
}

void Worker::send_later(Packet& p, const NextHop& hop, NeighborState state) {
  if (state == NeighborState::Failed || env_.slow == nullptr) return drops_.drop(p, Drop::NeighborUnresolved);
  note_of(p.handle) = {.kind = Handoff::Resolve,
                       .port = hop.port,
                       .next_hop = hop.kind == HopKind::Gateway ? hop.gateway : destination_of(p),
                       .from_tunnel = origin_of(p) == Origin::Tunnel,
                       .local = is_local(origin_of(p)),
                       .vrf = env_.interfaces[hop.port].vrf};
  to_manager(p, env_.slow, Drop::NeighborUnresolved);
}

/// Counts the drop, and turns the packet into the ICMP error that its source is owed, if any.
void Worker::refuse(Packet& p, Drop reason, IcmpError error, std::uint32_t mtu) {
  const Origin origin = origin_of(p);
  if (paths_.on()) [[unlikely]]
    paths_.dropped(p, reason);
  if (is_local(origin) || !icmp_error_allowed(p)) return drops_.drop(p, reason);
  if (!icmp_budget_.take(now_)) {
    counters_.drops[static_cast<std::size_t>(reason)].add(1);
    counters_.generated.add(1);
    return drops_.drop(p, Drop::IcmpRateLimited);
  }
  const IpAddress source = error_source(p);
  if (generated_.full() || source.is_unspecified() || !icmp_error(p, error, source, static_cast<std::uint16_t>(mtu)))
    return drops_.drop(p, reason);
  counters_.drops[static_cast<std::size_t>(reason)].add(1);
  counters_.generated.add(1);
  set_origin(p, answer_to(origin));
  generated_.push_back(&p);
}

/// To the sender inside of a tunnel an own address speaks that the tunnel's policy admits, if there is one.
IpAddress Worker::error_source(const Packet& p) const {
  if (p.inbound != nullptr)
    for (const IpAddress& own : env_.own[p.vrf].all())
      if (own.family == p.family && admits(*p.inbound, own)) return own;
  const Interface& here = env_.interfaces[p.rx_port];
  if (here.vrf == p.vrf && here.has(p.family)) return here.primary(p.family);
  for (const IpAddress& own : env_.own[p.vrf].all())
    if (own.family == p.family) return own;
  return {};
}

void Worker::no_sa(Packet& p, const SpdEntry& entry) {
  auto& reported = env_.policies[entry.policy.value].acquire_ns;
  std::uint64_t last = reported.load(std::memory_order_relaxed);
  const bool due = entry.acquire && env_.slow != nullptr && (last == 0 || now_ - last >= kAcquireInterval);
  if (!due || !reported.compare_exchange_strong(last, now_)) return drops_.drop(p, Drop::PolicyNoSa);
  note_of(p.handle) = {.kind = Handoff::Acquire, .policy = entry.policy};
  if (paths_.on()) [[unlikely]]
    paths_.dropped(p, Drop::PolicyNoSa);
  to_manager(p, env_.slow, Drop::PolicyNoSa);
}

void Worker::to_manager(Packet& p, BufferRing* ring, Drop if_full) {
  store_view(p);
  if (!ring->push(p.handle)) return drops_.drop(p, if_full);
  wake_manager_ = true;
}

void Worker::hand_over(Packet& p, unsigned worker, HandoffNote note) {
  note.from_tunnel = origin_of(p) == Origin::Tunnel;
  note.local = is_local(origin_of(p));
  note.vrf = p.vrf;
  note_of(p.handle) = note;
  store_view(p);
  if (worker >= env_.handoff.size() || !env_.handoff[worker]->push(p.handle)) {
    if (note.kind == Handoff::EspIn) p.inbound->counters->drop_shared(Direction::Inbound, Drop::HandoffFull);
    if (note.kind == Handoff::EspOut) p.outbound->counters->drop_shared(Direction::Outbound, Drop::HandoffFull);
    return drops_.drop(p, Drop::HandoffFull);
  }
  if (paths_.on()) [[unlikely]] {
    paths_.note(p, {.kind = shm::StepKind::HandedOver, .number = worker});
    paths_.done(p);
  }
  counters_.handoff_out.add(1);
}

/// RFC 4303 §2.6: an empty packet of no protocol, to be sealed like any other. False: its SA is no longer the policy's.
bool Worker::make_dummy(Packet& p, const HandoffNote& note) {
  p.outbound = chosen_sa(env_.policies[note.policy.value], note.spi, note.slot, id_);
  if (p.outbound == nullptr || p.outbound->spi != note.spi) {
    drops_.drop(p, Drop::PolicyNoSa);
    return false;
  }
  p.family = Family::None;
  p.protocol = kProtocolNone;
  p.l4_offset = 0;
  p.source_port = p.destination_port = 0;
  p.fragment = p.ports_hidden = false;
  std::memset(p.data, 0, kIpv4HeaderBytes);  // what the outer header is made of, where it is copied from the inner one
  set_origin(p, Origin::LocalToTunnel);
  return true;
}

}  // namespace culvert::dp
