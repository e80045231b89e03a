// Checks of how the two sides of a connection prove who they are. What stands in the files of keys and certificates is control/auth's.
#include <algorithm>

#include "common/config/kinds.hpp"
#include "common/config/rounds.hpp"
#include "common/config/schema_rounds.hpp"
#include "common/config/validate.hpp"

namespace culvert::config {

namespace {

/// IKEv1 signs in one way with each kind of key.
void check_wish(const Method& auth, const Where& side) {
  if (auth.signature != SignatureWish{})
    side.key("auth").error("expected psk, pubkey or xauth: with version: 1 the certificate's kind of key alone says how is signed");
}

/// RFC 2409 §5: phase 1 has one authentication method for both sides. Hybrid authentication is the one that is not symmetric.
void check_methods(const Connection& c, const Where& at) {
  const Proof local = c.local_auth.auth, remote = c.remote_auth.auth;
  for (const char* side : {"local", "remote"})
    if (is_eap(side[0] == 'l' ? local : remote))
      return at.key(side).key("auth").error("expected no EAP with version: 1, which has XAuth for that");
  if ((local == remote && local != Proof::Xauth) || (local == Proof::Pubkey && remote == Proof::Xauth)) return;
  if (local == Proof::Xauth) {
    if (remote != Proof::Pubkey) at.key("remote").key("auth").error("expected pubkey, since local.auth is xauth (hybrid authentication)");
    if (c.xauth_client.user.empty()) at.key("local").key("auth").error("expected xauth.user beside auth: xauth");
    return;
  }
  at.key("remote").key("auth").error(local == Proof::Psk
                                         ? "expected psk as in local.auth: in IKEv1 both sides prove themselves in one way"
                                         : "expected pubkey as in local.auth, or xauth: in IKEv1 both sides prove themselves in one way");
}

void check_secret(const Connection& c, const Where& at) {
  // In IKEv1 both sides prove themselves in one way; in IKEv2 each in its own (RFC 7296 §2.15).
  const bool psk = c.version == 2 ? any_proof(c, [](Proof p) { return p == Proof::Psk; }) : c.local_auth.auth == Proof::Psk;
  if (psk && at.clean({"secret"}) && c.secret.kind == SecretRef::Kind::None)
    at.key("secret").error("the key is missing: expected " + secret_reference().expects);
  if (!psk && at.node->find("secret"))
    at.key("secret").warning("no pre-shared key is used, since " +
                             std::string(c.version == 2 ? "neither side's auth is psk" : "local.auth is not psk"));
}

template <class Side>
std::string word(const Side& side) {
  return side.auth == Proof::EapTls ? "eap-tls" : "pubkey";
}

void check_local(const LocalAuth& auth, const Where& at) {
  if (by_certificate(auth.auth)) {
    if (at.clean({"certs"}) && auth.certs.empty())
      at.key("certs").error("expected the file of our certificate, since auth is " + word(auth));
    if (at.clean({"key"}) && auth.key.kind == SecretRef::Kind::None)
      at.key("key").error("expected the file of our private key, since auth is " + word(auth));
    return;
  }
  if (is_eap(auth.auth) && at.clean({"password"}) && auth.password.kind == SecretRef::Kind::None)
    at.key("password").error("expected the password of the user that we are, since auth is EAP");
  if (!auth.certs.empty()) at.key("certs").warning("no certificate is used, since auth is neither pubkey nor eap-tls");
  if (auth.key.kind != SecretRef::Kind::None) at.key("key").warning("no private key is used, since auth is neither pubkey nor eap-tls");
}

void check_remote(const RemoteAuth& auth, const Identity& id, const Where& at) {
  if (by_certificate(auth.auth)) {
    if (!at.clean({"cacerts", "certs"})) return;
    if (auth.cacerts.empty() && auth.certs.empty())
      at.key("cacerts").error("expected the file of an authority that is trusted (or the peer's certificate in certs), since auth is " +
                              word(auth));
    if (auth.auth == Proof::Pubkey && id.type == Identity::Type::Any && !auth.cacerts.empty() && at.clean({"id"}))
      at.key("id").warning("without an identity, whoever has a certificate of these authorities is taken for this peer");
    if (auth.revocation == Revocation::Ignore)
      at.key("revocation").warning("a stolen key is good until its certificate expires, though it was revoked");
    return;
  }
  if (auth.auth == Proof::EapRadius && auth.users.kind != SecretRef::Kind::None)
    at.key("users").warning("no file of users is looked at, since auth is eap-radius");
  if (by_password(auth.auth) && at.clean({"users"}) && auth.users.kind == SecretRef::Kind::None)
    at.key("users").error("expected the file of the users, since auth is EAP: without, nobody could come in");
  const auto unused = [&](const std::vector<std::string>& files, std::string_view key) {
    if (!files.empty()) at.key(key).warning("no certificate is looked at, since auth is neither pubkey nor eap-tls");
  };
  unused(auth.cacerts, "cacerts");
  unused(auth.certs, "certs");
  unused(auth.crls, "crls");
}

/// Keys of EAP that nothing comes of.
constexpr const char* kNoUserAsked = "no user is asked for, since auth is not EAP";
bool secret_given(const SecretRef& ref) { return ref.kind != SecretRef::Kind::None; }

void check_eap_keys(const LocalAuth& auth, const Where& local) {
  if (!is_eap(auth.auth)) {
    if (!auth.eap_id.empty()) local.key("eap_id").warning(kNoUserAsked);
    if (secret_given(auth.password)) local.key("password").warning(kNoUserAsked);
  }
  if (auth.auth == Proof::EapTls) {
    if (secret_given(auth.password)) local.key("password").warning("no password is used, since auth is eap-tls");
    if (auth.aaa_id.type == Identity::Type::KeyId)
      local.key("aaa_id").error("expected an identity that a certificate can carry: an address, a host name, user@domain or its subject");
  } else if (auth.aaa_id != Identity{}) {
    local.key("aaa_id").warning("no server of EAP-TLS is asked who it is, since auth is not eap-tls");
  }
}

void check_eap_keys(const RemoteAuth& auth, const Where& remote) {
  if (auth.auth == Proof::EapTls && secret_given(auth.users))
    remote.key("users").warning("no user is looked up, since auth is eap-tls: his certificate says who he is");
  if (is_eap(auth.auth)) return;
  if (auth.eap_id != RemoteAuth{}.eap_id) remote.key("eap_id").warning(kNoUserAsked);
  if (secret_given(auth.users)) remote.key("users").warning(kNoUserAsked);
}

/// EAP proves a user to a gateway that has proved itself by a certificate before (RFC 7296 §2.16).
void check_eap(const Connection& c, std::size_t round, const Where& at) {
  const Connection& r = proofs(c, round);
  const Where local = at.key(r.local_auth.place.section), remote = at.key(r.remote_auth.place.section);
  const bool client = proves_local(c, round) && is_eap(r.local_auth.auth), server = proves_remote(c, round) && is_eap(r.remote_auth.auth);
  if (!client && !server) return;
  static constexpr std::string_view kWhy = ": EAP is done with a gateway that proves itself by a certificate (RFC 7296 §2.16)";
  bool certificate = false;
  for (std::size_t k = 0; k <= round; ++k)
    certificate = certificate || (client ? proofs(c, k).remote_auth.auth : proofs(c, k).local_auth.auth) == Proof::Pubkey;
  const std::string section = client ? r.local_auth.place.section : r.remote_auth.place.section;
  if (!certificate && client)
    remote.key("auth").error("expected pubkey, since " + section + ".auth is EAP" + std::string(kWhy));
  else if (!certificate)
    local.key("auth").error("expected pubkey, since " + section + ".auth is EAP" + std::string(kWhy));
  const Proof method = client ? r.local_auth.auth : r.remote_auth.auth;
  const Proof other = client ? r.remote_auth.auth : r.local_auth.auth;
  if (certificate && method == Proof::EapTls && other != Proof::Pubkey)
    (client ? remote : local)
        .key("auth")
        .error("expected pubkey, since " + section + ".auth is eap-tls, which takes the certificate of it");
  const Where& where = client ? local : remote;
  if ((client ? r.local_auth.auth : r.remote_auth.auth) != Proof::EapMd5 || !at.clean({"allow_weak"})) return;
  if (std::ranges::find(c.allow_weak, kWeakEapMd5) == c.allow_weak.end())
    where.key("auth").error(
        "expected a method that still protects, but eap-md5 does not; where there is nothing better, name it in allow_weak of this "
        "connection");
  else
    where.key("auth").warning("eap-md5 makes no key, and whoever sees one login can try guesses of the password offline");
}

void warn_weak_certificates(const Connection& c, const Where& at) {
  if (!any_proof(c, by_certificate)) return;
  for (std::size_t i = 0; i < c.allow_weak.size(); ++i)
    if (c.allow_weak[i] == kWeakRsa || c.allow_weak[i] == kWeakCertificateHash)
      at.key("allow_weak")
          .item(i)
          .warning("certificates with " + std::string(c.allow_weak[i] == kWeakRsa ? "RSA keys below 2048 bits" : "SHA-1") +
                   " are taken from this peer; who can afford it forges them");
}

void check_aggressive(const Connection& c, const Where& at) {
  static constexpr std::string_view kPrice = "aggressive_psk_exposes_hash_to_offline_guessing";
  if (!at.clean({"aggressive", kPrice, "proposals", "remote_addrs"})) return;
  const bool psk = c.local_auth.auth == Proof::Psk;
  if (c.aggressive_psk_exposes_hash && !(c.aggressive && psk))
    at.key(kPrice).warning("nothing is exposed, since " + std::string(c.aggressive ? "local.auth is not psk" : "aggressive is not set"));
  if (!c.aggressive) return;
  if (psk && c.aggressive_psk_exposes_hash)
    at.key(kPrice).warning(
        "whoever sends one datagram gets a hash of the secret, and can try guesses of it offline, as many and as fast as his machines "
        "allow: "
        "use a secret of 20 random characters or more, or certificates");
  if (psk && !c.aggressive_psk_exposes_hash && c.remote_addrs.empty())
    at.key("aggressive")
        .error("expected " + std::string(kPrice) +
               " beside it: without, Aggressive Mode with a pre-shared key is only initiated, and remote_addrs names "
               "nobody to begin with");
  for (const IkeSuite& s : c.proposals)
    if (s.group != c.proposals.front().group) {
      at.key("proposals")
          .warning("Aggressive Mode offers only what has the group of the first one, so " + s.to_string() + " is for peers that begin");
      break;
    }
}

}  // namespace

void validate_auth(const Connection& c, const Where& at) {
  const Where local = at.key("local"), remote = at.key("remote");
  if (!local.clean({"auth"}) || !remote.clean({"auth"})) return;
  check_wish(c.local_auth.auth, local);
  check_wish(c.remote_auth.auth, remote);
  check_methods(c, at);
  check_aggressive(c, at);
  check_eap_keys(c.local_auth, local);
  check_eap_keys(c.remote_auth, remote);
  validate_rounds(c, at);
  validate_credentials(c, at);
}

namespace {
/// All keys of it, or none; and IKEv1 has nothing of the kind.
void check_ppk(const Connection& c, const Where& at) {
  if (c.version == 1) {
    const auto refuse = [&](bool given, std::string_view key) {
      if (given) at.key(key).error("expected no such key with version: 1: post-quantum pre-shared keys are of IKEv2 (RFC 8784)");
    };
    refuse(!c.ppk.id.empty(), "ppk_id");
    refuse(c.ppk.secret.kind != SecretRef::Kind::None, "ppk");
    return refuse(c.ppk.required, "ppk_required");
  }
  if (!at.clean({"ppk_id", "ppk"})) return;
  const bool secret = c.ppk.secret.kind != SecretRef::Kind::None;
  if (!c.ppk.id.empty() && !secret) at.key("ppk").error("the key is missing beside ppk_id: expected " + secret_reference().expects);
  if (c.ppk.id.empty() && (secret || c.ppk.required))
    at.key("ppk_id").error("the key is missing beside " + std::string(secret ? "ppk" : "ppk_required") +
                           ": expected the name that both sides know the key by");
  if (secret && c.secret.kind == c.ppk.secret.kind && c.secret.where == c.ppk.secret.where)
    at.key("ppk").error("expected another place than that of secret: who learns the one must not have the other");
  const SecretRef& password = c.local_auth.password;
  if (secret && password.kind == c.ppk.secret.kind && password.where == c.ppk.secret.where)
    at.key("ppk").error("expected another place than that of the password: who learns the one must not have the other");
}
}  // namespace

void validate_credentials(const Connection& c, const Where& at) {
  check_ppk(c, at);
  check_secret(c, at);
  for (std::size_t k = 0; k < rounds_of(c); ++k) {
    const Connection& r = proofs(c, k);
    const Where local = at.key(r.local_auth.place.section), remote = at.key(r.remote_auth.place.section);
    if (!local.clean({"auth"}) || !remote.clean({"auth"})) continue;
    if (proves_local(c, k)) check_local(r.local_auth, local);
    if (proves_remote(c, k)) check_remote(r.remote_auth, r.remote_id, remote);
    if (c.version != 2) continue;
    if (proves_local(c, k)) check_eap_keys(r.local_auth, local);
    if (proves_remote(c, k)) check_eap_keys(r.remote_auth, remote);
    check_eap(c, k, at);
  }
  warn_weak_certificates(c, at);
}

}  // namespace culvert::config
