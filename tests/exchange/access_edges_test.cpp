// Remote access at its edges: messages that come right behind phase 1, addresses of kinds that nobody has, and groups told by their names.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ikev1/config_attributes.hpp"
#include "tests/exchange/insider.hpp"
#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/world.hpp"

using namespace culvert;
using namespace culvert::test;
using ike::Exchange;

namespace {

/// Main Mode is over, and what follows is an insider's: the honest client is silent from then on.
struct Silenced {
  World& world;
  Host &a, &b;
  explicit Silenced(World& w, const Pair& hosts) : world(w), a(hosts.a), b(hosts.b) {
    world.record = true;
    world.hook = [](ike::Datagram& d) {
      const auto seen = look(d);
      return d.local.address.to_string() != "10.9.0.1" || !seen || seen->header.exchange == ike::kExchangeMainMode;
    };
    a.start();
    b.start();
    world.run(300ms);
    world.hook = [](ike::Datagram& d) { return d.local.address.to_string() != "10.9.0.1"; };
  }
  void asks(std::uint32_t id, std::vector<ikev1::Attribute> attributes) const {
    ikev1::Builder b1;
    b1.add(ikev1::ConfigPayload{ikev1::ConfigType::Request, 1, std::move(attributes)});
    world.deliver(Insider(world).message(ike::kExchangeTransaction, MessageId{id}, b1, false));
    world.run(100ms);
  }
};

void without_users(config::GatewayConfig& a, config::GatewayConfig& b) {
  a.connections[0].xauth_client = {};
  b.connections[0].xauth_server = {};
}

}  // namespace

TEST_CASE("what the peer sends right behind its signature is kept until that is verified", "[xauth][signatures]") {
  World world;
  auto [a, b] = two_signing_sites(world, ike::AuthMethod::RsaSignature, [&](auto& ca, auto& cb) {
    visit(ca, "alice");
    serve(cb);
  });
  a.password = "alicepw";
  b.users = {{"alice", "alicepw"}};
  a.dh_time = b.dh_time = 50ms;  // longer than a datagram is on its way
  const TimePoint begun = world.now;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  INFO(a.transcript() << b.transcript());
  CHECK(world.now - begun < 500ms);  // nothing was repeated
  CHECK(a.counted(Exchange::Xauth, Reason::Ok) == 1);
  CHECK(b.counted(Exchange::Xauth, Reason::Ok) == 1);
}

TEST_CASE("an IPv6 address is asked for: none is given, which is said, and an IPv4 one beside it is", "[mode_config]") {
  World world;
  const Silenced client(world, client_and_server(world, without_users));
  client.asks(0x1001, {ikev1::empty_attribute(ikev1::Cfg::Ip6Address), ikev1::empty_attribute(ikev1::Cfg::Ip6Dns)});
  CHECK(client.b.counted(Exchange::ModeConfig, Reason::NoAddress) == 1);
  const auto said = client.b.reports(Reason::NoAddress);
  REQUIRE(said.size() == 1);
  CHECK(said[0].message ==
        "10.9.0.1:500 asks for a virtual address, and gets none: no pool has IPv6 addresses, which are not carried yet.");
  CHECK(leased(client.b) == 0);
  CHECK(client.b.engine->ike_sas().size() == 1);
  client.asks(0x1002, {ikev1::empty_attribute(ikev1::Cfg::Ip6Address), ikev1::empty_attribute(ikev1::Cfg::Ip4Address)});
  CHECK(client.b.counted(Exchange::ModeConfig, Reason::Ok) == 1);
  CHECK(leased(client.b) == 1);
}

TEST_CASE("an address is asked for where there are no pools: none is given, and that is on record", "[mode_config]") {
  World world;
  const Silenced client(world, client_and_server(world, [](auto& ca, auto& cb) {
                          without_users(ca, cb);
                          cb.connections[0].pools.clear();
                        }));
  client.asks(0x1001, {ikev1::empty_attribute(ikev1::Cfg::ApplicationVersion)});
  CHECK(client.b.counted(Exchange::ModeConfig, Reason::NoAddress) == 0);
  client.asks(0x1002, {ikev1::empty_attribute(ikev1::Cfg::Ip4Address)});
  CHECK(client.b.counted(Exchange::ModeConfig, Reason::NoAddress) == 1);
  CHECK(client.b.established() == 1);
  const auto status = client.b.engine->connections().at(0);
  REQUIRE(status.failure);
  CHECK(std::get<ike::PoolEvidence>(status.failure->cause.evidence).problem == "no pools are configured for the connection");
}

TEST_CASE("groups of clients behind one address are told by ID_KEY_ID", "[aggressive_mode][rfc2407-4.6.2.12]") {
  using Type = config::Identity::Type;
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* g : {&ca, &cb}) {
      g->connections[0].aggressive = true;
      g->connections[0].aggressive_psk_exposes_hash = g == &cb;
    }
    ca.connections[0].local_id = {Type::KeyId, "keyid:Sales Road"};
    cb.connections[0].remote_id = {Type::KeyId, "keyid:sales road"};  // each byte counts
    cb.connections.push_back(cb.connections[0]);
    cb.connections[1].name = "d";
    cb.connections[1].remote_id = {Type::KeyId, "keyid:Sales Road"};
  });
  b.secrets["d"] = b.secrets["c"];
  b.secrets["c"] = "another";
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up("d"); }, 10s));
  CHECK(b.engine->ike_sas().at(0).remote_id == "keyid:Sales Road");
  CHECK(b.engine->ike_sas().at(0).connection == "d");
  CHECK(b.counted(Exchange::AggressiveMode, Reason::WrongIdentity) == 0);
}
