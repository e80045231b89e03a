#include "control/ikev2/peers.hpp"

#include <algorithm>
#include <cctype>

#include "common/config/selectors.hpp"
#include "control/crypto/hash.hpp"
#include "control/ikev2/children.hpp"
#include "control/ikev2/exchange_create_child.hpp"
#include "control/ikev2/lifecycle.hpp"

namespace culvert::ikev2 {

namespace {

std::optional<PeerKey> key_of(const config::Connection& c, const ikev1::Id& id, const Endpoint& at) {
  if (!config::waits_for_many(c)) return std::nullopt;
  // Names compare without regard to case (RFC 4343 §3), and so matches() does.
  Bytes data = id.data;
  if (id.type == ikev1::IdType::Fqdn || id.type == ikev1::IdType::UserFqdn)
    for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(std::tolower(byte));
  Writer place;
  if (shared_identity(c)) {
    place.bytes(at.address.view());
    place.be(at.port);
  }
  const std::uint8_t type[] = {static_cast<std::uint8_t>(id.type), static_cast<std::uint8_t>(place.size())};
  const Bytes hash = crypto::digest(Prf::HmacSha2_256, {type, place.view(), data});
  PeerKey out{};
  std::copy_n(hash.begin(), out.size(), out.begin());
  return out;
}

/// What else the identity has of this connection. Of one that can have many peers the key tells, of another one the name, whose case does
/// not count.
template <class Test>
std::vector<IkeSa*> others(Core& core, const IkeSa& sa, const std::string& identity, const std::optional<PeerKey>& key, Test&& test) {
  const auto same = [&](const IkeSa& other) {
    if (key) return other.peer == key;
    const auto equal = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
    return std::ranges::equal(other.remote_id, identity, equal);
  };
  std::vector<IkeSa*> out;
  for (IkeSa* other : core.sas_with(sa, identity))
    if (other->id != sa.id && other->established() && same(*other) && test(*other)) out.push_back(other);
  return out;
}

/// It may still carry packets by that: another culvertd than before, with the SAs of the former one.
void forget_slowly(Core& core, TimePoint now, IkeSa& old) {
  abandon_request(core, old);
  abandon_answering(core, old);
  old.tasks.clear();
  for (Child& child : old.children) child.due = true;  // nothing of it is replaced any more
  old.established()->replaced = old.established()->forgotten = true;
  old.established()->until = now + kGrace;
  core.touch(old);
}

}  // namespace

bool shared_identity(const config::Connection& c) { return c.unique == config::Unique::Never || c.unique == config::Unique::No; }

std::vector<std::size_t> connections_for(const Core& core, const IkeSa& sa) {
  std::vector<std::size_t> out = core.shared.by_peer.candidates(sa.local, sa.remote.address, 2);
  std::erase_if(out, [&](std::size_t i) {
    const auto& proposals = core.config.connections[i].proposals;
    return std::ranges::find(proposals, sa.suite) == proposals.end();
  });
  return out;
}

std::optional<IdR> wanted_id(const config::Identity& remote) {
  if (remote.pattern()) return std::nullopt;
  return own_id<IdR>(remote, {});
}

bool is_own(const config::Identity& own, const IpAddress& local, const IdR& wanted) {
  if (own.type == config::Identity::Type::Any) return own_id<IdR>(own, local) == wanted;
  return matches(own, wanted);
}

std::optional<PeerKey> peer_key(const config::Connection& c, const IdI& id, const Endpoint& at) { return key_of(c, as_v1(id), at); }
std::optional<PeerKey> peer_key(const config::Connection& c, const IdR& id, const Endpoint& at) { return key_of(c, as_v1(id), at); }

bool can_initiate(const config::Connection& c) { return !c.remote_addrs.empty() && !c.local_addrs.empty(); }

bool elsewhere_stays(Core& core, const IkeSa& sa, const std::string& identity, const std::optional<PeerKey>& key) {
  if (core.connection(sa).unique != config::Unique::Keep) return false;
  return !others(core, sa, identity, key, [&](const IkeSa& o) {
            return !o.established()->replaced && o.remote.address != sa.remote.address;
          }).empty();
}

void peer_restarted(Core& core, TimePoint now, IkeSa& sa) {
  const config::Unique unique = core.connection(sa).unique;
  if (unique == config::Unique::Never) return;
  // With `unique: no` an identity has a key for each place, and means all of them.
  const auto key = unique == config::Unique::No ? std::nullopt : sa.peer;
  // What has come up since the peer began this SA it could not know of when it said so.
  const auto gone = others(core, sa, sa.remote_id, key, [&](const IkeSa& o) { return o.established()->since < sa.created; });
  const std::string text = "The peer has begun anew (INITIAL_CONTACT): what it had before ends.";
  for (IkeSa* old : gone) {
    if (old->peer != sa.peer) {
      close_sa(core, now, *old, Reason::Replaced, text);
      continue;
    }
    core.say(*old, Severity::Info, Exchange::IkeAuth, Reason::Replaced, text);
    forget_slowly(core, now, *old);
  }
}

void displace_others(Core& core, TimePoint now, IkeSa& sa) {
  if (sa.role != Role::Responder || core.connection(sa).unique != config::Unique::Replace) return;
  const auto displaced = others(core, sa, sa.remote_id, sa.peer,
                                [&](const IkeSa& o) { return o.role == Role::Responder && o.remote.address != sa.remote.address; });
  for (IkeSa* old : displaced)
    close_sa(core, now, *old, Reason::Replaced, "The peer has connected from elsewhere: what it had there ends (unique: replace).");
}

TimePoint last_sign_of_peer(Core& core, const IkeSa& sa) {
  TimePoint out = sa.last_heard;
  if (sa.unproven()) return out;
  for (const IkeSa* one : core.sas_with(sa, sa.remote_id))
    if (one->peer == sa.peer) out = std::max(out, one->last_heard);
  return out;
}

}  // namespace culvert::ikev2
