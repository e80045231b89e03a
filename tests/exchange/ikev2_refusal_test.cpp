// What a side learns, and says, of why an IKE SA did not come to be.
#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

/// Not begun by anybody.
void idle(config::GatewayConfig& g) {
  g.connections[0].version = 2;
  g.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  g.connections[0].children[0].start_action = config::StartAction::None;
}

void begin(const Pair& p) {
  p.a.start();
  p.b.start();
  p.a.engine->initiate(p.a.world.now, "c", "net");
  p.a.perform();
}

ike::Failure latest(const Host& h) {
  const auto all = h.engine->failures("c");
  REQUIRE_FALSE(all.empty());
  return all.front();
}

}  // namespace

TEST_CASE("IKEv2: a peer that is not who it is asked for is asked once more who it is", "[ikev2][rfc7296-3.5]") {
  World world;
  const bool psk = GENERATE(true, false);
  const auto change = [](config::GatewayConfig& a, config::GatewayConfig& b) {
    idle(a);
    idle(b);
    a.connections[0].remote_id = {config::Identity::Type::Fqdn, "else.example"};
    b.connections[0].local_id = {config::Identity::Type::Fqdn, "b.example"};
    b.connections[0].remote_id = {config::Identity::Type::Any, "%any"};
  };
  const Pair p = psk ? two_sites(world, change) : two_signing_sites(world, ike::AuthMethod::EcdsaP256, change);
  begin(p);
  world.run(5s);
  for (const Host* h : {&p.a, &p.b}) {
    CHECK_FALSE(h->up());
    CHECK(h->spis.empty());
    CHECK(h->inbound.empty());
  }
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::WrongIdentity) == 1);
  const ike::Failure f = latest(p.a);
  CHECK(f.reason == Reason::WrongIdentity);
  const auto* seen = std::get_if<ike::IdentityEvidence>(&f.cause.evidence);
  REQUIRE(seen);
  CHECK(seen->expected == "else.example");
  CHECK(seen->received == "b.example");
  CHECK(seen->proven == psk);
}

TEST_CASE("IKEv2: a peer that refuses us for another reason is asked no third time", "[ikev2][rfc7296-2.21.2]") {
  World world;
  world.record = true;
  const Pair p = two_sites(world, [](auto& a, auto& b) {
    idle(a);
    idle(b);
    a.connections[0].remote_id = {config::Identity::Type::IpAddr, "10.9.0.2"};
  });
  p.b.secrets["c"] = "another";
  begin(p);
  world.run(20s);
  CHECK(p.a.counted(Exchange::IkeAuth, Reason::AuthFailed) == 1);
  CHECK(std::ranges::count_if(world.wire, [&](const ike::Datagram& d) {
          const auto seen = look(d);
          return d.local.address == p.a.config.connections[0].local_addrs[0] && seen && seen->header.exchange == ike::kExchangeSaInit;
        }) == 2);
  CHECK(std::holds_alternative<ike::SecretEvidence>(latest(p.a).cause.evidence));
}

TEST_CASE("IKEv2: whoever begins and does not go on is told of where it is looked for", "[ikev2]") {
  World world;
  const Pair p = two_v2(world);
  const IpAddress ours = p.b.config.connections[0].local_addrs[0];
  world.hook = [ours](ike::Datagram& d) { return d.local.address != ours; };  // our answers are lost
  p.a.start();
  p.b.start();
  world.run(60s);
  const ike::Failure f = latest(p.b);
  CHECK(f.reason == Reason::Timeout);
  CHECK(f.by == ike::RefusedBy::Nobody);
  CHECK_FALSE(f.cause.on_4500);
}

TEST_CASE("IKEv2: whether the one who refuses our proposals has given the IKE SA an SPI is kept", "[ikev2][rfc7296-2.6]") {
  const bool given = GENERATE(false, true);
  World world;
  const Pair p = two_sites(world, [](auto& a, auto& b) {
    idle(a);
    idle(b);
    b.connections[0].proposals = parse_ike_proposal_v2("aes256gcm16-prfsha384-ecp384").value();
  });
  world.hook = [&](ike::Datagram& d) {  // as strongSwan does where it has no connection for us
    const auto framed = ike::parse_header(d.data);
    if (given && framed && (framed->header.flags & ike::kFlagResponse) != 0)
      d.data = ike::encode_message(
          [&] {
            auto h = framed->header;
            h.spi_r = IkeSpi{7};
            return h;
          }(),
          framed->body);
    return true;
  };
  begin(p);
  world.run(10s);
  CHECK(latest(p.a).reason == Reason::PeerNoProposal);
  CHECK(latest(p.a).cause.own_spi == given);
}
