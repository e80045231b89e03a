// Who a user is that a RADIUS server has let in: what he calls himself outside (EAP-Response/Identity, RFC 3579 §2) is nobody's proof. It
// is the server's User-Name that counts for `unique` and leases, and without one he takes nobody's place.
//
//   A, C   EAP-Response/Identity "alice"   -->  G  -->  server
//                                               G  <--  Access-Accept [User-Name]
#include <catch2/catch.hpp>

#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/radius_world.hpp"
#include "tests/exchange/remote_access.hpp"

using namespace culvert;
using namespace culvert::test;

namespace {

config::GatewayConfig speaking_v2(config::GatewayConfig g) {
  g.connections[0].version = 2;
  g.connections[0].proposals = parse_ike_proposal_v2("aes128gcm16-prfsha256-ecp256").value();
  return g;
}

Host& add_visitor(World& world, const std::string& at) {
  auto config = speaking_v2(site(at, "10.9.0.9", config::StartAction::None));
  config::Connection& c = config.connections[0];
  c.local_auth.auth = config::Proof::EapMschapv2;
  c.local_auth.eap_id = "alice";
  c.remote_auth.auth = config::Proof::Pubkey;
  c.remote_id = {config::Identity::Type::Fqdn, "g.example"};
  c.vips = {IpAddress::v4(0)};
  c.children[0].local_ts = TrafficSelector::parse("0.0.0.0/0").value();
  c.children[0].local_dynamic = true;
  c.children[0].remote_ts = TrafficSelector::parse("10.1.0.0/24").value();
  Host& out = world.add(at, std::move(config));
  out.secrets.clear();
  out.password = "alicepw";
  return out;
}

Host& add_server(World& world, config::Unique unique) {
  auto config = speaking_v2(site("10.9.0.9", "", config::StartAction::None));
  serve(config);
  config::Connection& c = config.connections[0];
  c.xauth_server = {};
  c.unique = unique;
  c.local_auth.auth = config::Proof::Pubkey;
  c.remote_auth.auth = config::Proof::EapRadius;
  c.local_id = {config::Identity::Type::Fqdn, "g.example"};
  c.remote_id = {config::Identity::Type::Any, "%any"};
  c.children = {child("net", "10.1.0.0/24", "0.0.0.0/0", "aes128gcm16", config::StartAction::None)};
  c.children[0].remote_dynamic = true;
  Host& out = world.add("G", std::move(config));
  out.keys["c"] = ike::AuthMethod::EcdsaP256;
  return out;
}

bool comes(World& world, Host& h) {
  h.step([&](ike::Engine& e) { CHECK(e.initiate(world.now, "c", "").ok); });
  return world.run_until([&] { return h.up(); }, 10s);
}

}  // namespace

TEST_CASE("IKEv2 RADIUS: who calls himself by another user's name outside gets neither his place nor his address",
          "[ikev2][eap][radius][unique][rfc3579-2]") {
  const auto unique = GENERATE(config::Unique::Replace, config::Unique::Keep, config::Unique::No);
  const std::string named = GENERATE("", "mallory", "alice");  // what the server says of the second one; of the first it says alice
  const bool first_named = GENERATE(true, false);              // ... or nothing
  CAPTURE(static_cast<int>(unique), named, first_named);
  World world;
  Host &server = add_server(world, unique), &a = add_visitor(world, "10.9.0.1"), &c = add_visitor(world, "10.9.0.3");
  RadiusWorld radius(world, server);
  for (Host* h : {&server, &a, &c}) h->start();
  const auto says = [&](const std::string& name) {
    radius.grants.clear();
    if (!name.empty()) radius.grants = {{radius::Type::UserName, to_bytes(name)}};
  };
  says(first_named ? "alice" : "");
  REQUIRE(comes(world, a));
  world.run(1s);
  const auto before = server.engine->ike_sas().at(0);
  CHECK((before.xauth_user == "alice") == first_named);
  says(named);
  const bool same = first_named && named == "alice";  // both are alice: it is for `unique` to say
  const bool second = comes(world, c);
  world.run(5s);
  INFO(server.transcript());
  CHECK(second == !(same && unique == config::Unique::Keep));
  CHECK(a.up() == !(same && unique != config::Unique::Keep));  // INITIAL_CONTACT says so, if nothing else
  const auto all = server.engine->ike_sas();
  const auto of_c = std::ranges::find_if(all, [](const ike::IkeSaInfo& i) { return i.remote.address.to_string() == "10.9.0.3"; });
  if (!second || same) return;
  REQUIRE(of_c != all.end());
  CHECK(leased(server) == 2);
  CHECK(of_c->virtual_address != before.virtual_address);
  CHECK(of_c->remote_id != before.remote_id);
  CHECK(of_c->xauth_user == (named.empty() ? "(unconfirmed at 10.9.0.3:500) alice" : named));
}
