// Several proofs of a side (RFC 4739): who comes in behind all of them, and who does not, and in which round.
//
//   initiator                                             responder
//   IDi AUTH SA TSi TSr N(MULTIPLE_AUTH_SUPPORTED) N(ANOTHER_AUTH_FOLLOWS)  -->  <--  IDr AUTH [N(ANOTHER_AUTH_FOLLOWS)]
//   IDi [AUTH]                                                              -->  <--  [IDr AUTH] [EAP]  ...  AUTH SA TSi TSr
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_rounds_sites.hpp"
#include "tests/exchange/radius_world.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;
using config::Proof;
using ike::Exchange;

namespace {

/// Those of IKE_AUTH.
std::size_t messages(const World& world) {
  return static_cast<std::size_t>(std::ranges::count_if(world.wire, [](const ike::Datagram& d) {
    const auto seen = look(d);
    return seen && seen->header.exchange == ike::kExchangeAuth;
  }));
}

struct Row {
  RoundProofs client, gateway;
  const char* shown;      ///< as whom B lists A
  std::size_t exchanges;  ///< of IKE_AUTH
};
/// EAP-MSCHAPv2 takes four, beside the one that begins it.
const std::vector<Row> kRows{
    {{kCert, kEap}, {kCert}, "alice", 6},
    {{kCert, kEap}, {kCert, kPsk}, "alice", 6},
    {{kPsk, kEap}, {kCert}, "alice", 6},
    {{kPsk, kEap}, {kPsk, kCert}, "alice", 6},
    {{kPsk, kCert, kEap}, {kCert}, "alice", 7},
    {{kEap, kCert}, {kCert}, "alice", 6},
    {{kEap, kPsk, kCert}, {kCert}, "alice", 7},
    {{kCert, kPsk}, {kCert, kPsk}, "a1.example", 2},
    {{kPsk, kCert}, {kCert, kPsk}, "a2.example", 2},  // a secret may be of several: the signature says who it is
    {{kPsk, kCert}, {kPsk}, "a2.example", 2},
    {{kCert, kPsk}, {kCert}, "a1.example", 2},
    {{kCert, kCert, kPsk}, {kPsk}, "a1.example", 3},
    {{kPsk}, {kPsk, kCert}, "a1.example", 2},
    {{kCert}, {kCert, kPsk, kCert}, "a1.example", 3},
    {{kCert, kCert, kCert}, {kCert, kCert, kCert}, "a1.example", 3},
    {{kCert, Proof::EapMd5}, {kCert}, "alice", 5},
};

}  // namespace

TEST_CASE("IKEv2 rounds: every side as often as it is configured, and the CHILD SA behind the last proof", "[ikev2][rounds][rfc4739]") {
  for (const Row& row : kRows) {
    World world;
    world.record = true;
    const Pair p = several(world, row.client, row.gateway);
    start_both(p);
    std::size_t early = 0;
    const bool up = world.run_until(
        [&] {
          if (!p.a.up() || !p.b.up()) early += p.a.inbound.size() + p.b.outbound.size();
          return both_up(p);
        },
        10s);
    INFO(p.a.transcript() << p.b.transcript());
    REQUIRE(up);
    CHECK(messages(world) == 2 * row.exchanges);
    const auto here = p.b.engine->ike_sas().at(0), there = p.a.engine->ike_sas().at(0);
    CHECK(here.remote_id == row.shown);
    CHECK(here.local_id == "b1.example");
    CHECK(there.remote_id == "b1.example");
    CHECK(there.local_id == "a1.example");
    CHECK(here.xauth_user == (std::string(row.shown) == "alice" ? "alice" : ""));
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);
    for (const Host* h : {&p.a, &p.b}) const_cast<Host*>(h)->step([&](ike::Engine& e) { CHECK(e.rekey(world.now, "c", "", true).ok); });
    world.run(30s);
    CHECK(p.b.engine->ike_sas().at(0).remote_id == row.shown);
    CHECK(both_up(p));
    check_all_gone(world, p);
  }
}

TEST_CASE("IKEv2 rounds: any one message lost, or all of them twice", "[ikev2][rounds][rfc4739][rfc7296-2.1]") {
  for (const std::size_t index : {std::size_t{1}, std::size_t{5}, std::size_t{7}, std::size_t{12}})
    for (std::size_t lost = 0; lost <= 16; ++lost) {
      const Row& row = kRows.at(index);
      INFO("row " << index << ", message " << lost);
      World world(lost + 1);
      if (lost == 16) world.link.duplicate = 1;
      const Pair p = several(world, row.client, row.gateway);
      std::size_t count = 0;
      world.hook = [&](ike::Datagram&) { return count++ != lost; };
      start_both(p);
      const bool up = world.run_until([&] { return both_up(p); }, 30s);
      INFO(p.a.transcript() << p.b.transcript());
      CHECK(up);
      CHECK(p.b.counted(Exchange::IkeAuth, Reason::Ok) == 2);
      check_all_gone(world, p);
    }
}

TEST_CASE("IKEv2 rounds: over a line that loses three of ten, delays and reorders", "[ikev2][rounds]") {
  for (std::uint64_t seed = 1; seed <= 48; ++seed) {
    const Row& row = kRows.at(seed % kRows.size());
    INFO("seed " << seed);
    World world(seed);
    world.link = {.loss = 0.3, .duplicate = 0.1, .delay_min = 5ms, .delay_max = 300ms};
    const Pair p = several(world, row.client, row.gateway);
    start_both(p);
    const bool up = world.run_until([&] { return both_up(p); }, 300s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(up);
  }
}

TEST_CASE("IKEv2 rounds: of two connections the one is meant whose proofs the peer announces", "[ikev2][rounds]") {
  const bool two = GENERATE(false, true);
  World world;
  const Pair p = several(world, two ? RoundProofs{kCert, kPsk} : RoundProofs{kCert}, {kCert}, [&](auto& a, auto& b) {
    b.connections.push_back(b.connections[0]);
    b.connections[1].name = "d";
    config::GatewayConfig mirror = a;
    prove(mirror.connections[0], b.connections[0], {kCert, kPsk}, 'a');
    prove(mirror.connections[0], b.connections[1], {kCert}, 'a');
  });
  start_both(p);
  const bool up = world.run_until([&] { return p.a.up() && p.b.up(two ? "c" : "d"); }, 5s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(up);
  CHECK_FALSE(p.b.up(two ? "d" : "c"));
}

TEST_CASE("IKEv2 rounds: an address belongs to the user, and is given behind the last proof", "[ikev2][rounds][rfc4739]") {
  World world;
  Pair p = several(world, {kCert, kEap}, {kCert}, [](auto& a, auto& b) {
    serve(b);
    config::Connection& c = b.connections[0];
    c.xauth_server = {};
    c.remote_addrs.clear();
    c.children[0].remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
    c.children[0].remote_dynamic = true;
    a.connections[0].vips = {IpAddress::v4(0)};
    a.connections[0].children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
    a.connections[0].children[0].local_dynamic = true;
  });
  SECTION("who proves both") {
    start_both(p);
    const bool up = world.run_until([&] { return both_up(p); }, 5s);
    INFO(p.a.transcript() << p.b.transcript());
    REQUIRE(up);
    CHECK(p.b.engine->pools().at(0).leases.at(0).identity == "c/alice");
    CHECK(p.a.engine->ike_sas().at(0).virtual_address == p.b.engine->ike_sas().at(0).virtual_address);
  }
  SECTION("who does not has none") {
    p.a.password = "other";
    start_both(p);
    world.run(20s);
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::EapWrongPassword) >= 1);
    CHECK(leased(p.b) == 0);
  }
}

TEST_CASE("IKEv2 rounds: users of several connections behind one kind of certificate", "[ikev2][rounds][eap]") {
  World world;
  Pair p = several(world, {kCert, kEap}, {kCert}, [&](auto&, auto& b) {
    b.connections[0].more_remote[0].auth.eap_id = "*@example.org";
    b.connections.push_back(b.connections[0]);
    b.connections[1].name = "d";
    b.connections[1].more_remote[0].auth.eap_id = "al*";
  });
  start_both(p);
  const bool up = world.run_until([&] { return p.a.up() && p.b.up("d"); }, 5s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(up);
  CHECK_FALSE(p.b.up("c"));
}

TEST_CASE("IKEv2 rounds: long certificates in fragments, additional key exchanges, and mobility",
          "[ikev2][rounds][rfc7383][rfc9242-3.3.2]") {
  const Row& row = kRows.at(GENERATE(1u, 7u, 14u));
  World world;
  Pair p = several(world, row.client, row.gateway, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256-ke1_x25519-ke2_ecp384").value();
      g->connections[0].mobike = true;
    }
  });
  p.a.chain_size = p.b.chain_size = 3000;
  start_both(p);
  const bool up = world.run_until([&] { return both_up(p); }, 20s);
  INFO(p.a.transcript() << p.b.transcript());
  CHECK(up);
  CHECK(p.b.engine->ike_sas().at(0).remote_id == row.shown);
}

TEST_CASE("IKEv2 rounds: tickets are given behind the last proof, and are good while as many are asked for",
          "[ikev2][rounds][rfc5723-4.3]") {
  World world;
  Pair p = several(world, {kCert, kEap}, {kCert}, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].resumption.enabled = true;
      g->connections[0].dpd_delay = config::Seconds{5};
    }
  });
  p.b.tickets = {{7, SecretBytes(Bytes(32, 7))}};
  p.b.lasting = "the secret of B";
  start_both(p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
  world.run(1s);
  const unsigned checks = p.b.checks;
  p.b.lose_plane();
  bool same = true;
  SECTION("as before") {}
  SECTION("a third one is asked for by now") {
    same = false;
    config::Connection &ours = p.a.config.connections[0], &theirs = p.b.config.connections[0];
    prove(ours, theirs, {kCert, kEap, kPsk}, 'a');
    config::arrange_rounds(ours);
    config::arrange_rounds(theirs);
    give_keys(p.a);
    give_keys(p.b);
  }
  p.b.restart();
  p.b.key_exchanges = 0;
  REQUIRE(world.run_until([&] { return p.a.counted(Exchange::Informational, Reason::PeerRestarted) >= 1; }, 60s));
  const bool again = world.run_until([&] { return both_up(p); }, 60s);
  INFO(p.a.transcript() << p.b.transcript());
  REQUIRE(again);
  CHECK((p.b.key_exchanges == 0) == same);
  CHECK((p.b.checks == checks) == same);
  CHECK(p.b.engine->ike_sas().front().xauth_user == "alice");
}

TEST_CASE("IKEv2 rounds: whom a RADIUS server knows, behind or before another proof", "[ikev2][rounds][radius][rfc4478-3]") {
  const bool first = GENERATE(false, true);
  World world;
  const Pair p = several(world, first ? RoundProofs{kEap, kPsk} : RoundProofs{kCert, kEap}, {kCert}, [&](auto&, auto& b) {
    config::Connection& c = b.connections[0];
    (first ? c.remote_auth : c.more_remote[0].auth).auth = Proof::EapRadius;
    b.radius.retransmit_tries = 2;
    b.radius.timeout = config::Seconds{8};
  });
  RadiusWorld server(world, p.b);
  SECTION("his time begins with the SA, and ends it") {
    server.grants = {{radius::Type::UserName, to_bytes("alice")}, {radius::Type::SessionTimeout, {0, 0, 0, 60}}};
    start_both(p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 10s));
    CHECK(p.b.engine->ike_sas().at(0).xauth_user == "alice");
    never_anew(world);
    world.run(70s);
    CHECK_FALSE(p.b.reports(Reason::Expired).empty());
  }
  SECTION("whom it rejects") {
    p.a.password = "other";
    start_both(p);
    world.run(4s);
    INFO(p.a.transcript() << p.b.transcript());
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::RadiusRejected) >= 1);
    CHECK(latest_failure(p.b).message.find(first ? "Round 1 of 2 (local, remote): User" : "Round 2 of 2 (remote-2): User") == 0);
    CHECK_FALSE(p.b.up());
  }
  SECTION("a silent one") {
    server.silent = {0};
    start_both(p);
    world.run(20s);
    INFO(p.b.transcript());
    CHECK(p.b.counted(Exchange::IkeAuth, Reason::RadiusTimeout) >= 1);
    CHECK_FALSE(p.b.up());
  }
}

TEST_CASE("IKEv2 rounds: a gateway sends nobody away before the last proof", "[ikev2][rounds][redirect][rfc5685-6]") {
  World world;
  world.record = true;
  const IpAddress other = IpAddress::parse("10.9.0.3").value();
  const Pair p = several(world, {kCert, kPsk}, {kCert, kPsk}, [&](auto&, auto& b) { b.connections[0].redirection.to = {other, {}}; });
  bool wrong = false;
  SECTION("who has proved all") {}
  SECTION("who has not") {
    wrong = true;
    p.a.secrets["c/2"] = "other";
  }
  start_both(p);
  world.run(1s);
  INFO(p.a.transcript() << p.b.transcript());
  const bool goes = std::ranges::any_of(world.wire, [&](const ike::Datagram& d) { return d.remote.address == other; });
  CHECK(goes == !wrong);
  CHECK_FALSE(p.b.up());
  CHECK(messages(world) == 4);
}
