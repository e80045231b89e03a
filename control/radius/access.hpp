// What a gateway says about a user to a RADIUS server, and what it takes of the answer (RFC 2865 §4, RFC 3579 §2, §3).
// Owns which attributes there are, in the form that strongSwan's eap-radius has given them. Never signs (proof.hpp).
#pragma once

#include "common/config/config.hpp"
#include "control/ike/radius_types.hpp"
#include "control/radius/packet.hpp"

namespace culvert::radius {

/// nullopt: the user's packet is too long. Without identifier, authenticator and Message-Authenticator.
std::optional<Packet> access_request(const ike::AskRadius& question, const config::Radius& config, const config::RadiusServer& server);

/// All but the key. `reply` has proved itself. Unusable: it is one of no kind that is known here, or what it carries is no EAP.
ike::RadiusAnswer read_answer(const Packet& reply);

}  // namespace culvert::radius
