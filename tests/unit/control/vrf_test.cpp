// VRFs between the engine and the data plane: what SAs and policies say of them, and which SAs of a former culvertd may stay.
#include "tests/unit/control/gateway_fixture.hpp"

namespace culvert::control {

namespace {
struct VrfFixture : GatewayFixture {
  shm::SaSnapshot record(Direction direction) {
    shm::SaSnapshot out;
    for (const shm::SaRecord& r : gateway->link()->segment().records(direction))
      if (shm::read_record(r, out)) return out;
    return {};
  }
};
}  // namespace

TEST_CASE_METHOD(VrfFixture, "vrfs: an SA has its child's VRF inside and its connection's outside", "[gateway][vrf]") {
  config.vrfs = {"red", "blue"};
  config.connections[0].vrf = {"blue", 2};
  config.connections[0].children[0].vrf = {"red", 1};
  restart();
  attach();
  bring_up(1);
  for (const Direction d : {Direction::Inbound, Direction::Outbound}) {
    const shm::SaSnapshot sa = record(d);
    CHECK(sa.spi.value != 0);
    CHECK((sa.vrf == 1 && sa.local.vrf == 2 && sa.remote.vrf == 2));
  }
  const auto shown = ask(R"({"command":"list-conns"})").at("result").at("connections").as_array().at(0).as_object();
  CHECK(shown.at("vrf") == "blue");
  CHECK(shown.at("children").as_array().at(0).at("vrf") == "red");
  CHECK(shown.at("children").as_array().at(1).at("vrf") == "default");
}

TEST_CASE_METHOD(VrfFixture, "vrfs: an SA of a former culvertd goes where its child is of another VRF now", "[gateway][vrf]") {
  attach();
  bring_up(1);
  dp->drop_client();
  config.vrfs = {"red"};
  const bool outside = GENERATE(true, false);
  (outside ? config.connections[0].vrf : config.connections[0].children[0].vrf) = {"red", 1};
  restart();
  attach();
  CHECK(test::engine().orphans.empty());
  CHECK(dp->installed(Direction::Inbound) == 0);
  CHECK(dp->installed(Direction::Outbound) == 0);
}

namespace {
/// Two customers, each in a VRF, whose peers have the same address.
struct TwoCustomers : VrfFixture {
  TwoCustomers() {
    config.vrfs = {"red", "blue"};
    config::Connection& red = config.connections[0];
    red.vrf = {"red", 1};
    red.remote_addrs = {*IpAddress::parse("10.9.0.2")};
    for (config::Child& child : red.children) child.vrf = {"red", 1};
    config::Connection blue = red;
    blue.name = "site-c";
    blue.vrf = {"blue", 2};
    for (config::Child& child : blue.children) child.vrf = {"blue", 2};
    config.connections.push_back(blue);
    config.ports.resize(1);
    config.ports[0].name = "port0";
    config.ports[0].vrf = {"red", 1};
    config.pools.resize(1);
    config.pools[0].name = "guests";
    config.pools[0].vrf = {"blue", 2};
    restart();
    for (const config::Connection& c : config.connections) test::engine().connections.emplace_back().connection = c.name;
  }
  static ike::Failure failure(VrfId vrf, const char* peer = "10.9.0.2") {
    ike::Failure f;
    f.when = f.first = ike::TimePoint{1h} - 5s;
    f.exchange = ike::Exchange::MainMode;
    f.role = ike::Role::Responder;
    f.reason = ike::Reason::NoProposalChosen;
    f.message = "a sentence.";
    f.peer = Endpoint{*IpAddress::parse(peer), 500, vrf};
    return f;
  }
  json::object result(const std::string& command, const std::string& args) {
    return ask(R"({"command":")" + command + R"(","args":{)" + args + "}}").at("result").as_object();
  }
  std::string code(const std::string& command, const std::string& args) {
    return std::string(ask(R"({"command":")" + command + R"(","args":{)" + args + "}}").at("error").at("code").as_string());
  }
};
}  // namespace

TEST_CASE_METHOD(TwoCustomers, "vrfs: explain tells peers of one address apart, and says where there is another", "[explain][vrf]") {
  test::engine().failures["site-b"] = {failure(1)};
  test::engine().failures["site-c"] = {failure(2)};
  test::engine().strangers = {failure(kDefaultVrf), failure(2), failure(2, "10.9.0.3")};
  for (const auto& [vrf, connection, other] : {std::tuple("red", "site-b", "blue"), std::tuple("blue", "site-c", "red")}) {
    const auto shown = result("explain", std::string(R"("peer":"10.9.0.2","vrf":")") + vrf + '"');
    REQUIRE(shown.at("connections").as_array().size() == 1);
    const auto& c = shown.at("connections").as_array()[0];
    CHECK((c.at("connection") == connection && c.at("vrf") == vrf && c.at("children").as_array()[0].at("vrf") == vrf));
    REQUIRE(c.at("failures").as_array().size() == 1);
    CHECK(c.at("failures").as_array()[0].at("vrf") == vrf);
    CHECK(shown.at("vrf") == vrf);
    CHECK(shown.at("also_in") == (json::array{"default", other}));
  }
  const auto without = result("explain", R"("peer":"10.9.0.2")");
  CHECK(without.at("connections").as_array().empty());
  CHECK(without.at("strangers").as_array().size() == 1);
  CHECK((without.at("vrf") == "default" && without.at("also_in") == json::array{"red", "blue"}));
  CHECK(result("explain", R"("peer":"10.9.0.3","vrf":"blue")").at("also_in").as_array().empty());
  CHECK(result("explain", "").at("strangers").as_array().size() == 3);
  CHECK(result("explain", R"("vrf":"blue")").at("strangers").as_array().size() == 2);
  CHECK(result("explain", R"("connection":"site-c")").at("connections").as_array()[0].at("failures").as_array().size() == 1);
  CHECK(code("explain", R"("connection":"site-c","vrf":"red")") == "bad_request");
  CHECK(code("explain", R"("peer":"10.9.0.2","vrf":"rde")") == "unknown");
}

TEST_CASE_METHOD(TwoCustomers, "vrfs: failures of one address in two VRFs are two", "[explain][vrf]") {
  ike::FailureBook book;
  for (const VrfId vrf : {VrfId{1}, VrfId{2}, VrfId{1}}) book.add_stranger(failure(vrf), true);
  REQUIRE(book.strangers().size() == 2);
  CHECK((book.strangers()[0].peer->vrf == 1 && book.strangers()[0].count == 2));
}

TEST_CASE_METHOD(TwoCustomers, "vrfs: a watched address is one of one VRF", "[watch][vrf]") {
  const Endpoint red{*IpAddress::parse("10.9.0.2"), 500, 1}, blue{red.address, 500, 2};
  const auto begun = result("debug", R"("target":"10.9.0.2","vrf":"blue")");
  CHECK_THAT(std::string(begun.at("message").as_string()), Catch::Contains("10.9.0.2 in VRF blue is logged"));
  CHECK(begun.at("also_in") == json::array{"red"});
  CHECK(begun.at("watches").as_array().at(0).at("vrf") == "blue");
  CHECK(test::engine().watches.matches(now, "", blue));
  CHECK_FALSE(test::engine().watches.matches(now, "", red));
  CHECK(result("debug", R"("target":"10.9.0.2","vrf":"red","off":true)").at("watches").as_array().size() == 1);
  CHECK(result("debug", R"("target":"10.9.0.2")").at("watches").as_array().size() == 2);
  CHECK(result("debug", R"("target":"10.9.0.2","vrf":"blue","off":true)").at("watches").as_array().size() == 1);
  CHECK(code("debug", R"("target":"site-c","vrf":"blue")") == "bad_request");
  CHECK(code("debug", R"("target":"10.9.0.2","vrf":"rde")") == "unknown");
}

TEST_CASE_METHOD(TwoCustomers, "vrfs: metrics of what is in one name it, where there is one", "[metrics][vrf]") {
  test::engine().connections[1].children.emplace_back().child = "net";
  test::engine().pools = {{"guests", 254, 3, {}}};
  std::string text = metrics();
  CHECK(has(text, R"(culvert_connection_up{connection="site-c",vrf="blue"} 0)"));
  CHECK(has(text, R"(culvert_child_up{connection="site-c",child="net",vrf="blue"} 0)"));
  CHECK(has(text, R"(culvert_child_packets_total{connection="site-b",child="net",vrf="red",direction="in"} 0)"));
  CHECK(has(text, R"(culvert_pool_leases{pool="guests",vrf="blue"} 3)"));
  attach();
  text = metrics();
  CHECK(has(text, R"(culvert_port_mtu_bytes{port="port0",vrf="red"} 0)"));
  config.vrfs.clear();
  text = metrics();
  CHECK(text.find("vrf=") == std::string::npos);
  CHECK(has(text, R"(culvert_port_mtu_bytes{port="port0"} 0)"));
}

}  // namespace culvert::control
