// Checks of how the two sides of a connection prove who they are. What stands in the files of keys and certificates is control/auth's.
#include <algorithm>

#include "common/config/kinds.hpp"
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
  const bool psk = c.local_auth.auth == Proof::Psk || (c.version == 2 && c.remote_auth.auth == Proof::Psk);
  if (psk && at.clean({"secret"}) && c.secret.kind == SecretRef::Kind::None)
    at.key("secret").error("the key is missing: expected " + secret_reference().expects);
  if (!psk && at.node->find("secret"))
    at.key("secret").warning("no pre-shared key is used, since " +
                             std::string(c.version == 2 ? "neither side's auth is psk" : "local.auth is not psk"));
}

void check_local(const LocalAuth& auth, const Where& at) {
  if (auth.auth == Proof::Pubkey) {
    if (at.clean({"certs"}) && auth.certs.empty()) at.key("certs").error("expected the file of our certificate, since auth is pubkey");
    if (at.clean({"key"}) && auth.key.kind == SecretRef::Kind::None)
      at.key("key").error("expected the file of our private key, since auth is pubkey");
    return;
  }
  if (is_eap(auth.auth) && at.clean({"password"}) && auth.password.kind == SecretRef::Kind::None)
    at.key("password").error("expected the password of the user that we are, since auth is EAP");
  if (!auth.certs.empty()) at.key("certs").warning("no certificate is used, since auth is not pubkey");
  if (auth.key.kind != SecretRef::Kind::None) at.key("key").warning("no private key is used, since auth is not pubkey");
}

void check_remote(const RemoteAuth& auth, const Identity& id, const Where& at) {
  if (auth.auth == Proof::Pubkey) {
    if (!at.clean({"cacerts", "certs"})) return;
    if (auth.cacerts.empty() && auth.certs.empty())
      at.key("cacerts").error(
          "expected the file of an authority that is trusted (or the peer's certificate in certs), since auth is pubkey");
    if (id.type == Identity::Type::Any && !auth.cacerts.empty() && at.clean({"id"}))
      at.key("id").warning("without an identity, whoever has a certificate of these authorities is taken for this peer");
    if (auth.revocation == Revocation::Ignore)
      at.key("revocation").warning("a stolen key is good until its certificate expires, though it was revoked");
    return;
  }
  if (auth.auth == Proof::EapRadius && auth.users.kind != SecretRef::Kind::None)
    at.key("users").warning("no file of users is looked at, since auth is eap-radius");
  if (is_eap(auth.auth) && auth.auth != Proof::EapRadius && at.clean({"users"}) && auth.users.kind == SecretRef::Kind::None)
    at.key("users").error("expected the file of the users, since auth is EAP: without, nobody could come in");
  const auto unused = [&](const std::vector<std::string>& files, std::string_view key) {
    if (!files.empty()) at.key(key).warning("no certificate is looked at, since auth is not pubkey");
  };
  unused(auth.cacerts, "cacerts");
  unused(auth.certs, "certs");
  unused(auth.crls, "crls");
}

/// Keys of EAP that nothing comes of.
void check_eap_keys(const Connection& c, const Where& at) {
  const Where local = at.key("local"), remote = at.key("remote");
  static constexpr const char* kUnused = "no user is asked for, since auth is not EAP";
  const auto given = [](const SecretRef& ref) { return ref.kind != SecretRef::Kind::None; };
  if (!is_eap(c.local_auth.auth)) {
    if (!c.local_auth.eap_id.empty()) local.key("eap_id").warning(kUnused);
    if (given(c.local_auth.password)) local.key("password").warning(kUnused);
  }
  if (is_eap(c.remote_auth.auth)) return;
  if (c.remote_auth.eap_id != RemoteAuth{}.eap_id) remote.key("eap_id").warning(kUnused);
  if (given(c.remote_auth.users)) remote.key("users").warning(kUnused);
}

/// EAP proves a user to a gateway that has proved itself by a certificate before (RFC 7296 §2.16).
void check_eap(const Connection& c, const Where& at) {
  const Where local = at.key("local"), remote = at.key("remote");
  check_eap_keys(c, at);
  const bool client = is_eap(c.local_auth.auth), server = is_eap(c.remote_auth.auth);
  static constexpr std::string_view kWhy = ": EAP is done with a gateway that proves itself by a certificate (RFC 7296 §2.16)";
  if (client && c.remote_auth.auth != Proof::Pubkey)
    remote.key("auth").error("expected pubkey, since local.auth is EAP" + std::string(kWhy));
  else if (server && c.local_auth.auth != Proof::Pubkey)
    local.key("auth").error("expected pubkey, since remote.auth is EAP" + std::string(kWhy));
  const Where& where = client ? local : remote;
  if ((client ? c.local_auth.auth : c.remote_auth.auth) != Proof::EapMd5 || !at.clean({"allow_weak"})) return;
  if (std::ranges::find(c.allow_weak, kWeakEapMd5) == c.allow_weak.end())
    where.key("auth").error(
        "expected a method that still protects, but eap-md5 does not; where there is nothing better, name it in allow_weak of this "
        "connection");
  else
    where.key("auth").warning("eap-md5 makes no key, and whoever sees one login can try guesses of the password offline");
}

void warn_weak_certificates(const Connection& c, const Where& at) {
  if (c.remote_auth.auth != Proof::Pubkey && c.local_auth.auth != Proof::Pubkey) return;
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
  check_eap_keys(c, at);
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
  if (!c.ppk.id.empty() && (is_eap(c.local_auth.auth) || is_eap(c.remote_auth.auth)))
    return at.key("ppk_id").error("expected no such key beside EAP: a post-quantum pre-shared key goes with psk or pubkey");
  const bool secret = c.ppk.secret.kind != SecretRef::Kind::None;
  if (!c.ppk.id.empty() && !secret) at.key("ppk").error("the key is missing beside ppk_id: expected " + secret_reference().expects);
  if (c.ppk.id.empty() && (secret || c.ppk.required))
    at.key("ppk_id").error("the key is missing beside " + std::string(secret ? "ppk" : "ppk_required") +
                           ": expected the name that both sides know the key by");
  if (secret && c.secret.kind == c.ppk.secret.kind && c.secret.where == c.ppk.secret.where)
    at.key("ppk").error("expected another place than that of secret: who learns the one must not have the other");
}
}  // namespace

void validate_credentials(const Connection& c, const Where& at) {
  check_ppk(c, at);
  const Where local = at.key("local"), remote = at.key("remote");
  check_secret(c, at);
  check_local(c.local_auth, local);
  check_remote(c.remote_auth, c.remote_id, remote);
  warn_weak_certificates(c, at);
  if (c.version == 2) check_eap(c, at);
}

}  // namespace culvert::config
