#include "control/ikev1/peers.hpp"

#include <algorithm>
#include <cctype>

#include "control/crypto/hash.hpp"
#include "control/ikev1/access.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/lifecycle.hpp"

namespace culvert::ikev1 {

namespace {

bool shared_identity(const config::Connection& c) { return c.unique == config::Unique::Never; }

/// Whether more than one peer can prove to be the one that the connection wants.
bool can_have_many(const config::Connection& c) { return c.remote_id.pattern() || shared_identity(c) || asks_for_user(c); }

Peer peer_of(const config::Connection& c, const Id& id, const Endpoint& at) {
  // Names compare without regard to case (RFC 4343 §3), and so matches() does.
  Bytes data = id.data;
  if (id.type == IdType::Fqdn || id.type == IdType::UserFqdn)
    for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(std::tolower(byte));
  Writer place;
  if (shared_identity(c)) {
    place.bytes(at.address.view());
    place.be(at.port);
  }
  const std::uint8_t type[] = {static_cast<std::uint8_t>(id.type), static_cast<std::uint8_t>(place.size())};
  const Bytes hash = crypto::digest(Prf::HmacSha2_256, {type, place.view(), data});
  Peer out{{}, id, asks_for_user(c) ? printable(id.data) : to_text(id)};
  std::copy_n(hash.begin(), out.key.size(), out.key.begin());
  return out;
}

bool elsewhere(const IsakmpSa& a, const IsakmpSa& b) {
  return a.remote.address != b.remote.address || (a.nat.remote && b.nat.remote && a.remote.port != b.remote.port);
}

bool alive_elsewhere(Core& core, const IsakmpSa& sa, std::size_t run) {
  return std::ranges::any_of(core.sas_of(run), [&](const IsakmpSa* old) {
    return old->id != sa.id && old->established() && !old->established()->remove_at && elsewhere(*old, sa);
  });
}

}  // namespace

bool can_initiate(const config::Connection& c) { return !c.remote_addrs.empty() && !c.local_addrs.empty(); }

std::optional<std::size_t> run_for(Core& core, std::size_t connection, Peer peer) {
  const config::Connection& c = core.config.connections.at(connection);
  if (!can_have_many(c)) return connection;
  if (const auto known = core.run_of_peer(connection, peer.key)) {
    if (!peer.text.empty()) core.set_peer(*known, std::move(peer));  // one of before a restart did not have its name
    return known;
  }
  // Where we may begin ourselves, the first peer is the one that we would have reached.
  if (can_initiate(c) && !core.quiet_run(connection).peer) {
    core.set_peer(connection, std::move(peer));
    return connection;
  }
  return core.add_run(connection, std::move(peer));
}

namespace {
std::expected<void, Refusal> settle(Core& core, TimePoint now, IsakmpSa& sa, std::size_t connection, const Id& id) {
  const config::Connection& c = core.config.connections.at(connection);
  const auto run = run_for(core, connection, peer_of(c, id, sa.remote));
  if (!run) return std::unexpected(Refusal{Reason::Limit, NotifyType::AuthenticationFailed, "There are too many peers."});
  if (c.unique == config::Unique::Keep && alive_elsewhere(core, sa, *run))
    return std::unexpected(Refusal{Reason::AlreadyConnected, NotifyType::AuthenticationFailed,
                                   to_text(id) + " has an ISAKMP SA from another address, which stays (unique: keep)."});
  if (*run == sa.connection) return {};
  const std::size_t before = sa.connection;
  core.reassign(sa, *run);
  // Somebody else than the peer of before has answered us: what was wanted of that one is still to be had, but not at once.
  if (sa.role == Role::Initiator) connecting_failed(core, now, before, {});
  return {};
}

}  // namespace

std::expected<void, Refusal> settle_peer(Core& core, TimePoint now, IsakmpSa& sa, std::size_t connection, const Id& id) {
  if (!asks_for_user(core.config.connections.at(connection))) return settle(core, now, sa, connection, id);
  if (sa.connection != connection) core.reassign(sa, connection);  // who it is, XAuth will tell
  return {};
}

std::expected<void, Refusal> settle_user(Core& core, TimePoint now, IsakmpSa& sa, const Bytes& user) {
  const std::size_t connection = core.quiet_run(sa.connection).connection;
  return settle(core, now, sa, connection, {IdType::KeyId, 0, 0, user});
}

void displace_others(Core& core, TimePoint now, IsakmpSa& sa) {
  // A NAT's new port for the same peer is no other place; and what we have begun leads where we wanted it to.
  const auto displaced = [&](const IsakmpSa& other) {
    const MmEstablished* est = other.established();
    return other.id != sa.id && est && other.role == Role::Responder && other.remote.address != sa.remote.address &&
           est->remote_id == sa.established()->remote_id && est->established <= sa.created;
  };
  if (sa.role != Role::Responder || core.connection(sa).unique != config::Unique::Replace) return;
  for (IsakmpSa* other : core.sas_of(sa.connection)) {
    if (!displaced(*other)) continue;
    std::vector<std::pair<std::size_t, std::uint64_t>> pairs;
    std::vector<SaName> names;
    for (const ChildRun& child : core.run(sa.connection).children)
      for (const ChildSa& pair : child.pairs)
        if (pair.remote.address == other->remote.address && pair.peer_id == sa.established()->remote_id && pair.established <= sa.created) {
          pairs.emplace_back(pair.child, pair.pair);
          names.push_back(inbound_name(pair));
        }
    for (const auto& [child, pair] : pairs) remove_pair(core, sa.connection, child, pair);
    close_isakmp(core, now, *other, Reason::Replaced, "The peer has connected from elsewhere: what it had there ends (unique: replace).",
                 names);
  }
}

void peer_moved(Core& core, std::size_t index, const Endpoint& at) {
  const ConnectionRun& run = core.quiet_run(index);
  if (!run.peer || !shared_identity(core.connection(index))) return;
  Peer moved = peer_of(core.connection(index), run.peer->id, at);
  if (!core.run_of_peer(run.connection, moved.key)) core.set_peer(index, std::move(moved));
}

}  // namespace culvert::ikev1
