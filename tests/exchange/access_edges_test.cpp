// Remote access at its edges: messages that come right behind phase 1, addresses of kinds that nobody has, and groups told by their names.
#include <algorithm>

#include <catch2/catch.hpp>

#include "control/ike/nat_traversal.hpp"
#include "control/ikev1/config_attributes.hpp"
#include "control/ikev1/identity.hpp"
#include "control/ikev1/proposal.hpp"
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

ikev1::Builder asks_for_address() {
  ikev1::Builder b;
  b.add(ikev1::ConfigPayload{ikev1::ConfigType::Request, 1, {ikev1::empty_attribute(ikev1::Cfg::Ip4Address)}});
  return b;
}
ikev1::Builder delete_of(const ike::IkeSaInfo& sa) {
  Writer w;
  w.be(sa.spi_i.value);
  w.be(sa.spi_r.value);
  ikev1::Builder b;
  b.add(ikev1::Delete{ikev1::kIpsecDoi, ikev1::kProtoIsakmp, 16, {std::move(w).take()}});
  return b;
}
bool transaction(const ike::Datagram& d) {
  const auto seen = look(d);
  return seen && seen->header.exchange == ike::kExchangeTransaction;
}

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
        "10.9.0.1:500 asks for a virtual address, and gets none: no pool has IPv6 addresses, which only connections with version: 2 give.");
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

TEST_CASE("a server that ends the SA before it has given an address leaves nothing of its Quick Modes behind", "[mode_config][delete]") {
  World world;
  world.record = true;
  auto [a, b] = client_and_server(world, [](auto& ca, auto& cb) {
    without_users(ca, cb);
    ca.connections[0].mode_config = cb.connections[0].mode_config = config::ModeConfig::Push;
  });
  world.hook = [](ike::Datagram& d) {
    const auto seen = look(d);
    return d.local.address.to_string() != "10.9.0.2" || !seen || seen->header.exchange == ike::kExchangeMainMode;
  };
  a.start();
  b.start();
  world.run(300ms);
  const Insider server(world);
  const auto suites = parse_esp_proposal("aes128gcm16").value();
  ikev1::Builder quick;
  quick.add(ikev1::build_esp_offer({suites, Spi{0x12345678}, ikev1::Encapsulation::Tunnel, 3600, 0})).add(ikev1::Nonce{Bytes(32, 7)});
  quick.add(*ikev1::to_proxy_id(TrafficSelector::parse("10.2.0.0/24").value()));
  quick.add(*ikev1::to_proxy_id(TrafficSelector::parse("10.1.0.0/24").value()));
  world.deliver(server.message(ike::kExchangeQuickMode, MessageId{0x77}, quick, true));
  world.run(50ms);
  REQUIRE(a.inbound.size() == 1);
  world.deliver(server.informational(delete_of(a.engine->ike_sas().at(0)), true));
  world.run(50ms);
  CHECK(a.engine->ike_sas().empty());
  CHECK(a.inbound.empty());
  CHECK(a.outbound.empty());
  CHECK(a.spis.empty());
}

TEST_CASE("a server that asks a user whom it knows for nothing: the client goes on with the address that it has", "[xauth][rekey]") {
  const bool asks_late = GENERATE(false, true);
  World world;
  auto [a, b] = client_and_server(world);
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  const auto address = a.engine->ike_sas().at(0).virtual_address;
  REQUIRE(address);
  world.hook = [](ike::Datagram& d) { return !transaction(d); };
  REQUIRE(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  world.run(5s);
  if (asks_late) world.hook = nullptr;
  world.run(14s);
  INFO(a.transcript());
  CHECK(a.established() == 1);
  CHECK(a.engine->ike_sas().back().state == ike::IkeState::Established);
  CHECK(a.engine->ike_sas().back().virtual_address == address);
  CHECK(a.live_pairs() == 1);
  CHECK(a.counted(Exchange::MainMode, Reason::Ok) == 2);
  CHECK(a.counted(Exchange::Xauth, Reason::Ok) == (asks_late ? 2 : 1));
  CHECK(a.counted(Exchange::Xauth, Reason::Timeout) == 0);
}

TEST_CASE("a client that replaces its ISAKMP SA, and asks for its address late or never, keeps address and pairs",
          "[mode_config][rekey][attack-N6]") {
  World world;
  world.record = true;
  auto [a, b] = client_and_server(world, [](auto& ca, auto& cb) {
    without_users(ca, cb);
    ca.connections[0].dpd_delay = cb.connections[0].dpd_delay = config::Seconds{0};
  });
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  const Insider client(world);
  const auto first = b.engine->ike_sas().at(0);
  world.hook = [](ike::Datagram& d) { return !transaction(d); };
  REQUIRE(a.engine->rekey(world.now, "c", "", true).ok);
  a.perform();
  world.run(1s);
  world.deliver(client.informational(delete_of(first), false));
  world.run(1s);
  REQUIRE(b.engine->ike_sas().size() == 1);
  CHECK(b.established() == 1);
  CHECK(b.engine->ike_sas().at(0).virtual_address == first.virtual_address);
  CHECK(b.reports(Reason::DeletedByPeer).empty());
  CHECK(b.live_pairs() == 1);
  CHECK(leased(b) == 1);
  world.hook = nullptr;
  world.run(60s);
  CHECK(a.engine->ike_sas().at(0).virtual_address == first.virtual_address);
  CHECK(b.live_pairs() == 1);
  CHECK(leased(b) == 1);
}

TEST_CASE("INITIAL-CONTACT of a user counts when XAuth has told who it is, whether it gets an address or not",
          "[xauth][initial_contact][rfc2407-4.6.3.3]") {
  const bool pools = GENERATE(false, true);
  World world;
  auto [a, b] = client_and_server(world, [&](auto& ca, auto& cb) {
    if (pools) return;
    ca.connections[0].vips.clear();
    cb.connections[0].pools.clear();
  });
  const auto first_contacts = [&] {
    return std::ranges::count_if(
        b.log, [](const ike::Report& r) { return r.message.starts_with("The peer says that this is its first contact"); });
  };
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.up(); }, 10s));
  CHECK(first_contacts() == 1);
  a.lose_plane();  // its machine dies, and comes back without any memory
  a.restart();
  REQUIRE(world.run_until([&] { return a.current_out("net") != nullptr; }, 10s));
  CHECK(first_contacts() == 2);
  CHECK(b.established() == 1);
  CHECK(leased(b) == (pools ? 1 : 0));
}

TEST_CASE("a request that comes before XAuth is over, copied from another address, moves nothing", "[xauth][nat][attack-L2]") {
  World world;
  world.record = true;
  auto [a, b] = client_and_server(world, [](auto& ca, auto& cb) {
    ca = site("192.168.7.1", "10.9.0.2", config::StartAction::Start);
    visit(ca, "alice");
    cb.connections[0].remote_addrs.clear();
  });
  world.add_nat(IpAddress::parse("192.168.7.1").value(), IpAddress::parse("10.9.0.1").value());
  world.hook = [](ike::Datagram& d) { return !transaction(d); };
  a.start();
  b.start();
  world.run(300ms);
  REQUIRE(b.engine->ike_sas().size() == 1);
  const auto before = b.engine->ike_sas().at(0);
  REQUIRE(before.nat_remote);
  ike::Datagram request = Insider(world).message(ike::kExchangeTransaction, MessageId{0x1001}, asks_for_address(), false);
  request.data = ike::with_non_esp_marker(request.data);
  world.deliver(request);
  for (std::uint16_t i = 1; i <= 5; ++i) {
    ike::Datagram copy = request;
    copy.remote.port = static_cast<std::uint16_t>(copy.remote.port + i);
    world.deliver(copy);
  }
  CHECK(b.counted(Exchange::ModeConfig, Reason::Unexpected) == 6);
  CHECK(b.engine->ike_sas().at(0).remote == before.remote);
  // It had only overtaken XAuth's end: when that has come it is answered, once.
  world.hook = nullptr;
  REQUIRE(world.run_until([&] { return b.counted(Exchange::Xauth, Reason::Ok) == 1; }, 10s));
  CHECK(leased(b) <= 1);
}

TEST_CASE("a client with an address of ours that asks for everything gets what its child has; without one it is refused",
          "[mode_config][rfc2409-5.5]") {
  const bool leased_one = GENERATE(true, false);
  World world;
  auto [a, b] = client_and_server(world, [leased_one](auto& ca, auto& cb) {
    config::Child &asks = ca.connections[0].children[0], &has = cb.connections[0].children[0];
    asks.remote_ts = TrafficSelector::parse("0.0.0.0/0").value();
    if (!leased_one) {
      ca.connections[0].vips.clear();
      cb.connections[0].pools.clear();
      return;
    }
    asks.local_dynamic = has.remote_dynamic = true;
  });
  a.start();
  b.start();
  world.run_until([&] { return a.up() && b.live_pairs() == 1; }, 10s);
  INFO(a.transcript() << b.transcript());
  CHECK(a.up() == leased_one);
  CHECK((b.counted(Exchange::QuickMode, Reason::SelectorMismatch) > 0) == !leased_one);
  if (!leased_one) return;
  const auto selectors = [](const ike::InstallSa& sa) { return sa.local_ts.to_string() + " - " + sa.remote_ts.to_string(); };
  const std::string client = b.engine->ike_sas().at(0).virtual_address->to_string() + "/32";
  CHECK(selectors(a.outbound.back().sa) == client + " - 0.0.0.0/0");  // the identities came back unaltered
  CHECK(selectors(b.outbound.back().sa) == "10.2.0.0/24 - " + client);
  for (const auto& [spi, sa] : b.inbound) CHECK(selectors(sa.sa) == "10.2.0.0/24 - " + client);
}

TEST_CASE("a server asks for name and password one after the other; what a client cannot answer is refused by its name",
          "[xauth][draft-beaulieu-ike-xauth-02]") {
  using ikev1::Attribute;
  using ikev1::Cfg;
  struct Row {
    std::vector<std::vector<Attribute>> requests;
    std::string refused;  ///< empty: accepted
  };
  const auto ask = [](Cfg what) { return ikev1::empty_attribute(what); };
  const auto row =
      GENERATE_COPY(Row{{{ask(Cfg::XauthUserName)}, {ask(Cfg::XauthUserPassword)}}, {}},
                    Row{{{ikev1::number_attribute(Cfg::XauthType, 0), ask(Cfg::XauthUserName)}, {ask(Cfg::XauthPasscode)}}, {}},
                    Row{{{ask(Cfg::XauthUserName)}, {ask(Cfg::XauthUserName)}}, "asks again"},
                    Row{{{ask(Cfg::XauthUserName)}, {ask(Cfg::XauthUserPassword)}, {ask(Cfg::XauthPasscode)}}, "asks again"},
                    Row{{{ask(Cfg::XauthUserName)}, {ask(Cfg::XauthChallenge)}}, "the answer to a challenge"},
                    Row{{{ask(Cfg::XauthUserName), ask(Cfg::XauthNextPin)}}, "a new PIN"},
                    Row{{{ask(Cfg::XauthUserName), ask(Cfg::XauthAnswer)}}, "the answer to a question"},
                    Row{{{ikev1::number_attribute(Cfg::XauthType, 2), ask(Cfg::XauthUserName)}}, "an authentication of type 2"});
  World world;
  world.record = true;
  auto [a, b] = client_and_server(world);
  world.hook = [](ike::Datagram& d) { return !transaction(d); };
  a.start();
  b.start();
  world.run(200ms);  // Main Mode is over
  const Insider server(world);
  std::uint32_t id = 0x1000;
  const auto say = [&](ikev1::ConfigType type, std::vector<Attribute> attributes) {
    ikev1::Builder payloads;
    payloads.add(ikev1::ConfigPayload{type, 7, std::move(attributes)});
    world.deliver(server.message(ike::kExchangeTransaction, MessageId{++id}, payloads, true));
    world.run(10ms);
  };
  for (const auto& request : row.requests) say(ikev1::ConfigType::Request, request);
  if (row.refused.empty()) say(ikev1::ConfigType::Set, {ikev1::number_attribute(Cfg::XauthStatus, 1)});
  INFO(a.transcript());
  CHECK(a.counted(Exchange::Xauth, Reason::Ok) == (row.refused.empty() ? 1 : 0));
  CHECK(a.counted(Exchange::Xauth, Reason::XauthFailed) == (row.refused.empty() ? 0 : 1));
  if (!row.refused.empty()) CHECK(a.reports(Reason::XauthFailed).front().message.find(row.refused) != std::string::npos);
}
