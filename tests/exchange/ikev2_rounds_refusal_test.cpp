// Several proofs of a side (RFC 4739): those who do not come in, in which round, and why.
#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_rounds_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

TEST_CASE("IKEv2 rounds: what fails names its round, on both sides, and nothing is left", "[ikev2][rounds][rfc4739]") {
  struct Case {
    const char* what;
    RoundProofs client, gateway;
    std::function<void(Pair&)> wrong;
    Reason here, there;  ///< B's, A's
    const char *says, *other;
  };
  const std::vector<Case> cases{
      {"another secret",
       {kCert, kPsk},
       {kCert},
       [](Pair& p) { p.a.secrets["c/2"] = "other"; },
       Reason::AuthFailed,
       Reason::AuthFailed,
       "Round 2 of 2 (remote-2): The peer's proof does not fit our pre-shared key.",
       "Round 2 of 2 (local-2): The peer refused our authentication (AUTHENTICATION_FAILED): the pre-shared keys differ"},
      {"the gateway's other secret",
       {kCert, kPsk},
       {kCert, kPsk},
       [](Pair& p) { p.b.secrets["c/2"] = "other"; },
       Reason::AuthFailed,
       Reason::AuthFailed,
       "Round 2 of 2 (local-2, remote-2): The peer's proof does not fit our pre-shared key.",
       "Round 2 of 2"},
      {"a gateway with the right first proof",
       {kCert},
       {kCert, kPsk},
       [](Pair& p) { p.b.secrets["c/2"] = "other"; },
       Reason::Ok,
       Reason::AuthFailed,
       "",
       "Round 2 of 2 (remote-2): The peer's proof does not fit our pre-shared key."},
      {"another password",
       {kCert, kEap},
       {kCert},
       [](Pair& p) { p.a.password = "other"; },
       Reason::EapWrongPassword,
       Reason::EapRefused,
       "Round 2 of 2 (remote-2): User \"alice\" at 10.9.0.1:500 is refused: its password is another.",
       "Round 2 of 2 (local-2): The gateway refuses user \"alice\""},
      {"no such user",
       {kPsk, kEap},
       {kCert},
       [](Pair& p) { p.b.users.clear(); },
       Reason::EapUnknownUser,
       Reason::EapRefused,
       "Round 2 of 2 (remote-2): User \"alice\"",
       "Round 2 of 2 (local-2): "},
      {"a second certificate that is not trusted",
       {kPsk, kCert},
       {kPsk},
       [](Pair& p) { p.b.distrusted = {"c/2: A"}; },
       Reason::CertUntrusted,
       Reason::AuthFailed,
       "Round 2 of 2 (remote-2): refused by the test",
       "Round 2 of 2 (local-2): The peer refused our authentication (AUTHENTICATION_FAILED): it does not trust our certificate"},
      {"a second identity that is another",
       {kCert, kCert},
       {kCert},
       [](Pair& p) { p.b.config.connections[0].rounds[0].remote_id = named("else.example"); },
       Reason::WrongIdentity,
       Reason::AuthFailed,
       "Round 2 of 2 (remote-2): The peer calls itself a2.example, expected was else.example.",
       "Round 2 of 2 (local-2): "},
      {"a secret that cannot be read",
       {kCert, kPsk},
       {kCert},
       [](Pair& p) { p.a.secrets.erase("c/2"); },
       Reason::Ok,
       Reason::NoSecret,
       "",
       "Round 2 of 2 (local-2): the secret file /psk/c/2 is empty."},
      {"the first proof",
       {kPsk, kEap},
       {kCert},
       [](Pair& p) { p.a.secrets["c"] = "other"; },
       Reason::AuthFailed,
       Reason::AuthFailed,
       "Round 1 of 2 (local, remote): The peer's proof does not fit our pre-shared key.",
       "Round 1 of 2 (local, remote): The peer refused"},
      {"the gateway has no second key",
       {kCert},
       {kCert, kCert},
       [](Pair& p) { p.b.keys.erase("c/2"); },
       Reason::NoSecret,
       Reason::AuthRounds,
       "Round 2 of 2 (local-2): Our private key cannot be used",
       "Round 2 of 2 (remote-2): The peer refuses behind all"},
  };
  for (const Case& one : cases) {
    INFO(one.what);
    World world;
    Pair p = several(world, one.client, one.gateway);
    one.wrong(p);
    start_both(p);
    world.run(4s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(p.a.counted(Exchange::IkeAuth, one.there) >= 1);
    CHECK(latest_failure(p.a).message.find(one.other) == 0);
    if (one.here != Reason::Ok) {
      CHECK(p.b.counted(Exchange::IkeAuth, one.here) >= 1);
      CHECK(latest_failure(p.b).message.find(one.says) == 0);
    }
    CHECK_FALSE(p.a.up());
    CHECK_FALSE(p.b.up());
    if (one.here != Reason::Ok) CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 0);
    CHECK(p.a.counted(Exchange::IkeAuth, Reason::Ok) == 0);
    check_all_gone(world, p);
  }
}

TEST_CASE("IKEv2 rounds: who proves himself too seldom, or too often", "[ikev2][rounds][rfc4739-3.2]") {
  struct Case {
    RoundProofs wanted_of_client, of_gateway;  ///< as A has both
    RoundProofs at_b, b_has;                   ///< as B has both
    const char *a_says, *b_says;               ///< empty: nothing
  };
  const std::vector<Case> cases{
      // The client has one, the gateway wants two.
      {{kCert},
       {kCert},
       {kCert, kPsk},
       {kCert},
       "it does not trust our certificate, or does not take our identity a1.example, or it asks for",
       "Round 1 of 2 (local, remote): The peer stops after its proof no. 1 (no ANOTHER_AUTH_FOLLOWS), and remote-2 asks for another one."},
      {{kCert, kPsk},
       {kCert},
       {kCert, kPsk, kCert},
       {kCert},
       "Round 2 of 2 (local-2): The peer refused",
       "Round 2 of 3 (remote-2): The peer stops after its proof no. 2 (no ANOTHER_AUTH_FOLLOWS), and remote-3 asks for another one."},
      {{kEap},
       {kCert},
       {kEap, kCert},
       {kCert},
       "it takes no users here",
       "Round 1 of 2 (local, remote): The peer stops after its proof no. 1 (no ANOTHER_AUTH_FOLLOWS), and remote-2 asks for another one."},
      // The client has two, the gateway wants one: it does not say that it takes several.
      {{kCert, kPsk},
       {kCert},
       {kCert},
       {kCert},
       "Round 1 of 2 (local, remote): The peer takes no further proofs (its IKE_SA_INIT has no MULTIPLE_AUTH_SUPPORTED, RFC 4739), and the "
       "connection has 2 rounds of them.",
       ""},
      {{kCert, kPsk, kCert},
       {kCert},
       {kCert, kPsk},
       {kCert},
       "Round 2 of 3 (local-2): The peer refused",
       "Round 2 of 2 (remote-2): The peer wants to prove itself once more (ANOTHER_AUTH_FOLLOWS), and the connection has no section behind "
       "remote-2."},
      // The same of the gateway.
      {{kCert, kPsk},
       {kCert, kPsk},
       {kCert, kPsk},
       {kCert},
       "Round 1 of 2 (local, remote): The peer stops after its proof no. 1 (no ANOTHER_AUTH_FOLLOWS), and remote-2 asks for another one.",
       "Round 2 of 2 (remote-2): The peer ends it (AUTHENTICATION_FAILED)"},
      {{kCert, kPsk},
       {kCert},
       {kCert, kPsk},
       {kCert, kPsk},
       "Round 1 of 2 (local, remote): The peer is to prove itself once more (ANOTHER_AUTH_FOLLOWS), and the connection has no further "
       "remote",
       "Round 2 of 2 (local-2, remote-2): The peer ends it (AUTHENTICATION_FAILED)"},
      {{kCert},
       {kCert},
       {kCert},
       {kCert, kPsk},
       "it does not trust our certificate",
       "Round 1 of 2 (local, remote): The peer takes no further proofs of ours (its IKE_AUTH has no MULTIPLE_AUTH_SUPPORTED, RFC 4739), "
       "and"},
  };
  for (const Case& one : cases) {
    World world;
    const Pair p = several(world, one.wanted_of_client, one.of_gateway, [&](auto& a, auto& b) {
      config::GatewayConfig mirror_a = a, mirror_b = b;
      prove(mirror_a.connections[0], b.connections[0], one.at_b, 'a');
      prove(b.connections[0], mirror_a.connections[0], one.b_has, 'b');
    });
    start_both(p);
    world.run(4s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(latest_failure(p.a).message.find(one.a_says) != std::string::npos);
    if (*one.b_says != 0) {
      CHECK(latest_failure(p.b).message.find(one.b_says) == 0);
      CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 0);
    }
    CHECK(p.a.established() == 0);
    CHECK_FALSE(p.b.up());
    check_all_gone(world, p);
  }
}
