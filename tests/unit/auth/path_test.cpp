// Chains that go wrong: loops, lengths, name constraints, and every byte of a good certificate changed.
#include <iostream>

#include <catch2/catch.hpp>

#include "tests/unit/auth/peer.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Reason;
using pki::Kind;

namespace {
/// A chain root > CA 1 > ... > CA `length` > gateway.
Peer chain(std::size_t length, const pki::Extensions& of_root = {}, const pki::Extensions& of_first = {}) {
  Peer p(Kind::P256);
  p.root = pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 10), nullptr, of_root);
  p.trust.anchors = {certificate(p.root)};
  pki::Issued above = p.root;
  p.sent.clear();
  for (std::size_t i = 1; i <= length; ++i) {
    above = pki::authority("C=CH, CN=CA " + std::to_string(i), pki::key(Kind::P256, 40 + static_cast<int>(i)), &above,
                           i == 1 ? of_first : pki::Extensions{});
    p.sent.push_back(above);
  }
  p.end = pki::gateway("C=CH, O=Example, CN=gw-b", pki::key(Kind::P256), above, "DNS:gw-b.example,email:ops@gw-b.example,IP:10.9.0.2");
  return p;
}
}  // namespace

TEST_CASE("a chain of eight certificates is taken, a longer one is not", "[auth][x509][attack-E6]") {
  for (const std::size_t authorities : {1U, 3U, 6U}) {
    const auto result = chain(authorities).verify();
    INFO(result.message);
    CHECK(result.ok);
  }
  chain(7).expect(Reason::CertUntrusted, "leads to no trusted authority within 8 certificates");
}

TEST_CASE("path length constraints hold", "[auth][x509][attack-E6][rfc5280-4.2.1.9]") {
  const auto limited = [](const char* n) { return pki::Extensions{{"basicConstraints", std::string("critical,CA:TRUE,pathlen:") + n}}; };
  CHECK(chain(1, limited("1")).verify().ok);
  chain(2, {}, limited("0")).expect(Reason::CertInvalid, "path length constraint exceeded");
  chain(3, {}, limited("1")).expect(Reason::CertInvalid, "path length constraint exceeded");
  CHECK(chain(2, {}, limited("1")).verify().ok);
}

TEST_CASE("authorities that have signed each other lead nowhere, and end", "[auth][x509][attack-E6]") {
  Peer p(Kind::P256);
  const auto a = pki::authority("C=CH, CN=A", pki::key(Kind::P256, 51));
  const auto b = pki::authority("C=CH, CN=B", pki::key(Kind::P256, 52));
  const auto a_by_b = pki::authority("C=CH, CN=A", pki::key(Kind::P256, 51), &b);
  const auto b_by_a = pki::authority("C=CH, CN=B", pki::key(Kind::P256, 52), &a);
  p.end = pki::gateway("CN=gw-b", pki::key(Kind::P256), a, "DNS:gw-b.example");
  p.sent = {a_by_b, b_by_a};
  p.expect(Reason::CertUntrusted, "leads to no trusted authority");
  p.sent = {b_by_a, a_by_b, a, b};
  p.expect(Reason::CertUntrusted, "leads to no trusted authority");
  // One of the loop is also signed by the root: there is a way out.
  const auto b_by_root = pki::authority("C=CH, CN=B", pki::key(Kind::P256, 52), &p.root);
  p.sent = {a_by_b, b_by_root};
  CHECK(p.verify().ok);
}

TEST_CASE("name constraints hold, whatever the case", "[auth][x509][attack-E6][rfc5280-4.2.1.10]") {
  const auto under = [](const std::string& constraint, const std::string& names) {
    Peer p = chain(1, {}, {{"nameConstraints", "critical," + constraint}});
    p.end = pki::gateway("CN=x", pki::key(Kind::P256), p.sent.front(), names);
    return p;
  };
  CHECK(under("permitted;DNS:example", "DNS:gw-b.example").verify().ok);
  CHECK(under("permitted;DNS:EXAMPLE", "DNS:gw-b.example").verify().ok);
  under("permitted;DNS:other", "DNS:gw-b.example").expect(Reason::CertInvalid, "permitted subtree violation");
  under("excluded;DNS:example", "DNS:gw-b.example").expect(Reason::CertInvalid, "excluded subtree violation");
  under("excluded;DNS:EXAMPLE", "DNS:gw-b.example").expect(Reason::CertInvalid, "excluded subtree violation");
  under("excluded;DNS:example", "DNS:gw-b.EXAMPLE").expect(Reason::CertInvalid, "excluded subtree violation");
  under("excluded;email:gw-b.example", "DNS:gw-b.example,email:ops@GW-B.example").expect(Reason::CertInvalid, "excluded subtree violation");
  under("permitted;IP:10.8.0.0/255.255.0.0", "DNS:gw-b.example,IP:10.9.0.2").expect(Reason::CertInvalid, "permitted subtree violation");
}

TEST_CASE("every byte of a certificate changed: never taken, never a crash", "[auth][x509][attack-E7]") {
  Peer p(Kind::P256);
  REQUIRE(p.verify().ok);
  const ike::VerifyPeer good = p.job();
  std::size_t taken = 0, tried = 0;
  for (std::size_t i = 0; i < good.certificates[0].data.size(); ++i)
    for (const std::uint8_t flip : std::initializer_list<std::uint8_t>{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
      ike::VerifyPeer job = good;
      job.certificates[0].data[i] ^= flip;
      const auto result = control::auth::verify(p.trust, job, p.now).result;
      ++tried;
      if (result.ok) {
        ++taken;
        UNSCOPED_INFO("byte " << i << " flipped by " << int{flip});
      }
    }
  for (std::size_t n = 0; n < good.certificates[0].data.size(); ++n) {  // and every strict prefix
    ike::VerifyPeer job = good;
    job.certificates[0].data.resize(n);
    ++tried;
    taken += control::auth::verify(p.trust, job, p.now).result.ok ? 1 : 0;
  }
  std::cout << "ran " << tried << " broken certificates\n";
  CHECK(taken == 0);
}

TEST_CASE("an intermediate that is broken does not help", "[auth][x509][attack-E7]") {
  const Peer p = chain(1);
  const ike::VerifyPeer good = p.job();
  REQUIRE(control::auth::verify(p.trust, good, p.now).result.ok);
  for (std::size_t i = 0; i < good.certificates[1].data.size(); ++i) {
    ike::VerifyPeer job = good;
    job.certificates[1].data[i] ^= 0x01;
    INFO("byte " << i);
    CHECK_FALSE(control::auth::verify(p.trust, job, p.now).result.ok);
  }
}
