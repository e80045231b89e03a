// What policy means for one packet, once the SPD has been asked. Pure functions; the whole of our reading of RFC 4301 §5 stands here.
//
// A packet that arrived in clear is checked against the mirrored policies first (§5.2):
//   Protect  -> PolicyClear. Except where the policy's two sides overlap (0.0.0.0/0, say) and both ends of the packet are on one
//               network of the port that it came from: then it does not cross the IPsec boundary, and the policy is not meant.
//   Discard  -> PolicyDiscard        Bypass, none -> it may come in
// What is then to be forwarded is looked up outbound (§5.1):
//   Protect  -> under the policy's SA, without one PolicyNoSa. Except within one network, as above.
//   Discard  -> PolicyDiscard        Bypass -> in clear
//   none     -> in clear if a Bypass policy let it in; else as `default_policy` says
// A packet that arrived under an SA was permitted by that SA's selectors. Forwarded, it is looked up outbound, too:
//   Protect  -> under that policy's SA (hub and spoke); if it is the very policy that it came by, in clear, but never by the port
//               that it came in on: there its peer is, not what the policy protects (PolicyDiscard)
//   Discard  -> PolicyDiscard        Bypass, none -> in clear
// A tunnel interface's policy decides as a Protect of its own, in both directions, where the others say Bypass or nothing and the route
// to the packet's destination (of what came in clear: to its source) leads into the tunnel. Whatever the SA under it permits may come
// out of the tunnel, wherever its source would be routed.
// A packet that we make ourselves (ICMP) is looked up outbound:
//   Protect  -> under the policy's SA
//   Discard  -> PolicyDiscard
//   Bypass, none -> in clear; but an answer to what arrived under an SA leaves under an SA or not at all (PolicyDiscard)
// IKE is subject to no policy. Before a culvertd has installed all of its policies for the first time nothing is forwarded.
#pragma once

#include <cstdint>

#include "common/shm/drop.hpp"
#include "common/shm/messages.hpp"
#include "dataplane/fib/fib.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/outer_header.hpp"
#include "dataplane/spd/spd.hpp"

namespace culvert::dp {

/// How a packet came to be here.
enum class Origin : std::uint8_t { Clear, ClearByBypass, Tunnel, LocalToClear, LocalToTunnel };
/// It stands in Packet::tag.
inline Origin origin_of(const Packet& p) { return static_cast<Origin>(p.tag); }
inline void set_origin(Packet& p, Origin o) { p.tag = static_cast<std::uint8_t>(o); }
inline bool is_local(Origin o) { return o == Origin::LocalToClear || o == Origin::LocalToTunnel; }
inline Origin answer_to(Origin o) { return o == Origin::Tunnel ? Origin::LocalToTunnel : Origin::LocalToClear; }

struct InboundVerdict {
  bool accept = false;
  bool by_bypass = false;
  Drop reason = Drop::PolicyClear;
};
enum class OutboundAction : std::uint8_t { Clear, Protect, Discard };

/// Whether source and destination are on one network of `interface`, and both on the policy's own side.
inline bool within_one_network(const SpdEntry& entry, const Packet& p, const Interface& interface) {
  if (!entry.overlapping) [[likely]]
    return false;
  if (interface.vrf != p.vrf) return false;  // what came out of a tunnel has its addresses elsewhere
  if (!entry.ours(p.family, p.data + source_at(p.family)) || !entry.ours(p.family, p.data + destination_at(p.family))) return false;
  const Prefix* network = interface.network_of(source_of(p));
  return network != nullptr && network->contains(destination_of(p));
}

/// `same_network`: within_one_network(), asked only for a Protect entry.
inline InboundVerdict inbound_verdict(const SpdEntry* entry, bool same_network) {
  if (entry == nullptr) return {true, false, {}};
  switch (entry->action) {
    case shm::PolicyAction::Bypass:
      return {true, true, {}};
    case shm::PolicyAction::Discard:
      return {false, false, Drop::PolicyDiscard};
    case shm::PolicyAction::Protect:
      return {same_network, false, Drop::PolicyClear};
  }
  return {false, false, Drop::PolicyDiscard};
}

/// The SA that a packet arrived under, and where it would go; of Tunnel only.
struct CameBy {
  PolicyId policy;          ///< of the SA
  bool turns_back = false;  ///< its route leaves by the port that it came in on, or leads into the tunnel that it came out of
};
inline OutboundAction outbound_action(const SpdEntry* entry, Origin origin, CameBy came_by, bool same_network, bool default_bypass) {
  const bool discard = entry != nullptr && entry->action == shm::PolicyAction::Discard;
  const bool own = entry != nullptr && origin == Origin::Tunnel && entry->policy == came_by.policy;
  const bool protect = entry != nullptr && entry->action == shm::PolicyAction::Protect && !same_network && !own;
  if (discard || (own && came_by.turns_back)) return OutboundAction::Discard;
  if (protect) return OutboundAction::Protect;
  switch (origin) {
    case Origin::LocalToTunnel:
      return OutboundAction::Discard;
    case Origin::Clear:
      return entry != nullptr || default_bypass ? OutboundAction::Clear : OutboundAction::Discard;
    case Origin::ClearByBypass:
    case Origin::Tunnel:
    case Origin::LocalToClear:
      return OutboundAction::Clear;
  }
  return OutboundAction::Discard;
}

/// Whether all packets that come in clear, that no policy keeps from that, and that `entry` wins outbound are protected, wherever they came
/// from: neither their port nor their ends decide, too.
inline bool settled_protect(const SpdEntry* entry, const NextHop& hop) {
  const bool forwarded = hop.kind != HopKind::Local && hop.kind != HopKind::Martian;
  return forwarded && entry != nullptr && entry->action == shm::PolicyAction::Protect && !entry->overlapping;
}

/// Whether a packet that came by a tunnel leaves in clear, as `protect`, the Protect that wins for it, is that of its SA. `protect` 0:
/// another kind wins.
inline bool settled_clear(PolicyId protect, CameBy came_by) {
  return protect.value != 0 && protect == came_by.policy && !came_by.turns_back;
}

/// Back to where it came from: by the same port, or into a tunnel (of its own policy, as all are that ask).
inline bool turns_back(const NextHop& hop, std::uint16_t port) {
  return hop.kind == HopKind::Tunnel || (hop.leads_out() && hop.port == port);
}

inline constexpr unsigned kNoWorker = shm::kMaxWorkers;

/// The youngest of the policy's SAs that are for this worker's packets alone; nullptr: it has none.
inline OutboundSa* youngest_own(const PolicyState& policy, unsigned worker) {
  const OwnSas* own = policy.own.load(std::memory_order_acquire);
  return own == nullptr || worker >= own->youngest.size() ? nullptr : own->youngest[worker].load(std::memory_order_acquire);
}

/// The SA that the packet leaves under (RFC 4301 §5.1): the policy's youngest, unless its peer narrowed that one. What is for this worker
/// alone comes first (RFC 9611 §5): the packets of a flow come to one worker, so they have one SA, and stay in order. `worker` kNoWorker:
/// nobody's.
inline OutboundSa* sa_for(const PolicyState& policy, const Packet& p, unsigned worker) {
  if (OutboundSa* own = youngest_own(policy, worker); own != nullptr) [[unlikely]] {
    if (!own->expired() && !own->narrow.load(std::memory_order_relaxed)) [[likely]]
      return own;
    if ((own = admitting_sa(own, p)) != nullptr) return own;
  }
  OutboundSa* sa = policy.current.load(std::memory_order_acquire);
  if (sa != nullptr && sa->narrow.load(std::memory_order_relaxed)) [[unlikely]]
    return admitting_sa(sa, p);
  return sa;
}

/// The SA that another worker chose for a packet; it may be gone since. The packet may be a fragment: it cannot be chosen for anew.
inline OutboundSa* chosen_sa(const PolicyState& policy, Spi spi, std::uint32_t slot, unsigned worker) {
  OutboundSa* youngest = policy.current.load(std::memory_order_acquire);
  for (OutboundSa* chain : {youngest, youngest_own(policy, worker)}) {
    unsigned left = kMaxAlternatives;
    for (OutboundSa* sa = chain; sa != nullptr && left > 0; sa = sa->older.load(std::memory_order_acquire), --left)
      if (sa->spi == spi && sa->manager.slot == slot) return sa;
  }
  return youngest != nullptr && !youngest->narrow.load(std::memory_order_relaxed) ? youngest : nullptr;
}

/// What becomes of a packet where `mtu` bytes fit: under `sa`, or in clear. Under an SA in transport mode a fragment may not go
/// (RFC 4301 §7); what is fragmented behind its encryption heeds the DF bit of the outer header.
inline shm::SizeVerdict size_verdict(const Packet& p, std::uint32_t mtu, const OutboundSa* sa) {
  if (p.length <= mtu) return shm::SizeVerdict::Fits;
  const std::uint16_t df = inner_df(p);
  const bool whole = sa != nullptr && sa->cut_after ? ((df & sa->df_copied) | sa->df_set) != 0 : df != 0;
  return whole || (sa != nullptr && sa->geometry.transport) ? shm::SizeVerdict::TooBig : shm::SizeVerdict::Fragments;
}

}  // namespace culvert::dp
