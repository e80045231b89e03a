// Which signature each side of IKE_AUTH makes, and which one it takes, where the configuration says so.
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::AuthMethod;
using ike::Exchange;
using ike::SignatureScheme;

TEST_CASE("IKEv2: RSA signs by PSS where we or the peer want it", "[ikev2][rfc7427][rfc8247-3.2]") {
  using Wish = config::SignatureWish;
  const Wish pss384{Wish::Key::RsaPss, {Wish::Hash::Sha384}}, pkcs1{Wish::Key::Rsa, {}};
  struct Case {
    Wish a, b;  ///< of their own signatures
    SignatureScheme of_a, of_b;
  };
  for (const Case& c : {Case{{}, {}, SignatureScheme::RsaSha256, SignatureScheme::RsaSha256},
                        Case{pss384, {}, SignatureScheme::PssSha384, SignatureScheme::PssSha256},  // B answers in kind
                        Case{pss384, pkcs1, SignatureScheme::PssSha384, SignatureScheme::RsaSha256},
                        Case{{}, pss384, SignatureScheme::RsaSha256, SignatureScheme::PssSha384}}) {
    INFO(ike::name(c.of_a) << ", " << ike::name(c.of_b));
    World world;
    const Pair p = two_signing_v2(world, AuthMethod::RsaSignature, [&](auto& a, auto& b) {
      a.connections[0].local_auth.auth.signature = c.a;
      b.connections[0].local_auth.auth.signature = c.b;
    });
    p.a.start();
    p.b.start();
    REQUIRE(world.run_until([&] { return both_up(p); }, 5s));
    CHECK(p.b.verified.at(0).scheme == c.of_a);
    CHECK(p.a.verified.at(0).scheme == c.of_b);
  }
}

TEST_CASE("IKEv2: a signature that is not the one asked for is refused by either role, before it is looked at", "[ikev2][rfc7427]") {
  const bool by_responder = GENERATE(true, false);
  using Wish = config::SignatureWish;
  World world;
  Pair p = two_signing_v2(world, AuthMethod::RsaSignature, [&](auto& a, auto& b) {
    (by_responder ? b : a).connections[0].remote_auth.auth.signature = Wish{Wish::Key::RsaPss, {Wish::Hash::Sha256}};
  });
  Host &judge = by_responder ? p.b : p.a, &judged = by_responder ? p.a : p.b;
  p.a.start();
  p.b.start();
  world.run(3s);
  CHECK(judge.verified.empty());
  CHECK(judge.counted(Exchange::IkeAuth, Reason::AuthFailed) >= 1);
  CHECK(failure_of(judge) == "The peer's signature is RSA with SHA2-256, and the connection asks for ike:rsa/pss-sha256 (remote.auth).");
  check_nothing_left(p);
  judged.config.connections[0].local_auth.auth.signature = Wish{Wish::Key::RsaPss, {}};
  p.a.step([&](ike::Engine& e) { e.initiate(world.now, "c", "net"); });
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
}

TEST_CASE("IKEv2: a key that makes no such signature as is asked for says so, in either role", "[ikev2][rfc7427]") {
  const bool initiator = GENERATE(true, false);
  using Wish = config::SignatureWish;
  World world;
  Pair p = two_signing_v2(world, AuthMethod::EcdsaP256, [&](auto& a, auto& b) {
    (initiator ? a : b).connections[0].local_auth.auth.signature = Wish{Wish::Key::RsaPss, {}};
  });
  Host& h = initiator ? p.a : p.b;
  p.a.start();
  p.b.start();
  world.run(3s);
  CHECK(h.counted(Exchange::IkeAuth, Reason::NoSecret) >= 1);
  CHECK(failure_of(h) == "Our private key is for ecdsa-256 signatures, and local.auth asks for rsa/pss.");
  check_nothing_left(p);
}
