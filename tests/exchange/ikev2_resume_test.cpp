// Session resumption between engines (RFC 5723): A comes back to B by a ticket, without a key exchange.
//
//   A                                               B
//   IKE_AUTH ... N(TICKET_REQUEST)             -->  <--  ... N(TICKET_LT_OPAQUE)
//                                  (the IKE SA is lost)
//   HDR(SPIi, 0), Ni N(TICKET_OPAQUE)          -->  <--  HDR(SPIi, SPIr), Nr          or N(TICKET_NACK): IKE_SA_INIT
//   IDi AUTH SAi TSi TSr                       -->  <--  IDr AUTH SAr TSi TSr
#include <catch2/catch.hpp>

#include "control/ikev2/ticket.hpp"
#include "tests/exchange/ikev2_sites.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;
using ikev2::NotifyType;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
const IpAddress kA = ip("10.9.0.1"), kB = ip("10.9.0.2");
ike::TicketKey key(std::uint32_t id) { return {id, SecretBytes(Bytes(32, static_cast<std::uint8_t>(id)))}; }

Pair resuming(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change = {}) {
  const Pair p = two_v2(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].resumption.enabled = true;
      g->connections[0].dpd_delay = config::Seconds{5};
    }
    if (change) change(a, b);
  });
  p.b.tickets = {key(7)};
  p.b.lasting = "the secret of B";
  return p;
}

void up(World& world, const Pair& p) {
  p.b.start();
  p.a.start();
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  world.run(1s);
}

/// B is switched off and on, and A learns it from B's token.
void crash(World& world, const Pair& p) {
  p.b.lose_plane();
  p.b.restart();
  p.b.key_exchanges = 0;
  REQUIRE(world.run_until([&] { return p.a.counted(Exchange::Informational, Reason::PeerRestarted) >= 1; }, 60s));
}

struct Shown {
  ike::Datagram datagram;
  Bytes ticket, nonce;
};
std::vector<Shown> shown(const World& world) {
  std::vector<Shown> out;
  for (const ike::Datagram& d : world.wire) {
    const auto framed = ike::parse_header(d.data);
    if (!framed || framed->header.exchange != ike::kExchangeSessionResume || (framed->header.flags & ike::kFlagResponse) != 0) continue;
    const auto m = ikev2::Message::parse(ikev2::PayloadType{framed->header.next_payload}, framed->body);
    REQUIRE(m);
    out.push_back({d, m->notify(NotifyType::TicketOpaque)->data, m->find<ikev2::Nonce>()->data});
  }
  return out;
}

ike::Datagram request(const Bytes& ticket, std::uint64_t spi, const IpAddress& from) {
  ike::Header h;
  h.spi_i = IkeSpi{spi};
  h.major = 2;
  h.exchange = ike::kExchangeSessionResume;
  h.flags = ike::kFlagInitiator;
  ikev2::Builder b;
  b.add(ikev2::Nonce{Bytes(32, static_cast<std::uint8_t>(spi))}).notify(NotifyType::TicketOpaque, ticket);
  h.next_payload = static_cast<std::uint8_t>(b.first());
  return {{kB, 500}, {from, 500}, ike::encode_message(h, b.chain())};
}

std::string told(const Pair& p) { return p.a.transcript() + p.b.transcript(); }

}  // namespace

TEST_CASE("a client comes back by its ticket, once and again, without a key exchange", "[ikev2][resume][rfc5723-4.3]") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(seed);
    const Pair p = resuming(world);
    up(world, p);
    if (seed > 4) world.link = {.loss = 0.1, .duplicate = 0.1, .delay_min = 1ms, .delay_max = 40ms};
    for (unsigned round = 0; round < 3; ++round) {
      const auto before = p.a.key_exchanges;
      crash(world, p);
      const bool again = world.run_until([&] { return both_up(p); }, 60s);
      INFO("seed " << seed << "\n" << told(p));
      REQUIRE(again);
      // What is lost too often on the way is made anew the long way.
      if (seed <= 4) CHECK(p.b.key_exchanges == 0);
      if (seed <= 4) CHECK(p.a.key_exchanges == before);
      world.run(1s);
      p.a.log.clear();
    }
  }
}

TEST_CASE("a user comes back without being asked again", "[ikev2][resume][eap][rfc5723-4.3]") {
  World world;
  const Pair p = resuming(world, [](auto& a, auto& b) {
    a.connections[0].local_auth.auth = b.connections[0].remote_auth.auth = config::Proof::EapMschapv2;
    a.connections[0].remote_auth.auth = b.connections[0].local_auth.auth = config::Proof::Pubkey;
    a.connections[0].local_auth.eap_id = "alice";
    a.connections[0].remote_id = b.connections[0].local_id = {config::Identity::Type::Fqdn, "b.example"};
    b.connections[0].remote_addrs.clear();
  });
  p.b.keys["c"] = ike::AuthMethod::EcdsaP256;
  p.b.users = {{"alice", "alicepw"}};
  p.a.password = "alicepw";
  up(world, p);
  const auto checks = p.b.checks;
  crash(world, p);
  const bool again = world.run_until([&] { return both_up(p); }, 30s);
  INFO(told(p));
  REQUIRE(again);
  CHECK(p.b.key_exchanges == 0);
  CHECK(p.b.checks == checks);
  CHECK(p.b.engine->ike_sas().front().xauth_user == "alice");
  CHECK(p.b.engine->ike_sas().front().remote_id == "alice");
}

TEST_CASE("what makes a ticket worthless leads to a key exchange", "[ikev2][resume][rfc5723-4.3.2]") {
  World world;
  const Pair p = resuming(world, [](auto& a, auto& b) {
    for (auto* g : {&a, &b}) g->connections[0].resumption.lifetime = config::Seconds{3600};
  });
  up(world, p);
  bool refused = true;
  SECTION("the key is forgotten") { p.b.tickets = {key(8)}; }
  SECTION("the key is another one of the same number") { p.b.tickets = {{7, SecretBytes(Bytes(32, 0x55))}}; }
  SECTION("the gateway gives no tickets any more") { p.b.config.connections[0].resumption.enabled = false; }
  SECTION("its proposals are others") {
    const auto extra = parse_ike_proposal_v2("aes256gcm16-prfsha384-ecp384").value();
    for (Host* h : {&p.a, &p.b}) h->config.connections[0].proposals = extra;
    refused = false;
  }
  SECTION("it is too old") {
    world.run(3700s);
    refused = false;  // the client knows
  }
  SECTION("the gateway is silent about what it does not know") {
    world.hook = [](ike::Datagram& d) {
      const auto framed = ike::parse_header(d.data);
      return !framed || framed->header.exchange != ike::kExchangeSessionResume;
    };
    refused = false;
  }
  crash(world, p);
  const bool again = world.run_until([&] { return both_up(p); }, 60s);
  INFO(told(p));
  CHECK(again);
  CHECK(p.b.key_exchanges == 1);
  CHECK((p.b.counted(Exchange::IkeSaInit, Reason::TicketRefused) == 1) == refused);
}

TEST_CASE("a ticket is good once, and shows nobody anything", "[ikev2][resume][stranger][rfc5723-9]") {
  World world;
  world.record = true;
  const Pair p = resuming(world);
  up(world, p);
  crash(world, p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  const auto said = shown(world);
  REQUIRE(said.size() == 1);
  const auto sas = p.b.engine->ike_sas().size();
  world.wire.clear();
  world.deliver(request(said[0].ticket, 99, kA));
  CHECK(p.b.engine->ike_sas().size() == sas);
  CHECK(p.b.counted(Exchange::IkeSaInit, Reason::TicketRefused) == 1);
  REQUIRE(world.wire.size() == 1);
  CHECK(world.wire[0].data.size() == ike::kHeaderSize + 8);
  CHECK(p.a.up());
}

TEST_CASE("without resumption nobody asks for tickets, and nobody is given one", "[ikev2][resume]") {
  for (const bool client : {false, true}) {
    World world;
    world.record = true;
    const Pair p = resuming(world, [&](auto& a, auto& b) { (client ? b : a).connections[0].resumption.enabled = false; });
    up(world, p);
    crash(world, p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
    CHECK(shown(world).empty());
    CHECK(p.b.key_exchanges == 1);
  }
}

TEST_CASE("who ends the IKE SA on purpose does not come back by its ticket", "[ikev2][resume]") {
  World world;
  world.record = true;
  const Pair p = resuming(world);
  up(world, p);
  Host& ends = p.b;
  ends.step([&](ike::Engine& e) { e.terminate(world.now, "c", {}); });
  world.run(1s);
  REQUIRE(world.run_until([&] { return both_up(p); }, 60s));
  CHECK(shown(world).empty());
}

TEST_CASE("whom an operator has ended proves himself anew, though he does not hear of it", "[ikev2][resume][rfc5723-6.2]") {
  const int how = GENERATE(0, 1, 2, 3);  // nobody ends it; at once; after the IKE SA was rekeyed; of one that has come back by a ticket
  CAPTURE(how);
  World world;
  world.record = true;
  const Pair p = resuming(world);
  up(world, p);
  if (how == 2) {
    p.a.step([&](ike::Engine& e) { REQUIRE(e.rekey(world.now, "c", "", true).ok); });
    REQUIRE(world.run_until([&] { return p.b.counted(Exchange::CreateChildSa, Reason::Ok) == 1; }, 5s));
    world.run(1s);
  }
  if (how == 3) {
    crash(world, p);
    REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
    world.run(1s);
  }
  world.dead.insert(kA);
  if (how != 0) p.b.step([&](ike::Engine& e) { REQUIRE(e.terminate(world.now, "c", {}).ok); });
  CHECK(p.b.retirements == (how == 0 ? 0 : 1));
  REQUIRE(world.run_until([&] { return !p.a.up(); }, 400s));
  p.b.key_exchanges = 0;
  world.wire.clear();
  world.dead.clear();
  const bool again = world.run_until([&] { return both_up(p); }, 60s);
  INFO(told(p));
  CHECK(again);
  CHECK(shown(world).size() == 1);
  CHECK(p.b.key_exchanges == (how == 0 ? 0 : 1));
  CHECK(p.b.counted(Exchange::IkeSaInit, Reason::TicketRefused) == (how == 0 ? 0 : 1));
}

TEST_CASE("tickets of strangers: bounded, and no state for what is none of ours", "[ikev2][resume][stranger][amplification]") {
  World world;
  world.record = true;
  const Pair p = resuming(world);
  up(world, p);
  p.a.config.connections[0].children[0].start_action = config::StartAction::None;
  crash(world, p);
  REQUIRE(world.run_until([&] { return both_up(p); }, 30s));
  const auto sas = p.b.engine->ike_sas().size();
  std::uint64_t in = 0;
  const auto sent = p.b.sent_bytes;
  const auto keys = p.b.key_exchanges;
  const auto ask = [&](const Bytes& ticket, std::uint64_t n) {
    const auto d = request(ticket, n, kA);
    in += d.data.size();
    world.deliver(d);
  };
  Bytes good;  // a fresh one, that nobody has shown
  ikev2::Ticket t;
  t.serial = Bytes(ikev2::kTicketSerial, 1);
  t.connection = "c";
  t.suite = p.b.config.connections[0].proposals.front();
  t.d = SecretBytes(Bytes(32, 9));
  t.authenticated = p.b.wall_seconds();
  t.expires = t.authenticated + 3600;
  t.id = {ikev2::IdType::Fqdn, Bytes{'x'}};
  good = ikev2::seal_ticket(p.b.tickets.front(), Bytes(ikev2::kTicketNonce, 3), t);
  for (std::uint64_t n = 1; n <= 200; ++n) {
    Bytes bad = good;
    bad[n % bad.size()] ^= 1;
    ask(bad, n);
    ask(Bytes(n % 40, 7), 1000 + n);
    ask(Bytes(2000 + n, 7), 2000 + n);
  }
  CHECK(p.b.engine->ike_sas().size() == sas);
  for (std::uint64_t n = 1; n <= 200; ++n) ask(good, 5000 + n);
  CHECK(p.b.engine->ike_sas().size() <= sas + 3);  // then cookies are asked for
  CHECK(p.b.sent_bytes - sent <= in);
  CHECK(p.b.key_exchanges == keys);
  world.run(60s);
  CHECK(p.b.engine->ike_sas().size() == sas);
  CHECK(both_up(p));
}
