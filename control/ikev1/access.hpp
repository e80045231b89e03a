// The way from an authenticated ISAKMP SA to one that may have Quick Modes: what the connection asks for, in which order.
// Owns the gate and its end, good or bad; the steps are xauth.hpp's and mode_config.hpp's.
//
//   established -> XAuth (local.xauth or remote.xauth) -> Mode Config (pools or vips) -> open
//
// Until XAuth is done no Quick Mode is begun or accepted, no INITIAL-CONTACT believed, and no SA counts as a successor of another one.
#pragma once

#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

/// remote.xauth: the peer must say which user it is.
[[nodiscard]] bool asks_for_user(const config::Connection& c);
/// local.xauth: we are a user of the peer's.
[[nodiscard]] bool is_user(const config::Connection& c);

/// Phase 1 is over: the first step, or none.
void begin_access(Core& core, TimePoint now, IsakmpSa& sa);
/// XAuth is done, or not asked for: Mode Config, or none.
void after_xauth(Core& core, TimePoint now, IsakmpSa& sa);
/// All is done: what waited begins.
void open_access(Core& core, TimePoint now, IsakmpSa& sa);
/// The SA is of no use: it is reported, deleted, and tried again later where we initiated it.
void access_failed(Core& core, TimePoint now, IsakmpSa& sa, Exchange exchange, Reason reason, const std::string& message,
                   ike::Cause cause = {});

/// The peer deleted the SA before it was of use.
void access_ended_by_peer(Core& core, TimePoint now, IsakmpSa& sa);

/// A verified request of the peer: each is answered once.
void on_config_request(Core& core, TimePoint now, IsakmpSa& sa, MessageId id, const ConfigPayload& request);
/// The verified answer to ours.
void on_config_answer(Core& core, TimePoint now, IsakmpSa& sa, const ConfigPayload& answer);
void on_access_timer(Core& core, TimePoint now, IsakmpSa& sa);
[[nodiscard]] std::optional<TimePoint> access_deadline(const IsakmpSa& sa);

/// The virtual address of the peer (we have pools) or ours: children with dynamic selectors are about it.
void set_virtual_address(Core& core, IsakmpSa& sa, const IpAddress& address);
[[nodiscard]] std::optional<IpAddress> virtual_address_of(Core& core, const IsakmpSa& sa);

/// Whether the peer has proved all that it must, and its addresses are settled.
[[nodiscard]] bool is_open(const IsakmpSa& sa);
/// Whether the other end is a client of ours: it alone can replace the ISAKMP SA, since it has the password (as strongSwan has it).
[[nodiscard]] bool serves_client(const Core& core, const IsakmpSa& sa);

}  // namespace culvert::ikev1
