// EAP-TLS with our keys and certificates, against OpenSSL's own client and server: both roles and versions, keys of each kind, certificates
// that will not do, and those who do not keep to the order of it.
#include "control/auth/tls.hpp"

#include <map>

#include "control/auth/authenticator.hpp"
#include "control/ikev2/eap/tls.hpp"
#include "tests/support/tls_peer.hpp"
#include "tests/unit/auth/peer.hpp"
#include "tests/unit/auth/site.hpp"

using namespace culvert;
using namespace culvert::test;
using control::auth::TlsTalk;
using ike::Reason;
using pki::Kind;
using namespace std::chrono_literals;

namespace {

/// Our side, and whom it wants.
struct Ours {
  pki::Issued root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 10)), own;
  control::auth::Trust trust;
  bool server;
  std::string wants = "alice@example.org";
  std::shared_ptr<TlsTalk> talk{};
  ike::TlsStepped last{};

  explicit Ours(bool as_server, Kind kind = Kind::P256)
      : own(pki::gateway("C=CH, O=Example, CN=gw", pki::key(kind, 1), root, "DNS:gw.example")), server(as_server) {
    trust.anchors = {certificate(root)};
  }
  /// The peer's, which is good.
  [[nodiscard]] pki::Issued peers(Kind kind = Kind::P256, const std::string& names = "email:alice@example.org,DNS:alice.example") const {
    return pki::gateway("C=CH, O=Example, CN=alice", pki::key(kind, 2), root, names);
  }
  Bytes step(ByteView input, crypto::WallTime now = pki::kNow) {
    if (!talk) {
      auto key = crypto::PrivateKey::read(pki::private_der(*own.key));
      REQUIRE(key);
      const control::auth::Own mine{{certificate(own)}, *key};
      talk =
          std::make_shared<TlsTalk>(std::make_shared<const control::auth::Own>(mine), std::make_shared<const control::auth::Trust>(trust));
    }
    const auto name = eap::certificate_name(wants);
    last = talk->advance({.job = 3,
                          .connection = std::string(1, 'c'),
                          .server = server,
                          .input = Bytes(input.begin(), input.end()),
                          .id_type = name.id_type,
                          .id_data = name.data},
                         now);
    if (talk->to_be_asked()) ++asked;
    talk->conclude(last);
    return last.output;
  }
  /// To its end, or until somebody has nothing more to say.
  void with(TlsPeer& peer) {
    Bytes said = server ? peer.step({}) : step({});
    if (!server) said = peer.step(said);
    for (int i = 0; i < 12 && !said.empty() && !last.failed; ++i) {
      said = step(said);
      if (said.empty() && server) break;
      const bool was = peer.done();
      said = peer.step(said);
      // RFC 9190 §2.1.1: a server of TLS 1.3 says that it is content.
      if (!server && peer.done() && !was && peer_commits && !peer.msk().empty() && said.empty()) said = peer.say(commitment);
    }
  }
  unsigned asked = 0;  ///< how often revocation was to be looked at
  bool peer_commits = true;
  Bytes commitment{0};
};

constexpr int k12 = 0x0303, k13 = 0x0304;

}  // namespace

TEST_CASE("EAP-TLS: both roles, both versions, each kind of key, and the key that comes of it", "[auth][tls][rfc5216-2.3][rfc9190-2.3]") {
  const int version = GENERATE(k12, k13);
  const bool server = GENERATE(true, false);
  const Kind ours_kind = GENERATE(Kind::Rsa2048, Kind::P256, Kind::P384, Kind::Ed25519), theirs = GENERATE(Kind::Rsa2048, Kind::P256);
  INFO("version " << version << ", we are the " << (server ? "server" : "client"));
  Ours ours(server, ours_kind);
  ours.peer_commits = version == k13;
  TlsPeer peer(
      {.server = !server, .chain = {ours.peers(theirs)}, .low = version, .high = version, .trusts = ours.root.pem(), .ciphers = {}});
  ours.with(peer);
  INFO(ours.last.message);
  REQUIRE(ours.last.done);
  CHECK_FALSE(ours.last.failed);
  CHECK(peer.done());
  CHECK(ours.asked == 1);
  CHECK(ours.last.subject == "C=CH, O=Example, CN=alice");
  const Bytes msk(ours.last.msk.view().begin(), ours.last.msk.view().end());
  CHECK(msk.size() == 64);
  CHECK(msk == peer.msk());
  if (server) CHECK(peer.heard() == (version == k13 ? Bytes{0} : Bytes{}));
  if (server) CHECK(peer.asked_for() == std::vector<std::string>{"/C=CH/CN=Root"});
  REQUIRE(ours.talk->path().size() == 2);
  // Behind the end of it there is nothing more.
  ours.step(peer.say(Bytes{0}));
  CHECK(ours.last.failed);
  CHECK(ours.last.msk.empty());
}

TEST_CASE("EAP-TLS: certificates that will not do, each with its reason and the alert for the peer", "[auth][tls][rfc5216-5.3]") {
  const bool server = GENERATE(true, false);
  const int version = GENERATE(k12, k13);
  INFO("version " << version << ", we are the " << (server ? "server" : "client"));
  Ours ours(server);
  const pki::Issued other = pki::authority("C=CH, CN=Other", pki::key(Kind::P256, 11));
  const pki::Issued good = ours.peers();
  struct Row {
    const char* what;
    std::vector<pki::Issued> chain;
    Reason reason;
    const char *says, *alert;
  };
  const auto issue = [&](pki::Request r, const pki::Issued& by) {
    r.key = pki::key(Kind::P256, 3);
    r.subject = "CN=x";
    return pki::issue(r, &by);
  };
  const pki::Extensions mine{{"subjectAltName", "email:alice@example.org"}};
  const pki::Extensions coding{{"subjectAltName", "email:alice@example.org"}, {"extendedKeyUsage", "codeSigning"}};
  const pki::Extensions enciphering{{"subjectAltName", "email:alice@example.org"}, {"keyUsage", "critical,keyEncipherment"}};
  const pki::Issued mallory = pki::gateway("CN=mallory", pki::key(Kind::P256, 4), ours.root, "email:mallory@example.org");
  const pki::Extensions ruling{{"basicConstraints", "critical,CA:TRUE"},
                               {"keyUsage", "critical,digitalSignature,keyCertSign"},
                               {"subjectAltName", "email:alice@example.org"}};
  const pki::Issued sub = issue({.subject = {}, .key = {}, .extensions = ruling}, ours.root);
  std::vector<Row> rows{
      {"of nobody that we trust",
       {pki::gateway("CN=alice", pki::key(Kind::P256, 2), other, "email:alice@example.org")},
       Reason::CertUntrusted,
       "leads to no trusted authority",
       "unknown CA"},
      {"signed by itself",
       {pki::issue({.subject = "CN=alice", .key = pki::key(Kind::P256, 2), .extensions = mine})},
       Reason::CertUntrusted,
       "signed by itself",
       "unknown CA"},
      {"expired",
       {issue({.subject = {}, .key = {}, .extensions = mine, .from = pki::kNow - 48h, .to = pki::kNow - 1h}, ours.root)},
       Reason::CertInvalid,
       "is expired since",
       "certificate expired"},
      {"not valid yet",
       {issue({.subject = {}, .key = {}, .extensions = mine, .from = pki::kNow + 1h}, ours.root)},
       Reason::CertInvalid,
       "is not valid before",
       "bad certificate"},
      {"for something else",
       {issue({.subject = {}, .key = {}, .extensions = coding}, ours.root)},
       Reason::CertInvalid,
       "extendedKeyUsage",
       "bad certificate"},
      {"somebody else's",
       {mallory},
       Reason::WrongIdentity,
       "calls itself alice@example.org, but its certificate says CN=mallory",
       "certificate unknown"},
      {"somebody else's, with that of whom he claims to be",
       {mallory, good},
       Reason::WrongIdentity,
       "certificate says CN=mallory",
       "certificate unknown"},
      {"an authority's", {sub}, Reason::CertInvalid, "is an authority's", "bad certificate"},
      {"an authority's, with another behind it", {sub, good}, Reason::CertInvalid, "is an authority's", "bad certificate"},
      {"too many", std::vector<pki::Issued>(9, good), Reason::CertInvalid, "more than 8 certificates", "bad certificate"},
  };
  if (server)  // OpenSSL's server would not use such a one
    rows.push_back({"not for signatures",
                    {issue({.subject = {}, .key = {}, .extensions = enciphering}, ours.root)},
                    Reason::CertInvalid,
                    "keyUsage",
                    "bad certificate"});
  for (const Row& row : rows) {
    INFO(row.what);
    Ours here = ours;
    TlsPeer peer({.server = !server, .chain = row.chain, .low = version, .high = version, .trusts = {}, .ciphers = "ALL:@SECLEVEL=0"});
    here.with(peer);
    INFO(here.last.message);
    CHECK(here.last.failed);
    CHECK_FALSE(here.last.done);
    CHECK(here.last.reason == row.reason);
    CHECK(has(here.last.message, row.says));
    CHECK(here.last.alert.empty());
    CHECK(here.last.msk.empty());
    CHECK(here.asked == 0);
    if (!here.last.output.empty()) peer.step(here.last.output);
    CHECK(peer.alert() == row.alert);
  }
}

TEST_CASE("EAP-TLS: no certificate, no version, no cipher, and none of TLS at all", "[auth][tls]") {
  Ours ours(true);
  const pki::Issued good = ours.peers();
  const auto against = [&](const TlsPeer::How& how, const char* says) {
    Ours here = ours;
    TlsPeer peer(how);
    here.with(peer);
    INFO(here.last.message);
    CHECK(here.last.failed);
    CHECK(here.last.reason == Reason::EapTls);
    CHECK(has(here.last.message, says));
    CHECK_FALSE(here.last.output.empty());  // an alert
  };
  for (const int version : {k12, k13})
    against({.server = false, .chain = {}, .low = version, .high = version, .trusts = {}, .ciphers = {}}, "it has sent no certificate");
  against({.server = false, .chain = {good}, .low = 0x0301, .high = 0x0302, .trusts = {}, .ciphers = "ALL:@SECLEVEL=0"},
          "no version of TLS in common");
  against({.server = false, .chain = {good}, .low = k12, .high = k12, .trusts = {}, .ciphers = "AES128-SHA:@SECLEVEL=0"},
          "no cipher of TLS in common");
  for (const Bytes& junk : {to_bytes("GET / HTTP/1.1\r\n\r\n"), Bytes(5, 0), Bytes(300, 0x16), Bytes{0x16, 3, 1, 0xff, 0xff, 1}}) {
    Ours here = ours;
    here.step(junk);
    INFO(here.last.message);
    if (!here.last.failed) continue;  // the beginning of something
    CHECK(here.last.reason == Reason::EapTls);
    here.step(junk);  // and that was it
    CHECK(here.last.failed);
  }
}

TEST_CASE("EAP-TLS: whoever refuses us says it by an alert", "[auth][tls][rfc5216-2.1.3]") {
  const bool server = GENERATE(true, false);
  const int version = GENERATE(k12, k13);
  const pki::Issued other = pki::authority("C=CH, CN=Other", pki::key(Kind::P256, 11));
  Ours ours(server);
  ours.peer_commits = false;
  TlsPeer peer({.server = !server, .chain = {ours.peers()}, .low = version, .high = version, .trusts = other.pem(), .ciphers = {}});
  ours.with(peer);
  INFO(ours.last.message);
  CHECK(ours.last.failed);
  CHECK(ours.last.reason == Reason::EapTls);
  CHECK(ours.last.alert == "unknown CA");
  CHECK(ours.last.message == "it ends TLS with the alert \"unknown CA\"");
}

TEST_CASE("EAP-TLS: a server of TLS 1.3 says one zero at the end, and nothing else will do", "[auth][tls][rfc9190-2.1.1]") {
  Ours ours(false);
  SECTION("nothing") { ours.peer_commits = false; }
  SECTION("another byte") { ours.commitment = {1}; }
  SECTION("two") { ours.commitment = {0, 0}; }
  TlsPeer peer({.server = true, .chain = {ours.peers()}, .low = k13, .high = k13, .trusts = {}, .ciphers = {}});
  ours.with(peer);
  CHECK(peer.done());
  CHECK_FALSE(ours.last.done);
  CHECK(ours.last.msk.empty());
  CHECK(ours.last.failed == ours.peer_commits);
}

TEST_CASE("EAP-TLS: names of users, and the certificates that they are of", "[auth][tls][rfc5216-5.2]") {
  Ours ours(true);
  const auto comes_in = [&](const std::string& name, const std::string& names, const char* subject = "C=CH, O=Example, CN=alice") {
    Ours here = ours;
    here.wants = name;
    TlsPeer peer(
        {.server = false, .chain = {pki::gateway(subject, pki::key(Kind::P256, 2), ours.root, names)}, .trusts = {}, .ciphers = {}});
    here.with(peer);
    return here.last.done;
  };
  CHECK(comes_in("alice@example.org", "email:alice@example.org"));
  CHECK(comes_in("Alice@Example.org", "email:alice@example.org"));
  CHECK(comes_in("laptop.example", "DNS:laptop.example"));
  CHECK(comes_in("10.9.0.7", "IP:10.9.0.7"));
  CHECK(comes_in("2001:db8::7", "IP:2001:db8::7"));
  CHECK(comes_in("C=CH, O=Example, CN=alice", ""));
  CHECK_FALSE(comes_in("alice", ""));  // the CN alone is nobody's name (as with strongSwan)
  CHECK_FALSE(comes_in("C=CH, O=Example, CN=bob", ""));
  CHECK_FALSE(comes_in("laptop.example", "DNS:*.example"));
  CHECK_FALSE(comes_in("alice@example.org", "DNS:alice@example.org"));
  CHECK_FALSE(comes_in("alice@example.org", "email:alice@example.org.evil"));
}

TEST_CASE("EAP-TLS by the authenticator: each step answered once, revocation as the last check", "[auth][authenticator][tls]") {
  const int version = GENERATE(k12, k13);
  Site s;
  s.c.local_auth.auth = config::Proof::Pubkey;
  s.c.remote_auth.auth = config::Proof::EapTls;
  const pki::Issued user = pki::gateway("CN=alice", pki::key(Kind::P256, 2), s.root, "email:alice@example.org");
  const auto list = [&](const pki::Crl& how) {
    const Bytes der = pki::crl(how, s.root);
    s.c.remote_auth.crls = {s.folder.file("x.crl", std::string(der.begin(), der.end()))};
  };
  Reason expected = Reason::Ok;
  SECTION("nobody is asked") {}
  SECTION("it is not on the list") { list({}); }
  SECTION("it is revoked") {
    list({.revoked = {{pki::serial_of(user), pki::kNow - 1h}}});
    expected = Reason::CertRevoked;
  }
  SECTION("nobody knows, and somebody has to") {
    s.c.remote_auth.revocation = config::Revocation::Strict;
    expected = Reason::CertRevoked;
  }
  std::vector<std::function<void()>> work;
  std::vector<ike::TlsStepped> steps;
  bool room = true;
  control::auth::Authenticator a(s.config, {.compute =
                                                [&](std::function<void()> w) {
                                                  if (room) work.push_back(std::move(w));
                                                  return room;
                                                },
                                            .post = [&](std::function<void()> w) { work.push_back(std::move(w)); },
                                            .on_signed = {},
                                            .on_verified = {},
                                            .on_tls = [&](ike::TlsStepped r) { steps.push_back(std::move(r)); },
                                            .fetch = [](control::auth::Fetch, control::auth::Fetched done) { done(std::unexpected("no")); },
                                            .now = [] { return pki::kNow; }});
  const auto step = [&](std::shared_ptr<ike::TlsSession> session, Bytes input) {
    const std::size_t before = steps.size();
    const auto name = eap::certificate_name("alice@example.org");
    a.tls({.job = 9,
           .connection = "c",
           .server = true,
           .session = std::move(session),
           .input = std::move(input),
           .id_type = name.id_type,
           .id_data = name.data});
    CHECK(steps.size() == before);  // never before the call returns
    for (std::size_t i = 0; i < work.size(); ++i) {
      const auto w = std::move(work[i]);
      w();
    }
    work.clear();
    REQUIRE(steps.size() == before + 1);
    CHECK(steps.back().job == 9);
  };
  TlsPeer peer({.server = false, .chain = {user}, .low = version, .high = version, .trusts = s.root.pem(), .ciphers = {}});
  Bytes said = peer.step({});
  for (int i = 0; i < 4 && !said.empty() && (steps.empty() || (!steps.back().done && !steps.back().failed)); ++i) {
    step(steps.empty() ? nullptr : steps.back().session, said);
    said = peer.step(steps.back().output);
  }
  INFO(steps.back().message);
  CHECK(steps.back().reason == expected);
  CHECK(steps.back().done == (expected == Reason::Ok));
  if (expected == Reason::Ok) {
    CHECK(peer.msk() == Bytes(steps.back().msk.view().begin(), steps.back().msk.view().end()));
  } else {
    CHECK(steps.back().output.empty());  // no end of it that the peer could take for a good one
    CHECK(peer.heard().empty());
  }
  // Nobody has time; no key.
  room = false;
  step(nullptr, Bytes{});
  CHECK(steps.back().reason == Reason::Limit);
  room = true;
  s.c.local_auth.auth = config::Proof::Psk;
  step(nullptr, Bytes{});
  CHECK(steps.back().reason == Reason::NoSecret);
}
