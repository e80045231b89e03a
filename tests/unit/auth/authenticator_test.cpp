// Signing and verifying for the engine: in other threads, each job answered once, and revocation as the last check.
#include "control/auth/authenticator.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "control/auth/check.hpp"
#include "control/crypto/hash.hpp"
#include "tests/unit/auth/site.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using control::auth::Credentials;
using pki::Kind;

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
  const Bytes info = crypto::Certificate::parse(s.root.der)->key_info();
  CHECK(crypto::PublicKey::read(info) == *crypto::Certificate::parse(s.root.der)->key());
  CHECK(a.authority_keys("c") == std::vector<Bytes>{crypto::digest(Prf::HmacSha1, {info})});
  CHECK(a.authority_keys("nobody").empty());
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
