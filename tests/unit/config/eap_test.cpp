// Connections whose peers, or whose own side, are users of EAP: what is read, what is missing, what is refused.
#include <string>
#include <tuple>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/remote_access.hpp"
#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace culvert::test;

namespace {
const std::string kSides = "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n";
const std::string kGateway = "    local: {auth: pubkey, id: gw-a.example, certs: /a.pem, key: \"file:/a.key\"}\n";
/// A gateway for users, whose remote side has this in it.
std::string users(const std::string& remote, const std::string& more = "") {
  return with(kSides, kGateway + "    remote: {" + remote + "}\n" + more);
}
std::string user(const std::string& local, const std::string& more = "") {
  return with(kSides,
              "    local: {id: gw-a.example, " + local + "}\n    remote: {auth: pubkey, id: gw-b.example, cacerts: /ca.pem}\n" + more);
}
}  // namespace

TEST_CASE("users of EAP, and a user's side of it", "[config][version][eap]") {
  const Connection gateway = connection(users("auth: eap-mschapv2, users: \"file:/u\""));
  CHECK(gateway.remote_auth.auth == Proof::EapMschapv2);
  CHECK(gateway.remote_auth.eap_id == "%any");
  CHECK(gateway.remote_auth.users.where == "/u");
  CHECK(connection(users("auth: eap-mschapv2, users: \"file:/u\", eap_id: \"*@example.org\"")).remote_auth.eap_id == "*@example.org");
  const Connection own = connection(user("auth: eap-mschapv2, eap_id: branch-7, password: \"file:/p\""));
  CHECK(own.local_auth.auth == Proof::EapMschapv2);
  CHECK(own.local_auth.eap_id == "branch-7");
  CHECK(own.local_auth.password.where == "/p");
  CHECK(findings(user("auth: eap-mschapv2, password: \"file:/p\"")).empty());
  CHECK(findings(users("auth: eap-mschapv2, users: \"file:/u\"")).empty());
}

TEST_CASE("what EAP needs is said where it is missing", "[config][version][eap]") {
  const auto only = [](const std::string& text) {
    const auto found = findings(text);
    for (const auto& f : found) UNSCOPED_INFO(f);
    REQUIRE(found.size() == 1);
    return found[0];
  };
  const auto ends = [&](const std::string& text, const std::string& end) {
    const std::string found = only(text);
    INFO(found);
    CHECK(found.ends_with(end));
  };
  const std::string why = ": EAP is done with a gateway that proves itself by a certificate (RFC 7296 §2.16)";
  ends(users("auth: eap-mschapv2"),
       "connections.b.remote.users: expected the file of the users, since auth is EAP: without, nobody could come in");
  ends(user("auth: eap-mschapv2"), "connections.b.local.password: expected the password of the user that we are, since auth is EAP");
  ends(users("auth: eap-mschapv2, users: \"env:U\""), "connections.b.remote.users: expected file:/absolute/path: users are kept in a file");
  ends(with("id: gw-b.example", "auth: eap-mschapv2, users: \"file:/u\""),
       "connections.b.local.auth: expected pubkey, since remote.auth is EAP" + why);
  ends(with("id: gw-a.example", "auth: eap-mschapv2, password: \"file:/p\""),
       "connections.b.remote.auth: expected pubkey, since local.auth is EAP" + why);
  ends(with("id: gw-a.example", "id: gw-a.example, eap_id: alice"),
       "warning: connections.b.local.eap_id: no user is asked for, since auth is not EAP");
  ends(with("id: gw-b.example", "id: gw-b.example, users: \"file:/u\""),
       "warning: connections.b.remote.users: no user is asked for, since auth is not EAP");
  for (const char* bad : {"a*b", "*a*", "**"}) {
    INFO(bad);
    CHECK(only(users("auth: eap-mschapv2, users: \"file:/u\", eap_id: \"" + std::string(bad) + "\"")).find("expected %any, a user name") !=
          std::string::npos);
  }
  CHECK(only(users("auth: eap-mschapv3, users: \"file:/u\"")).find("did you mean 'eap-mschapv2'?") != std::string::npos);
}

TEST_CASE("EAP-TLS has certificates on both sides, and no passwords", "[config][version][eap][rfc5216]") {
  const std::string mine = "certs: /u.pem, key: \"file:/u.key\"";
  const Connection gateway = connection(users("auth: eap-tls, cacerts: /ca.pem, eap_id: \"*@example.org\""));
  CHECK(gateway.remote_auth.auth == Proof::EapTls);
  CHECK(gateway.remote_auth.eap_id == "*@example.org");
  const Connection own = connection(user("auth: eap-tls, " + mine + ", eap_id: alice@example.org, aaa_id: aaa.example"));
  CHECK(own.local_auth.auth == Proof::EapTls);
  CHECK(own.local_auth.aaa_id == Identity{Identity::Type::Fqdn, "aaa.example"});
  CHECK(connection(user("auth: eap-tls, " + mine)).local_auth.aaa_id.type == Identity::Type::Any);
  CHECK(findings(users("auth: eap-tls, cacerts: /ca.pem")).empty());
  CHECK(findings(users("auth: eap-tls, certs: /alice.pem")).empty());
  CHECK(findings(user("auth: eap-tls, " + mine)).empty());
  const auto only = [](const std::string& text, const std::string& end) {
    const auto found = findings(text);
    for (const auto& f : found) UNSCOPED_INFO(f);
    REQUIRE(found.size() == 1);
    CHECK(found[0].ends_with(end));
  };
  only(users("auth: eap-tls"),
       "connections.b.remote.cacerts: expected the file of an authority that is trusted (or the peer's certificate in "
       "certs), since auth is eap-tls");
  only(user("auth: eap-tls, certs: /u.pem"), "connections.b.local.key: expected the file of our private key, since auth is eap-tls");
  only(user("auth: eap-tls, key: \"file:/u.key\""),
       "connections.b.local.certs: expected the file of our certificate, since auth is eap-tls");
  only(user("auth: eap-tls, password: \"file:/p\", " + mine),
       "warning: connections.b.local.password: no password is used, since auth is eap-tls");
  only(users("auth: eap-tls, users: \"file:/u\", cacerts: /ca.pem"),
       "warning: connections.b.remote.users: no user is looked up, since auth is eap-tls: his certificate says who he is");
  only(user("auth: eap-mschapv2, password: \"file:/p\", aaa_id: aaa.example"),
       "warning: connections.b.local.aaa_id: no server of EAP-TLS is asked who it is, since auth is not eap-tls");
  only(
      user("auth: eap-tls, aaa_id: \"keyid:aaa\", " + mine),
      "connections.b.local.aaa_id: expected an identity that a certificate can carry: an address, a host name, user@domain or its subject");
  only(
      with("id: gw-b.example", "auth: eap-tls, cacerts: /ca.pem"),
      "connections.b.local.auth: expected pubkey, since remote.auth is EAP: EAP is done with a gateway that proves itself by a certificate "
      "(RFC 7296 §2.16)");
}

TEST_CASE("EAP-MD5 is for whoever names it", "[config][version][eap]") {
  const std::string md5 = "auth: eap-md5, users: \"file:/u\"";
  const auto refused = findings(users(md5));
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].find("connections.b.remote.auth: expected a method that still protects, but eap-md5 does not") != std::string::npos);
  const auto warned = findings(users(md5, "    allow_weak: [eap-md5]\n"));
  REQUIRE(warned.size() == 1);
  CHECK(warned[0].find("warning: connections.b.remote.auth: eap-md5 makes no key") != std::string::npos);
  CHECK(findings(user("auth: eap-md5, password: \"file:/p\"")).size() == 1);
  CHECK(findings(user("auth: eap-md5, password: \"file:/p\"", "    allow_weak: [eap-md5]\n")).size() == 1);
  const auto unused = findings(users("auth: eap-mschapv2, users: \"file:/u\"", "    allow_weak: [eap-md5]\n"));
  REQUIRE(unused.size() == 1);
  CHECK(unused[0].find("no proposal of this connection uses eap-md5") != std::string::npos);
}

TEST_CASE("a post-quantum pre-shared key goes with EAP, and is not the password", "[config][version][eap][rfc8784]") {
  const std::string keys = "    ppk_id: ours\n    ppk: file:/run/x/ppk\n";
  CHECK(findings(users("auth: eap-mschapv2, users: \"file:/u\"", keys)).empty());
  CHECK(findings(user("auth: eap-mschapv2, password: \"file:/p\"", keys)).empty());
  const auto found = findings(user("auth: eap-mschapv2, password: \"file:/run/x/ppk\"", keys));
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("connections.b.ppk: expected another place than that of the password") != std::string::npos);
}

TEST_CASE("IKEv1 has no EAP", "[config][version][eap]") {
  const auto found =
      findings(with("version: 2", "version: 1", with("id: gw-b.example", "id: gw-b.example, auth: eap-mschapv2, users: \"file:/u\"")));
  REQUIRE_FALSE(found.empty());
  CHECK(found[0].find("expected no EAP with version: 1, which has XAuth for that") != std::string::npos);
}

TEST_CASE("patterns of users", "[config][eap]") {
  for (const auto& [pattern, user, is] :
       std::vector<std::tuple<std::string, std::string, bool>>{{"%any", "alice", true},
                                                               {"*", "alice", true},
                                                               {"alice", "alice", true},
                                                               {"alice", "Alice", false},
                                                               {"*@example.org", "a@example.org", true},
                                                               {"*@example.org", "a@example.org.evil", false},
                                                               {"SALES\\*", "SALES\\bob", true},
                                                               {"SALES\\*", "bob", false}}) {
    INFO(pattern << " " << user);
    CHECK(is_user(pattern, user) == is);
  }
}
