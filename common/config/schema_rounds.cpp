#include "common/config/schema_rounds.hpp"

#include "common/config/rounds.hpp"

namespace culvert::config {

Section<Place> place_section() {
  return Section<Place>().key("round", &Place::round, number<std::uint16_t>(0, 1000),
                              "With several sections of a side, their order; those with the same number are in the order of the file.");
}

void add_further_sides(Section<Connection>& connection, const Section<LocalAuth>& local, const Section<RemoteAuth>& remote) {
  const auto ours = Section<LocalSide>()
                        .key("id", &LocalSide::id, identity(), "Who we say we are with this proof.")
                        .derived("the first of local_addrs, with pubkey the subject of the certificate")
                        .keys_of(&LocalSide::auth, local);
  const auto theirs = Section<RemoteSide>()
                          .key("id", &RemoteSide::id, identity_pattern(), "Who the peer must say it is with this proof.")
                          .keys_of(&RemoteSide::auth, remote);
  connection
      .further("local", &Connection::more_local, ours,
               "With version: 2, further proofs of ours behind that of local, each in a section local-SUFFIX with the keys of local (RFC "
               "4739): up to three in all, of which one may be psk and one EAP. The peer has as many remote sections.")
      .example("{id: gw-a.example, auth: psk}")
      .further("remote", &Connection::more_remote, theirs,
               "The same of the peer: whoever lacks one of them does not come in. With EAP in one of them the peer is that user, by whose "
               "name it has addresses of pools and is listed; without, it is who it is by the first one.")
      .example("{auth: eap-mschapv2, users: \"file:/etc/culvert/users\"}");
}

namespace {

template <class Side, class Auth>
void order_side(const At& at, std::string_view base, std::vector<Side>& more, Identity& id, Auth& auth) {
  if (more.empty()) return;
  std::size_t before = 0;
  for (const auto& entry : at.node.entries) {
    if (entry.key == base) {
      more.insert(more.begin() + static_cast<std::ptrdiff_t>(std::min(before, more.size())), Side{id, auth});
      break;
    }
    if (is_further(base, entry.key)) ++before;
  }
  std::ranges::stable_sort(more, {}, [](const Side& side) { return side.auth.place.round; });
  id = more.front().id;
  auth = more.front().auth;
  more.erase(more.begin());
}

/// As of a single side: who proves itself by the secret is its address, unless the file says otherwise.
void name_ourselves(const At& at, const Connection& c, Identity& id, const LocalAuth& auth) {
  const Node* section = at.node.find(auth.place.section);
  if ((!section || !section->find("id")) && !c.local_addrs.empty() && auth.auth == Proof::Psk)
    id = {Identity::Type::IpAddr, c.local_addrs.front().to_string()};
}

}  // namespace

void order_sides(const At& at, Connection& c) {
  order_side(at, "local", c.more_local, c.local_id, c.local_auth);
  order_side(at, "remote", c.more_remote, c.remote_id, c.remote_auth);
  name_ourselves(at, c, c.local_id, c.local_auth);
  for (LocalSide& side : c.more_local) name_ourselves(at, c, side.id, side.auth);
  arrange_rounds(c);
}

namespace {

/// Whether a section proves no more than an earlier one: by the same certificate or private key of ours, or the one of the peer's that
/// both take.
bool same_credential(const LocalAuth& a, const LocalAuth& b) {
  const bool certificate = !a.certs.empty() && !b.certs.empty() && a.certs.front() == b.certs.front();
  return certificate || (a.key.kind != SecretRef::Kind::None && a.key.kind == b.key.kind && a.key.where == b.key.where);
}
bool same_credential(const RemoteAuth& a, const RemoteAuth& b) {
  return a.cacerts.empty() && b.cacerts.empty() && a.certs.size() == 1 && a.certs == b.certs;
}

/// So many of a side, of which each proves something that the others do not.
template <class Proofs>
void check_side(const Connection& c, const Where& at, std::size_t count, Proofs of) {
  std::size_t secrets = 0, users = 0;
  for (std::size_t k = 0; k < count; ++k) {
    const auto& auth = of(proofs(c, k));
    const Where here = at.key(auth.place.section);
    if (k >= kMaxRounds) here.error("expected at most " + std::to_string(kMaxRounds) + " sections of a side");
    if (auth.auth == Proof::Xauth && k > 0) here.key("auth").error("expected psk, pubkey or EAP, got xauth: XAuth is of IKEv1");
    if (auth.auth == Proof::Psk && ++secrets == 2)
      here.key("auth").error("expected another proof: the secret of the connection is shown by another section already");
    for (std::size_t before = 0; before < k; ++before) {
      const auto& other = of(proofs(c, before));
      if (by_certificate(auth.auth) && by_certificate(other.auth) && here.clean({"certs", "key"}) && same_credential(auth, other))
        here.key("certs").error("expected another certificate: that of " + other.place.section +
                                " proves nothing more by being shown again (RFC 4739)");
    }
    if (is_eap(auth.auth) && ++users == 2) here.key("auth").error("expected at most one section with EAP of a side");
  }
}

std::optional<std::size_t> first_user(const Connection& c, std::size_t count, bool ours) {
  for (std::size_t k = 0; k < count; ++k)
    if (is_eap(ours ? proofs(c, k).local_auth.auth : proofs(c, k).remote_auth.auth)) return k;
  return std::nullopt;
}

/// A gateway has proved all that it has to prove, and something by a certificate, before it is told anything of a user.
void check_user(const Connection& c, const Where& at, bool ours) {
  const auto user = first_user(c, ours ? c.local_rounds : c.remote_rounds, ours);
  if (!user) return;
  const auto& last = proofs(c, rounds_of(c) - 1);
  const std::size_t gateway = ours ? c.remote_rounds : c.local_rounds;
  if (gateway > *user + 1)
    at.key(ours ? last.remote_auth.place.section : last.local_auth.place.section)
        .error("expected no more sections of a gateway than there are of its peer up to the one with EAP");
}

}  // namespace

void validate_rounds(const Connection& c, const Where& at) {
  if (c.rounds.empty()) return;
  const auto& second = c.rounds.front();
  if (c.version == 1)
    return at.key(c.local_rounds > 1 ? second.local_auth.place.section : second.remote_auth.place.section)
        .error("expected one section of each side with version: 1: several proofs are of IKEv2 (RFC 4739)");
  check_side(c, at, c.local_rounds, [](const Connection& r) -> const LocalAuth& { return r.local_auth; });
  check_side(c, at, c.remote_rounds, [](const Connection& r) -> const RemoteAuth& { return r.remote_auth; });
  check_user(c, at, true);
  check_user(c, at, false);
  for (const LocalSide& side : c.more_local) {
    const Where here = at.key(side.auth.place.section);
    if (here.clean({"id"}) && here.node->find("id") && side.id.type == Identity::Type::Any)
      here.key("id").error("expected an identity of our own, got '%any'");
  }
  if (!c.ppk.id.empty() && at.clean({"ppk_id"}))
    at.key("ppk_id").error("expected no such key beside several sections of a side: a post-quantum pre-shared key goes with one proof");
}

}  // namespace culvert::config
