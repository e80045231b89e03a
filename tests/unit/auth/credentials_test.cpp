// Files of keys and certificates: what is read, what is refused and why, that a change counts at the next use, and what --check says.
#include "control/auth/credentials.hpp"

#include <map>
#include <sstream>

#include "common/config/check.hpp"
#include "common/config/load.hpp"
#include "common/dn.hpp"
#include "control/auth/authenticator.hpp"
#include "control/auth/check.hpp"
#include "tests/unit/auth/site.hpp"

using namespace culvert;
using namespace culvert::test;
using control::auth::Credentials;
using pki::Kind;

TEST_CASE("keys and certificates are read, and read again when they change", "[auth][credentials]") {
  Site s;
  Credentials credentials(s.config);
  const auto first = credentials.own("c");
  REQUIRE(first);
  CHECK((*first)->chain.front().subject_text() == "C=CH, O=Example, CN=gw-a");
  CHECK(credentials.own("c")->get() == first->get());  // kept
  CHECK((*credentials.trust("c"))->anchors.size() == 1);
  CHECK_FALSE(credentials.own("d"));

  // renewed, in two steps: between them the key does not fit, and the old pair stays
  const auto renewed = pki::gateway("C=CH, O=Example, CN=gw-a", pki::key(Kind::P384, 1), s.root, "DNS:gw-a.example");
  s.folder.file("own.pem", renewed.pem() + s.root.pem());
  const auto between = credentials.own("c");
  REQUIRE(between);
  CHECK(between->get() == first->get());
  CHECK(has(credentials.look_at_own(s.c).problem, "local.key: the key file"));
  CHECK(has(credentials.look_at_own(s.c).problem, "does not fit the certificate C=CH, O=Example, CN=gw-a"));
  s.folder.file("own.key", pki::private_pem(*renewed.key));
  const auto second = credentials.own("c");
  REQUIRE(second);
  CHECK(credentials.look_at_own(s.c).problem.empty());
  CHECK((*second)->chain.size() == 2);
  CHECK((*second)->key.method() == ike::AuthMethod::EcdsaP384);
  CHECK((*first)->key.method() == ike::AuthMethod::EcdsaP256);  // jobs under way keep theirs

  // an authority that is taken away is trusted no more
  std::filesystem::remove(s.folder.at("ca.pem"));
  const auto gone = credentials.trust("c");
  REQUIRE_FALSE(gone);
  CHECK(has(gone.error(), "remote.cacerts: "));
  CHECK(has(gone.error(), "ca.pem cannot be opened: No such file"));
  s.folder.file("ca.pem", s.root.pem());
  CHECK(credentials.trust("c"));
}

TEST_CASE("an empty file, or one half written, takes nothing down: what was there stays, and that is said once", "[auth][credentials]") {
  Site s;
  const std::string list = [&] {
    const Bytes der = pki::crl({}, s.root);
    return std::string(der.begin(), der.end());
  }();
  s.c.remote_auth.crls = {s.folder.file("x.crl", list)};
  const std::map<std::string, std::string> good{
      {"own.pem", s.own.pem()}, {"own.key", pki::private_pem(*s.own.key)}, {"ca.pem", s.root.pem()}, {"x.crl", list}};
  std::vector<std::string> said;
  Credentials credentials(s.config, [&](const std::string& c, const std::string& problem) { said.push_back(c + ": " + problem); });
  const auto usable = [&] {
    const auto own = credentials.own("c");
    const auto trust = credentials.trust("c");
    return own && trust && !(*own)->chain.empty() && (*trust)->anchors.size() == 1 && (*trust)->lists();
  };
  REQUIRE(usable());
  for (const auto& [name, content] : good) {
    INFO(name);
    for (const std::string& half : {std::string(), content.substr(0, content.size() / 2), std::string("junk")}) {
      said.clear();
      s.folder.file(name, half);
      CHECK(usable());
      CHECK(usable());
      REQUIRE(said.size() == 1);
      CHECK(has(said[0], "c: " + std::string(name == "ca.pem" || name == "x.crl" ? "remote." : "local.")));
      CHECK(has(said[0], name + (name == "own.key" ? " " : ": it ") + (half.empty() ? "is empty" : "holds no")));
      CHECK(has(said[0], "; what was read before stays in use"));
      s.folder.file(name, content);
      CHECK(usable());
      CHECK(said.size() == 1);
    }
    // One that is there from the start is an error that names the file; one that is taken away leaves nothing.
    s.folder.file(name, "");
    Credentials late(s.config);
    const auto own = late.own("c");
    const auto trust = late.trust("c");
    const auto lists = trust ? (*trust)->lists() : std::unexpected(std::string());
    CHECK(int{!own} + int{!trust} + int{trust && !lists} == 1);
    CHECK(has((own ? "" : own.error()) + (trust ? "" : trust.error()) + (lists ? "" : lists.error()),
              name + (name == "own.key" ? " is empty" : ": it is empty")));
    std::filesystem::remove(s.folder.at(name));
    CHECK_FALSE(usable());
    s.folder.file(name, content);
    CHECK(usable());
  }
}

TEST_CASE("a file that many connections name is parsed once, and lists not by who only looks", "[auth][credentials]") {
  Site s;
  const Bytes der = pki::crl({}, s.root);
  s.c.remote_auth.crls = {s.folder.file("x.crl", std::string(der.begin(), der.end()))};
  for (int i = 0; i < 9; ++i) {
    s.config.connections.push_back(s.config.connections.front());
    s.config.connections.back().name = "c" + std::to_string(i);
  }
  Credentials credentials(s.config);
  const auto a = *credentials.trust("c0"), b = *credentials.trust("c8");
  CHECK(&a->anchors[0].impl() == &b->anchors[0].impl());
  CHECK(&(**a->lists())[0].impl() == &(**b->lists())[0].impl());
  const auto before = *a->lists();
  s.folder.file("ca.pem", s.root.pem() + "\n");  // lists that have not changed stay when the authorities are read again
  CHECK(&(**(*credentials.trust("c0"))->lists())[0].impl() == &(*before)[0].impl());

  s.folder.file("x.crl", "junk");
  control::auth::Authenticator looks(s.config, {.now = [] { return pki::kNow; }});
  const auto inventory = looks.inventory();
  CHECK(inventory.certificates.size() == 20);
  CHECK(inventory.problems.empty());
}

TEST_CASE("files that are no good are refused with the reason", "[auth][credentials]") {
  {
    Site s;
    s.folder.file("own.key", pki::private_pem(*s.own.key), 0640);
    CHECK(has(s.why_not_own(), "own.key is open to its group or to others: it must have mode 0600"));
  }
  {
    Site s;
    s.folder.file("own.key", pki::encrypted_pem(*s.own.key, "hunter2"));
    CHECK(has(s.why_not_own(), "own.key is encrypted"));
  }
  {
    Site s;
    s.folder.file("own.key", pki::private_pem(*pki::key(Kind::P256, 4)));
    CHECK(has(s.why_not_own(), "does not fit"));
  }
  {
    Site s;
    s.folder.file("own.pem", "nothing");
    CHECK(has(s.why_not_own(), "own.pem: it holds no certificate, neither PEM nor DER"));
  }
  {
    Site s;
    s.c.local_auth.certs = {s.folder.at("")};
    CHECK(has(s.why_not_own(), "is no regular file"));
  }
  {
    Site s;
    s.folder.file("own.pem", pki::gateway("CN=x", pki::key(Kind::Rsa1024), s.root).pem());
    CHECK(has(s.why_not_own(), "cannot be used: its RSA key has 1024 bits"));
  }
  {
    Site s;
    s.c.remote_auth.cacerts = {s.folder.file("leaf.pem", s.own.pem())};
    Credentials credentials(s.config);
    const auto trust = credentials.trust("c");
    REQUIRE_FALSE(trust);
    CHECK(has(trust.error(), "is none of an authority; a peer's own certificate belongs into certs"));
  }
  {
    Site s;  // DER as well as PEM
    s.folder.file("own.pem", std::string(s.own.der.begin(), s.own.der.end()));
    const Bytes key = pki::private_der(*s.own.key);
    s.folder.file("own.key", std::string(key.begin(), key.end()));
    Credentials credentials(s.config);
    CHECK(credentials.own("c"));
  }
}

TEST_CASE("our identity is the certificate's subject unless another is configured", "[auth][credentials]") {
  using Type = config::Identity::Type;
  Site s;
  s.c.local_id = {};
  control::auth::fill_identities(s.config);
  CHECK(s.c.local_id.type == Type::Dn);
  CHECK(s.c.local_id.text == "C=CH, O=Example, CN=gw-a");
  CHECK(s.c.local_id.name == crypto::Certificate::parse(s.own.der)->subject());
  const auto typed = *parse_name_text("C=ch, O=example, CN=GW-A");
  s.c.local_id = {Type::Dn, "C=ch, O=example, CN=GW-A", encode_name(typed)};
  control::auth::fill_identities(s.config);
  CHECK(s.c.local_id.name == crypto::Certificate::parse(s.own.der)->subject());
  s.c.local_id = {Type::Fqdn, "gw-a.example"};
  control::auth::fill_identities(s.config);
  CHECK(s.c.local_id == config::Identity{Type::Fqdn, "gw-a.example"});
}

TEST_CASE("--check looks into the files, and says where", "[auth][check]") {
  Site s;
  std::string auth = "pubkey";
  int version = 1;
  const auto check = [&](const std::string& local, const std::string& remote, pki::Time now = pki::kNow) {
    const std::string path = s.folder.file("gw.yaml", R"(ports: {wan: {device: "net_af_packet0,iface=eth1", addresses: [10.9.0.1/24]}}
connections:
  c:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    version: )" + std::to_string(version) + R"(
    proposals: aes256-sha256-ecp256
    local: {auth: )" + auth + ", " + local + R"(}
    remote: {auth: pubkey, id: gw-b.example, )" + remote + R"(}
    children: {net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: aes128gcm16}}
)");
    std::stringstream out;
    config::check(path, out, [&](const config::GatewayConfig& c, const config::Where& root) { control::auth::check_files(c, root, now); });
    return out.str();
  };
  const std::string own = "certs: " + s.folder.at("own.pem") + ", key: \"file:" + s.folder.at("own.key") + "\"";
  const std::string ca = "cacerts: " + s.folder.at("ca.pem");
  CHECK(has(check(own, ca), "gw.yaml: ok\n"));
  CHECK(
      has(check(own + ", id: gw-x.example", ca),
          ":8:" + std::to_string(27 + own.size() + 6) +
              ": connections.c.local.id: expected an identity of the certificate, which says C=CH, O=Example, CN=gw-a, DNS gw-a.example"));
  CHECK(has(check(own + ", xauth: {user: alice, password: file:/x}", ca), "connections.c.local.key: expected an RSA key"));
  CHECK(has(check(own, "cacerts: [" + s.folder.at("absent.pem") + "]"),
            ":9:56: connections.c.remote.cacerts[0]: " + s.folder.at("absent.pem") + " cannot be opened"));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 20)),
            "warning: connections.c.local.certs: the certificate C=CH, O=Example, CN=gw-a (serial "));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 20)), "ends soon: 2026-01-31T00:00:00Z"));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 40)), "is expired since 2026-01-31T00:00:00Z"));
  CHECK(has(check(own, "cacerts: " + s.folder.file("empty.pem", "")),
            ":9:55: connections.c.remote.cacerts: " + s.folder.at("empty.pem") + ": it is empty"));
  // Keys that the version of IKE, or `auth`, has no signatures of.
  const auto edwards = pki::gateway("C=CH, O=Example, CN=gw-a", pki::key(Kind::Ed25519), s.root, "DNS:gw-a.example");
  const std::string ed = "certs: " + s.folder.file("ed.pem", edwards.pem()) +
                         ", key: \"file:" + s.folder.file("ed.key", pki::private_pem(*edwards.key)) + "\"";
  CHECK(has(check(ed, ca),
            "connections.c.local.key: expected an RSA or ECDSA key: IKEv1 has no signatures with another; version: 2 has; this "
            "one is for ed25519 signatures"));
  CHECK(has(check(own, "certs: " + s.folder.at("ed.pem")), "connections.c.remote.certs: expected an RSA or ECDSA key: IKEv1 has no"));
  version = 2;
  CHECK(has(check(ed, ca), "gw.yaml: ok\n"));
  CHECK_FALSE(has(check(own, "certs: " + s.folder.at("ed.pem") + ", revocation: ignore"), "expected"));
  auth = "rsa/pss-sha384";
  CHECK(has(check(ed, ca),
            "connections.c.local.key: expected a key that makes the signatures of auth, rsa/pss-sha384; this one is for "
            "ed25519 signatures"));
  auth = "ed25519";
  CHECK(has(check(ed, ca), "gw.yaml: ok\n"));
  auth = "pubkey";
  CHECK(has(check(own, "cacerts: []"), "remote.cacerts: expected"));
  s.folder.file("own.key", pki::private_pem(*pki::key(Kind::P256, 4)));
  CHECK(has(check(own, ca),
            "connections.c.local.key: the key file " + s.folder.at("own.key") + " does not fit the certificate C=CH, O=Example, CN=gw-a"));
}

TEST_CASE("--check: two sections of a side with one key, in whichever files", "[auth][check][rounds][rfc4739]") {
  Site s;
  const auto other = pki::gateway("C=CH, O=Example, CN=gw-c", pki::key(Kind::P384, 1), s.root, "DNS:gw-a.example, DNS:gw-c.example");
  const auto renewed = pki::gateway("C=CH, O=Example, CN=gw-a2", s.own.key, s.root, "DNS:gw-a.example, DNS:gw-c.example");
  const auto section = [&](const pki::Issued& one, const std::string& name) {
    return "{auth: pubkey, certs: " + s.folder.file(name + ".pem", one.pem()) +
           ", key: \"file:" + s.folder.file(name + ".key", pki::private_pem(*one.key)) + "\"}";
  };
  const std::string ca = "{auth: pubkey, cacerts: " + s.folder.at("ca.pem") + "}";
  const auto pinned = [&](const std::string& name) { return "{auth: pubkey, certs: " + s.folder.at(name + ".pem") + "}"; };
  const auto check = [&](const std::vector<std::string>& local, const std::vector<std::string>& remote) {
    std::string text = R"(ports: {wan: {device: "net_af_packet0,iface=eth1", addresses: [10.9.0.1/24]}}
connections:
  c:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    version: 2
    proposals: aes256-sha256-ecp256
    children: {net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: aes128gcm16}}
)";
    for (std::size_t k = 0; k < local.size(); ++k)
      text += "    local" + (k == 0 ? "" : "-" + std::to_string(k + 1)) + ": " + local[k] + "\n";
    for (std::size_t k = 0; k < remote.size(); ++k)
      text += "    remote" + (k == 0 ? "" : "-" + std::to_string(k + 1)) + ": " + remote[k] + "\n";
    std::stringstream out;
    config::check(s.folder.file("gw.yaml", text), out,
                  [&](const config::GatewayConfig& c, const config::Where& root) { control::auth::check_files(c, root, pki::kNow); });
    return out.str();
  };
  const std::string own = section(s.own, "own"), fresh = section(renewed, "fresh"), more = section(other, "more");
  const std::string says = ".certs: expected a certificate of another key than an earlier section's";
  CHECK(has(check({own, more}, {ca, ca}), "gw.yaml: ok"));
  CHECK(has(check({own, fresh}, {ca}), "connections.c.local-2" + says));
  CHECK(has(check({own, more, fresh}, {ca}), "connections.c.local-3" + says));
  CHECK(has(check({own}, {pinned("own"), pinned("fresh")}), "connections.c.remote-2" + says));
  CHECK_FALSE(has(check({own}, {pinned("own"), pinned("more")}), says));
}
