// Identities of IKEv2 peers (RFC 7296 §3.5) against what is configured, and who of many a peer is.
// Owns the mapping between ID payloads and configured identities. Never logs a raw identity: text() first.
#pragma once

#include <optional>
#include <string>

#include "common/config/config.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

/// The numbers of both versions' types are the same (RFC 7296 §3.5, RFC 2407 §4.6.2.1).
template <class Payload>
ikev1::Id as_v1(const Payload& id) {
  return {static_cast<ikev1::IdType>(id.type), 0, 0, id.data};
}
template <class Payload>
Payload own_id(const config::Identity& identity, const IpAddress& local) {
  const ikev1::Id id = ikev1::to_id(identity, local);
  return {static_cast<IdType>(id.type), id.data};
}
template <class Payload>
bool matches(const config::Identity& expected, const Payload& received) {
  return ikev1::matches(expected, as_v1(received));
}
template <class Payload>
std::string text(const Payload& id) {
  return ikev1::to_text(as_v1(id));
}
/// Who the peer of a responder may be, before it has said so: connections by address that take its IKE suite, the likeliest first.
std::vector<std::size_t> connections_for(const Core& core, const IkeSa& sa);
/// Whom we ask for: nullopt where several may be meant.
std::optional<IdR> wanted_id(const config::Identity& remote);
/// Whether a peer that asks for this identity asks for us.
bool is_own(const config::Identity& own, const IpAddress& local, const IdR& wanted);
/// Of a connection that can have many peers: which one it is.
std::optional<PeerKey> peer_key(const config::Connection& c, const IdI& id, const Endpoint& at);
std::optional<PeerKey> peer_key(const config::Connection& c, const IdR& id, const Endpoint& at);
/// Whether we can begin: the connection names its peer's address, and one of ours.
[[nodiscard]] bool can_initiate(const config::Connection& c);

/// `unique: never` and `no`: each place that an identity calls from, address and port, is a peer of its own.
[[nodiscard]] bool shared_identity(const config::Connection& c);
/// `unique: keep`, and the identity has an IKE SA from another address. INITIAL_CONTACT changes nothing about that: two devices of one
/// identity both say so when they start.
bool elsewhere_stays(Core& core, const IkeSa& sa, const std::string& identity, const std::optional<PeerKey>& key);
/// INITIAL_CONTACT (RFC 7296 §2.4): what else the peer had is gone with its memory. Not heeded with `unique: never`.
void peer_restarted(Core& core, TimePoint now, IkeSa& sa);
/// `unique: replace`: what the identity had from other addresses ends.
void displace_others(Core& core, TimePoint now, IkeSa& sa);
/// When something came from it, under whichever of its IKE SAs; of one that it may not have, under this one.
[[nodiscard]] TimePoint last_sign_of_peer(Core& core, const IkeSa& sa);

}  // namespace culvert::ikev2
