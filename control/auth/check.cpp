#include "control/auth/check.hpp"

#include <algorithm>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"
#include "common/dn.hpp"
#include "control/auth/credentials.hpp"
#include "control/auth/verify.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev2/eap/tls.hpp"
#include "control/ikev2/signatures.hpp"

namespace culvert::control::auth {

namespace {

constexpr std::chrono::hours kSoon{24 * 14};

void about_dates(std::vector<Finding>& out, const crypto::Certificate& c, const char* side, const char* key, crypto::WallTime now) {
  if (const auto why = crypto::outside_validity(c, now)) {
    out.push_back({false, side, key, 0, why->message});
  } else if (c.not_after() - now < kSoon) {
    out.push_back({false, side, key, 0, crypto::described(c) + " ends soon: " + crypto::shown(c.not_after())});
  }
}

bool edwards(ike::AuthMethod key) { return key == ike::AuthMethod::Ed25519 || key == ike::AuthMethod::Ed448; }

/// Whether the version of IKE has signatures of this kind of key, and `auth` asks for them.
void about_key(std::vector<Finding>& out, const config::Connection& c, ike::AuthMethod key, const char* side, const char* at,
               std::size_t index) {
  const std::string got = "; this one is for " + std::string(ike::name(key)) + " signatures";
  if (c.version == 1 && edwards(key))
    out.push_back({true, side, at, index, "expected an RSA or ECDSA key: IKEv1 has no signatures with another; version: 2 has" + got});
  const bool ours = std::string_view(side) == "local";
  const config::SignatureWish& wish = ours ? c.local_auth.auth.signature : c.remote_auth.auth.signature;
  if (!ikev2::fits(wish, key))
    out.push_back(
        {true, side, at, index,
         "expected a key that makes the signatures of auth, " + std::string(ours ? "" : "ike:") + config::signature_text(wish) + got});
}

void about_own(std::vector<Finding>& out, const config::Connection& c, ParsedFiles& files, crypto::WallTime now) {
  const auto own = read_own(c, files);
  if (!own) {
    out.push_back({true, "local", own.error().key, own.error().index, own.error().message});
    return;
  }
  const crypto::Certificate& certificate = own->chain.front();
  for (const auto& one : own->chain) about_dates(out, one, "local", "certs", now);
  if (const auto unfit = certificate.unfit_for_ike())
    out.push_back({false, "local", "certs", 0, crypto::described(certificate) + " may be refused by peers: " + *unfit});
  about_key(out, c, own->key.method(), "local", "key", 0);
  const bool users = !c.xauth_client.user.empty() || c.xauth_server.users.kind != config::SecretRef::Kind::None;
  if (users && own->key.method() != ike::AuthMethod::RsaSignature && !edwards(own->key.method()))
    out.push_back({true, "local", "key", 0,
                   "expected an RSA key, since users are asked for (xauth): IKEv1 has that with no other; this one is for " +
                       std::string(ike::name(own->key.method()))});
  if (c.local_auth.auth == config::Proof::EapTls && !c.local_auth.eap_id.empty()) {
    const auto name = eap::certificate_name(c.local_auth.eap_id);
    if (!carries(certificate, name.id_type, name.data))
      out.push_back({true, "local", "eap_id", 0, "expected a name of the certificate, which says " + identities_of(certificate)});
    return;
  }
  if (c.local_id.type == config::Identity::Type::Any) return;  // the subject it will be
  const auto id = ikev1::to_id(c.local_id, IpAddress{});
  if (!carries(certificate, static_cast<std::uint8_t>(id.type), id.data))
    out.push_back({true, "local", "id", 0, "expected an identity of the certificate, which says " + identities_of(certificate)});
}

/// A certificate that is trusted as it is can be asked about only by its issuer.
void about_issuer(std::vector<Finding>& out, const crypto::Certificate& c, const Trust& trust,
                  const std::vector<crypto::RevocationList>& lists) {
  const auto issued = [&](const Bytes& name) { return same_name(name, c.issuer()); };
  if (std::ranges::any_of(trust.anchors, [&](const auto& a) { return issued(a.subject()); })) return;
  const bool listed = std::ranges::any_of(lists, [&](const auto& l) { return issued(l.issuer()); });
  if (!listed && trust.revocation != config::Revocation::Strict) return;
  out.push_back({true, "remote", "certs", 0,
                 crypto::described(c) + " will be refused: whether it is revoked (" +
                     (listed ? "crls has a list of its issuer" : "revocation: strict") +
                     ") can be learnt only with its issuer in cacerts"});
}

void about_trust(std::vector<Finding>& out, const config::Connection& c, ParsedFiles& files, crypto::WallTime now) {
  const auto trust = read_trust(c, files);
  if (!trust) {
    out.push_back({true, "remote", trust.error().key, trust.error().index, trust.error().message});
    return;
  }
  for (const auto& one : trust->anchors) about_dates(out, one, "remote", "cacerts", now);
  for (const auto& one : trust->pinned) about_dates(out, one, "remote", "certs", now);
  // The keys of pinned certificates have been looked at when they were read.
  for (std::size_t i = 0; i < trust->pinned.size(); ++i) about_key(out, c, trust->pinned[i].key()->method(), "remote", "certs", i);
  const auto lists = read_lists(c, files);
  if (!lists) {
    out.push_back({true, "remote", lists.error().key, lists.error().index, lists.error().message});
  } else if (trust->revocation != config::Revocation::Ignore) {
    for (const auto& one : trust->pinned) about_issuer(out, one, *trust, *lists);
  }
}

/// The key of ours, or the only one of the peer's that may prove a side in a round; empty: there is none, or it cannot be read.
Bytes only_key(const config::Connection& round, bool ours, ParsedFiles& files) {
  if (ours) {
    const auto own = read_own(round, files);
    return own ? key_name(own->chain.front()) : Bytes();
  }
  const auto trust = read_trust(round, files);
  return trust && trust->anchors.empty() && trust->pinned.size() == 1 ? key_name(trust->pinned.front()) : Bytes();
}

/// Two files with one key are as good as one (RFC 4739: each round proves something else).
void about_repetition(std::vector<Finding>& out, const config::Connection& c, bool ours, ParsedFiles& files) {
  std::vector<Bytes> before;
  for (std::size_t k = 0; k < config::rounds_of(c); ++k) {
    const config::Connection& r = config::proofs(c, k);
    if (ours ? !config::proves_local(c, k) || !config::by_certificate(r.local_auth.auth)
             : !config::proves_remote(c, k) || !config::by_certificate(r.remote_auth.auth))
      continue;
    Bytes key = only_key(r, ours, files);
    if (key.empty()) continue;
    if (std::ranges::find(before, key) != before.end())
      out.push_back({true, ours ? r.local_auth.place.section : r.remote_auth.place.section, "certs", 0,
                     "expected a certificate of another key than an earlier section's, which proves nothing more by being shown again "
                     "(RFC 4739)"});
    before.push_back(std::move(key));
  }
}

}  // namespace

std::vector<Finding> findings(const config::Connection& c, ParsedFiles& files, crypto::WallTime now) {
  std::vector<Finding> out;
  for (std::size_t k = 0; k < config::rounds_of(c); ++k) {
    const config::Connection& r = config::proofs(c, k);
    std::vector<Finding> found;
    if (config::proves_local(c, k) && config::by_certificate(r.local_auth.auth)) about_own(found, r, files, now);
    if (config::proves_remote(c, k) && config::by_certificate(r.remote_auth.auth)) about_trust(found, r, files, now);
    for (Finding& f : found) {
      f.side = f.side == "local" ? r.local_auth.place.section : r.remote_auth.place.section;
      out.push_back(std::move(f));
    }
  }
  if (c.rounds.empty()) return out;
  about_repetition(out, c, true, files);
  about_repetition(out, c, false, files);
  return out;
}

void check_files(const config::GatewayConfig& config, const config::Where& root, crypto::WallTime now) {
  ParsedFiles files;
  const config::Where connections = root.key("connections");
  for (std::size_t i = 0; i < config.connections.size(); ++i) {
    const config::Where here = connections.entry(i);
    if (!here.clean({"local", "remote"})) continue;
    const auto& rounds = config.connections[i].rounds;
    if (std::ranges::any_of(
            rounds, [&](const config::Connection& r) { return !here.clean({r.local_auth.place.section, r.remote_auth.place.section}); }))
      continue;
    for (const Finding& f : findings(config.connections[i], files, now)) {
      config::Where at = here.key(f.side).key(f.key);
      if (f.key != "key" && f.key != "id" && f.key != "eap_id") at = at.item(f.index);
      if (f.error) {
        at.error(f.message);
      } else {
        at.warning(f.message);
      }
    }
  }
}

}  // namespace culvert::control::auth
