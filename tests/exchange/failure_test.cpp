// Each way in which a tunnel does not come up ends in its stated state, on time, with a reason that names the mismatch; nothing is
// installed and nothing is left.
#include <catch2/catch.hpp>

#include "tests/exchange/insider.hpp"

using namespace culvert;
using namespace culvert::test;
using Catch::Contains;
using ike::Exchange;

namespace {

void require_nothing(const Host& h) {
  CHECK(h.inbound.empty());
  CHECK(h.outbound.empty());
  CHECK(h.spis.empty());
  CHECK_FALSE(h.up());
}
std::string failure_of(const Host& h) {
  const auto status = h.engine->connections().at(0);
  return status.failure ? std::string(ike::name(status.failure->reason)) + ": " + status.failure->message : "none";
}
std::string child_failure_of(const Host& h) {
  const auto status = h.engine->connections().at(0).children.at(0);
  return status.failure ? std::string(ike::name(status.failure->reason)) + ": " + status.failure->message : "none";
}

}  // namespace

TEST_CASE("wrong pre-shared key: each side says so", "[main_mode][rfc2409-5.4]") {
  // I -> R 5 does not decrypt;   I <- R N(AUTHENTICATION-FAILED) in clear, once: believed by nobody, but named at the end
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::None; });
  b.secrets["c"] = "another secret";
  a.start();
  b.start();
  REQUIRE(a.engine->initiate(world.now, "c", "").ok);
  a.perform();
  world.run(15s);
  INFO(a.transcript() << b.transcript());
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  CHECK_THAT(failure_of(a), Contains("auth_failed") && Contains("pre-shared keys probably differ"));
  CHECK(b.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  world.run(30s);
  CHECK(b.counted(Exchange::MainMode, Reason::Timeout) == 0);  // said once
  CHECK(a.engine->ike_sas().empty());
  CHECK(b.engine->ike_sas().empty());
  require_nothing(a);
  require_nothing(b);
}

TEST_CASE("wrong pre-shared key with a silent responder ends after all retransmissions", "[main_mode]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::None; });
  b.secrets["c"] = "another secret";
  world.hook = [](ike::Datagram& d) {
    const auto seen = look(d);
    return !(seen && seen->header.exchange == ike::kExchangeInformational);
  };
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(50s);
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 0);
  world.run(40s);
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  CHECK_THAT(failure_of(a), Contains("No answer at all to message 5 from 10.9.0.2:500: the pre-shared keys probably differ"));
}

TEST_CASE("behind a NAT, silence after message 5 may be a blocked port 4500", "[main_mode][rfc3947-4]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    ca.connections[0].encap = cb.connections[0].encap = true;
  });
  world.hook = [](ike::Datagram& d) { return d.remote.port != 4500; };
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(90s);
  INFO(a.transcript());
  CHECK(a.counted(Exchange::MainMode, Reason::AuthFailed) == 1);
  CHECK_THAT(failure_of(a),
             Contains("No answer at all to message 5 from 10.9.0.2:4500: UDP 4500 is blocked on the way, or the pre-shared keys differ"));
}

TEST_CASE("no common phase 1 proposal: refused once, no state, and both name what differs", "[main_mode][rfc2409-5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    cb.connections[0].proposals = parse_ike_proposal("aes256-sha512-ecp384").value();
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(1s);
  CHECK(b.engine->ike_sas().empty());
  world.run(12s);
  INFO(a.transcript() << b.transcript());
  CHECK(b.counted(Exchange::MainMode, Reason::NoProposalChosen) == 1);
  CHECK_THAT(failure_of(b), Contains("no_proposal_chosen") && Contains("aes128-sha256-ecp256") && Contains("aes256-sha512-ecp384"));
  CHECK(a.counted(Exchange::MainMode, Reason::PeerNoProposal) == 1);
  CHECK_THAT(failure_of(a), Contains("peer_no_proposal") && Contains("aes128-sha256-ecp256"));
  require_nothing(a);
}

TEST_CASE("no common phase 2 proposal", "[quick_mode][rfc2409-5.5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    cb.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256-sha256").value();
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(5s);
  INFO(a.transcript() << b.transcript());
  CHECK(a.counted(Exchange::QuickMode, Reason::PeerNoProposal) == 1);
  CHECK(b.counted(Exchange::QuickMode, Reason::NoProposalChosen) == 1);
  CHECK_THAT(child_failure_of(b), Contains("aes128gcm16") && Contains("aes256-sha256"));
  CHECK_THAT(child_failure_of(a), Contains("peer_no_proposal"));
  require_nothing(a);
  require_nothing(b);
}

TEST_CASE("mismatched proxy identities: both sides name both pairs", "[quick_mode][rfc2409-5.5]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    ca.connections[0].children[0].remote_ts = TrafficSelector::parse("10.77.0.0/16").value();
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(5s);
  INFO(a.transcript() << b.transcript());
  CHECK(b.counted(Exchange::QuickMode, Reason::SelectorMismatch) == 1);
  CHECK_THAT(failure_of(b), Contains("10.77.0.0/16") && Contains("10.2.0.0/24"));
  CHECK(a.counted(Exchange::QuickMode, Reason::PeerSelectorMismatch) == 1);
  CHECK_THAT(child_failure_of(a), Contains("10.77.0.0/16"));
  require_nothing(a);
  require_nothing(b);
}

TEST_CASE("a peer that asks for less than a child has gets less", "[quick_mode]") {
  World world;
  auto [a, b] = two_sites(
      world, [](auto& ca, auto&) { ca.connections[0].children[0].remote_ts = TrafficSelector::parse("10.2.0.128/25[tcp/80]").value(); });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.current_out("net"); }, 5s));
  CHECK(b.current_out("net")->sa.local_ts.to_string() == "10.2.0.128/25[tcp/80]");
}

TEST_CASE("unreachable peer: a timeout after all retransmissions, then again later", "[main_mode]") {
  World world;
  auto [a, b] = two_sites(world);
  world.hook = [](ike::Datagram&) { return false; };
  a.start();
  world.run(90s);
  CHECK(a.counted(Exchange::MainMode, Reason::Timeout) == 1);
  CHECK(a.sent_datagrams >= 8);
  CHECK_THAT(failure_of(a), Contains("timeout") && Contains("10.9.0.2:500"));
  world.hook = nullptr;
  b.start();
  CHECK(world.run_until([&] { return a.up() && b.up(); }, 70s));  // start_action: start does not give up
  CHECK(failure_of(a) == "none");
}

TEST_CASE("wrong identity of the initiator: refused under HASH(1), and both know why", "[main_mode][rfc2407-4.6.2]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    ca.connections[0].local_id = {config::Identity::Type::Fqdn, "wrong.example"};
    cb.connections[0].remote_id = {config::Identity::Type::Fqdn, "gw-a.example"};
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(3s);
  INFO(a.transcript() << b.transcript());
  CHECK(b.counted(Exchange::MainMode, Reason::WrongIdentity) == 1);
  CHECK_THAT(failure_of(b), Contains("wrong.example") && Contains("gw-a.example"));
  CHECK(a.counted(Exchange::MainMode, Reason::PeerRefused) == 1);
  CHECK(a.engine->ike_sas().empty());
  CHECK(b.engine->ike_sas().empty());
}

TEST_CASE("wrong identity of the responder: the initiator takes its word back", "[main_mode][rfc2407-4.6.2]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    ca.connections[0].remote_id = {config::Identity::Type::UserFqdn, "ops@gw.example"};
    cb.connections[0].local_id = {config::Identity::Type::UserFqdn, "else@gw.example"};
  });
  a.start();
  b.start();
  a.engine->initiate(world.now, "c", "");
  a.perform();
  world.run(3s);
  CHECK(a.counted(Exchange::MainMode, Reason::WrongIdentity) == 1);
  CHECK_THAT(failure_of(a), Contains("else@gw.example") && Contains("ops@gw.example"));
  CHECK(a.engine->ike_sas().empty());
  CHECK(b.engine->ike_sas().empty());  // the Delete came along
}

TEST_CASE("several connections with the same addresses and key: the identity decides", "[main_mode]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    ca.connections[0].local_id = {config::Identity::Type::Fqdn, "Second.Example"};
    cb.connections[0].remote_id = {config::Identity::Type::Fqdn, "first.example"};
    auto other = cb.connections[0];
    other.name = "d";
    other.remote_id = {config::Identity::Type::Fqdn, "second.example"};
    cb.connections.push_back(other);
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.up() && b.up("d"); }, 5s));
  CHECK_FALSE(b.up("c"));
}

TEST_CASE("no secret, no room for an SA, a data plane that refuses", "[main_mode][quick_mode][E12]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::None; });
  a.start();
  b.start();
  SECTION("the initiator's secret") {
    a.secrets.clear();
    a.engine->initiate(world.now, "c", "");
    a.perform();
    CHECK(a.counted(Exchange::MainMode, Reason::NoSecret) == 1);
    CHECK_THAT(failure_of(a), Contains("the secret file /psk/c is empty"));
    CHECK(a.sent_datagrams == 0);
  }
  SECTION("the responder's secret") {
    b.secrets.clear();
    a.engine->initiate(world.now, "c", "");
    a.perform();
    world.run(2s);
    CHECK(b.counted(Exchange::MainMode, Reason::NoSecret) >= 1);
    CHECK_THAT(failure_of(b), Contains("the secret file /psk/c is empty"));
  }
  SECTION("no SPI") {
    b.spi_room = false;
    a.engine->initiate(world.now, "c", "");
    a.perform();
    world.run(5s);
    CHECK(b.counted(Exchange::QuickMode, Reason::Limit) == 1);
  }
  SECTION("InstallSa refused") {
    b.refuse_installs = true;
    a.engine->initiate(world.now, "c", "");
    a.perform();
    world.run(100s);
    CHECK(b.counted(Exchange::QuickMode, Reason::InstallFailed) == 1);
  }
  world.run(100s);
  require_nothing(a);
  require_nothing(b);
}

TEST_CASE("a complaint about a message ends no Quick Mode unless it names its SPI", "[quick_mode][rfc2408-3.14]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  bool hold = true;
  world.hook = [&](ike::Datagram& d) {
    const auto seen = look(d);
    const bool from_b = d.local.address == b.config.connections[0].local_addrs.front();
    return !(hold && from_b && seen && seen->header.exchange == ike::kExchangeQuickMode);
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.established() == 1 && b.established() == 1 && !a.spis.empty(); }, 10s));
  world.run(100ms);
  const bool names_it = GENERATE(false, true);
  ikev1::Notify n;
  n.protocol = 3;
  n.type = ikev1::NotifyType::PayloadMalformed;
  n.spi = Bytes(4, 0);
  if (names_it)
    for (unsigned i = 0; i < 4; ++i) n.spi[i] = static_cast<std::uint8_t>(*a.spis.begin() >> (24 - 8 * i));
  ikev1::Builder payloads;
  payloads.add(n);
  const std::size_t refused = a.counted(Exchange::Informational, Reason::BadHash);
  world.deliver(Insider(world).informational(payloads, true));
  INFO(a.transcript());
  CHECK(a.counted(Exchange::Informational, Reason::BadHash) == refused);
  CHECK(a.counted(Exchange::QuickMode, Reason::PeerRefused) == (names_it ? 1 : 0));
  hold = false;
  if (!names_it) CHECK(world.run_until([&] { return a.up() && b.up(); }, 4s));  // by the retransmission, without a new Quick Mode
}
