// How the two sides of a connection prove who they are, as the file says it. Owns types only; config.hpp has the whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::config {

/// Where a secret is: "file:/etc/culvert/psk" (one trailing newline is cut) or "env:NAME". Inline secrets are refused.
struct SecretRef {
  enum class Kind : std::uint8_t { None, File, Env } kind{};
  std::string where;
};

/// RFC 2407 §4.6.2. A peer's may be a pattern: "*.example" and "*@example" for all names that end so, "C=CH, O=*" for all names with
/// just these attributes.
struct Identity {
  enum class Type : std::uint8_t { Any, IpAddr, Fqdn, UserFqdn, Dn, KeyId } type{};
  std::string text = "%any";  ///< "10.9.0.1", "gw.example", "ops@gw.example", "C=CH, O=Example, CN=gw", "keyid:group7"; "%any" for Any
  Bytes name{};               ///< Dn: its DER form
  /// Whether several peers may be meant.
  [[nodiscard]] bool pattern() const { return type == Type::Any || text.find('*') != std::string::npos; }
  friend bool operator==(const Identity&, const Identity&) = default;
};
inline constexpr std::string_view kKeyIdPrefix = "keyid:";  ///< in front of the name of an ID_KEY_ID, as swanctl has it

/// How a side proves who it is in phase 1 (`auth` of local and remote).
enum class Proof : std::uint8_t {
  Psk,
  Pubkey,       ///< a signature with the key of a certificate
  Xauth,        ///< remote only, hybrid authentication: nothing in phase 1, user name and password behind it
  EapMschapv2,  ///< IKEv2: a user name and a password, behind the other side's signature (RFC 7296 §2.16)
  EapMd5,       ///< the same with a method that makes no key
  EapRadius,    ///< remote only: by whichever method a RADIUS server asks for (RFC 3579)
  EapTls,       ///< IKEv2: TLS inside of EAP, in which both sides have certificates (RFC 5216, RFC 9190)
};
inline bool by_password(Proof p) { return p == Proof::EapMschapv2 || p == Proof::EapMd5; }
inline bool is_eap(Proof p) { return by_password(p) || p == Proof::EapRadius || p == Proof::EapTls; }
inline bool by_certificate(Proof p) { return p == Proof::Pubkey || p == Proof::EapTls; }
enum class Revocation : std::uint8_t {
  Ignore,  ///< neither CRL nor OCSP is looked at
  IfUri,   ///< where the certificate names a place to ask, the answer must be good
  Strict,  ///< no certificate without a good answer
};
/// With what a signature is made, or the peer's must be made, in the words of swanctl: "rsa/pss-sha384", "ecdsa-sha512", "ed25519".
/// IKEv2 only; it does not concern what certificates are signed with.
struct SignatureWish {
  enum class Key : std::uint8_t { Any, Rsa, RsaPss, Ecdsa, Ed25519, Ed448 };  ///< Rsa: PKCS #1 v1.5
  enum class Hash : std::uint8_t { Sha256, Sha384, Sha512 };
  Key key{};
  std::vector<Hash> hashes{};  ///< the preferred one first; none: any
  friend bool operator==(const SignatureWish&, const SignatureWish&) = default;
};
std::string signature_text(const SignatureWish& wish);                ///< "rsa/pss-sha384"
std::optional<SignatureWish> parse_signature(std::string_view text);  ///< the other way round; nullopt: it is none
/// Whether a pattern of `eap_id` ("%any", a name, or a part of it with * in front or behind) is about the user.
[[nodiscard]] bool is_user(const std::string& pattern, std::string_view user);
/// `auth` of a side.
struct Method {
  Proof proof{};
  SignatureWish signature{};                          ///< of Pubkey
  Method(Proof p = Proof::Psk, SignatureWish s = {})  // NOLINT(google-explicit-constructor): most wish for nothing
      : proof(p), signature(std::move(s)) {}
  operator Proof() const { return proof; }  // NOLINT(google-explicit-constructor): as most look at it
};
/// Where a proof stands among those of its side (RFC 4739).
struct Place {
  std::string section;      ///< "local", "remote-eap": the map that it is read from
  std::uint16_t round = 0;  ///< sections are in the order of these, then of the file
};
struct LocalAuth {
  Method auth{};
  std::vector<std::string> certs;  ///< files, PEM or DER: the end entity's, then intermediate authorities'
  SecretRef key;                   ///< the private key, PEM or DER, not encrypted
  std::string eap_id;              ///< with EAP, the user that we are; empty: the identity
  Identity aaa_id{};               ///< with EapTls, whose certificate the server of EAP has; Any: the peer's of IKE
  SecretRef password;              ///< with EAP
  Place place{.section = "local"};
};
struct RemoteAuth {
  Method auth{};
  std::vector<std::string> cacerts;  ///< files: trust anchors of this connection
  std::vector<std::string> certs;    ///< files: end entities that are trusted as they are
  std::vector<std::string> crls;     ///< files: revocation lists
  Revocation revocation = Revocation::IfUri;
  std::string eap_id = "%any";  ///< with EAP, users whose name this is: %any, a name, or a pattern with one * at an end
  SecretRef users;              ///< with EAP, as in XauthServer
  Place place{.section = "remote"};
};
/// A section local-SUFFIX or remote-SUFFIX.
struct LocalSide {
  Identity id;
  LocalAuth auth;
};
struct RemoteSide {
  Identity id;
  RemoteAuth auth;
};
inline constexpr std::size_t kMaxRounds = 3;  ///< proofs of one side

/// A post-quantum pre-shared key (RFC 8784): mixed into the keys of an IKE SA, so that they are safe even if its key exchange is not. No
/// id: none.
struct Ppk {
  std::string id;  ///< that both sides know it by
  SecretRef secret;
  bool required = false;  ///< nothing comes about without; else the peer may lack it
};

/// XAuth (draft-beaulieu-ike-xauth-02) behind phase 1, we prove ourselves. No user: none.
struct XauthClient {
  std::string user;
  SecretRef password;
};
/// The peer proves itself by a user name and a password. No users: none.
struct XauthServer {
  SecretRef users;  ///< a file of mode 0600, "name:hash" a line (control/config/users.hpp)
};

}  // namespace culvert::config
