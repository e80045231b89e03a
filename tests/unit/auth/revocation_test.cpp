// Revocation: lists and OCSP, what counts as an answer and what does not, how long it holds, and that every question ends.
#include "control/auth/revocation.hpp"

#include <map>

#include <catch2/catch.hpp>

#include "tests/unit/auth/peer.hpp"

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using config::Revocation;
using ike::Reason;
using pki::Kind;

namespace {
constexpr const char* kListUrl = "http://crl.example/root.crl";
constexpr const char* kOcspUrl = "http://ocsp.example/";

control::auth::Lists files(const std::vector<crypto::RevocationList>& lists) {
  return [all = std::make_shared<const std::vector<crypto::RevocationList>>(lists)] { return all; };
}

/// A path of two, a scripted network and a clock that a test moves.
struct Scene {
  pki::Issued root, end;
  control::auth::Trust trust;
  pki::Time now = pki::kNow;
  std::map<std::string, std::function<std::expected<Bytes, std::string>(const Bytes&)>> network;
  std::vector<std::string> asked;
  std::vector<std::function<void()>> work;
  bool room = true;
  std::vector<crypto::RevocationList> sent;  ///< by the peer
  bool alone = false;                        ///< the path is the end entity's certificate
  control::auth::Revocation checker{
      {.compute =
           [this](std::function<void()> w) {
             if (room) work.push_back(std::move(w));
             return room;
           },
       .post = [this](std::function<void()> w) { work.push_back(std::move(w)); },
       .fetch = [this](control::auth::Fetch f, control::auth::Fetched done) { fetch(std::move(f), std::move(done)); },
       .now = [this] { return now; }}};

  explicit Scene(const std::string& places, Revocation policy = Revocation::IfUri, Kind kind = Kind::P256)
      : root(pki::authority("C=CH, CN=Root", pki::key(kind, 10))) {
    pki::Extensions e{{"basicConstraints", "CA:FALSE"}, {"subjectAltName", "DNS:gw-b.example"}};
    if (places.find("crl") != std::string::npos) e.emplace_back("crlDistributionPoints", std::string("URI:") + kListUrl);
    if (places.find("ocsp") != std::string::npos) e.emplace_back("authorityInfoAccess", std::string("OCSP;URI:") + kOcspUrl);
    if (places.find("ldap") != std::string::npos) e.emplace_back("crlDistributionPoints", "URI:ldap://crl.example/x");
    end = pki::issue({.subject = "CN=gw-b", .key = pki::key(Kind::P256), .extensions = e}, &root);
    trust.anchors = {certificate(root)};
    trust.revocation = policy;
  }
  void fetch(control::auth::Fetch f, control::auth::Fetched done) {
    asked.push_back(f.url);
    const auto it = network.find(f.url);
    if (it == network.end()) return work.push_back([done = std::move(done)] { done(std::unexpected("cannot be connected to")); });
    work.push_back([done = std::move(done), answer = it->second(f.body)] { done(answer); });
  }
  void serve_list(const pki::Crl& list, const pki::Issued* by = nullptr) {
    network[kListUrl] = [der = pki::crl(list, by ? *by : root)](const Bytes& body) -> std::expected<Bytes, std::string> {
      CHECK(body.empty());
      return der;
    };
  }
  void serve_ocsp(const pki::Ocsp& how, const pki::Issued* by = nullptr) {
    network[kOcspUrl] = [this, how, by](const Bytes& body) -> std::expected<Bytes, std::string> {
      return pki::ocsp_answer(body, root, by ? *by : root, how);
    };
  }
  std::optional<crypto::Refusal> check(std::size_t jobs = 1) {
    std::optional<crypto::Refusal> out;
    std::size_t answered = 0;
    for (std::size_t i = 0; i < jobs; ++i)
      checker.check(
          alone ? std::vector{certificate(end)} : std::vector{certificate(end), certificate(root)},
          std::make_shared<const control::auth::Trust>(trust),
          [&](std::optional<crypto::Refusal> r) {
            ++answered;
            out = std::move(r);
          },
          sent);
    CHECK(answered == 0);  // never before the call returns
    for (std::size_t i = 0; i < work.size(); ++i) {
      REQUIRE(i < 10000);
      const auto w = std::move(work[i]);
      w();
    }
    work.clear();
    CHECK(answered == jobs);
    return out;
  }
  void good() {
    const auto r = check();
    INFO((r ? r->message : ""));
    CHECK_FALSE(r);
  }
  void refused(const std::string& text) {
    const auto r = check();
    REQUIRE(r);
    INFO(r->message);
    CHECK(r->reason == Reason::CertRevoked);
    CHECK(r->message.find(text) != std::string::npos);
  }
};
}  // namespace

TEST_CASE("by a list of its distribution point", "[auth][revocation][attack-E5][rfc5280-5]") {
  Scene s("crl");
  s.serve_list({});
  s.good();
  CHECK(s.asked == std::vector<std::string>{kListUrl});
  s.good();
  CHECK(s.asked.size() == 1);  // kept until nextUpdate
  s.now += 25h;
  s.serve_list({.from = s.now - 1h, .next = s.now + 24h, .revoked = {{pki::serial_of(s.end), s.now - 2h}}});
  s.refused("is revoked since 2026-01-01T23:00:00Z by the revocation list of C=CH, CN=Root");
  CHECK(s.asked.size() == 2);
}

TEST_CASE("by a list in a file, without asking anybody", "[auth][revocation]") {
  Scene s("crl ocsp");
  const auto read = [&](const pki::Crl& list) { return *crypto::RevocationList::read(pki::crl(list, s.root)); };
  s.trust.lists = files({read({})});
  s.good();
  s.trust.lists = files({read({.revoked = {{pki::serial_of(s.end), pki::kNow - 1h}}})});
  s.refused("is revoked since 2025-12-31T23:00:00Z");
  CHECK(s.asked.empty());
  Scene nowhere("");  // a certificate that names no place, but a file that is outdated
  nowhere.trust.lists = files({*crypto::RevocationList::read(pki::crl({.from = pki::kNow - 48h, .next = pki::kNow - 1h}, nowhere.root))});
  nowhere.refused("could not be learnt: the revocation list is outdated");
}

TEST_CASE("by a list that the peer has sent, where nothing else answers", "[auth][revocation][rfc2408-3.9]") {
  const auto list = [](const Scene& s, const pki::Crl& how, const pki::Issued* by = nullptr) {
    return *crypto::RevocationList::read(pki::crl(how, by ? *by : s.root));
  };
  const auto revoked = [](const Scene& s) { return pki::Crl{.revoked = {{pki::serial_of(s.end), pki::kNow - 1h}}}; };
  for (const Revocation policy : {Revocation::IfUri, Revocation::Strict}) {
    Scene s("", policy);
    if (policy == Revocation::Strict) s.refused("could not be learnt: the certificate names no place");
    s.sent = {list(s, {})};
    s.good();
    s.sent = {list(s, revoked(s))};
    s.refused("is revoked since 2025-12-31T23:00:00Z by the revocation list of C=CH, CN=Root");
  }
  // One that could hide a newer one is asked last.
  Scene hides("crl");
  hides.sent = {list(hides, {})};
  hides.serve_list(revoked(hides));
  hides.refused("is revoked since");
  Scene unreachable("crl ocsp");
  unreachable.sent = {list(unreachable, {})};
  unreachable.good();
  CHECK(unreachable.asked.size() == 2);
  // Outdated, of another authority of that name, of another authority: they say nothing.
  Scene strict("", Revocation::Strict);
  strict.sent = {list(strict, {.from = pki::kNow - 48h, .next = pki::kNow - 1h})};
  strict.refused("outdated");
  const auto impostor = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 12)),
             other = pki::authority("CN=Other", pki::key(Kind::P256, 13));
  for (const auto* by : {&impostor, &other}) {
    strict.sent = {list(strict, {}, by)};
    strict.refused("could not be learnt");
  }
}

TEST_CASE("by OCSP", "[auth][revocation][attack-E5][rfc6960]") {
  Scene s("ocsp");
  s.serve_ocsp({});
  s.good();
  s.good();
  CHECK(s.asked.size() == 1);
  s.now += 2h;
  s.serve_ocsp({.says = pki::Ocsp::Says::Revoked, .from = s.now, .next = s.now + 1h});
  s.refused("is revoked since 2026-01-01T02:00:00Z by its OCSP responder");

  Scene delegated("ocsp");
  const auto responder = pki::issue({.subject = "CN=Responder",
                                     .key = pki::key(Kind::P256, 11),
                                     .extensions = {{"extendedKeyUsage", "OCSPSigning"}, {"keyUsage", "digitalSignature"}}},
                                    &delegated.root);
  delegated.serve_ocsp({}, &responder);
  delegated.good();
}

TEST_CASE("an OCSP answer that proves nothing counts for nothing", "[auth][revocation][attack-E5][rfc6960]") {
  using Says = pki::Ocsp::Says;
  const auto row = [](const pki::Ocsp& how, const std::string& why, const std::function<pki::Issued(Scene&)>& signer = {}) {
    Scene s("ocsp");
    pki::Issued by = signer ? signer(s) : s.root;
    s.serve_ocsp(how, &by);
    s.refused("could not be learnt: " + why);
  };
  row({.says = Says::Unknown}, "the OCSP responder does not know this certificate");
  row({.from = pki::kNow + 1h, .next = pki::kNow + 2h}, "the OCSP answer is from the future");
  row({.from = pki::kNow - 2h, .next = pki::kNow - 1h}, "the OCSP answer is outdated since 2025-12-31T23:00:00Z");
  row({.from = pki::kNow - 2h, .ends = false, .nonce = false}, "the OCSP answer has neither a nonce nor an end");
  row({}, "the OCSP answer is signed by nobody whom the issuer has named",
      [](Scene&) { return pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 30)); });
  row({}, "the OCSP answer is signed by nobody", [](Scene& s) {  // a certificate of the issuer, but for another use
    return pki::issue({.subject = "CN=gw-x", .key = pki::key(Kind::P256, 11), .extensions = {{"extendedKeyUsage", "serverAuth"}}}, &s.root);
  });
  row({}, "the OCSP answer is signed by nobody", [](Scene& s) { return s.end; });
  for (const Bytes& junk : {Bytes{}, Bytes{0x30}, Bytes(crypto::kMaxOcspAnswer + 1, 0x30), to_bytes("HTTP/1.1 200 OK")}) {
    Scene s("ocsp");
    s.network[kOcspUrl] = [junk](const Bytes&) { return junk; };
    s.refused("could not be learnt: the OCSP answer");
  }
  Scene replayed("ocsp");  // the answer to another question
  const Bytes old = pki::ocsp_answer(crypto::ocsp_request(certificate(replayed.end), certificate(replayed.root), Bytes(16, 1)),
                                     replayed.root, replayed.root, {});
  replayed.network[kOcspUrl] = [old](const Bytes&) { return old; };
  replayed.refused("the OCSP answer is to another question (its nonce differs)");
  Scene prepared("ocsp");
  prepared.serve_ocsp({.nonce = false});
  prepared.good();
}

TEST_CASE("a list that proves nothing counts for nothing", "[auth][revocation][attack-E5][rfc5280-6.3]") {
  Scene other("crl");
  const auto impostor = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 30));
  other.serve_list({}, &impostor);
  other.refused("could not be learnt: the revocation list is not signed by the certificate's issuer");
  Scene stranger("crl");
  const auto another = pki::authority("C=CH, CN=Another", pki::key(Kind::P256, 30));
  stranger.serve_list({}, &another);
  stranger.refused("could not be learnt: no revocation list of its issuer is there");
  Scene stale("crl");
  stale.serve_list({.from = pki::kNow - 48h, .next = pki::kNow - 24h});
  stale.refused("is outdated since 2025-12-31T00:00:00Z");
  Scene future("crl");
  future.serve_list({.from = pki::kNow + 24h, .next = pki::kNow + 48h});
  future.refused("is from the future");
  Scene junk("crl");
  junk.network[kListUrl] = [](const Bytes&) { return to_bytes("<html>"); };
  junk.refused("is no revocation list");
  Scene unsigning("crl");  // keyUsage without cRLSign
  unsigning.root = pki::issue({.subject = "C=CH, CN=Root",
                               .key = pki::key(Kind::P256, 10),
                               .extensions = {{"basicConstraints", "critical,CA:TRUE"}, {"keyUsage", "critical,keyCertSign"}}});
  unsigning.serve_list({});
  unsigning.refused("could not be learnt");
}

TEST_CASE("what the policy asks", "[auth][revocation]") {
  Scene(std::string(), Revocation::IfUri).good();
  Scene(std::string(), Revocation::Strict).refused("could not be learnt: the certificate names no place to ask");
  Scene(std::string("ldap"), Revocation::IfUri).good();
  Scene(std::string("ldap"), Revocation::Strict).refused("could not be learnt");
  Scene("crl").refused("could not be learnt: http://crl.example/root.crl: cannot be connected to");
  Scene fallback("crl ocsp", Revocation::Strict);  // OCSP does not answer, the list does
  fallback.serve_list({});
  fallback.good();
  CHECK(fallback.asked == std::vector<std::string>{kOcspUrl, kListUrl});
  fallback.good();
  CHECK(fallback.asked.size() == 2);  // neither the failure nor the list is asked for again
  fallback.now += 31s;
  fallback.good();
  CHECK(fallback.asked == std::vector<std::string>{kOcspUrl, kListUrl, kOcspUrl});
}

TEST_CASE("many paths at once ask once", "[auth][revocation]") {
  Scene s("crl");
  s.serve_list({});
  CHECK_FALSE(s.check(2000));
  CHECK(s.asked.size() == 1);
  Scene dead("crl");
  CHECK(dead.check(2000));
  CHECK(dead.asked.size() == 1);
}

TEST_CASE("every certificate of a path is asked about but the anchor", "[auth][revocation]") {
  const auto root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 10));
  Scene s("");
  const auto middle =
      pki::authority("C=CH, CN=Middle", pki::key(Kind::P256, 12), &root, {{"crlDistributionPoints", std::string("URI:") + kListUrl}});
  s.root = root;
  s.serve_list({.revoked = {{pki::serial_of(middle), pki::kNow - 1h}}});
  const auto end = pki::gateway("CN=gw-b", pki::key(Kind::P256), middle);
  std::optional<crypto::Refusal> out;
  s.checker.check({certificate(end), certificate(middle), certificate(root)}, std::make_shared<const control::auth::Trust>(s.trust),
                  [&](auto r) { out = r; });
  for (std::size_t i = 0; i < s.work.size(); ++i) {
    const auto w = std::move(s.work[i]);
    w();
  }
  REQUIRE(out);
  CHECK(out->message.find("the certificate C=CH, CN=Middle") == 0);
}

TEST_CASE("no thread to compute, and no answer in time, end it as well", "[auth][revocation]") {
  Scene s("crl");
  s.serve_list({});
  s.room = false;
  s.refused("too many computations wait already");
  Scene slow("crl ocsp");
  slow.network[kOcspUrl] = [&](const Bytes&) -> std::expected<Bytes, std::string> {
    slow.now += 16s;
    return std::unexpected("has not answered within 4 seconds");
  };
  slow.serve_list({});
  slow.refused("could not be learnt: the answers took too long");
}

TEST_CASE("a list in a file is its issuer's however the name is encoded", "[auth][revocation][attack-E5][rfc5280-7.1]") {
  Scene s("");
  const auto again = pki::issue({.subject = "C=CH, CN=Root",
                                 .key = pki::key(Kind::P256, 10),
                                 .extensions = {{"basicConstraints", "critical,CA:TRUE"}},
                                 .strings = "PRINTABLE"});
  REQUIRE(certificate(again).subject() != certificate(s.root).subject());
  for (const auto policy : {Revocation::IfUri, Revocation::Strict}) {
    s.trust.revocation = policy;
    s.trust.lists = files({*crypto::RevocationList::read(pki::crl({.revoked = {{pki::serial_of(s.end), pki::kNow - 1h}}}, again))});
    s.refused("is revoked since");
    s.trust.lists = files({*crypto::RevocationList::read(pki::crl({}, again))});
    s.good();
  }
}

TEST_CASE("configured lists that cannot be read prove nothing", "[auth][revocation]") {
  Scene s("ocsp");
  s.serve_ocsp({});
  s.trust.lists = [] { return std::unexpected("remote.crls: x.crl cannot be opened"); };
  s.refused("could not be learnt: remote.crls: x.crl cannot be opened");
  CHECK(s.asked.empty());
}

TEST_CASE("a certificate that is trusted as it is, without its issuer", "[auth][revocation][attack-E5]") {
  Scene s("crl");
  s.alone = true;
  s.good();  // nobody could be believed about it, and nobody is asked
  CHECK(s.asked.empty());
  const auto other = pki::authority("CN=Other", pki::key(Kind::P256, 13));
  s.trust.lists = files({*crypto::RevocationList::read(pki::crl({}, other))});
  s.good();
  s.trust.lists = files({*crypto::RevocationList::read(pki::crl({}, s.root))});  // a list is wanted that nothing proves
  s.refused("could not be learnt: its issuer is none of remote.cacerts");
  s.trust.lists = {};
  s.trust.revocation = Revocation::Strict;
  s.refused("could not be learnt: its issuer is none of remote.cacerts");
}

TEST_CASE("a forged list is not kept: whoever answers once refuses nobody for long", "[auth][revocation][attack-E5]") {
  Scene s("crl");
  const auto impostor = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 30));
  s.serve_list({}, &impostor);
  s.refused("is not signed by the certificate's issuer");
  s.serve_list({});
  s.now += 31s;
  s.good();
  CHECK(s.asked.size() == 2);
}

TEST_CASE("more questions than may be under way wait, and no place is blamed for it", "[auth][revocation]") {
  Scene s("");
  constexpr std::size_t kPeers = 3 * control::auth::Revocation::kMaxFetches;
  std::vector<control::auth::Fetched> open;
  std::size_t most = 0, good = 0;
  std::vector<std::function<void()>> work;
  const auto list = pki::crl({}, s.root);
  control::auth::Revocation checker(
      {.compute =
           [&](std::function<void()> w) {
             work.push_back(std::move(w));
             return true;
           },
       .post = [&](std::function<void()> w) { work.push_back(std::move(w)); },
       .fetch = [&](const control::auth::Fetch&, control::auth::Fetched done) { open.push_back(std::move(done)); },
       .now = [&] { return s.now; }});
  const auto run = [&](bool answer) {
    for (;;) {
      for (std::size_t i = 0; i < work.size(); ++i) {
        const auto w = std::move(work[i]);
        w();
      }
      work.clear();
      most = std::max(most, open.size());
      if (open.empty() || !answer) return;
      const auto done = std::move(open.back());
      open.pop_back();
      done(list);
    }
  };
  const auto trust = std::make_shared<const control::auth::Trust>(s.trust);
  const auto ask = [&](std::size_t i) {
    const auto end = pki::issue(
        {.subject = "CN=gw",
         .key = pki::key(Kind::P256),
         .extensions = {{"basicConstraints", "CA:FALSE"}, {"crlDistributionPoints", "URI:http://h" + std::to_string(i) + "/list"}}},
        &s.root);
    checker.check({certificate(end), certificate(s.root)}, trust, [&](const std::optional<crypto::Refusal>& r) { good += !r; });
  };
  for (std::size_t i = 0; i < kPeers; ++i) ask(i);
  run(true);
  CHECK(most == control::auth::Revocation::kMaxFetches);
  CHECK(good == kPeers);
  // Where nobody answers, those that wait are told so in time, and their places are asked as soon as there is room.
  for (std::size_t i = 0; i < kPeers; ++i) ask(1000 + i);
  run(false);
  s.now += 4s;
  for (auto& done : std::exchange(open, {})) done(std::unexpected("has not answered within 4 seconds"));
  run(false);
  CHECK(open.empty());
  CHECK(good == kPeers);
  ask(1000 + kPeers - 1);
  run(true);
  CHECK(good == kPeers + 1);
  ask(1000);  // this one was silent itself
  run(true);
  CHECK(good == kPeers + 1);
}

TEST_CASE("what an OCSP responder says holds for an hour at most, and for the certificate's issuer alone", "[auth][revocation][rfc6960]") {
  Scene s("ocsp");
  s.serve_ocsp({.next = pki::kNow + 24h});
  s.good();
  s.now += 59min;
  s.good();
  CHECK(s.asked.size() == 1);
  s.now += 2min;
  s.serve_ocsp({.says = pki::Ocsp::Says::Revoked, .from = s.now, .next = s.now + 1h});
  s.refused("is revoked since");
  CHECK(s.asked.size() == 2);

  Scene two("ocsp");
  two.serve_ocsp({});
  two.good();
  const auto serial = pki::serial_of(two.end);
  two.root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 30));  // another of the same name
  two.end = pki::issue({.subject = "CN=gw-b",
                        .key = pki::key(Kind::P256),
                        .extensions = {{"basicConstraints", "CA:FALSE"}, {"authorityInfoAccess", std::string("OCSP;URI:") + kOcspUrl}},
                        .serial = serial},
                       &two.root);
  two.serve_ocsp({.says = pki::Ocsp::Says::Revoked});
  two.refused("is revoked since");
}

TEST_CASE("lists and answers over SHA-1 count only for a peer that is allowed to, those over MD5 never", "[auth][revocation][attack-E5]") {
  const auto ask = [](const std::string& hash, bool allowed, const std::string& by) {
    Scene s(by, Revocation::Strict, Kind::Rsa2048);
    s.trust.strength.sha1 = allowed;
    const auto list = *crypto::RevocationList::read(pki::crl({.hash = hash}, s.root));
    if (by == "file") s.trust.lists = files({list});
    if (by == "sent") s.sent = {list};
    s.serve_list({.hash = hash});
    s.serve_ocsp({.hash = hash});
    return s.check();
  };
  for (const char* by : {"file", "crl", "ocsp", "sent"}) {
    INFO(by);
    CHECK_FALSE(ask("SHA256", false, by));
    CHECK_FALSE(ask("SHA1", true, by));
    for (const auto& refusal : {ask("SHA1", false, by), ask("MD5", false, by), ask("MD5", true, by)}) {
      REQUIRE(refusal);
      INFO(refusal->message);
      CHECK(refusal->message.find("is signed over a hash that is broken or weak") != std::string::npos);
    }
  }
}
