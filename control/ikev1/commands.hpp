// What the shell asks for from outside the protocol: the start, operators' commands, and news of the data plane.
// Owns the meaning of these; the exchanges that follow are begun by lifecycle.hpp.
#pragma once

#include "control/ike/engine.hpp"
#include "control/ikev1/core.hpp"

namespace culvert::ikev1 {

void begin(Core& core, TimePoint now, std::vector<ike::OrphanSa> orphans);
void acquire(Core& core, TimePoint now, const std::string& connection, const std::string& child);
void expired(Core& core, TimePoint now, const ike::SaExpired& what);
void traffic(Core& core, TimePoint now, Spi inbound, TimePoint last_used);
void dataplane_lost(Core& core, TimePoint now);
ike::CommandResult initiate(Core& core, TimePoint now, const std::string& connection, const std::string& child);
/// `peer`: an identity or an address; empty: all peers of the connection.
ike::CommandResult terminate(Core& core, TimePoint now, const std::string& connection, const std::string& child, const std::string& peer);
ike::CommandResult rekey(Core& core, TimePoint now, const std::string& connection, const std::string& child, bool isakmp,
                         const std::string& peer);
void shutdown(Core& core, TimePoint now);

}  // namespace culvert::ikev1
