#include "dataplane/manager/forecast.hpp"

#include "dataplane/nodes/classify.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "dataplane/nodes/path_log.hpp"
#include "dataplane/nodes/policy_rules.hpp"

namespace culvert::dp {

namespace {
using shm::StepKind;
using Answer = std::expected<shm::Path, shm::AckResult>;

shm::LocalUse use_of(LocalKind kind) {
  switch (kind) {
    case LocalKind::Esp:
      return shm::LocalUse::Esp;
    case LocalKind::Ike:
      return shm::LocalUse::Ike;
    case LocalKind::Keepalive:
      return shm::LocalUse::Keepalive;
    case LocalKind::Icmp:
      return shm::LocalUse::Icmp;
    case LocalKind::Fragment:
      return shm::LocalUse::Fragment;
    case LocalKind::Malformed:
      return shm::LocalUse::Malformed;
    case LocalKind::Other:
      break;
  }
  return shm::LocalUse::Nobody;
}
std::uint8_t number(shm::PolicyAction a) { return static_cast<std::uint8_t>(a); }
}  // namespace

/// The packet as it would stand in a buffer.
bool Forecast::compose(const shm::TracePacket& q) {
  const bool ports = kHasPorts[q.protocol];
  const Family family = q.source.family;
  const std::uint32_t header = ip_header_bytes(family);
  if (q.length < header + (ports ? 4U : 0U)) return false;
  bytes_ = {};
  if (family == Family::V4) {
    bytes_[0] = 0x45;
    store_be16(&bytes_[2], q.length);
    store_be16(&bytes_[6], q.dont_fragment != 0 ? kIpv4Df : std::uint16_t{0});
    bytes_[8] = q.ttl;
    bytes_[9] = q.protocol;
  } else {
    bytes_[0] = 0x60;
    store_be16(&bytes_[4], static_cast<std::uint16_t>(q.length - header));
    bytes_[6] = q.protocol;
    bytes_[7] = q.ttl;
  }
  std::copy_n(q.source.bytes.begin(), address_bytes(family), bytes_.begin() + source_at(family));
  std::copy_n(q.destination.bytes.begin(), address_bytes(family), bytes_.begin() + destination_at(family));
  if (family == Family::V4) set_ipv4_checksum(bytes_.data());
  if (ports) {
    store_be16(&bytes_[header], q.source_port);
    store_be16(&bytes_[header + 2], q.destination_port);
    store_be16(&bytes_[header + 4], static_cast<std::uint16_t>(q.length - header));
  }
  if (q.protocol == kProtocolIcmp) bytes_[header] = 8;      // an echo request
  if (q.protocol == kProtocolIcmpv6) bytes_[header] = 128;  // the same
  packet_ = {};
  packet_.data = bytes_.data();
  packet_.length = q.length;
  return parse_ip(packet_);
}

/// Where it arrives, and whether it may: false if it ends here.
bool Forecast::arrives(const shm::TracePacket& q) {
  if (packet_.inbound == nullptr) {
    path_.add({.kind = StepKind::Arrives, .port = packet_.rx_port});
  } else {
    const InboundSa& sa = *packet_.inbound;
    path_.add({.kind = StepKind::ArrivesUnderSa, .port = packet_.rx_port, .policy = sa.policy, .spi = sa.spi, .slot = q.slot});
    if (sa.expired()) return drop(Drop::EspExpired), false;
    if (!sa.admits(packet_)) return drop(Drop::EspSelector), false;
  }
  if (martian_source(packet_, env_.own[packet_.vrf])) return drop(Drop::RxMartian), false;
  return true;
}

Answer Forecast::of(const shm::TracePacket& q) {
  path_ = {};
  by_bypass_ = false;
  const auto known = [](Family f) { return f == Family::V4 || f == Family::V6; };
  if (!known(q.source.family) || q.destination.family != q.source.family) return std::unexpected(shm::AckResult::BadMessage);
  if (!compose(q)) return std::unexpected(shm::AckResult::BadMessage);
  IpAddress from = q.source;
  VrfId by = q.vrf;  // where it arrives
  if (q.vrf >= env_.own.size()) return std::unexpected(shm::AckResult::BadMessage);
  if (q.under_sa != 0) {
    InboundSa* sa = q.slot < env_.inbound->capacity() ? env_.inbound->at(q.slot) : nullptr;
    if (sa == nullptr || sa->spi != q.spi) return std::unexpected(shm::AckResult::NotFound);
    packet_.inbound = sa;
    from = address_from(sa->outer_family, sa->match.remote_address.data());
    by = sa->outer_vrf;
  }
  const NextHop& back = env_.fib->lookup(by, from);
  const std::uint16_t port = q.port == shm::TracePacket::kAnyPort && back.leads_out() ? back.port : q.port;
  if (port >= env_.interfaces.size()) return std::unexpected(shm::AckResult::NotFound);
  packet_.rx_port = port;
  packet_.vrf = packet_.inbound != nullptr ? packet_.inbound->vrf : env_.interfaces[port].vrf;
  if (arrives(q) && came_in()) {
    const NextHop& hop = env_.fib->hop(packet_.tx_port);
    if (!stays_here(hop)) goes_out(hop);
  }
  return path_;
}

/// Of what is for an own address and no packet of ours to forward: worker.cpp, input(). Then the SPD: check_clear() or look_up_ways().
bool Forecast::came_in() {
  Packet& p = packet_;
  const bool clear = p.inbound == nullptr;
  if (clear && env_.own[p.vrf].contains(destination_of(p))) {
    const shm::LocalUse use = use_of(classify_local(p));
    if (use == shm::LocalUse::Esp || use == shm::LocalUse::Ike || use == shm::LocalUse::Keepalive || use == shm::LocalUse::Malformed) {
      path_.add({.kind = StepKind::IsForUs, .number = static_cast<std::uint32_t>(use), .address = destination_of(p)});
      if (use == shm::LocalUse::Keepalive) return drop(Drop::NatKeepalive), false;
      if (use == shm::LocalUse::Malformed) return drop(Drop::PuntInvalid), false;
      path_.answered = 1;
      return false;
    }
  }
  const Spd* spd = env_.spd->load(std::memory_order_acquire);
  if (spd == nullptr) {
    p.tx_port = env_.fib->way_to(p.vrf, destination_of(p));
    return true;
  }
  const SpdEntry* mirrored = nullptr;
  const auto take = [&](std::size_t, const SpdEntry* out, HopId hop, const SpdEntry* in) {
    p.policy = out;
    p.tx_port = hop;
    mirrored = in;
  };
  if (p.family == Family::V4) {
    flows_.both(*spd, 1, [&](std::size_t) { return FlowKey::outbound(p); }, take);
  } else {
    flows_v6_.both(*spd, 1, [&](std::size_t) { return FlowKeyV6::outbound(p); }, take);
  }
  if (env_.fib->hop(p.tx_port).kind == HopKind::Martian) {
    route(env_.fib->hop(p.tx_port));
    return drop(Drop::RxMartian), false;
  }
  if (!clear) return true;
  const bool same =
      mirrored != nullptr && mirrored->action == shm::PolicyAction::Protect && within_one_network(*mirrored, p, env_.interfaces[p.rx_port]);
  const InboundVerdict v = inbound_verdict(mirrored, same);
  path_.add({.kind = StepKind::InboundPolicy,
             .action = mirrored != nullptr ? number(mirrored->action) : number(shm::PolicyAction::Bypass),
             .policy = mirrored != nullptr ? mirrored->policy : PolicyId{},
             .number = same});
  by_bypass_ = v.by_bypass;
  if (!v.accept) drop(v.reason);
  return v.accept;
}

/// dispatch() and deliver(): true if the packet's way ends here.
bool Forecast::stays_here(const NextHop& hop) {
  const Packet& p = packet_;
  if (hop.kind == HopKind::Local) {
    const shm::LocalUse use = use_of(classify_local(p));
    path_.add({.kind = StepKind::IsForUs, .number = static_cast<std::uint32_t>(use), .address = destination_of(p)});
    if (use == shm::LocalUse::Icmp) {
      path_.answered = 1;
    } else {
      drop(p.fragment ? Drop::LocalFragment : Drop::LocalUnhandled);
    }
    return true;
  }
  if (env_.spd->load(std::memory_order_acquire) == nullptr) return drop(Drop::PolicyDiscard), true;
  path_.add({.kind = StepKind::TimeToLive, .number = hops_left(p)});
  if (hops_left(p) <= 1) return drop(Drop::TtlExpired), true;
  return false;
}

/// outbound().
void Forecast::goes_out(const NextHop& hop) {
  const Packet& p = packet_;
  const SpdEntry* entry = p.policy;
  const Origin origin = p.inbound != nullptr ? Origin::Tunnel : by_bypass_ ? Origin::ClearByBypass : Origin::Clear;
  const bool wants_sa = entry != nullptr && entry->action == shm::PolicyAction::Protect;
  const bool same = wants_sa && within_one_network(*entry, p, env_.interfaces[p.rx_port]);
  const CameBy came_by = wants_sa && p.inbound != nullptr ? CameBy{p.inbound->policy, turns_back(hop, p.rx_port)} : CameBy{};
  const OutboundAction action = outbound_action(entry, origin, came_by, same, env_.default_bypass);
  route(hop);
  path_.add(policy_step(action, entry));
  switch (action) {
    case OutboundAction::Discard:
      return drop(Drop::PolicyDiscard);
    case OutboundAction::Clear:
      return leaves_in_clear(hop);
    case OutboundAction::Protect:
      return leaves_protected(*entry);
  }
}

/// send_clear().
void Forecast::leaves_in_clear(const NextHop& hop) {
  if (!hop.leads_out()) return drop(Drop::NoRoute);
  if (fits(env_.interfaces[hop.port].mtu, nullptr)) sends(hop, destination_of(packet_));
}

/// protect() and encapsulate().
void Forecast::leaves_protected(const SpdEntry& entry) {
  Packet& p = packet_;
  const OutboundSa* sa = sa_for(env_.policies[entry.policy.value], p, kNoWorker);
  if (sa == nullptr) return drop(Drop::PolicyNoSa);
  path_.add(sa_step(*sa));
  const IpAddress to = peer_of(*sa);
  const NextHop& hop = env_.fib->lookup(sa->outer_vrf, to, sa->spi.value);
  route(hop);
  if (!hop.leads_out()) return drop(Drop::NoRoute);
  const std::uint32_t mtu = effective_mtu(*sa, sa->outer_mtu(env_.interfaces[hop.port].mtu));
  if (mtu == 0) return drop(Drop::NoRoute);
  if (!fits(mtu, sa)) return;
  if (sa->geometry.transport && !fits_transport(p, *sa)) return drop(Drop::EspTransport);
  if (sa->expired()) return drop(Drop::EspExpired);
  sends(hop, to);
}

bool Forecast::fits(std::uint32_t mtu, const OutboundSa* sa) {
  const shm::PathStep step = size_step(packet_, mtu, sa);
  const auto v = static_cast<shm::SizeVerdict>(step.action);
  path_.add(step);
  if (v == shm::SizeVerdict::TooBig) drop(Drop::TooBig);
  return v != shm::SizeVerdict::TooBig;
}

/// send(): to `to`, by `hop`.
void Forecast::sends(const NextHop& hop, const IpAddress& to) {
  const IpAddress& next = hop.kind == HopKind::Gateway ? hop.gateway : to;
  const Neighbor* neighbor = hop.neighbor != nullptr ? hop.neighbor : env_.neighbors->find({next, hop.port});
  const std::uint64_t link = neighbor == nullptr ? 0 : neighbor->link.load(std::memory_order_acquire);
  path_.add(neighbor_step(hop, next, link));
  if (Neighbor::state_of(link) == NeighborState::Failed) return drop(Drop::NeighborUnresolved);
  path_.add({.kind = StepKind::Leaves, .port = hop.port});
}

void Forecast::route(const NextHop& hop) { path_.add(route_step(hop)); }

}  // namespace culvert::dp
