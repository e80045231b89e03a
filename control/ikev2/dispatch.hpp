// From a message to its exchange (RFC 7296 §2.1, §2.2): whose it is, whether it is due, and what may be in it.
// Owns the order of these checks: nothing of a message is believed before its SA has opened it.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void on_message(Core& core, const Incoming& in);
void on_signed(Core& core, TimePoint now, const ike::SignResult& result);
void on_verified(Core& core, TimePoint now, const ike::VerifyResult& result);
void on_user_found(Core& core, TimePoint now, const ike::UserFound& result);
void on_radius(Core& core, TimePoint now, const ike::RadiusAnswer& answer);
void on_dh(Core& core, TimePoint now, const ike::DhResult& result);
void on_installed(Core& core, TimePoint now, JobId job, bool ok, const std::string& error);
void on_timer(Core& core, TimePoint now);
/// Ends every event.
void settle(Core& core, TimePoint now);

}  // namespace culvert::ikev2
