// Files of keys and certificates: what is read, what is refused and why, that a change counts at the next use, and what --check says.
#include "control/auth/credentials.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "common/config/check.hpp"
#include "common/config/load.hpp"
#include "common/dn.hpp"
#include "control/auth/authenticator.hpp"
#include "control/auth/check.hpp"
#include "tests/support/pki.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using control::auth::Credentials;
using pki::Kind;

namespace {
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "culvert-auth-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name, const std::string& content, mode_t mode = 0600) const {
    const std::string where = (path / name).string();
    std::ofstream(where, std::ios::binary) << content;
    ::chmod(where.c_str(), mode);
    return where;
  }
  [[nodiscard]] std::string at(const std::string& name) const { return (path / name).string(); }
};

struct Site {
  Folder folder;
  pki::Issued root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 10));
  pki::Issued own = pki::gateway("C=CH, O=Example, CN=gw-a", pki::key(Kind::P256), root, "DNS:gw-a.example");
  config::GatewayConfig config;
  config::Connection& c;
  Site() : c((config.connections.reserve(16), config.connections.emplace_back())) {
    c.name = "c";
    c.local_auth = {config::Proof::Pubkey,
                    {folder.file("own.pem", own.pem())},
                    {config::SecretRef::Kind::File, folder.file("own.key", pki::private_pem(*own.key))}};
    c.remote_auth.auth = config::Proof::Pubkey;
    c.remote_auth.cacerts = {folder.file("ca.pem", root.pem())};
  }
  std::string why_not_own() {
    Credentials credentials(config);
    const auto own_ = credentials.own("c");
    REQUIRE_FALSE(own_);
    return own_.error();
  }
};
bool has(const std::string& text, const std::string& part) {
  INFO(text);
  INFO(part);
  return text.find(part) != std::string::npos;
}
}  // namespace

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
  const auto check = [&](const std::string& local, const std::string& remote, pki::Time now = pki::kNow) {
    const std::string path = s.folder.file("gw.yaml", R"(ports: {wan: {device: "net_af_packet0,iface=eth1", addresses: [10.9.0.1/24]}}
connections:
  c:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.2
    proposals: aes256-sha256-ecp256
    local: {auth: pubkey, )" + local + R"(}
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
          ":7:" + std::to_string(27 + own.size() + 6) +
              ": connections.c.local.id: expected an identity of the certificate, which says C=CH, O=Example, CN=gw-a, DNS gw-a.example"));
  CHECK(has(check(own + ", xauth: {user: alice, password: file:/x}", ca), "connections.c.local.key: expected an RSA key"));
  CHECK(has(check(own, "cacerts: [" + s.folder.at("absent.pem") + "]"),
            ":8:56: connections.c.remote.cacerts[0]: " + s.folder.at("absent.pem") + " cannot be opened"));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 20)),
            "warning: connections.c.local.certs: the certificate C=CH, O=Example, CN=gw-a (serial "));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 20)), "ends soon: 2026-01-31T00:00:00Z"));
  CHECK(has(check(own, ca, pki::kNow + std::chrono::hours(24 * 40)), "is expired since 2026-01-31T00:00:00Z"));
  CHECK(has(check(own, "cacerts: " + s.folder.file("empty.pem", "")),
            ":8:55: connections.c.remote.cacerts: " + s.folder.at("empty.pem") + ": it is empty"));
  s.folder.file("own.key", pki::private_pem(*pki::key(Kind::P256, 4)));
  CHECK(has(check(own, ca),
            "connections.c.local.key: the key file " + s.folder.at("own.key") + " does not fit the certificate C=CH, O=Example, CN=gw-a"));
}

TEST_CASE("a signature of 4,096 bits is made in another thread, and the loop's does not wait for it", "[auth][authenticator]") {
  Site s;
  const auto key = pki::key(Kind::Rsa4096);
  const auto own = pki::gateway("C=CH, O=Example, CN=gw-a", key, s.root, "DNS:gw-a.example");
  s.folder.file("own.pem", own.pem());
  s.folder.file("own.key", pki::private_pem(*key));
  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::vector<std::thread> threads;
  std::vector<ike::SignResult> signs;
  control::auth::Authenticator a(s.config, {.compute =
                                                [&](std::function<void()> w) {
                                                  threads.emplace_back(std::move(w));
                                                  return true;
                                                },
                                            .post =
                                                [&](std::function<void()> w) {
                                                  const std::lock_guard lock(mutex);
                                                  posted.push_back(std::move(w));
                                                },
                                            .on_signed = [&](ike::SignResult r) { signs.push_back(std::move(r)); },
                                            .now = [] { return pki::kNow; }});
  using Clock = std::chrono::steady_clock;
  const auto shortest = [](auto&& work) {
    auto best = Clock::duration::max();
    for (int i = 0; i < 8; ++i) {
      const auto begun = Clock::now();
      work();
      best = std::min(best, Clock::now() - begun);
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(best).count();
  };
  const ike::Sign job{.job = 1, .connection = "c", .method = ike::AuthMethod::RsaSignature, .octets = Bytes(32)};
  REQUIRE(a.signing_method("c") == ike::AuthMethod::RsaSignature);
  const auto held = shortest([&] { a.sign(job); });
  for (std::thread& t : threads) t.join();
  Credentials credentials(s.config);
  const auto loaded = credentials.own("c");
  REQUIRE(loaded);
  const auto takes = shortest([&] { CHECK(control::auth::sign(**loaded, job).ok); });
  for (const auto& w : posted) w();
  REQUIRE(signs.size() == 8);
  for (const ike::SignResult& r : signs) CHECK((r.ok && r.signature.size() == 512));
  WARN("RSA-4096: a signature takes " << takes << " us, of which the loop's thread sees " << held << " us");
  CHECK(held * 4 < takes);
}

TEST_CASE("every job is answered once, whatever happens", "[auth][authenticator]") {
  Site s;
  std::vector<std::function<void()>> work;
  std::vector<ike::SignResult> signs;
  std::vector<ike::VerifyResult> verifies;
  bool room = true;
  control::auth::Authenticator a(s.config, {.compute =
                                                [&](std::function<void()> w) {
                                                  if (room) work.push_back(std::move(w));
                                                  return room;
                                                },
                                            .post = [&](std::function<void()> w) { work.push_back(std::move(w)); },
                                            .on_signed = [&](ike::SignResult r) { signs.push_back(std::move(r)); },
                                            .on_verified = [&](ike::VerifyResult r) { verifies.push_back(std::move(r)); },
                                            .now = [] { return pki::kNow; }});
  const auto run = [&] {
    for (std::size_t i = 0; i < work.size(); ++i) {
      const auto w = std::move(work[i]);  // the vector may grow below it
      w();
    }
    work.clear();
  };
  CHECK(a.signing_method("c") == ike::AuthMethod::EcdsaP256);
  CHECK(a.certificates("c") == std::vector<Bytes>{s.own.der});
  CHECK(a.authorities("c") == std::vector<Bytes>{crypto::Certificate::parse(s.root.der)->subject()});
  a.sign({.job = 1, .connection = "c", .method = ike::AuthMethod::EcdsaP256, .octets = Bytes(32)});
  CHECK(signs.empty());  // never before the call returns
  run();
  REQUIRE(signs.size() == 1);
  CHECK(signs[0].ok);
  CHECK(signs[0].job == 1);
  ike::VerifyPeer peer{.job = 2,
                       .connection = "c",
                       .method = ike::AuthMethod::EcdsaP256,
                       .octets = Bytes(32),
                       .signature = signs[0].signature,
                       .id_type = 2,
                       .id_data = to_bytes("gw-a.example"),
                       .certificates = {{4, s.own.der}}};
  a.verify(peer);
  run();
  REQUIRE(verifies.size() == 1);
  CHECK(verifies[0].ok);
  CHECK(verifies[0].job == 2);

  a.sign({.job = 3, .connection = "c", .method = ike::AuthMethod::RsaSignature, .octets = Bytes(32)});
  a.sign({.job = 4, .connection = "d", .method = ike::AuthMethod::RsaSignature, .octets = Bytes(32)});
  peer.connection = "d";
  a.verify(peer);
  peer.connection = "c";
  room = false;
  a.sign({.job = 5, .connection = "c", .method = ike::AuthMethod::EcdsaP256, .octets = Bytes(32)});
  a.verify(peer);
  run();
  REQUIRE(signs.size() == 4);
  for (std::size_t i = 1; i < signs.size(); ++i) {
    CHECK_FALSE(signs[i].ok);
    CHECK_FALSE(signs[i].error.empty());
  }
  REQUIRE(verifies.size() == 3);
  CHECK(verifies[1].reason == ike::Reason::CertUntrusted);
  CHECK(verifies[2].reason == ike::Reason::Limit);
}

TEST_CASE("one of remote.certs is revoked by its issuer, where cacerts has that", "[auth][revocation][attack-E5]") {
  Site s;
  const auto list = [&](const pki::Crl& how) {
    const Bytes der = pki::crl(how, s.root);
    s.c.remote_auth.crls = {s.folder.file("x.crl", std::string(der.begin(), der.end()))};
  };
  s.c.remote_auth.certs = {s.folder.file("peer.pem", s.own.pem())};
  std::vector<std::function<void()>> work;
  ike::SignResult signature;
  ike::VerifyResult verdict;
  control::auth::Authenticator a(s.config, {.compute =
                                                [&](std::function<void()> w) {
                                                  work.push_back(std::move(w));
                                                  return true;
                                                },
                                            .post = [&](std::function<void()> w) { work.push_back(std::move(w)); },
                                            .on_signed = [&](ike::SignResult r) { signature = std::move(r); },
                                            .on_verified = [&](ike::VerifyResult r) { verdict = std::move(r); },
                                            .now = [] { return pki::kNow; }});
  const auto run = [&] {
    for (std::size_t i = 0; i < work.size(); ++i) {
      const auto w = std::move(work[i]);
      w();
    }
    work.clear();
  };
  a.sign({.job = 1, .connection = "c", .method = ike::AuthMethod::EcdsaP256, .octets = Bytes(32)});
  run();
  const auto ask = [&] {
    verdict = {};
    a.verify({.job = 2,
              .connection = "c",
              .method = ike::AuthMethod::EcdsaP256,
              .octets = Bytes(32),
              .signature = signature.signature,
              .id_type = 2,
              .id_data = to_bytes("gw-a.example"),
              .certificates = {{4, s.own.der}}});
    run();
    REQUIRE(verdict.job == 2);
    return verdict.ok ? std::string("good") : verdict.message;
  };
  const auto said = [&] {
    std::string out;
    control::auth::ParsedFiles files;
    for (const auto& f : control::auth::findings(s.c, files, pki::kNow)) out += f.side + "." + f.key + ": " + f.message + "\n";
    return out;
  };
  const std::vector<std::string> authorities = s.c.remote_auth.cacerts;
  CHECK(ask() == "good");
  s.c.remote_auth.cacerts.clear();
  CHECK(ask() == "good");  // pinned: no issuer is wanted
  CHECK(said().empty());
  s.c.remote_auth.revocation = config::Revocation::Strict;
  s.c.remote_auth.certs = {s.folder.file("again.pem", s.own.pem())};  // read anew
  CHECK(has(ask(), "could not be learnt: its issuer is none of remote.cacerts"));
  CHECK(has(said(), "remote.certs: the certificate C=CH, O=Example, CN=gw-a"));
  CHECK(has(said(), "can be learnt only with its issuer in cacerts"));
  s.c.remote_auth.cacerts = authorities;
  CHECK(said().empty());
  for (const auto policy : {config::Revocation::Strict, config::Revocation::IfUri}) {
    s.c.remote_auth.revocation = policy;
    list({});
    s.folder.file("again.pem", s.own.pem());
    CHECK(ask() == "good");
    list({.revoked = {{pki::serial_of(s.own), pki::kNow - 1h}}});
    s.folder.file("again.pem", s.own.pem());
    CHECK(has(ask(), "is revoked since"));
  }
}

TEST_CASE("places that never answer: a verdict within ten seconds, nobody else waits, and a stranger names none",
          "[auth][revocation][attack-A14]") {
  Site s;
  pki::Time now = pki::kNow;
  std::vector<std::function<void()>> work;
  std::multimap<pki::Time, std::function<void()>> later;
  std::set<std::string> asked;
  std::map<ike::JobId, std::pair<ike::VerifyResult, pki::Time>> verdicts;
  Bytes signature;
  control::auth::Authenticator a(s.config, {.compute =
                                                [&](std::function<void()> w) {
                                                  work.push_back(std::move(w));
                                                  return true;
                                                },
                                            .post = [&](std::function<void()> w) { work.push_back(std::move(w)); },
                                            .on_signed = [&](ike::SignResult r) { signature = std::move(r.signature); },
                                            .on_verified = [&](ike::VerifyResult r) { verdicts[r.job] = {std::move(r), now}; },
                                            .fetch =
                                                [&](const control::auth::Fetch& f, control::auth::Fetched done) {
                                                  asked.insert(f.url);  // as http_fetch does it with one that is silent
                                                  later.emplace(now + std::chrono::seconds(4), [done = std::move(done)] {
                                                    done(std::unexpected("has not answered within 4 seconds"));
                                                  });
                                                },
                                            .now = [&] { return now; }});
  const auto run = [&] {
    for (;;) {
      for (std::size_t i = 0; i < work.size(); ++i) {
        const auto w = std::move(work[i]);
        w();
      }
      work.clear();
      if (later.empty()) return;
      const auto first = later.extract(later.begin());
      now = first.key();
      first.mapped()();
    }
  };
  const auto with_places = [](const std::string& name, const pki::Issued& by) {
    return pki::issue({.subject = "CN=" + name,
                       .key = pki::key(Kind::P256),
                       .extensions = {{"basicConstraints", "CA:FALSE"},
                                      {"subjectAltName", "DNS:" + name},
                                      {"crlDistributionPoints", "URI:http://" + name + "/list"},
                                      {"authorityInfoAccess", "OCSP;URI:http://" + name + "/ocsp"}}},
                      &by);
  };
  const auto ask = [&](ike::JobId job, const std::string& name, const Bytes& certificate) {
    a.verify({.job = job,
              .connection = "c",
              .method = ike::AuthMethod::EcdsaP256,
              .octets = Bytes(32),
              .signature = signature,
              .id_type = 2,
              .id_data = to_bytes(name),
              .certificates = {{4, certificate}}});
  };
  a.sign({.job = 1, .connection = "c", .method = ike::AuthMethod::EcdsaP256, .octets = Bytes(32)});
  run();
  constexpr ike::JobId kPeers = 100;
  for (ike::JobId i = 0; i < kPeers; ++i) {
    const std::string name = "peer" + std::to_string(i) + ".example";
    ask(100 + i, name, with_places(name, s.root).der);
  }
  const auto strangers = pki::authority("C=CH, CN=Stranger", pki::key(Kind::P256, 11));
  ask(2, "stranger.example", with_places("stranger.example", strangers).der);
  ask(3, "gw-a.example", s.own.der);  // names no place: nothing to wait for
  run();
  REQUIRE(verdicts.size() == kPeers + 2);
  for (ike::JobId i = 0; i < kPeers; ++i) {
    CHECK_FALSE(verdicts.at(100 + i).first.ok);
    CHECK(verdicts.at(100 + i).second <= pki::kNow + std::chrono::seconds(10));
  }
  CHECK(verdicts.at(2).first.reason == ike::Reason::CertUntrusted);
  CHECK(std::ranges::none_of(asked, [](const std::string& url) { return url.find("stranger") != std::string::npos; }));
  CHECK(asked.size() > kPeers / 2);
  CHECK(verdicts.at(3).first.ok);
  CHECK(verdicts.at(3).second == pki::kNow);
}
