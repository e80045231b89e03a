// What failed negotiations leave to be read: who refused which message, and both sides of the mismatch, at both ends.
#include <catch2/catch.hpp>

#include "tests/exchange/insider.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ike::RefusedBy;
using ike::Role;

namespace {

template <class Change>
std::pair<Host&, Host&> fail(World& world, Change&& change, Duration time = 15s) {
  auto [a, b] = two_sites(world, [&](auto& ca, auto& cb) {
    ca.connections[0].children[0].start_action = config::StartAction::None;
    change(ca, cb);
  });
  a.start();
  b.start();
  REQUIRE(a.engine->initiate(world.now, "c", "").ok);
  a.perform();
  world.run(time);
  return {a, b};
}

ike::Failure newest(const Host& h) {
  const auto all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

}  // namespace

TEST_CASE("evidence: proposals of phase 1 and 2, offered, wanted, first difference", "[evidence]") {
  World world;
  const bool phase1 = GENERATE(true, false);
  auto [a, b] = fail(world, [phase1](auto&, auto& cb) {
    if (phase1)
      cb.connections[0].proposals = parse_ike_proposal("aes128-sha256-ecp384").value();
    else
      cb.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256-sha256").value();
  });
  const ike::Failure theirs = newest(b), ours = newest(a);
  CHECK(theirs.by == RefusedBy::Us);
  CHECK(theirs.role == Role::Responder);
  CHECK(theirs.cause.number == 1);
  CHECK(theirs.exchange == (phase1 ? Exchange::MainMode : Exchange::QuickMode));
  const auto& e = std::get<ike::ProposalEvidence>(theirs.cause.evidence);
  CHECK(e.offered == (phase1 ? "aes128-sha256-ecp256" : "aes128gcm16"));
  CHECK(e.wanted == (phase1 ? "aes128-sha256-ecp384" : "aes256-sha256"));
  CHECK(e.difference ==
        (phase1 ? "Diffie-Hellman group 19 (ecp256) is not acceptable here" : "encryption aes128gcm16 is not acceptable here"));
  CHECK(e.usable == std::vector<std::string>{e.offered});

  CHECK(ours.by == RefusedBy::Peer);
  CHECK(ours.role == Role::Initiator);
  CHECK(ours.cause.number == 1);
  CHECK(ours.cause.said == "NO-PROPOSAL-CHOSEN");
  CHECK(ours.cause.said_proven == !phase1);
  CHECK(std::get<ike::ProposalEvidence>(ours.cause.evidence).offered == e.offered);
}

TEST_CASE("evidence: another secret is told from another identity, at both ends", "[evidence]") {
  World world;
  SECTION("the secret") {
    auto [a, b] = two_sites(world, [](auto& ca, auto&) { ca.connections[0].children[0].start_action = config::StartAction::None; });
    b.secrets["c"] = "another secret";
    a.start();
    b.start();
    REQUIRE(a.engine->initiate(world.now, "c", "").ok);
    a.perform();
    world.run(15s);
    for (const Host* h : {&a, &b}) {
      const ike::Failure f = newest(*h);
      CHECK(f.reason == Reason::AuthFailed);
      CHECK(f.cause.number == 5);
      CHECK(f.by == (h == &a ? RefusedBy::Peer : RefusedBy::Us));
      CHECK(std::get<ike::SecretEvidence>(f.cause.evidence).problem == ike::SecretEvidence::Problem::Differs);
    }
    CHECK(newest(a).cause.said == "AUTHENTICATION-FAILED");
    CHECK_FALSE(newest(a).cause.said_proven);
  }
  SECTION("the initiator's identity") {
    auto [a, b] = fail(world, [](auto& ca, auto& cb) {
      ca.connections[0].local_id = {config::Identity::Type::Fqdn, "wrong.example"};
      cb.connections[0].remote_id = {config::Identity::Type::Fqdn, "gw-a.example"};
    });
    const auto theirs = std::get<ike::IdentityEvidence>(newest(b).cause.evidence);
    CHECK(theirs == ike::IdentityEvidence{"gw-a.example", "wrong.example", false, true});
    CHECK(newest(b).cause.number == 5);
    const auto ours = std::get<ike::IdentityEvidence>(newest(a).cause.evidence);
    CHECK(ours == ike::IdentityEvidence{"", "wrong.example", true, true});
    CHECK(newest(a).reason == Reason::PeerRefused);
    CHECK(newest(a).cause.said == "INVALID-ID-INFORMATION");
    CHECK(newest(a).cause.said_proven);
  }
  SECTION("the responder's identity") {
    auto [a, b] = fail(world, [](auto& ca, auto& cb) {
      ca.connections[0].remote_id = {config::Identity::Type::Fqdn, "gw-b.example"};
      cb.connections[0].local_id = {config::Identity::Type::Fqdn, "else.example"};
    });
    CHECK(std::get<ike::IdentityEvidence>(newest(a).cause.evidence) == ike::IdentityEvidence{"gw-b.example", "else.example", false, true});
    CHECK(newest(a).cause.number == 6);
    CHECK(newest(a).by == RefusedBy::Us);
  }
}

TEST_CASE("evidence: selectors of both ends", "[evidence]") {
  World world;
  auto [a, b] =
      fail(world, [](auto& ca, auto&) { ca.connections[0].children[0].remote_ts = TrafficSelector::parse("10.77.0.0/16").value(); });
  const auto ours = std::get<ike::SelectorEvidence>(newest(a).cause.evidence);
  CHECK(ours.asked == ike::SelectorPair{"", "10.1.0.0/24", "10.77.0.0/16"});
  CHECK(newest(a).child == "net");
  CHECK(newest(a).cause.said == "INVALID-ID-INFORMATION");
  const auto theirs = std::get<ike::SelectorEvidence>(newest(b).cause.evidence);
  CHECK(theirs.asked == ike::SelectorPair{"", "10.77.0.0/16", "10.1.0.0/24"});
  CHECK(theirs.configured == std::vector{ike::SelectorPair{"net", "10.2.0.0/24", "10.1.0.0/24"}});
  CHECK(newest(b).child.empty());
}

TEST_CASE("evidence: silence names the message that nobody answered", "[evidence]") {
  World world;
  unsigned passed = 0;
  const unsigned allowed = GENERATE(0U, 2U, 4U);
  world.hook = [&passed, allowed](ike::Datagram&) { return passed++ < allowed; };
  auto [a, b] = fail(world, [](auto&, auto&) {}, 90s);
  CHECK(newest(a).by == RefusedBy::Nobody);
  CHECK(newest(a).cause.number == allowed + 1);
  CHECK(newest(a).cause.said.empty());
  if (allowed > 0) CHECK(newest(b).cause.number == allowed + 1);
}

TEST_CASE("evidence: strangers, and a peer of ours that speaks IKEv2", "[evidence]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world, [](auto&, auto& cb) { cb.connections[0].remote_addrs = {IpAddress::parse("10.9.0.77").value()}; });
  a.start();
  b.start();
  world.run(20s);
  REQUIRE_FALSE(b.engine->strangers().empty());
  const ike::Failure f = b.engine->strangers().front();
  CHECK(f.reason == Reason::NoConnection);
  CHECK(std::get<ike::AddressEvidence>(f.cause.evidence) == ike::AddressEvidence{"10.9.0.2", "10.9.0.1", ""});
  CHECK(b.engine->failures("c").empty());

  ike::Datagram d{{IpAddress::parse("10.9.0.2").value(), 500}, {IpAddress::parse("10.9.0.77").value(), 500}, Bytes(28, 0)};
  d.data[0] = 1;
  d.data[17] = 0x20;  // version 2.0
  d.data[18] = 34;    // IKE_SA_INIT
  d.data[27] = 28;
  b.engine->on_datagram(world.now, d);
  CHECK(newest(b).reason == Reason::OtherVersion);
}

TEST_CASE("evidence: a peer that leaves right after message 6 does not accept our identity", "[evidence]") {
  World world;
  world.record = true;
  auto [a, b] = two_sites(world);
  // What strongSwan does: message 6 is not to its taste, it deletes the ISAKMP SA and says no more. No Quick Mode came.
  world.hook = [](ike::Datagram& d) {
    const auto seen = look(d);
    return !(seen && seen->header.exchange == ike::kExchangeQuickMode);
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.established() == 1 && b.established() == 1; }, 5s));
  const bool at_once = GENERATE(true, false);
  if (!at_once) world.run(20s);
  a.engine->terminate(world.now, "c", "");
  a.perform();
  world.run(1s);
  CHECK(b.established() == 0);
  const auto all = b.engine->failures("c");
  REQUIRE(all.size() == (at_once ? 1 : 0));
  if (!at_once) return;
  CHECK(all[0].by == RefusedBy::Peer);
  CHECK(all[0].cause.number == 6);
  CHECK(std::get<ike::IdentityEvidence>(all[0].cause.evidence) == ike::IdentityEvidence{"", "10.9.0.2", true, true});
}
