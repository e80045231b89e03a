// A peer in front of VerifyPeer: by default a good one, with everything about it to be changed by a test.
#pragma once

#include <catch2/catch.hpp>

#include "common/dn.hpp"
#include "control/auth/verify.hpp"
#include "tests/support/pki.hpp"

namespace culvert::test {

struct Identity {
  std::uint8_t type = 0;  ///< RFC 2407 §4.6.2.1
  Bytes data;
};
inline Identity fqdn(const std::string& text) { return {2, to_bytes(text)}; }
inline Identity email(const std::string& text) { return {3, to_bytes(text)}; }
inline Identity address(const std::string& text) {
  const auto a = IpAddress::parse(text);
  REQUIRE(a);
  const ByteView v = a->view();
  return {1, Bytes(v.begin(), v.end())};
}
inline Identity name(const std::string& text) {
  const auto n = parse_name_text(text);
  REQUIRE(n);
  return {9, encode_name(*n)};
}
inline crypto::Certificate certificate(const pki::Issued& issued) {
  auto c = crypto::Certificate::parse(issued.der);
  REQUIRE(c);
  return *c;
}
inline ike::AuthMethod method_of(pki::Kind kind) {
  switch (kind) {
    case pki::Kind::P256:
      return ike::AuthMethod::EcdsaP256;
    case pki::Kind::P384:
      return ike::AuthMethod::EcdsaP384;
    case pki::Kind::P521:
      return ike::AuthMethod::EcdsaP521;
    case pki::Kind::Ed25519:
      return ike::AuthMethod::Ed25519;
    case pki::Kind::Ed448:
      return ike::AuthMethod::Ed448;
    default:
      return ike::AuthMethod::RsaSignature;
  }
}

struct Peer {
  pki::Issued root, end;
  std::vector<pki::Issued> sent;  ///< besides the end entity's
  bool send_end = true, end_last = false;
  control::auth::Trust trust;
  Identity identity = fqdn("gw-b.example");
  ike::AuthMethod method;
  pki::KeyPtr signer;
  std::optional<Bytes> signature;  ///< instead of the signer's
  ike::SignatureScheme scheme{};   ///< of IKEv2: its signature is to be given
  pki::Time now = pki::kNow;

  explicit Peer(pki::Kind kind)
      : root(pki::authority("C=CH, CN=Root", pki::key(kind, 10))),
        end(pki::gateway("C=CH, O=Example, CN=gw-b", pki::key(kind), root, "DNS:gw-b.example,email:ops@gw-b.example,IP:10.9.0.2")),
        method(method_of(kind)),
        signer(pki::key(kind)) {
    trust.anchors = {certificate(root)};
  }

  [[nodiscard]] ike::VerifyPeer job() const {
    ike::VerifyPeer out;
    out.job = 7;
    out.connection = std::string(1, 'c');  // g++ 12 sees an overlap in an assignment of "c"
    out.method = method;
    out.octets = Bytes(32, 0x5a);
    out.signature = signature ? *signature : pki::sign(*signer, out.octets);
    out.id_type = identity.type;
    out.id_data = identity.data;
    if (send_end && !end_last) out.certificates.push_back({4, end.der});
    for (const auto& c : sent) out.certificates.push_back({4, c.der});
    if (send_end && end_last) out.certificates.push_back({4, end.der});
    out.scheme = scheme;
    return out;
  }
  [[nodiscard]] ike::VerifyResult verify() const { return control::auth::verify(trust, job(), now).result; }
  void expect(ike::Reason reason, const std::string& text) const {
    const auto result = verify();
    INFO(result.message);
    CHECK_FALSE(result.ok);
    CHECK(result.job == 7);
    CHECK(ike::name(result.reason) == ike::name(reason));
    CHECK(result.message.find(text) != std::string::npos);
  }
};

}  // namespace culvert::test
