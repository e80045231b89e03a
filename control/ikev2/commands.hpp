// Operators' commands, and what the data plane tells: a packet that wants an SA, the end of one, traffic, its own loss.
// Owns what they change in what is wanted; the exchanges are begun by lifecycle.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/ike/engine.hpp"
#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// Begins what the configuration asks for. Orphans are of connections of this version.
void begin(Core& core, TimePoint now, std::vector<ike::OrphanSa> orphans);
ike::CommandResult initiate(Core& core, TimePoint now, std::size_t connection, const std::string& child);
ike::CommandResult terminate(Core& core, TimePoint now, std::size_t connection, const std::string& child, const std::string& peer);
ike::CommandResult rekey(Core& core, TimePoint now, std::size_t connection, const std::string& child, bool ike, const std::string& peer);
/// An operator's: those who are connected, and `newcomers` from now on. Without a gateway: nobody any more.
ike::CommandResult redirect(Core& core, std::size_t connection, const std::optional<config::GatewayName>& to, const std::string& peer,
                            bool newcomers);
void shutdown(Core& core, TimePoint now);
/// The living SAs of a connection, of one peer by its identity or address, or of all.
std::vector<IkeSa*> sas_of_peer(Core& core, std::size_t connection, const std::string& peer);

void acquire(Core& core, TimePoint now, std::size_t connection, const std::string& child, const std::optional<ike::Flow>& packet = {});
void expired(Core& core, TimePoint now, const ike::SaExpired& what);
void pair_moved(Core& core, const ike::PairMoved& moved);
void traffic(Core& core, TimePoint now, Spi inbound, TimePoint last_used);
void dataplane_lost(Core& core, TimePoint now);

}  // namespace culvert::ikev2
