// Whether a peer is who it says: each class of bad certificate is refused with its reason, good ones are taken.
#include "control/auth/verify.hpp"

#include <catch2/catch.hpp>

#include "common/dn.hpp"
#include "tests/support/pki.hpp"
#include "tests/unit/auth/peer.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Reason;
using pki::Kind;

TEST_CASE("a peer with a certificate of the authority is taken, with every kind of key and identity", "[auth][x509]") {
  for (const Kind kind : {Kind::Rsa2048, Kind::P256, Kind::P384, Kind::P521})
    for (const auto& identity : {fqdn("gw-b.example"), email("ops@gw-b.example"), address("10.9.0.2"), name("C=CH, O=Example, CN=gw-b"),
                                 fqdn("GW-B.Example"), name("c=ch, o=EXAMPLE, cn=GW-B")}) {
      Peer p(kind);
      p.identity = identity;
      const auto result = p.verify();
      INFO(result.message);
      CHECK(result.ok);
      CHECK(result.subject == "C=CH, O=Example, CN=gw-b");
    }
}

TEST_CASE("an identity that the certificate lacks is refused", "[auth][x509][attack-E5]") {
  for (const auto& identity : {fqdn("gw-c.example"), fqdn("gw-b.exampl"), fqdn("b.example"), fqdn(""), fqdn("ops@gw-b.example"),
                               email("gw-b.example"), email("x@gw-b.example"), address("10.9.0.3"), name("C=CH, O=Example, CN=gw-c"),
                               name("C=CH, O=Example"), name("C=CH, O=Example, CN=*"), Identity{9, {}}, Identity{9, {0x30}},
                               Identity{11, to_bytes("gw-b.example")}, Identity{4, {10, 9, 0, 2, 255, 255, 255, 255}}, Identity{0, {}}}) {
    Peer p(Kind::P256);
    p.identity = identity;
    p.expect(Reason::WrongIdentity,
             "but its certificate says C=CH, O=Example, CN=gw-b, DNS gw-b.example, email ops@gw-b.example, IP 10.9.0.2");
  }
  Peer star(Kind::P256);
  star.end = pki::gateway("CN=star", pki::key(Kind::P256), star.root, "DNS:*.example");
  star.expect(Reason::WrongIdentity, "DNS *.example");
}

TEST_CASE("a signature of another key, of other octets, or none is refused", "[auth][attack-E5]") {
  Peer wrong(Kind::P256);
  wrong.signer = pki::key(Kind::P256, 7);
  wrong.expect(Reason::AuthFailed, "the peer's signature is not one of the key of the certificate C=CH, O=Example, CN=gw-b");
  Peer none(Kind::Rsa2048);
  none.signature = Bytes{};
  none.expect(Reason::AuthFailed, "signature");
  Peer mismatch(Kind::Rsa2048);
  mismatch.method = ike::AuthMethod::EcdsaP256;
  mismatch.expect(Reason::CertInvalid, "is for rsa signatures, but ecdsa-256 was agreed");
}

TEST_CASE("signatures of IKEv2 are of the certificate's key, and of a scheme that goes with it", "[auth][rfc7427]") {
  using enum ike::SignatureScheme;
  const Bytes octets(32, 0x5a);
  struct Row {
    Kind kind;
    ike::SignatureScheme scheme;
    const char* hash;
    bool pss = false;
  };
  for (const Row& row :
       {Row{Kind::Rsa2048, RsaSha1, "SHA1"}, Row{Kind::Rsa2048, RsaSha256, "SHA256"}, Row{Kind::Rsa2048, PssSha512, "SHA512", true},
        Row{Kind::P256, EcdsaSha256, "SHA256"}, Row{Kind::P384, EcdsaSha512, "SHA512"}, Row{Kind::P521, EcdsaSha512, "SHA512"},
        Row{Kind::Ed25519, Ed25519, ""}, Row{Kind::Ed448, Ed448, ""}}) {
    INFO(ike::name(row.scheme));
    const bool edwards = row.scheme == Ed25519 || row.scheme == Ed448;
    Peer p(row.kind);
    p.method = {};  // not looked at
    p.scheme = row.scheme;
    p.signature = pki::sign_message(*pki::key(row.kind), row.hash, octets, row.pss);
    const auto result = p.verify();
    INFO(result.message);
    CHECK(result.ok);
    p.signature = pki::sign_message(*pki::key(row.kind, 7), row.hash, octets, row.pss);
    p.expect(Reason::AuthFailed, "the peer's signature is not one of the key of the certificate C=CH, O=Example, CN=gw-b");
    if (!edwards) {
      p.signature = pki::sign(*pki::key(row.kind), octets);  // as IKEv1 does it
      p.expect(Reason::AuthFailed, "signature");
    }
    p.scheme = row.kind == Kind::Rsa2048 ? EcdsaSha256 : RsaSha256;
    p.expect(Reason::CertInvalid,
             std::string("signatures, but the peer's is ") + (row.kind == Kind::Rsa2048 ? "ECDSA" : "RSA") + " with SHA2-256");
    if (row.kind != Kind::P256) {
      p.scheme = EcdsaP256;
      p.expect(Reason::CertInvalid, "signatures, but the peer's is ECDSA with P-256");
    }
  }
}

TEST_CASE("chains that are signed with Ed25519 and Ed448, and such keys, are taken", "[auth][x509][rfc8410]") {
  using enum ike::SignatureScheme;
  for (const auto& [above, below] : {std::pair{Kind::Ed25519, Kind::Ed448}, std::pair{Kind::Ed448, Kind::Ed25519}}) {
    Peer p(below);
    p.root = pki::authority("C=CH, CN=Root", pki::key(above, 10));
    const auto middle = pki::authority("C=CH, CN=Middle", pki::key(below, 11), &p.root);
    p.end = pki::gateway("C=CH, O=Example, CN=gw-b", pki::key(below), middle, "DNS:gw-b.example");
    p.sent = {middle};
    p.trust.anchors = {certificate(p.root)};
    p.scheme = below == Kind::Ed448 ? Ed448 : Ed25519;
    p.signature = pki::sign_message(*pki::key(below), "", Bytes(32, 0x5a));
    INFO(p.verify().message);
    CHECK(p.verify().ok);
    p.scheme = below == Kind::Ed448 ? Ed25519 : Ed448;
    p.expect(Reason::CertInvalid,
             below == Kind::Ed448 ? "is for ed448 signatures, but the peer's is Ed25519" : "is for ed25519 signatures");
    p.scheme = Ikev1;  // which has no number for it
    p.method = ike::AuthMethod::RsaSignature;
    p.expect(Reason::CertInvalid, "but rsa was agreed");
    // A chain of another root of the same name.
    p.scheme = below == Kind::Ed448 ? Ed448 : Ed25519;
    p.trust.anchors = {certificate(pki::authority("C=CH, CN=Root", pki::key(above, 20)))};
    p.expect(Reason::CertUntrusted, "");
  }
}

TEST_CASE("a certificate out of its time is refused", "[auth][x509][attack-E5]") {
  Peer p(Kind::P256);
  p.now = pki::kNow + std::chrono::hours(24 * 31);
  p.expect(Reason::CertInvalid, "is expired since 2026-01-31T00:00:00Z");
  p.now = pki::kNow - std::chrono::hours(25);
  p.expect(Reason::CertInvalid, "is not valid before 2025-12-31T00:00:00Z");
}

TEST_CASE("a certificate of nobody that is trusted is refused", "[auth][x509][attack-E5]") {
  Peer other(Kind::P256);
  other.trust.anchors = {certificate(pki::authority("C=CH, CN=Another Root", pki::key(Kind::P256, 20)))};
  other.expect(Reason::CertUntrusted, "leads to no trusted authority: its issuer is neither configured nor was it sent");
  Peer same_name(Kind::P256);  // the trusted authority's name, but not its key
  same_name.trust.anchors = {certificate(pki::authority("C=CH, CN=Root", pki::key(Kind::P256, 20)))};
  same_name.expect(Reason::CertUntrusted, "");
  Peer self(Kind::P256);
  self.end = pki::issue({.subject = "CN=gw-b", .key = pki::key(Kind::P256), .extensions = {{"subjectAltName", "DNS:gw-b.example"}}});
  self.expect(Reason::CertUntrusted, "is signed by itself and not configured");
  Peer nothing(Kind::P256);
  nothing.trust.anchors.clear();
  nothing.expect(Reason::CertUntrusted, "no authority is trusted");
  Peer sent_root(Kind::P256);  // an anchor is what is configured, not what is sent
  sent_root.sent = {sent_root.root};
  sent_root.trust.anchors = {certificate(pki::authority("C=CH, CN=Another Root", pki::key(Kind::P256, 20)))};
  sent_root.expect(Reason::CertUntrusted, "");
}

TEST_CASE("a certificate that is not made for this use is refused", "[auth][x509][attack-E5]") {
  const auto with = [](pki::Extensions extensions) {
    Peer p(Kind::P256);
    extensions.emplace_back("subjectAltName", "DNS:gw-b.example");
    p.end = pki::issue({.subject = "CN=gw-b", .key = pki::key(Kind::P256), .extensions = std::move(extensions)}, &p.root);
    return p;
  };
  with({{"basicConstraints", "critical,CA:TRUE"}, {"keyUsage", "digitalSignature,keyCertSign"}})
      .expect(Reason::CertInvalid, "is an authority's, and no peer's");
  with({{"keyUsage", "critical,keyEncipherment"}}).expect(Reason::CertInvalid, "its keyUsage does not allow signatures");
  with({{"keyUsage", "critical,keyCertSign,cRLSign"}}).expect(Reason::CertInvalid, "its keyUsage does not allow signatures");
  with({{"extendedKeyUsage", "codeSigning"}}).expect(Reason::CertInvalid, "its extendedKeyUsage names neither IKE nor TLS nor any use");
  with({{"extendedKeyUsage", "OCSPSigning,timeStamping"}}).expect(Reason::CertInvalid, "extendedKeyUsage");
  with({{"1.2.3.4.5", "critical,DER:0500"}}).expect(Reason::CertInvalid, "unhandled critical extension");
  for (const char* use :
       {"serverAuth", "clientAuth", "anyExtendedKeyUsage", "1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.8.2.2", "codeSigning,1.3.6.1.5.5.7.3.17"})
    CHECK(with({{"extendedKeyUsage", use}}).verify().ok);
  CHECK(with({{"keyUsage", "critical,nonRepudiation"}}).verify().ok);
  CHECK(with({}).verify().ok);
}

TEST_CASE("a chain over intermediate authorities", "[auth][x509]") {
  Peer p(Kind::P256);
  const auto middle = pki::authority("C=CH, CN=Middle", pki::key(Kind::P384, 3), &p.root);
  const auto low = pki::authority("C=CH, CN=Low", pki::key(Kind::Rsa2048, 3), &middle);
  p.end = pki::gateway("CN=gw-b", pki::key(Kind::P256), low, "DNS:gw-b.example");
  p.sent = {middle, low};
  CHECK(p.verify().ok);
  p.sent = {low, middle};
  CHECK(p.verify().ok);
  p.end_last = true;  // RFC 4945 leaves the order open
  CHECK(p.verify().ok);
  p.sent = {low};
  p.expect(Reason::CertUntrusted, "the certificate C=CH, CN=Low");
  p.trust.anchors = {certificate(middle)};  // trusted though no root
  CHECK(p.verify().ok);
  const auto impostor =
      pki::issue({.subject = "C=CH, CN=Middle", .key = pki::key(Kind::P384, 3), .extensions = {{"basicConstraints", "CA:FALSE"}}}, &p.root);
  p.trust.anchors = {certificate(p.root)};
  p.sent = {impostor, low};
  p.expect(Reason::CertInvalid, "");
  const auto expired = pki::issue({.subject = "C=CH, CN=Middle",
                                   .key = pki::key(Kind::P384, 3),
                                   .extensions = {{"basicConstraints", "critical,CA:TRUE"}},
                                   .to = pki::kNow - std::chrono::hours(1)},
                                  &p.root);
  p.sent = {expired, low};
  p.expect(Reason::CertInvalid, "the certificate C=CH, CN=Middle");
}

TEST_CASE("a pinned certificate is trusted as it is, and no other", "[auth][x509]") {
  Peer p(Kind::P256);
  p.end = pki::issue({.subject = "CN=gw-b",
                      .key = pki::key(Kind::P256),
                      .extensions = {{"basicConstraints", "CA:TRUE"}, {"subjectAltName", "DNS:gw-b.example"}}});
  p.trust.anchors.clear();
  p.trust.pinned = {certificate(p.end)};
  CHECK(p.verify().ok);
  p.send_end = false;  // the peer relies on our having it
  CHECK(p.verify().ok);
  p.identity = fqdn("gw-c.example");
  p.expect(Reason::CertUntrusted, "the peer sent no certificate, and remote.certs has none that carries gw-c.example");
  p.identity = fqdn("gw-b.example");
  p.now = pki::kNow + std::chrono::hours(24 * 31);
  p.expect(Reason::CertInvalid, "is expired since");
  p.now = pki::kNow;
  p.trust.pinned = {certificate(
      pki::issue({.subject = "CN=gw-b", .key = pki::key(Kind::P256, 5), .extensions = {{"subjectAltName", "DNS:gw-b.example"}}}))};
  p.send_end = true;
  p.expect(Reason::CertUntrusted, "is not one of remote.certs");
}

TEST_CASE("weak keys and weak hashes in certificates are refused", "[auth][x509][attack-E1][attack-E2]") {
  for (const auto& [kind, why] : std::vector<std::pair<Kind, std::string>>{{Kind::Rsa1024, "has 1024 bits"},
                                                                           {Kind::RsaSmallExponent, "public exponent"},
                                                                           {Kind::P192, "is not P-256, P-384 or P-521"},
                                                                           {Kind::P256Explicit, "is not given by name"},
                                                                           {Kind::X25519, "neither RSA nor ECDSA, Ed25519 or Ed448"}}) {
    Peer p(Kind::P256);
    p.end = pki::gateway("CN=gw-b", pki::key(kind), p.root, "DNS:gw-b.example");
    p.signature = Bytes(64);
    p.expect(Reason::CertInvalid, why);
  }
  Peer legacy(Kind::Rsa1024);  // allowed by name, for this connection
  legacy.trust.strength = {.weak_rsa = true, .sha1 = true};
  legacy.end = pki::issue(
      {.subject = "CN=gw-b", .key = pki::key(Kind::Rsa1024), .extensions = {{"subjectAltName", "DNS:gw-b.example"}}, .hash = "SHA1"},
      &legacy.root);
  CHECK(legacy.verify().ok);
  legacy.trust.strength = {.weak_rsa = false, .sha1 = true};
  legacy.expect(Reason::CertInvalid, "has 1024 bits");
  legacy.trust.strength = {.weak_rsa = true, .sha1 = false};
  legacy.expect(Reason::CertInvalid, "CA signature digest algorithm too weak");
  legacy.trust.strength = {.weak_rsa = true, .sha1 = true};
  legacy.end = pki::issue(
      {.subject = "CN=gw-b", .key = pki::key(Kind::Rsa1024), .extensions = {{"subjectAltName", "DNS:gw-b.example"}}, .hash = "MD5"},
      &legacy.root);
  legacy.expect(Reason::CertInvalid, "CA signature digest algorithm too weak");
  for (const char* hash : {"MD5", "SHA1"}) {
    Peer p(Kind::Rsa2048);
    p.end = pki::issue(
        {.subject = "CN=gw-b", .key = pki::key(Kind::Rsa2048), .extensions = {{"subjectAltName", "DNS:gw-b.example"}}, .hash = hash},
        &p.root);
    p.expect(Reason::CertInvalid, "CA signature digest algorithm too weak");
  }
}

TEST_CASE("revocation lists beside the certificates are read, a few of them, and junk is passed over", "[auth][x509][rfc2408-3.9]") {
  Peer p(Kind::P256);
  auto job = p.job();
  job.certificates.push_back({7, to_bytes("junk")});
  for (int i = 0; i < 5; ++i) job.certificates.push_back({7, pki::crl({}, p.root)});
  const auto verified = control::auth::verify(p.trust, job, p.now);
  CHECK(verified.result.ok);
  CHECK(verified.lists.size() == control::auth::kMaxSentLists);
  job.signature[0] ^= 1U;
  CHECK(control::auth::verify(p.trust, job, p.now).lists.empty());  // of a peer that proves nothing none is read
}

TEST_CASE("a certificate under RSA-PSS with impossible salts and hashes is refused", "[auth][x509][attack-E4][rfc4055-3.1]") {
  const auto tlv = [](std::uint8_t tag, const Bytes& content) {
    Bytes out{tag, 0x82, static_cast<std::uint8_t>(content.size() >> 8U), static_cast<std::uint8_t>(content.size())};
    out.insert(out.end(), content.begin(), content.end());
    return out;
  };
  const auto join = [](std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
  };
  struct Item {
    std::uint8_t tag;
    Bytes whole, content;
  };
  const auto take = [](ByteView& at) {
    std::size_t head = 2, size = at[1];
    if (size == 0x81) head = 3, size = at[2];
    if (size == 0x82) head = 4, size = at[2] * 256U + at[3];
    const ByteView whole = at.first(head + size);
    const ByteView content = whole.subspan(head);
    at = at.subspan(head + size);
    return Item{whole[0], Bytes(whole.begin(), whole.end()), Bytes(content.begin(), content.end())};
  };
  const Bytes pss{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a};
  const std::vector<Bytes> salts{{0x20}, {0x7f, 0xff, 0xff, 0xff}, {0x00, 0x80, 0, 0, 0}, {0x00, 0xff, 0xff, 0xff, 0xff},
                                 {0xff}, {0x80, 0, 0, 0},          Bytes(40, 0x7f),       {}};
  Peer p(Kind::Rsa2048);
  REQUIRE(p.verify().ok);
  ByteView at = p.end.der;
  ByteView outer = at;
  const Item all = take(outer);
  ByteView inside = all.content;
  const Item tbs = take(inside);
  for (const Bytes& salt : salts) {
    const Bytes algorithm = tlv(0x30, join({pss, tlv(0x30, tlv(0xa2, tlv(0x02, salt)))}));
    ByteView fields = tbs.content;
    const Item version = take(fields), serial = take(fields);
    take(fields);
    const Bytes rest(fields.begin(), fields.end());
    const Bytes body = tlv(0x30, join({version.whole, serial.whole, algorithm, rest}));
    p.end.der = tlv(0x30, join({body, algorithm, tlv(0x03, join({Bytes{0}, Bytes(256, 0x5a)}))}));
    const auto result = p.verify();
    CHECK_FALSE(result.ok);
    CHECK((result.reason == Reason::CertInvalid || result.reason == Reason::CertUntrusted));
  }
}

TEST_CASE("a chain that comes in one PKCS #7 is judged like one in several payloads", "[auth][x509][rfc2408-3.9]") {
  Peer p(Kind::P256);
  const auto middle = pki::authority("C=CH, CN=Middle", pki::key(Kind::P256, 11), &p.root);
  p.end = pki::gateway("C=CH, O=Example, CN=gw-b", pki::key(Kind::P256), middle, "DNS:gw-b.example");
  auto job = p.job();
  const auto wrapped = [&](const std::vector<pki::Issued>& all) {
    job.certificates = {{1, pki::pkcs7(all)}};
    return control::auth::verify(p.trust, job, p.now).result;
  };
  CHECK(wrapped({p.end, middle}).ok);
  CHECK(wrapped({middle, p.end}).ok);
  CHECK(wrapped({p.end}).reason == Reason::CertUntrusted);
  CHECK(wrapped({}).reason == Reason::CertInvalid);
  CHECK(wrapped(std::vector(9, p.end)).message.find("PKCS #7 with more than 8 certificates") != std::string::npos);
  job.certificates[0].data = pki::pkcs7({p.end, middle});
  job.certificates[0].data.push_back(0);
  CHECK(control::auth::verify(p.trust, job, p.now).result.reason == Reason::CertInvalid);
  const Bytes whole = pki::pkcs7({p.end, middle});
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    job.certificates[0].data.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(control::auth::verify(p.trust, job, p.now).result.reason == Reason::CertInvalid);
  }
}

TEST_CASE("what the peer sends is bounded", "[auth][x509][attack-E7]") {
  Peer p(Kind::P256);
  auto job = p.job();
  job.certificates.resize(9, job.certificates[0]);
  auto result = control::auth::verify(p.trust, job, p.now).result;
  CHECK(result.reason == Reason::CertInvalid);
  CHECK(result.message == "the peer sent more than 8 certificates");
  job = p.job();
  job.certificates[0].data.resize(crypto::kMaxCertificate + 1);
  CHECK(control::auth::verify(p.trust, job, p.now).result.message.find("more than 16384 bytes") != std::string::npos);
  for (const Bytes& junk : {Bytes{}, Bytes{0x30}, Bytes(1000, 0x30), to_bytes("-----BEGIN CERTIFICATE-----")}) {
    job.certificates[0].data = junk;
    result = control::auth::verify(p.trust, job, p.now).result;
    CHECK_FALSE(result.ok);
    CHECK(result.reason == Reason::CertInvalid);
  }
}
