// Dead-peer detection (RFC 3706), both ways, and NAT keepalives (RFC 3948 §4).
// Owns when a peer is asked and when it counts as dead. Asks only when nothing else shows that it lives, and behind a NAT within a
// keepalive interval of its last word: the NAT may have given us another address, which only an authenticated message can show.
#pragma once

#include "control/ikev1/core.hpp"
#include "control/ikev1/transport.hpp"

namespace culvert::ikev1 {

/// Begins watching, where both sides can and the configuration wants it.
void start_dpd(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est);
/// An authenticated message or authenticated traffic: the peer lived at that time.
void peer_lives(Core& core, MmEstablished& est, const config::Connection& c, TimePoint at);
void on_r_u_there(Core& core, TimePoint now, IsakmpSa& sa, MmEstablished& est, const Notify& n);
/// Asks, or gives the peer up (lifecycle.hpp: peer_is_dead).
void on_dpd_timer(Core& core, TimePoint now, IsakmpSa& sa);
void on_keepalive_timer(Core& core, TimePoint now, IsakmpSa& sa);
/// When a keepalive is due, or our address to be shown; nullopt: no NAT asks for it.
[[nodiscard]] std::optional<TimePoint> keepalive_deadline(const Core& core, const IsakmpSa& sa);

}  // namespace culvert::ikev1
